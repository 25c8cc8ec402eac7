package command

import (
	"slices"

	"pgproxy/audit"
	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// rowFold lets an auditor see a row as apply makes it: the rooms do not know each other.
type rowFold struct {
	database string
	table    string
	keys     []journal.RowKey
	history  *conflict.History
	base     conflict.Row
	begun    bool
	touches  *touchesOf
}

// touchesOf keeps the touches of the last record by row: the rows of one transaction are asked for one after the other.
type touchesOf struct {
	id    journal.ID
	byRow map[journal.RowKey][]*conflict.Change
	ends  []conflict.Ending
}

// NewFold makes the folds of one answer: they share what they read, and are for one goroutine.
func NewFold() audit.NewFold {
	shared := &touchesOf{}
	return func(database string, rel *journal.Relation, keys []journal.RowKey) audit.Fold {
		return &rowFold{database: database, table: rel.Schema + "." + rel.Name, keys: keys, history: conflict.NewHistory(), touches: shared}
	}
}

// Base implements audit.Fold.
func (f *rowFold) Base() map[string]journal.Value { return f.base }

// Play implements audit.Fold.
func (f *rowFold) Play(rec *journal.Record) (map[string]journal.Value, []audit.Decided, bool, error) {
	changes, err := f.changes(rec)
	if err != nil {
		return nil, nil, false, err
	}
	if len(changes) == 0 {
		return nil, nil, false, nil
	}
	if !f.begun {
		f.base, f.begun = conflict.Base(changes[0]), true
	}
	f.history.Add(changes...)
	r, err := f.history.Result(nil)
	if err != nil {
		return nil, nil, false, err
	}
	var decided []audit.Decided
	for _, d := range f.history.Decisions(rec.ID) {
		if d.Winner == rec.ID || d.Loser == rec.ID {
			decided = append(decided, audit.Decided{Kind: d.Kind, Winner: d.Winner, Loser: d.Loser, Columns: d.Columns, Rule: d.Rule})
		}
	}
	if !r.Living {
		return nil, decided, true, nil
	}
	return r.Row, decided, true, nil
}

// changes gives what a record does to the row, in order.
func (f *rowFold) changes(rec *journal.Record) ([]*conflict.Change, error) {
	if rec.Tx == nil || rec.Tx.Database != f.database {
		return nil, nil
	}
	if f.touches.id != rec.ID || f.touches.byRow == nil {
		f.touches.id, f.touches.byRow = rec.ID, map[journal.RowKey][]*conflict.Change{}
		f.touches.ends = conflict.Endings(rec)
		for _, t := range conflict.Touches(rec) {
			f.touches.byRow[t.Key] = append(f.touches.byRow[t.Key], t.Change)
		}
	}
	var out []*conflict.Change
	for _, k := range f.keys {
		if rec.Tx.Images == nil {
			out = append(out, f.touches.byRow[k]...)
			continue
		}
		touches, err := conflict.Of(rec, k)
		if err != nil {
			return nil, err
		}
		for _, t := range touches {
			if t.Key == k {
				out = append(out, t.Change)
			}
		}
	}
	for _, e := range f.touches.ends {
		if e.Table == f.table {
			out = append(out, e.Change)
		}
	}
	slices.SortFunc(out, conflict.Order)
	return out, nil
}
