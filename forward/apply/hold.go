package apply

import (
	"errors"
	"slices"
	"strings"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// hold locks the rows that a change begins to refer to, as the database does itself where foreign keys act: a transaction of
// a client that deletes one waits, and then sees who refers to it. held has what the flight locks already.
func (d *database) hold(f *flight, t conflict.Touch, held map[string]bool) error {
	c := t.Change
	if !d.replica || c.Op == journal.OpDelete || c.After == nil {
		return nil
	}
	for i := range c.Relation.References {
		ref := &c.Relation.References[i]
		if c.Op == journal.OpUpdate && !slices.ContainsFunc(ref.Columns, func(i int) bool { return slices.Contains(c.Set, i) }) {
			continue
		}
		tab, err := d.table(&journal.Relation{Schema: ref.Schema, Name: ref.Table})
		var no *refusal
		if errors.As(err, &no) {
			continue // it is gone, and the foreign key with it
		}
		if err != nil {
			return err
		}
		w := &writer{}
		w.s("SELECT FROM ", tab.only())
		whole := len(ref.Columns) == len(ref.Foreign)
		sep, values := " WHERE ", []string{ref.Schema, ref.Table}
		for n, col := range ref.Columns {
			if !whole || col >= len(c.After) || c.After[col].Kind != journal.ValueText && c.After[col].Kind != journal.ValueBinary {
				whole = false
				break
			}
			if _, whole = tab.columns[ref.Foreign[n]]; !whole {
				break
			}
			w.s(sep, ident(ref.Foreign[n]), " = ", w.arg(c.After[col]))
			sep, values = " AND ", append(values, ref.Foreign[n], c.After[col].Data)
		}
		if name := strings.Join(values, "\x00"); whole && !held[name] {
			held[name] = true
			w.s(" FOR KEY SHARE")
			w.add(f)
		}
	}
	return nil
}
