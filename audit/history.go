package audit

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"pgproxy/journal"
)

// Fold makes a row out of its changes, as the nodes' databases do.
type Fold interface {
	// Play adds what a record does to the row, and gives the row after it by column, nil if it is not there, with what was
	// decided on the way. Records come in the global order. Play says false if the record does nothing to the row.
	Play(rec *journal.Record) (row map[string]journal.Value, decided []Decided, touches bool, err error)
	// Base is the row before the first record that was played.
	Base() map[string]journal.Value
}

// NewFold begins the fold of a row, which is known by any of keys, of a table of a database.
type NewFold func(database string, rel *journal.Relation, keys []journal.RowKey) Fold

// Decided says that of two changes, made unaware of each other, one gave way.
type Decided struct {
	Kind    string     // "update/update": the loser's operation, then the winner's
	Winner  journal.ID // zero where a rule alone decided
	Loser   journal.ID
	Columns []string // what the loser lost; all of it where empty
	Rule    string
}

// Version is what one transaction made of a row.
type Version struct {
	Author
	Database string         `json:"database"`
	Schema   string         `json:"schema"`
	Table    string         `json:"table"`
	Key      Columns        `json:"key"`
	Op       string         `json:"op"` // insert, update, delete, none: it had no effect
	Changes  []ColumnChange `json:"changes"`
	Row      *Columns       `json:"row"` // as it is after it; null: it is not there
	Verdicts []Verdict      `json:"verdicts,omitempty"`
	Queries  []string       `json:"queries"`
	Base     *Columns       `json:"base,omitempty"` // of the first version: the row before it, where there was one
	at       journal.ID     // for those who go on from here
}

// Author says who made a change, when, where and by which transaction.
type Author struct {
	Record      string    `json:"record"` // ORIGIN/SEQ
	Node        string    `json:"node"`
	Time        time.Time `json:"time"`
	HLC         string    `json:"hlc"`
	User        string    `json:"user"`
	Application string    `json:"application,omitempty"`
	Client      string    `json:"client,omitempty"`
	UndoOf      []string  `json:"undo_of,omitempty"`
}

// Verdict is a Decided with the names that people use.
type Verdict struct {
	Kind    string   `json:"kind"`
	Winner  string   `json:"winner,omitempty"`
	Loser   string   `json:"loser"`
	Columns []string `json:"columns,omitempty"`
	Rule    string   `json:"rule"`
}

// historian reads the histories of rows.
type historian struct {
	r      Reader
	fold   NewFold
	names  map[journal.NodeID]string
	ends   map[string][]journal.Ref // of a database's table: who truncated it
	latest map[journal.ID]journal.Item
}

// keptItems is how many records a historian keeps: the rows of one transaction are asked for one after the other.
const keptItems = 16

func newHistorian(r Reader, fold NewFold) *historian {
	return &historian{r: r, fold: fold, names: r.Names(), ends: map[string][]journal.Ref{}, latest: map[journal.ID]journal.Item{}}
}

// step is a record's effect on a row.
type step struct {
	item          journal.Item
	before, after map[string]journal.Value // nil: not there
	decided       []Decided
	first         bool
}

// steps plays a row's history in the global order. Transactions that did not commit, and those of which it is not known yet, are
// not part of it.
func (h *historian) steps(row rowOf) iter.Seq2[step, error] {
	return func(yield func(step, error) bool) {
		refs, err := h.refs(row)
		if err != nil {
			yield(step{}, err)
			return
		}
		f := h.fold(row.database, row.relation, row.keys)
		var before map[string]journal.Value
		first := true
		for _, ref := range refs {
			item, err := h.get(ref.ID)
			if err != nil {
				yield(step{}, fmt.Errorf("read record %s: %w", ref.ID, err))
				return
			}
			after, decided, touches, err := f.Play(item.Record)
			if err != nil {
				yield(step{}, err)
				return
			}
			if !touches {
				continue
			}
			if first {
				before = f.Base()
			}
			if !yield(step{item, before, after, decided, first}, nil) {
				return
			}
			before, first = after, false
		}
	}
}

// refs lists the committed records that touch a row, the table's truncations among them, in the global order.
func (h *historian) refs(row rowOf) ([]journal.Ref, error) {
	var refs []journal.Ref
	for _, k := range row.keys {
		more, err := h.r.Row(k)
		if err != nil {
			return nil, err
		}
		refs = append(refs, more...)
	}
	ends, err := h.truncations(row.database, row.relation.Schema+"."+row.relation.Name)
	if err != nil {
		return nil, err
	}
	refs = append(refs, ends...)
	slices.SortFunc(refs, func(a, b journal.Ref) int { return journal.Order(a.HLC, a.ID, b.HLC, b.ID) })
	refs = slices.CompactFunc(refs, func(a, b journal.Ref) bool { return a.ID == b.ID })
	return slices.DeleteFunc(refs, func(r journal.Ref) bool { return r.Outcome != journal.OutcomeCommitted }), nil
}

func (h *historian) truncations(database, table string) ([]journal.Ref, error) {
	name := database + "\x00" + table
	if refs, ok := h.ends[name]; ok {
		return refs, nil
	}
	committed := journal.OutcomeCommitted
	refs := []journal.Ref{}
	for _, command := range []string{"TRUNCATE", "TRUNCATE TABLE"} {
		for it, err := range h.r.Scan(journal.Filter{Database: database, Table: table, Command: command, Outcome: &committed}) {
			if err != nil {
				return nil, err
			}
			if it.Record.Seq > 0 {
				refs = append(refs, journal.Ref{ID: it.Record.ID, HLC: it.Record.HLC, Outcome: it.Outcome})
			}
		}
	}
	h.ends[name] = refs
	return refs, nil
}

func (h *historian) get(id journal.ID) (journal.Item, error) {
	if it, ok := h.latest[id]; ok {
		return it, nil
	}
	it, err := h.r.Get(id)
	if err != nil {
		return it, err
	}
	if len(h.latest) >= keptItems {
		clear(h.latest)
	}
	h.latest[id] = it
	return it, nil
}

// version tells a step to people.
func (h *historian) version(row rowOf, s step) Version {
	rel := relationOf(s.item.Record.Tx, row.relation)
	v := Version{Author: h.author(s.item), Database: row.database, Schema: rel.Schema, Table: rel.Name, Op: "none", Changes: cells(rel, s.before, s.after),
		Row: columnsOf(rel, s.after), Queries: []string{}, at: s.item.Record.ID}
	state := s.after
	if state == nil {
		state = s.before
	}
	for _, k := range rel.Key {
		if value, ok := state[rel.Columns[k].Name]; ok {
			v.Key = append(v.Key, Column{rel.Columns[k].Name, Value(value)})
		}
	}
	switch {
	case s.before == nil && s.after != nil:
		v.Op = "insert"
	case s.before != nil && s.after == nil:
		v.Op = "delete"
	case len(v.Changes) > 0:
		v.Op = "update"
	}
	if s.first {
		v.Base = columnsOf(rel, s.before)
	}
	for _, d := range s.decided {
		w := Verdict{Kind: d.Kind, Loser: h.id(d.Loser), Columns: d.Columns, Rule: d.Rule}
		if d.Winner != (journal.ID{}) {
			w.Winner = h.id(d.Winner)
		}
		v.Verdicts = append(v.Verdicts, w)
	}
	for i := range s.item.Record.Tx.Statements {
		if st := &s.item.Record.Tx.Statements[i]; touchesRow(s.item.Record.Tx, st, row) {
			out := newStatement(s.item.Record.Tx, &journal.Statement{Query: st.Query, Params: st.Params, Command: st.Command, RowsAffected: st.RowsAffected})
			v.Queries = append(v.Queries, out.Summary())
		}
	}
	return v
}

func (h *historian) id(id journal.ID) string {
	return fmt.Sprintf("%s/%d", name(h.names, id.Origin), id.Seq)
}

func (h *historian) author(it journal.Item) Author {
	t := NewTransaction(it, h.names)
	return Author{Record: t.ID(), Node: t.Origin, Time: t.Time, HLC: t.HLC, User: t.User, Application: t.Application, Client: t.Client, UndoOf: t.UndoOf}
}

// touchesRow reports whether a statement changes the row, or truncates its table.
func touchesRow(tx *journal.Tx, st *journal.Statement, row rowOf) bool {
	if st.RolledBack || st.SQLState != "" {
		return false
	}
	for i := range st.Changes {
		c := &st.Changes[i]
		rel := &tx.Relations[c.Relation]
		if c.Before != nil && slices.Contains(row.keys, tx.RowKey(rel, c.Before)) || c.After != nil && slices.Contains(row.keys, tx.RowKey(rel, c.After)) {
			return true
		}
	}
	for _, k := range row.keys {
		found := false
		err := tx.EachOf(st, k, func(_ int64, c *journal.Change) error {
			rel := &tx.Relations[c.Relation]
			found = found || c.Before != nil && tx.RowKey(rel, c.Before) == k || c.After != nil && tx.RowKey(rel, c.After) == k
			return nil
		})
		if found || err != nil { // where it cannot be told, the statement's text is shown rather than left out
			return true
		}
	}
	return st.Replay != nil && slices.Contains(st.Replay.Tables, row.relation.Schema+"."+row.relation.Name)
}

func answerHistory(ctx context.Context, r Reader, q Question, aid Aid, give func(any) error) error {
	row, err := q.findRow(r)
	if err != nil {
		return err
	}
	h := newHistorian(r, aid.Fold)
	var last *Version
	n := 0
	for s, err := range h.steps(row) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if q.Until != nil && s.item.Record.HLC.Wall().After(*q.Until) {
			break
		}
		v := h.version(row, s)
		last = &v
		if q.asOf() || !q.wants(&v) || q.Since != nil && s.item.Record.HLC.Wall().Before(*q.Since) {
			continue
		}
		if err := give(v); err != nil {
			return err
		}
		if n++; n == q.Limit {
			return nil
		}
	}
	if q.asOf() && last != nil {
		return give(*last)
	}
	return nil
}

// asOf reports whether one state is asked for: that at Until.
func (q *Question) asOf() bool { return q.Verb == VerbHistory && q.Mode == ModeAsOf }

// ModeAsOf is the Mode of a history that asks for the last version not after Until alone.
const ModeAsOf = "as-of"

// wants reports whether the version has what the question asks for.
func (q *Question) wants(v *Version) bool {
	if q.Column == "" {
		return true
	}
	return slices.ContainsFunc(v.Changes, func(c ColumnChange) bool { return c.Column == q.Column })
}
