package audit

import (
	"fmt"
	"slices"

	"pgproxy/journal"
)

// Veil takes masked columns' values out of what is shown. nil shows everything.
type Veil struct {
	policy *Policy
	key    []byte
}

// NewVeil makes the veil of a policy; nil if it masks nothing. key is the journal's own, for Hashed; without it such values are
// redacted.
func NewVeil(p *Policy, key []byte) *Veil {
	if any, _ := p.HasMasks(); !any {
		return nil
	}
	return &Veil{p, key}
}

// VeilOf makes the veil of the policy that the journal's node was started with last: the journal knows it.
func VeilOf(r journal.Reader, key []byte) (*Veil, error) {
	for it, err := range r.Scan(journal.Filter{OnlyEvents: true, Events: []journal.EventKind{journal.EventNodeStart}, Limit: 1}) {
		if err != nil {
			return nil, fmt.Errorf("look for the audit policy: %w", err)
		}
		p, err := ParsePolicy(it.Event.NodeState.Policy)
		if err != nil {
			return nil, err
		}
		return NewVeil(p, key), nil
	}
	return nil, nil
}

// Show gives an item of an answer as it may be shown. Statements of an undo are shown whole: without the values they are none.
func (v *Veil) Show(item any) any {
	if v == nil {
		return item
	}
	switch x := item.(type) {
	case Transaction:
		x.Statements = slices.Clone(x.Statements)
		for i := range x.Statements {
			x.Statements[i].Rows = v.rows(x.Database, x.Statements[i].Rows)
		}
		return x
	case Version:
		t := v.table(x.Database, x.Schema, x.Table)
		x.Key, x.Row, x.Base, x.Changes = *t.columns(&x.Key), t.columns(x.Row), t.columns(x.Base), t.changes(x.Changes)
		return x
	case Blame:
		t := v.table(x.of.database, x.of.relation.Schema, x.of.relation.Name)
		x.Key = *t.columns(&x.Key)
		if c := t.changes([]ColumnChange{x.ColumnChange}); len(c) == 1 {
			x.ColumnChange = c[0]
		} else {
			x.Old, x.New = Maybe{}, Maybe{}
		}
		return x
	case Difference:
		t := v.table(x.Database, x.Schema, x.Table)
		x.Key, x.Before, x.After, x.Changes = *t.columns(&x.Key), t.columns(x.Before), t.columns(x.After), t.changes(x.Changes)
		return x
	case Conflict:
		if v.policy.Masks(x.Database, []string{x.Schema + "." + x.Table}) {
			x.LoserSQL = ""
		}
		x.Winner.Rows, x.Loser.Rows = v.rows(x.Database, x.Winner.Rows), v.rows(x.Database, x.Loser.Rows)
		return x
	}
	return item
}

func (v *Veil) rows(database string, rows []Row) []Row {
	rows = slices.Clone(rows)
	for i := range rows {
		r := &rows[i]
		t := v.table(database, r.Schema, r.Table)
		r.Key, r.Before, r.After = *t.columns(&r.Key), t.columns(r.Before), t.columns(r.After)
	}
	return rows
}

func (v *Veil) table(database, schema, table string) veiledTable {
	return veiledTable{v, database, schema, table}
}

// veiledTable is the veil over one table.
type veiledTable struct {
	v                       *Veil
	database, schema, table string
}

func (t veiledTable) columns(c *Columns) *Columns {
	if c == nil {
		return nil
	}
	out := make(Columns, 0, len(*c))
	for _, col := range *c {
		if value, ok := t.value(col.Name, col.Value); ok {
			out = append(out, Column{col.Name, value})
		}
	}
	return &out
}

func (t veiledTable) changes(list []ColumnChange) []ColumnChange {
	out := make([]ColumnChange, 0, len(list))
	for _, c := range list {
		_, shown := t.value(c.Column, c.Old.Value)
		if !shown {
			continue
		}
		c.Old.Value, _ = t.value(c.Column, c.Old.Value)
		c.New.Value, _ = t.value(c.Column, c.New.Value)
		out = append(out, c)
	}
	return out
}

// value gives a column's value as it may be shown; false if the column is not shown at all.
func (t veiledTable) value(column string, value Value) (Value, bool) {
	how := t.v.policy.Column(t.database, t.schema, t.table, column)
	if how == Clear {
		return value, true
	}
	return Value(veil([]journal.Value{journal.Value(value)}, []Treatment{how}, t.v.key)[0]), how != Omitted
}
