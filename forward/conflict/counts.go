package conflict

import (
	"maps"
	"slices"

	"pgproxy/journal"
)

// Count is a change of a table without key: it takes one row that equals From, if it names one, and adds one that
// equals To, if it names one.
type Count struct {
	From, To journal.RowKey
	Change   *Change // an ending takes all rows
}

// CountOf gives a touch of a table without key as a Count.
func CountOf(t Touch) Count {
	switch t.Change.Op {
	case journal.OpInsert:
		return Count{To: t.Key, Change: t.Change}
	case journal.OpDelete:
		return Count{From: t.Key, Change: t.Change}
	}
	to := t.Other
	if to == "" {
		to = t.Key // an update that changed nothing
	}
	return Count{From: t.Key, To: to, Change: t.Change}
}

// Counts plays the changes of a table without key over how many rows of each kind there were. A change that finds no
// row to take does nothing at all.
func Counts(base map[journal.RowKey]int, changes []Count) (map[journal.RowKey]int, []Decision) {
	sorted := slices.Clone(changes)
	slices.SortFunc(sorted, func(a, b Count) int { return Order(a.Change, b.Change) })
	n, d := maps.Clone(base), &decisions{}
	if n == nil {
		n = map[journal.RowKey]int{}
	}
	for i, c := range sorted {
		if c.Change.Void {
			continue
		}
		if c.Change.Ends {
			for _, before := range sorted[:i] {
				if before.To != "" && n[before.To] > 0 && !c.Change.knows(before.Change) {
					d.add(opName(before.Change)+"/truncate", RuleTruncated, c.Change.ID, before.Change)
				}
			}
			clear(n)
			continue
		}
		if c.From != "" {
			if n[c.From] <= 0 {
				d.add(opName(c.Change)+"/missing", RuleMissing, journal.ID{}, c.Change)
				continue
			}
			n[c.From]--
		}
		if c.To != "" {
			n[c.To]++
		}
	}
	return n, d.list
}

// Net gives what the changes add to each kind of row where each finds the row that it takes.
func Net(changes []Count) map[journal.RowKey]int {
	n := map[journal.RowKey]int{}
	for _, c := range changes {
		if c.From != "" {
			n[c.From]--
		}
		if c.To != "" {
			n[c.To]++
		}
	}
	return n
}
