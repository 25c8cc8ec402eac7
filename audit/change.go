package audit

import (
	"slices"

	"pgproxy/journal"
)

// ColumnChange is a column's value before and after; one of them is missing where there was no row, or where it is not known.
type ColumnChange struct {
	Column string `json:"column"`
	Old    Maybe  `json:"old,omitzero"`
	New    Maybe  `json:"new,omitzero"`
}

// Maybe is a value that may not be there at all, which is another thing than NULL.
type Maybe struct {
	There bool
	Value Value
}

// IsZero lets a value that is not there be left out of JSON.
func (m Maybe) IsZero() bool { return !m.There }

// MarshalJSON implements json.Marshaler.
func (m Maybe) MarshalJSON() ([]byte, error) { return m.Value.MarshalJSON() }

// UnmarshalJSON implements json.Unmarshaler: whatever is written is there.
func (m *Maybe) UnmarshalJSON(b []byte) error {
	m.There = true
	return m.Value.UnmarshalJSON(b)
}

// String shows the value to people.
func (m Maybe) String() string {
	if !m.There {
		return "(none)"
	}
	return m.Value.String()
}

// relationOf gives the table as the transaction saw it, else as it was asked for.
func relationOf(tx *journal.Tx, rel *journal.Relation) *journal.Relation {
	for i := range tx.Relations {
		if r := &tx.Relations[i]; r.Schema == rel.Schema && r.Name == rel.Name {
			return r
		}
	}
	return rel
}

// columnsOf gives a row's known columns in the table's order, then those that the table does not have.
func columnsOf(rel *journal.Relation, row map[string]journal.Value) *Columns {
	if row == nil {
		return nil
	}
	out := make(Columns, 0, len(row))
	for _, name := range columnNames(rel, row, nil) {
		if v, ok := row[name]; ok {
			out = append(out, Column{name, Value(v)})
		}
	}
	return &out
}

// columnNames lists the columns of two rows in the table's order.
func columnNames(rel *journal.Relation, a, b map[string]journal.Value) []string {
	var names []string
	has := map[string]bool{}
	for _, c := range rel.Columns {
		_, inA := a[c.Name]
		_, inB := b[c.Name]
		if inA || inB {
			names = append(names, c.Name)
			has[c.Name] = true
		}
	}
	var rest []string
	for _, row := range []map[string]journal.Value{a, b} {
		for name := range row {
			if !has[name] {
				rest = append(rest, name)
				has[name] = true
			}
		}
	}
	slices.Sort(rest)
	return append(names, rest...)
}

// cells lists what differs between two states of a row.
func cells(rel *journal.Relation, before, after map[string]journal.Value) []ColumnChange {
	out := []ColumnChange{}
	for _, name := range columnNames(rel, before, after) {
		old, had := before[name]
		now, has := after[name]
		if had && has && old == now {
			continue
		}
		c := ColumnChange{Column: name}
		if had {
			c.Old = Maybe{true, Value(old)}
		}
		if has {
			c.New = Maybe{true, Value(now)}
		}
		out = append(out, c)
	}
	return out
}
