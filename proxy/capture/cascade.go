package capture

import (
	"fmt"
	"slices"
	"strings"

	"pgproxy/journal"
)

// maxCascade bounds how deep foreign-key actions are followed.
const maxCascade = 50

// cascade records what foreign-key actions did after rel's rows were deleted or their referenced columns changed. It
// runs after the statement: before it, others may still have added or moved children.
func (w *work) cascade(rel *relation, changes []journal.Change) error {
	return w.cascadeTo(rel, changes, 0)
}

func (w *work) cascadeTo(rel *relation, changes []journal.Change, depth int) error {
	for _, k := range rel.Referenced {
		if k.Child || !acts(k.OnDelete) && !acts(k.OnUpdate) {
			continue
		}
		cols := rel.columnsOf(k.FKeys)
		var gone [][]journal.Value
		for _, c := range changes {
			if c.Before != nil && (c.Op == journal.OpDelete && acts(k.OnDelete) || c.Op == journal.OpUpdate && acts(k.OnUpdate) && differ(c, cols)) {
				gone = append(gone, c.Before)
			}
		}
		if len(gone) == 0 {
			continue
		}
		if depth >= maxCascade {
			w.lost(rel.full(), "foreign-key actions go too deep")
			return nil
		}
		if err := w.children(rel, k, cols, gone, depth); err != nil {
			return err
		}
	}
	return nil
}

// acts reports whether a referential action writes: CASCADE, SET NULL, SET DEFAULT.
func acts(action string) bool { return action == "c" || action == "n" || action == "d" }

func differ(c journal.Change, cols []int) bool {
	return slices.ContainsFunc(cols, func(i int) bool { return c.Before[i] != c.After[i] })
}

// children finds and records the rows that referred to gone rows: still visible by the old key to our own session, or
// known as this transaction's own.
func (w *work) children(rel *relation, k constraintData, cols []int, gone [][]journal.Value, depth int) error {
	child, err := w.relationOf(k.Table)
	if err != nil {
		return err
	}
	if w.session.stays(child) != "" {
		return nil
	}
	cat, q := w.session.catalog()
	g, err := cat.grant(w.ctx, q, w.who.RoleOID, child.OID)
	if err != nil {
		return err
	}
	refs := child.columnsOf(k.Keys)
	if len(refs) != len(cols) || len(child.key) == 0 {
		return w.compare(child, nil, grewUnknown)
	}
	before, err := w.referring(rel, child, k, cols, refs, gone)
	if err != nil {
		w.lost(child.full(), "rows changed by foreign key %s are not known: %v", k.Name, err)
		return nil
	}
	if len(before) == 0 {
		return nil
	}
	if !g.Select || g.Hidden {
		w.lost(child.full(), "the role may not see the rows changed by foreign key %s", k.Name)
		return nil
	}
	now, err := w.current(child, before)
	if err != nil {
		return err
	}
	var changes []journal.Change
	for _, row := range before {
		after, there := now[child.rowKey(row)]
		switch {
		case !there:
			changes = append(changes, journal.Change{Op: journal.OpDelete, Before: row, Cascade: true})
		case allKey(after) != allKey(row):
			c := updateOf(child, row, after, nil)
			c.Cascade = true
			changes = append(changes, c)
		}
	}
	if slices.ContainsFunc(refs, func(i int) bool { return slices.Contains(child.key, i) }) && k.OnUpdate == "c" {
		if changes, err = w.movedChildren(child, changes); err != nil {
			return err
		}
	}
	if err := w.record(child, changes); err != nil {
		return err
	}
	loud, err := w.session.loud(w.ctx, child, triggerUpdate|triggerDelete)
	if err != nil {
		return err
	}
	w.loud = w.loud.join(loud)
	return w.cascadeTo(child, changes, depth+1)
}

// movedChildren is for children whose own key holds the reference: ON UPDATE CASCADE moves them, which looks like deletes;
// where they went is among the rows of this transaction.
func (w *work) movedChildren(child *relation, changes []journal.Change) ([]journal.Change, error) {
	leaves, why, err := w.leaves(child)
	if err != nil {
		return nil, err
	}
	if why != "" {
		w.lost(child.full(), "%s", why)
		return changes, nil
	}
	added, err := w.added(child, leaves)
	if err != nil {
		return nil, err
	}
	state, err := w.tx.table(child)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, c := range changes {
		if c.After != nil {
			known[child.rowKey(c.After)] = true
		}
	}
	for _, row := range added {
		k := child.rowKey(row)
		if own, ok := state.rows[k]; (!ok || own.current == nil) && !known[k] {
			changes = append(changes, journal.Change{Op: journal.OpInsert, After: row, Cascade: true})
		}
	}
	return changes, nil
}

// referring reads the rows of child that referred to one of gone before the statement.
func (w *work) referring(rel, child *relation, k constraintData, cols, refs []int, gone [][]journal.Value) ([][]journal.Value, error) {
	var arrays, names, where []string
	args := make([][]byte, len(cols))
	for i, c := range cols {
		arrays = append(arrays, fmt.Sprintf("pg_catalog.unnest($%d::pg_catalog.text::%s[])", i+1, rel.Columns[c].CastName))
		names = append(names, fmt.Sprintf("k%d", i))
		where = append(where, fmt.Sprintf("u.k%d %s o.%s", i, rel.equality(c), quote(child.Columns[refs[i]].Name)))
		args[i] = arrayLiteral(gone, c)
	}
	sh := shapeOf(child, "UTF8")
	state, err := w.tx.table(child)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, row := range gone {
		wanted[partKey(row, cols)] = true
	}
	seen := map[string]bool{}
	var before [][]journal.Value
	if !state.truncated && !w.unborn(child) {
		rows, err := w.session.db.pool.Query(w.ctx, fmt.Sprintf("SELECT DISTINCT ON (o.ctid, o.tableoid) %s FROM ROWS FROM (%s) u(%s) JOIN %s o ON %s", sh.columns("o"),
			strings.Join(arrays, ", "), strings.Join(names, ", "), child.rows(), strings.Join(where, " AND ")), args...)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			row, err := sh.decode(r[0], nil)
			if err != nil {
				return nil, err
			}
			key := child.rowKey(row)
			if _, own := state.rows[key]; !own && !seen[key] {
				seen[key] = true
				before = append(before, row)
			}
		}
	}
	for _, r := range state.rows {
		if r.current != nil && wanted[partKey(r.current, refs)] {
			before = append(before, r.current)
		}
	}
	return before, nil
}

func partKey(row []journal.Value, cols []int) string {
	var b []byte
	for _, c := range cols {
		b = appendKey(b, row[c])
	}
	return string(b)
}

// equality is the operator by which a unique index compares the column.
func (r *relation) equality(column int) string {
	for _, x := range r.Indexes {
		for i, n := range x.Keys {
			if at, ok := r.numbers[n]; ok && at == column && i < len(x.Ops) {
				return x.Ops[i]
			}
		}
	}
	return "OPERATOR(pg_catalog.=)"
}
