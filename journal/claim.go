package journal

import (
	"slices"
	"strings"
)

// Beside rows, the row index knows the values of unique keys that a transaction's rows take or let go of, the rows that they
// refer to or did, and the rows and values that are let go of: each under a key that these three make of the value's own.

// Claimed gives the index's key of the transactions whose rows hold, or held before, the value k of a unique key.
func (k RowKey) Claimed() RowKey { return "\x00\x00c" + k }

// Referenced gives the index's key of the transactions that changed a reference to k, a row or a value of a unique key.
func (k RowKey) Referenced() RowKey { return "\x00\x00r" + k }

// Released gives the index's key of the transactions that deleted the row k, or took the value k of a unique key from its row.
func (k RowKey) Released() RowKey { return "\x00\x00d" + k }

// Plain reports whether the value of a unique key is told by its columns alone: it has neither expression nor predicate,
// and is no exclusion constraint.
func (u *Unique) Plain() bool {
	return len(u.Columns) > 0 && !strings.Contains(u.Definition, " WHERE ") && (u.Definition == "" || strings.Contains(u.Definition, "UNIQUE INDEX"))
}

// UniqueKey gives the value that a row holds under a unique key of plain columns, in the form of a RowKey; false where a
// column is NULL or not known: such a row holds none. For the columns of the row's own key it is the RowKey.
func (tx *Tx) UniqueKey(rel *Relation, columns []int, row []Value) (RowKey, bool) {
	parts := make([]keyPart, 0, len(columns))
	for _, c := range columns {
		if c >= len(row) || row[c].Kind != ValueText && row[c].Kind != ValueBinary {
			return "", false
		}
		parts = append(parts, keyPart{rel.Columns[c].Name, keyValue(rel.Columns[c].Type, row[c])})
	}
	return tx.partsKey(rel.Schema, rel.Name, parts), true
}

// ReferenceKey gives the value that a row's foreign key refers to, as UniqueKey gives it for the row that is referred to;
// false where it refers to none.
func (tx *Tx) ReferenceKey(rel *Relation, ref *Reference, row []Value) (RowKey, bool) {
	parts := make([]keyPart, 0, len(ref.Columns))
	for i, c := range ref.Columns {
		if c >= len(row) || i >= len(ref.Foreign) || row[c].Kind != ValueText && row[c].Kind != ValueBinary {
			return "", false
		}
		parts = append(parts, keyPart{ref.Foreign[i], keyValue(rel.Columns[c].Type, row[c])})
	}
	return tx.partsKey(ref.Schema, ref.Table, parts), len(parts) > 0
}

type keyPart struct {
	name  string
	value Value
}

// partsKey writes what RowKey writes for a table with key.
func (tx *Tx) partsKey(schema, table string, parts []keyPart) RowKey {
	e := encoder{make([]byte, 0, 64)}
	e.string(tx.Database)
	e.string(schema)
	e.string(table)
	e.byte('k')
	slices.SortFunc(parts, func(a, b keyPart) int { return strings.Compare(a.name, b.name) })
	for i := range parts {
		e.string(parts[i].name)
		e.value(&parts[i].value)
	}
	return RowKey(e.b)
}

// Closed adds to a set of columns all those that stand in one unique or foreign key with one of them, and with those.
func (r *Relation) Closed(set []int) []int {
	out := slices.Clone(set)
	add := func(columns []int) {
		if slices.ContainsFunc(columns, func(c int) bool { return slices.Contains(out, c) }) {
			for _, c := range columns {
				if !slices.Contains(out, c) {
					out = append(out, c)
				}
			}
		}
	}
	for n := -1; n != len(out); {
		n = len(out)
		for i := range r.Uniques {
			add(r.Uniques[i].Columns)
		}
		for i := range r.References {
			add(r.References[i].Columns)
		}
	}
	slices.Sort(out)
	return out
}

// ClaimKeys lists, in order and each once, what the row index knows a transaction by, beside its rows.
func (tx *Tx) ClaimKeys() []RowKey {
	seen := map[RowKey]bool{}
	for i := range tx.Statements {
		st := &tx.Statements[i]
		if st.RolledBack || st.SQLState != "" {
			continue
		}
		for k := range st.Changes {
			c := &st.Changes[k]
			tx.claims(&tx.Relations[c.Relation], c, seen)
		}
	}
	keys := make([]RowKey, 0, len(seen))
	for k := range seen {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (tx *Tx) claims(rel *Relation, c *Change, seen map[RowKey]bool) {
	after := c.After
	if c.Before != nil && after != nil {
		after = slices.Clone(after)
		for i := range after {
			if after[i].Kind == ValueUnchanged {
				after[i] = c.Before[i]
			}
		}
	}
	note := func(mark func(RowKey) RowKey, key func([]Value) (RowKey, bool), set []int, columns []int) {
		old, had := key(c.Before)
		now, has := key(after)
		if c.Op == OpUpdate && (had == has && old == now) && !slices.ContainsFunc(columns, func(i int) bool { return slices.Contains(set, i) }) {
			return
		}
		if had && mark != nil {
			seen[mark(old)] = true
		}
		if has && mark != nil {
			seen[mark(now)] = true
		}
		if had && (!has || old != now) {
			seen[old.Released()] = true
		}
	}
	set := rel.Closed(c.Set)
	if len(rel.Key) > 0 {
		note(nil, func(row []Value) (RowKey, bool) { return tx.UniqueKey(rel, rel.Key, row) }, nil, rel.Key)
	}
	moved := len(rel.Key) > 0 && c.Before != nil && after != nil && tx.RowKey(rel, c.Before) != tx.RowKey(rel, after)
	for i := range rel.Uniques {
		u := &rel.Uniques[i]
		if columns := u.Columns; u.Plain() {
			if moved {
				set = columns
			}
			note(RowKey.Claimed, func(row []Value) (RowKey, bool) { return tx.UniqueKey(rel, columns, row) }, set, columns)
		}
	}
	for i := range rel.References {
		ref := &rel.References[i]
		old, had := tx.ReferenceKey(rel, ref, c.Before)
		now, has := tx.ReferenceKey(rel, ref, after)
		if c.Op == OpUpdate && !moved && had == has && old == now && !slices.ContainsFunc(ref.Columns, func(i int) bool { return slices.Contains(set, i) }) {
			continue
		}
		if had {
			seen[old.Referenced()] = true
		}
		if has {
			seen[now.Referenced()] = true
		}
	}
}
