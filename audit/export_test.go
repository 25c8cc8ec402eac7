package audit

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

var update = flag.Bool("update", false, "write the golden files anew")

// exported is one of everything: every state of a value, what failed, was skipped and rolled back, DDL, texts that want to break
// out of their line, and events.
func exported() []Transaction {
	names := (&fakeReader{}).Names()
	show := func(r *journal.Record, o journal.Outcome, position uint64) Transaction {
		return NewTransaction(journal.Item{Position: position, Record: r, Outcome: o}, names)
	}
	first := txRecord(nodeA, 12)
	first.Incarnation = 2
	first.Tx.Session, first.Tx.Backend = 7, 4711
	s := &first.Tx.Statements[0]
	s.Role, s.RoleSource, s.Protocol, s.Context = "clerk", journal.RoleSet, journal.ProtocolExtended, "request 42"
	s.Params = []journal.Param{{Type: "text", Value: journal.Text("")}, {Value: journal.Null()}, {Value: journal.Text("NULL")}, {Value: journal.Value{Kind: journal.ValueRedacted}},
		{Value: journal.Value{Kind: journal.ValueBinary, Data: "\x00\xff"}}}
	rel := first.Tx.Relations[0]
	row := []journal.Value{journal.Text("pear"), journal.Text("1"), journal.Null(), journal.Text("s"), {}}
	first.Tx.Statements = append(first.Tx.Statements,
		journal.Statement{Query: "INSERT INTO stock VALUES ('pear', 1)", Command: "INSERT", Class: journal.ClassWrite, Tables: []string{"public.stock"}, Capture: journal.CaptureExact,
			RowsAffected: 1, Start: noon, Changes: []journal.Change{{Op: journal.OpInsert, After: row}}},
		journal.Statement{Query: "DELETE FROM stock", Command: "DELETE", Class: journal.ClassWrite, Tables: []string{"public.stock"}, Capture: journal.CaptureExact, RowsAffected: 1,
			Start: noon, RolledBack: true, Changes: []journal.Change{{Op: journal.OpDelete, Before: row}}},
		journal.Statement{Query: "UPDATE " + UndoMark + "a/3 */ stock SET note = NULL", Command: "UPDATE", Class: journal.ClassWrite, Tables: []string{"public.stock"},
			Capture: journal.CaptureExact, RowsAffected: 1, Start: noon, Changes: []journal.Change{{Op: journal.OpDelete, Before: row, Cascade: true}}})
	failed := txRecord(nodeA, 0)
	failed.Tx.Relations = []journal.Relation{rel}
	failed.Tx.User, failed.Tx.Application = "=cmd|' /C calc'!A0", "evil\n2026-01-31 LOG:  AUDIT: SESSION,1,1,ROLE,GRANT"
	failed.Tx.Statements = []journal.Statement{
		{Query: "SELECT 'x\r\n2026-01-31 12:00:00.000 UTC [1] root@shop LOG:  AUDIT: SESSION,9,9,READ,\"SELECT\"\u2028\x1b[2J'", Command: "SELECT", Class: journal.ClassRead,
			Start: noon, RowsAffected: -1, SQLState: "42501", Message: "permission denied,\n\"now\""},
		{Query: "DROP TABLE stock", Command: "DROP TABLE", Class: journal.ClassDDL, Objects: []journal.Object{{Type: "table", Name: "public.stock"}}, Start: noon, RowsAffected: -1,
			NotExecuted: true},
	}
	refused := &journal.Event{Node: nodeA, Incarnation: 2, Time: hlc.Time(noon.UnixMilli() << 16), Kind: journal.EventRefused,
		Who: journal.Who{User: "root", Client: "10.0.0.9:77"}, Refusal: &journal.Refusal{SQLState: "28P01", Message: "password authentication failed", By: "database"}}
	begun := &journal.Event{Node: nodeA, Incarnation: 2, Time: hlc.Time(noon.UnixMilli() << 16), Kind: journal.EventSessionStart,
		Who: journal.Who{User: "alice", Database: "shop", Client: "local", Session: 7, Auth: "trust"}, SessionStart: &journal.SessionStart{}}
	truncated := txRecord(nodeB, 4)
	truncated.Tx.Relations, truncated.Tx.Statements = nil, []journal.Statement{{Query: "TRUNCATE stock", Command: "TRUNCATE TABLE", Class: journal.ClassWrite, Tables: []string{"public.stock"},
		Capture: journal.CaptureStatement, RowsAffected: -1, Start: noon.Add(time.Second), Replay: &journal.Replay{Text: "TRUNCATE stock", Tables: []string{"public.stock"}}}}
	return []Transaction{show(first, journal.OutcomeCommitted, 4), show(failed, journal.OutcomeAborted, 5), show(truncated, journal.OutcomeCommitted, 6),
		NewTransaction(journal.Item{Position: 7, Event: begun}, names), NewTransaction(journal.Item{Position: 8, Event: refused}, names)}
}

func export(t *testing.T, format string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewExport(&b, format)
	if err != nil {
		t.Fatal(err)
	}
	for _, tx := range exported() {
		if err := w.Write(&tx); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.End(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestExportsAreStable(t *testing.T) {
	for _, format := range ExportFormats() {
		t.Run(format, func(t *testing.T) {
			got := export(t, format)
			path := filepath.Join("testdata", "export."+format)
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("the format changed (go test ./audit -update writes it anew):\n got %s\nwant %s", got, want)
			}
		})
	}
}

// TestBadCaseInjection is bad case 20: no text of a client can begin a line of any export, or become a formula.
func TestBadCaseInjection(t *testing.T) {
	for _, format := range []string{"jsonl", "debezium", "cloudevents", "ocsf"} {
		for l := range bytes.Lines(export(t, format)) {
			if !json.Valid(l) {
				t.Errorf("%s: a line is no JSON: %s", format, l)
			}
		}
	}
	for l := range strings.Lines(string(export(t, "pgaudit"))) {
		if !strings.HasPrefix(l, "\t") && !strings.Contains(l, " LOG:  AUDIT: SESSION,") || strings.HasPrefix(l, "2026-01-31 12:00:00.000 UTC [1]") {
			t.Errorf("a client began the line %q", l)
		}
	}
	for _, format := range []string{"csv", "logged_actions"} {
		rows, err := csv.NewReader(bytes.NewReader(export(t, format))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if len(r) != len(rows[0]) {
				t.Errorf("%s: a row has %d cells", format, len(r))
			}
			for _, c := range r {
				if c != "" && strings.ContainsRune("=+@\t|%", rune(c[0])) {
					t.Errorf("%s: a cell is a formula: %q", format, c)
				}
			}
		}
	}
}

// TestBadCaseNullEmptyText is bad case 2: NULL, the empty text and the text 'NULL' stay three things in every export.
func TestBadCaseNullEmptyText(t *testing.T) {
	for format, want := range map[string][]string{
		"jsonl":          {`"params":["",null,"NULL",{"redacted":true},{"binary":"00ff"}]`, `"note":null`, `"note":""`, `{"unchanged":true}`, `"before":null`},
		"debezium":       {`"params":["",null,"NULL",{"redacted":true},{"binary":"00ff"}]`, `"note":null`, `"note":""`, `{"unchanged":true}`, `{"before":null,"after":{"item":"pear"`},
		"cloudevents":    {`"params":["",null,"NULL",{"redacted":true},{"binary":"00ff"}]`},
		"ocsf":           {`"params":["",null,"NULL",{"redacted":true},{"binary":"00ff"}]`},
		"csv":            {`["""",null,""NULL"",{""redacted"":true},{""binary"":""00ff""}]`},
		"logged_actions": {`["""",null,""NULL"",{""redacted"":true},{""binary"":""00ff""}]`, `""note"":null`, `""note"":""""`},
		"pgaudit":        {`"""""` + `,,NULL,<redacted>,<\x00ff>"`},
	} {
		out := string(export(t, format))
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s lacks %s in\n%s", format, w, out)
			}
		}
	}
}

// TestDebeziumHasOnlyWhatHappened: what failed or was rolled back is no change of data.
func TestDebeziumHasOnlyWhatHappened(t *testing.T) {
	out := string(export(t, "debezium"))
	if n := strings.Count(out, "\n"); n != 4 || strings.Contains(out, "DELETE FROM stock") || !strings.Contains(out, `"op":"t"`) {
		t.Errorf("%d lines:\n%s", n, out)
	}
}
