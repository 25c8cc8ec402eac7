package audit

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// ExportFormats are the names NewExport takes.
func ExportFormats() []string {
	return []string{"jsonl", "csv", "debezium", "cloudevents", "ocsf", "pgaudit", "logged_actions"}
}

// Schema names the form of jsonl, and of what the other formats carry as their data.
const Schema = "pgproxy.audit/1"

// NewExport makes the writer of an export format. Each keeps NULL, empty, absent, unchanged and redacted apart, and lets no text of
// a client begin a line.
func NewExport(w io.Writer, format string) (Writer, error) {
	switch format {
	case "jsonl":
		return &jsonWriter{w}, nil
	case "csv":
		return csvForm{newCSV(w)}, nil
	case "debezium":
		return objects{w, debezium}, nil
	case "cloudevents":
		return objects{w, cloudEvent}, nil
	case "ocsf":
		return objects{w, ocsf}, nil
	case "pgaudit":
		return pgaudit{w}, nil
	case "logged_actions":
		return &actionsCSV{w: csv.NewWriter(w)}, nil
	}
	return nil, fmt.Errorf("format %q is none of %s", format, strings.Join(ExportFormats(), ", "))
}

// objects writes JSON objects, one a line.
type objects struct {
	w    io.Writer
	from func(*Transaction) []any
}

func (o objects) Write(t *Transaction) error {
	for _, v := range o.from(t) {
		b, err := marshal(v)
		if err != nil {
			return fmt.Errorf("export %s: %w", t.ID(), err)
		}
		if _, err := o.w.Write(append(b, '\n')); err != nil {
			return err
		}
	}
	return nil
}

func (o objects) Flush() error { return nil }
func (o objects) End() error   { return nil }

// uid names a record or event for ever, on whatever node it is exported; of what is local to one node, by its place there.
func (t *Transaction) uid() string {
	if t.Seq != 0 {
		return fmt.Sprintf("%s/%d", t.OriginID, t.Seq)
	}
	return fmt.Sprintf("%s@%d", t.OriginID, t.Position)
}

// debezium gives the changes of a committed transaction as Debezium's change events, with what Debezium lacks under "pgproxy".
func debezium(t *Transaction) []any {
	if t.Outcome != "committed" {
		return nil
	}
	var out []any
	perTable := map[string]int{}
	for i := range t.Statements {
		s := &t.Statements[i]
		if s.RolledBack || s.SQLState != "" {
			continue
		}
		rows := s.Rows
		if strings.HasPrefix(s.Command, "TRUNCATE") {
			for _, table := range s.Tables {
				schema, name, _ := strings.Cut(table, ".")
				rows = append(rows, Row{Op: "T", Schema: schema, Table: name})
			}
		}
		for k := range rows {
			r := &rows[k]
			perTable[r.Schema+"."+r.Table]++
			out = append(out, debeziumEvent{
				Before: r.Before, After: r.After, Op: map[string]string{"I": "c", "U": "u", "D": "d", "T": "t"}[r.Op], TSMS: s.Started.UnixMilli(),
				Source: debeziumSource{Version: Schema, Connector: "pgproxy", Name: t.Origin, TSMS: t.Time.UnixMilli(), TSUS: t.Time.UnixMicro(),
					DB: t.Database, Schema: r.Schema, Table: r.Table, TxID: t.XID, Sequence: t.HLC},
				Transaction: debeziumOrder{ID: t.ID(), Total: len(out) + 1, Collection: perTable[r.Schema+"."+r.Table]},
				More: debeziumMore{UID: t.uid(), User: t.User, Role: s.Role, Application: t.Application, Client: t.Client, Session: t.SessionID,
					Query: s.Query, Params: s.Params, Key: r.Key, Delta: r.Delta, Cascade: r.Cascade, UndoOf: s.UndoOf},
			})
		}
	}
	return out
}

type debeziumEvent struct {
	Before      *Columns       `json:"before"`
	After       *Columns       `json:"after"`
	Source      debeziumSource `json:"source"`
	Op          string         `json:"op"`
	TSMS        int64          `json:"ts_ms"`
	Transaction debeziumOrder  `json:"transaction"`
	More        debeziumMore   `json:"pgproxy"`
}

type debeziumSource struct {
	Version   string `json:"version"`
	Connector string `json:"connector"`
	Name      string `json:"name"`
	TSMS      int64  `json:"ts_ms"`
	TSUS      int64  `json:"ts_us"`
	DB        string `json:"db"`
	Schema    string `json:"schema"`
	Table     string `json:"table"`
	TxID      uint64 `json:"txId"`
	Sequence  string `json:"sequence"` // the place in the global order; sorts as text
}

type debeziumOrder struct {
	ID         string `json:"id"`
	Total      int    `json:"total_order"`
	Collection int    `json:"data_collection_order"`
}

type debeziumMore struct {
	UID         string   `json:"uid"`
	User        string   `json:"user"`
	Role        string   `json:"role,omitempty"`
	Application string   `json:"application"`
	Client      string   `json:"client"`
	Session     string   `json:"session,omitempty"`
	Query       string   `json:"query"`
	Params      []Value  `json:"params"`
	Key         Columns  `json:"key"`
	Delta       []string `json:"delta,omitempty"`
	Cascade     bool     `json:"cascade,omitempty"`
	UndoOf      []string `json:"undo_of,omitempty"`
}

// cloudEvent gives a transaction or event as a CloudEvent whose data is the native form.
func cloudEvent(t *Transaction) []any {
	subject := t.ID()
	if t.Seq == 0 {
		subject = fmt.Sprintf("@%d", t.Position)
	}
	return []any{struct {
		SpecVersion string       `json:"specversion"`
		ID          string       `json:"id"`
		Source      string       `json:"source"`
		Type        string       `json:"type"`
		Subject     string       `json:"subject"`
		Time        string       `json:"time"`
		ContentType string       `json:"datacontenttype"`
		Schema      string       `json:"dataschema"`
		Data        *Transaction `json:"data"`
	}{"1.0", t.uid(), "/pgproxy/" + t.Origin, "pgproxy.audit." + t.Kind, subject, t.Time.UTC().Format(time.RFC3339Nano), "application/json", Schema, t}}
}

// raw is v as JSON; what cannot be written is said in its place.
func raw(v any) json.RawMessage {
	b, err := marshal(v)
	if err != nil {
		b, _ = marshal("cannot be written: " + err.Error())
	}
	return b
}
