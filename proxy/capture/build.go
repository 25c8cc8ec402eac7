package capture

import (
	"slices"

	"pgproxy/journal"
	"pgproxy/parser"
)

// build turns row images of the plan's target into changes, and follows them into foreign keys.
func (w *work) build(rel *relation, images []rowImage) error {
	home, err := w.relationOf(rel.OID)
	if err != nil {
		return err
	}
	for i := range images {
		im := &images[i]
		if rel.Kind == "r" && im.table != 0 && im.table != rel.OID {
			w.lost(rel.full(), "the statement wrote to another table of that name")
			return nil
		}
		im.row, im.old = refit(rel, home, im.row), refit(rel, home, im.old)
	}
	var changes []journal.Change
	switch command := w.st.Targets[0].Command; {
	case command == "DELETE":
		for _, im := range images {
			changes = append(changes, journal.Change{Op: journal.OpDelete, Before: im.row})
		}
	case command == "INSERT" && !w.plan.upsert:
		for _, im := range images {
			changes = append(changes, journal.Change{Op: journal.OpInsert, After: im.row})
		}
	default:
		if changes, err = w.updates(home, images, command); err != nil {
			return err
		}
	}
	if err := w.record(home, changes); err != nil {
		return err
	}
	return w.cascade(home, changes)
}

// refit turns a row of a partition into one of its topmost parent.
func refit(from, to *relation, row []journal.Value) []journal.Value {
	if row == nil || from == to {
		return row
	}
	out := make([]journal.Value, len(to.Columns))
	for i, c := range to.Columns {
		if j := from.column(c.Name); j >= 0 {
			out[i] = row[j]
		}
	}
	return out
}

// updates is for UPDATE, INSERT .. ON CONFLICT DO UPDATE and MERGE.
func (w *work) updates(rel *relation, images []rowImage, command string) ([]journal.Change, error) {
	if command == "UPDATE" {
		for i := range images {
			images[i].updated, images[i].inserted = true, false
		}
	}
	if err := w.resolveOld(rel, images); err != nil {
		return nil, err
	}
	assigned := w.st.Assignments
	if w.plan.upsert {
		assigned = w.st.DoUpdate
	}
	var changes []journal.Change
	var moved [][]journal.Value
	for _, im := range images {
		switch {
		case im.row == nil:
			changes = append(changes, journal.Change{Op: journal.OpDelete, Before: im.old})
		case im.inserted:
			c := journal.Change{Op: journal.OpInsert, After: im.row}
			if w.plan.upsert {
				c.Upsert = columnsNamed(rel, assigned)
			}
			changes = append(changes, c)
		case im.proven && im.old == nil && len(rel.key) > 0:
			moved = append(moved, im.row)
		default:
			changes = append(changes, updateOf(rel, im.old, im.row, assigned))
		}
	}
	if len(moved) > 0 && w.streaming {
		w.lost(rel.full(), "rows moved to other keys, in a statement of too many rows to follow them")
	} else if len(moved) > 0 {
		more, err := w.moves(rel, changes, moved, assigned)
		if err != nil {
			return nil, err
		}
		changes = append(more, changes...)
	}
	return changes, nil
}

// resolveOld finds the old rows that the statement's own snapshot did not prove: first among the transaction's own
// changes, then as the last committed version.
func (w *work) resolveOld(rel *relation, images []rowImage) error {
	if len(rel.key) == 0 {
		return nil
	}
	var state *tableState
	var open []int
	var keys [][]journal.Value
	for i := range images {
		im := &images[i]
		if im.proven || im.inserted || im.row == nil {
			continue
		}
		if state == nil {
			var err error
			if state, err = w.tx.table(rel); err != nil {
				return err
			}
		}
		if own, ok := state.rows[rel.rowKey(im.row)]; ok || state.truncated {
			im.settle(own.current)
			continue
		}
		open, keys = append(open, i), append(keys, im.row)
	}
	if len(open) == 0 {
		return nil
	}
	found, err := w.committed(rel, keys)
	if err != nil {
		if rel.triggered(triggerUpdate, true) || assignsAny(w.st, rel, rel.key) {
			w.lost(rel.full(), "rows may have moved to other keys, and those before are not known: %v", err)
		} else {
			w.note("%s: rows before are not known: %v", rel.full(), err)
		}
		for _, i := range open {
			// Whether an upsert inserted is not known either: the row is what it is now.
			images[i].inserted = w.plan.upsert && !images[i].updated
			images[i].updated = !images[i].inserted
		}
		return nil
	}
	for _, i := range open {
		images[i].settle(found[rel.rowKey(images[i].row)])
	}
	return nil
}

// settle takes the version that the row had before the statement, or nil if there was none by its key.
func (im *rowImage) settle(old []journal.Value) {
	im.proven, im.old = true, old
	if !im.updated {
		im.inserted, im.updated = old == nil, old != nil
	}
}

// updateOf describes the change from old (nil: unknown) to row.
func updateOf(rel *relation, old, row []journal.Value, assigned []parser.Assignment) journal.Change {
	c := journal.Change{Op: journal.OpUpdate, Before: old, After: row}
	set := make([]bool, len(row))
	for i := range row {
		if old == nil {
			set[i] = slices.ContainsFunc(assigned, func(a parser.Assignment) bool { return a.Column == rel.Columns[i].Name })
		} else {
			set[i] = old[i] != row[i]
		}
	}
	expand(rel, set)
	for i, is := range set {
		if is && !rel.record.Columns[i].Generated {
			c.Set = append(c.Set, i)
		}
	}
	if old != nil {
		for _, a := range assigned {
			if i := rel.column(a.Column); i >= 0 && set[i] && isDelta(rel, a, old[i], row[i], i) {
				c.Delta = append(c.Delta, i)
			}
		}
		slices.Sort(c.Delta)
	}
	return c
}

// isDelta reports whether the assignment to column i adds: then it folds as after minus before, as stored.
func isDelta(rel *relation, a parser.Assignment, old, row journal.Value, i int) bool {
	if a.Intent != parser.IntentDelta && a.Intent != parser.IntentDeltaUnlessNull || !rel.single[i] {
		return false
	}
	finite := func(v journal.Value) bool {
		return v.Kind == journal.ValueText && v.Data != "NaN" && v.Data != "Infinity" && v.Data != "-Infinity"
	}
	return finite(old) && finite(row)
}

// expand adds the columns that stand in one group with a set one.
func expand(rel *relation, set []bool) {
	for again := true; again; {
		again = false
		for _, g := range rel.record.Groups {
			if !slices.ContainsFunc(g, func(i int) bool { return set[i] }) {
				continue
			}
			for _, i := range g {
				again = again || !set[i]
				set[i] = true
			}
		}
	}
}

func columnsNamed(rel *relation, assigned []parser.Assignment) []int {
	cols := []int{}
	for _, a := range assigned {
		if i := rel.column(a.Column); i >= 0 && !slices.Contains(cols, i) {
			cols = append(cols, i)
		}
	}
	slices.Sort(cols)
	return cols
}

// moves finds where rows came from whose new key nobody had before: the rows that the statement removed by key.
func (w *work) moves(rel *relation, others []journal.Change, moved [][]journal.Value, assigned []parser.Assignment) ([]journal.Change, error) {
	gone, why, err := w.vanished(rel, others, moved)
	if err != nil {
		return nil, err
	}
	if why == "" && len(gone) != len(moved) {
		why = "rows moved to other keys, and not all could be followed"
	}
	if why != "" {
		w.lost(rel.full(), "%s", why)
		return nil, nil
	}
	return pair(rel, gone, moved, assigned), nil
}

// pair joins removed and added rows to updates where it is sure which became which: there is only one of each, or the
// columns that were not assigned tell. Where it is not, they stay deletes and inserts, which is the same to the table.
func pair(rel *relation, gone, added [][]journal.Value, assigned []parser.Assignment) []journal.Change {
	fixed := func(row []journal.Value) string {
		var b []byte
		for i, v := range row {
			name := rel.Columns[i].Name
			if rel.record.Columns[i].Generated || slices.ContainsFunc(assigned, func(a parser.Assignment) bool { return a.Column == name }) {
				continue
			}
			b = appendKey(b, v)
		}
		return string(b)
	}
	sameFixed := map[string][][]journal.Value{}
	for _, row := range added {
		k := fixed(row)
		sameFixed[k] = append(sameFixed[k], row)
	}
	var deletes, rest []journal.Change
	count := map[string]int{}
	for _, row := range gone {
		count[fixed(row)]++
	}
	for _, row := range gone {
		k := fixed(row)
		switch to := sameFixed[k]; {
		case len(gone) == 1 && len(added) == 1:
			return []journal.Change{updateOf(rel, row, added[0], assigned)}
		case len(to) == 0 || len(rel.key) > 0 && (len(to) > 1 || count[k] > 1):
			deletes = append(deletes, journal.Change{Op: journal.OpDelete, Before: row})
		default: // equal rows of a table without key may be paired in any way
			sameFixed[k] = to[1:]
			rest = append(rest, updateOf(rel, row, to[0], assigned))
		}
	}
	for _, row := range added {
		k := fixed(row)
		if to := sameFixed[k]; len(to) > 0 {
			rest = append(rest, journal.Change{Op: journal.OpInsert, After: to[0]})
			sameFixed[k] = to[1:]
		}
	}
	return append(deletes, rest...)
}
