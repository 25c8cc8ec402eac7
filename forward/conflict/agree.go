package conflict

import (
	"maps"
	"slices"

	"pgproxy/journal"
)

// Living is a row of a table.
type Living struct {
	Relation *journal.Relation
	Row      Row
}

// Outcome is what a set of transactions comes to.
type Outcome struct {
	Rows     map[journal.RowKey]Living
	Verdicts map[journal.ID]*Verdict // of every transaction, in whatever order it came
}

// Agree is the plain version of the rules beyond one row, and the oracle: the tables and the losers as a function of a base
// and a set of transactions in which everything is that the author of one of them knew. It compares each with each, and
// looks for each at everything that its author knew. Tables without key are left out.
func Agree(base map[journal.RowKey]Living, cases []*Case, r *Rules) (Outcome, error) {
	sorted := slices.SortedFunc(slices.Values(cases), orderCases)
	out := Outcome{Verdicts: map[journal.ID]*Verdict{}}
	for _, c := range sorted {
		out.Verdicts[c.ID] = &Verdict{}
	}
	for i, a := range sorted {
		for _, b := range sorted[i+1:] {
			if unaware(a, b) {
				clash(a, b, out.Verdicts[a.ID], out.Verdicts[b.ID], r)
			}
		}
	}
	for i, c := range sorted {
		knew := slices.DeleteFunc(slices.Clone(sorted[:i]), func(o *Case) bool { return !c.knows(o.ID) })
		rows, err := tables(base, knew, out.Verdicts, r)
		if err != nil {
			return out, err
		}
		w := plainView{rows: rows, c: c, r: r}
		if err := (&recheck{c: c, v: out.Verdicts[c.ID], w: &w, r: r}).judge(); err != nil {
			return out, err
		}
	}
	rows, err := tables(base, sorted, out.Verdicts, r)
	out.Rows = rows
	return out, err
}

// tables folds every row.
func tables(base map[journal.RowKey]Living, cases []*Case, verdicts map[journal.ID]*Verdict, r *Rules) (map[journal.RowKey]Living, error) {
	out := maps.Clone(base)
	if out == nil {
		out = map[journal.RowKey]Living{}
	}
	changes := map[journal.RowKey][]*Change{}
	for _, c := range cases {
		for _, t := range c.Touches {
			if !t.Keyless {
				changes[t.Key] = append(changes[t.Key], verdicts[c.ID].Stands(t.Change))
			}
		}
	}
	for k, list := range changes {
		result, err := Fold(base[k].Row, list, r.Check)
		if err != nil {
			return nil, err
		}
		delete(out, k)
		if result.Living {
			out[k] = Living{list[0].Relation, result.Row}
		}
	}
	return out, nil
}

// plainView looks at all rows for everything.
type plainView struct {
	rows map[journal.RowKey]Living
	c    *Case
	r    *Rules
}

func (w *plainView) row(k journal.RowKey) (found, bool, error) {
	l, ok := w.rows[k]
	if !ok {
		return found{s: start(nil)}, true, nil
	}
	return found{l.Relation, start(l.Row)}, true, nil
}

func (w *plainView) all() []journal.RowKey {
	keys := slices.Clone(w.c.rows)
	for k := range w.rows {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func (w *plainView) holders(journal.RowKey) ([]journal.RowKey, error) { return w.all(), nil }

func (w *plainView) refer(journal.RowKey) ([]journal.RowKey, error) { return w.all(), nil }
