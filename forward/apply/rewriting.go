package apply

import (
	"errors"
	"fmt"
	"slices"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// rewriting is a row on its way to what the verdicts leave of its changes.
type rewriting struct {
	key   journal.RowKey
	touch conflict.Touch
	tab   *table
	image []journal.Value // with its key
	now   []journal.Value // by column of the touch's relation; nil: not in the table
	want  conflict.Result
}

// redo writes, where the record changes verdicts, all rows of the transactions that they are about and its own as
// the verdicts leave them. A record that is run again has written nothing yet: its own rows follow later.
func (s *single) redo() error {
	if len(s.changed) == 0 {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	rows, counts := s.affected()
	for _, r := range rows {
		if err := s.fetch(r); err != nil {
			return err
		}
	}
	if err := s.order(rows); err != nil {
		return err
	}
	for _, t := range counts {
		if s.folded[t.Key] == nil {
			if err := s.count(t); err != nil {
				return err
			}
		}
	}
	s.a.counts.Merged += int64(len(rows))
	return nil
}

// affected gives the rows to write anew, in the order of their keys, and touches of tables without key.
func (s *single) affected() (rows []*rewriting, counts []conflict.Touch) {
	seen, mine := map[journal.RowKey]bool{}, map[journal.RowKey]bool{}
	add := func(t conflict.Touch) {
		switch {
		case t.Keyless:
			counts = append(counts, t)
		case !seen[t.Key]:
			seen[t.Key] = true
			image := t.Change.Before
			if image == nil {
				image = t.Change.After
			}
			rows = append(rows, &rewriting{key: t.Key, touch: t, image: image})
		}
	}
	for _, t := range s.it.touches {
		mine[t.Key] = true
		if !s.it.replays {
			add(t)
		}
	}
	for _, id := range s.changed {
		for _, t := range s.ruling.Case(id).Touches {
			if !s.it.replays || !mine[t.Key] {
				add(t)
			}
		}
	}
	slices.SortFunc(rows, func(a, b *rewriting) int {
		if a.key < b.key {
			return -1
		}
		return 1
	})
	return rows, counts
}

// fetch locks a row, reads it and folds its changes.
func (s *single) fetch(r *rewriting) error {
	rel := r.touch.Change.Relation
	var err error
	if r.tab, err = s.d.table(rel); err != nil {
		if gone, e := s.removed(r.touch, err); gone || e != nil {
			return e
		}
		return err
	}
	w := &writer{}
	w.s("SELECT ")
	sep := ""
	for _, c := range rel.Columns {
		if _, ok := r.tab.columns[c.Name]; ok {
			w.s(sep, ident(c.Name))
		} else {
			w.s(sep, "NULL")
		}
		sep = ", "
	}
	w.s(" FROM ", r.tab.only())
	if err := r.tab.where(w, rel, r.image); err != nil {
		return err
	}
	w.s(" FOR UPDATE")
	f := &flight{}
	st := w.add(f)
	if err := s.d.s.do(f); err != nil {
		return err
	}
	if len(st.rows) > 0 {
		r.now = make([]journal.Value, len(rel.Columns))
		for i, v := range st.rows[0] {
			if r.now[i] = journal.Null(); v != nil {
				r.now[i] = journal.Text(string(v))
			}
		}
	}
	h, err := s.history(r.key, s.d.ended(rel))
	if err != nil {
		return err
	}
	if r.want, err = h.Result(s.d.checker(r.tab)); err != nil {
		return err
	}
	if slices.ContainsFunc(s.it.touches, func(t conflict.Touch) bool { return t.Key == r.key }) {
		s.tell(r.key, h.Decisions(s.rec.ID))
	}
	return nil
}

// ties are the values of unique keys that a row holds, its own key among them, and what it refers to.
type ties struct{ holds, refers map[journal.RowKey]bool }

func (s *single) ties(rel *journal.Relation, row []journal.Value) ties {
	t := ties{map[journal.RowKey]bool{}, map[journal.RowKey]bool{}}
	if row == nil {
		return t
	}
	if k, ok := s.rec.Tx.UniqueKey(rel, rel.Key, row); ok {
		t.holds[k] = true
	}
	for i := range rel.Uniques {
		if k, ok := s.rec.Tx.UniqueKey(rel, rel.Uniques[i].Columns, row); ok && rel.Uniques[i].Plain() {
			t.holds[k] = true
		}
	}
	for i := range rel.References {
		if k, ok := s.rec.Tx.ReferenceKey(rel, &rel.References[i], row); ok {
			t.refers[k] = true
		}
	}
	return t
}

// after gives the row as it is to be.
func (r *rewriting) after() []journal.Value {
	if !r.want.Living {
		return nil
	}
	out := make([]journal.Value, len(r.touch.Change.Relation.Columns))
	for i, c := range r.touch.Change.Relation.Columns {
		v, ok := r.want.Row[c.Name]
		if !ok && r.now != nil {
			v = r.now[i]
		}
		out[i] = v
	}
	return out
}

// order writes rows so that no constraint is broken on the way.
func (s *single) order(rows []*rewriting) error {
	rows = slices.DeleteFunc(rows, func(r *rewriting) bool { return r.tab == nil })
	first, waits := s.edges(rows)
	var ready []int
	for i := range rows {
		if waits[i] == 0 {
			ready = append(ready, i)
		}
	}
	done := make([]bool, len(rows))
	for n := 0; n < len(rows); n++ {
		if len(ready) == 0 { // a circle: values that are exchanged
			if err := s.open(rows, done); err != nil {
				return err
			}
			ready = append(ready, slices.Index(done, false))
		}
		i := ready[0]
		ready = ready[1:]
		done[i] = true
		if err := s.put(rows[i]); err != nil {
			return err
		}
		if len(s.f.steps) >= maxFlight {
			if err := s.flush(); err != nil {
				return err
			}
		}
		for _, j := range first[i] {
			if waits[j]--; waits[j] == 0 && !done[j] {
				ready = append(ready, j)
			}
		}
	}
	return s.flush()
}

// edges gives, for each row, those that must be written after it, and how many each waits for: who lets go of a value goes
// before who takes it, who makes what is referred to before who refers to it, who lets go of a reference before who takes
// away what it was to.
func (s *single) edges(rows []*rewriting) (first [][]int, waits []int) {
	now, want := make([]ties, len(rows)), make([]ties, len(rows))
	held, made, referred := map[journal.RowKey][]int{}, map[journal.RowKey][]int{}, map[journal.RowKey][]int{}
	for i, r := range rows {
		rel := r.touch.Change.Relation
		now[i], want[i] = s.ties(rel, r.now), s.ties(rel, r.after())
		for k := range now[i].holds {
			held[k] = append(held[k], i)
		}
		for k := range want[i].holds {
			if !now[i].holds[k] {
				made[k] = append(made[k], i)
			}
		}
		for k := range now[i].refers {
			if !want[i].refers[k] {
				referred[k] = append(referred[k], i)
			}
		}
	}
	first, waits = make([][]int, len(rows)), make([]int, len(rows))
	after := func(i int, others []int) {
		for _, j := range others {
			if j != i {
				first[j] = append(first[j], i)
				waits[i]++
			}
		}
	}
	for i := range rows {
		for k := range want[i].holds {
			if !now[i].holds[k] {
				after(i, held[k])
			}
		}
		for k := range want[i].refers {
			after(i, made[k])
		}
		for k := range now[i].holds {
			if !want[i].holds[k] {
				after(i, referred[k])
			}
		}
	}
	return first, waits
}

// open breaks a circle by taking the rows out that are to be written again. Where foreign keys act that would take others
// with it.
func (s *single) open(rows []*rewriting, done []bool) error {
	for i, r := range rows {
		if done[i] || r.now == nil {
			continue
		}
		if !s.d.replica {
			return &refusal{state: "23505", table: r.touch.Change.Relation.Schema + "." + r.touch.Change.Relation.Name,
				reason: "rows exchange values of a unique key: they cannot be written one after the other without the right to set session_replication_role"}
		}
		if _, err := r.tab.write(s.f, r.touch.Change.Relation, r.image, conflict.Result{}, true); err != nil {
			return err
		}
		r.now = nil
	}
	return nil
}

// put writes one row, unless it is as it is to be.
func (s *single) put(r *rewriting) error {
	rel := r.touch.Change.Relation
	if r.now != nil && r.want.Living {
		same := true
		for i, v := range r.after() {
			same = same && (!known(v) || v == r.now[i] || rel.Columns[i].Generated)
		}
		if same {
			return nil
		}
	}
	_, err := r.tab.write(s.f, rel, r.image, r.want, r.now != nil)
	if err != nil {
		gone, e := s.removed(r.touch, err)
		if !gone {
			return fmt.Errorf("write what the verdicts leave: %w", errors.Join(err, e))
		}
		_, err = r.tab.without().write(s.f, rel, r.image, r.want, r.now != nil)
	}
	return err
}
