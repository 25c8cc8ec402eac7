package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// singleTries bounds how often a record is begun again because the index moved while it was written.
const singleTries = 5

// single is one record on its way in a transaction of its own: rows that others changed unaware of it are folded.
type single struct {
	a    *Applier
	d    *database
	rec  *journal.Record
	it   *item
	f    *flight // not sent yet
	told []journal.Conflict
	ends []conflict.Ending // what it truncated
	seen int               // endings that were known when it was looked at

	// folded has the rows that are written as the fold says, with the changes that the fold was made of.
	folded map[journal.RowKey]map[journal.ID]bool
	forced map[journal.RowKey]bool // rows that the direct way missed
	owner  map[*step]conflict.Touch
	direct map[journal.RowKey]map[string]bool // concerns of rows that are written as they stand
}

// single applies one record alone and waits for its COMMIT.
func (a *Applier) single(ctx context.Context, d *database, it *item) error {
	if err := a.answered(d); err != nil {
		return err
	}
	forced := map[journal.RowKey]bool{}
	var err error
	for range singleTries {
		s := &single{a: a, d: d, rec: it.rec, it: it, forced: forced, folded: map[journal.RowKey]map[journal.ID]bool{},
			owner: map[*step]conflict.Touch{}, direct: map[journal.RowKey]map[string]bool{}, f: &flight{}}
		if err = s.try(ctx, it); err == nil {
			return nil
		}
		a.counts.Failures++
		if d.s.broken || ctx.Err() != nil {
			return err
		}
		if d.s.status != 'I' {
			if e := d.s.rollback(); e != nil {
				return errors.Join(err, e)
			}
		}
		if !errors.Is(err, errLook) {
			return err
		}
	}
	return err
}

func (s *single) try(ctx context.Context, it *item) error {
	if alone := outsideBlock(s.rec); alone != nil {
		return s.outside(ctx, alone)
	}
	if err := s.a.follow(); err != nil {
		return err
	}
	s.seen = s.d.endCount
	look, err := s.look()
	if err != nil {
		return err
	}
	s.f.add("BEGIN")
	s.a.o.Fault("apply.begun")
	place, replayed := 0, false
	for i := range s.rec.Tx.Statements {
		if st := &s.rec.Tx.Statements[i]; runs(st) { // before its rows: they are those of the table that it makes
			replayed = true
			if err := s.flush(); err != nil {
				return err
			}
			run := func() error { return s.replay(ctx, st.Replay) }
			if strings.HasPrefix(st.Command, "TRUNCATE") {
				err = s.truncate(st.Replay, run)
			} else {
				err = run()
			}
			if err != nil {
				return err
			}
			if err := s.flush(); err != nil {
				return err
			}
			if err := s.d.forget(); err != nil {
				return err
			}
		}
		for _, t := range conflict.StatementTouches(s.rec, i, &place) {
			if err := s.touch(t, look); err != nil {
				return err
			}
		}
	}
	move(s.f, s.rec.ID)
	if err := s.flush(); err != nil {
		return err
	}
	s.a.o.Fault("apply.locked")
	if err := s.commit(); err != nil {
		return err
	}
	if replayed {
		s.a.hurry()
		s.a.counts.Replayed++
		return s.d.forget()
	}
	return nil
}

func (s *single) look() (*seen, error) {
	for _, t := range s.it.touches {
		_, _ = s.d.table(t.Change.Relation) // what is wrong with it, the write will say
	}
	var look *seen
	err := s.a.o.Journal.Gate(func(g *journal.Gate) error {
		look = s.a.look(g, g.Applied(), s.it)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up rows: %w", err)
	}
	if look.pending {
		return nil, errPending
	}
	return look, nil
}

// touch writes one change, as it stands or folded.
func (s *single) touch(t conflict.Touch, look *seen) error {
	if s.folded[t.Key] != nil {
		return nil // the fold had all of the record's changes of the row
	}
	tab, err := s.d.table(t.Change.Relation)
	if err != nil {
		if gone, e := s.removed(t, err); gone || e != nil {
			return e
		}
		return err
	}
	fold := s.forced[t.Key] || look.ended[t.Key]
	for _, k := range [2]journal.RowKey{t.Key, t.Other} {
		if len(look.concerns[k]) > 0 && k != "" {
			fold = fold || !s.a.commutes(s.d, &item{rec: s.rec, touches: []conflict.Touch{t}}, look.only(k), nil)
		}
	}
	if fold {
		if err := s.flush(); err != nil {
			return err
		}
		if t.Keyless {
			return s.count(t)
		}
		return s.fold(tab, t)
	}
	for _, k := range [2]journal.RowKey{t.Key, t.Other} {
		if k != "" {
			s.direct[k] = look.only(k).ids()[k]
		}
	}
	st, err := tab.direct(s.f, t)
	if err != nil {
		gone, e := s.removed(t, err)
		if !gone {
			return errors.Join(err, e)
		}
		if st, err = tab.without().direct(s.f, t); err != nil {
			return err
		}
	}
	s.owner[st] = t
	if len(s.f.steps) >= maxFlight {
		return s.flush()
	}
	return nil
}

func (s *seen) only(k journal.RowKey) *seen {
	return &seen{concerns: map[journal.RowKey][]journal.Ref{k: s.concerns[k]}}
}

// flush runs what was collected. A change that hit no row is folded in the next try.
func (s *single) flush() error {
	if len(s.f.steps) == 0 {
		return nil
	}
	f := s.f
	s.f = &flight{}
	if err := s.d.s.do(f); err != nil {
		return s.overflow(f, err)
	}
	for _, st := range f.steps {
		if t, ok := s.owner[st]; ok && st.tag != 1 {
			s.force(t)
			return errLook
		}
	}
	return nil
}

func (s *single) force(t conflict.Touch) {
	s.forced[t.Key] = true
	if t.Other != "" {
		s.forced[t.Other] = true
	}
}

// overflow turns a sum that the column or a check refused into a fold, which sets the author's value.
func (s *single) overflow(f *flight, failed error) error {
	for _, st := range f.steps {
		t, ok := s.owner[st]
		if ok && st.err != nil && len(t.Change.Delta) > 0 && !s.forced[t.Key] {
			if state := sqlState(st.err); state == "22003" || state == "23514" {
				s.force(t)
				return errLook
			}
		}
	}
	return failed
}

// fold locks the row and writes what all its changes, with this record's, make of it.
func (s *single) fold(tab *table, t conflict.Touch) error {
	rel, key := t.Change.Relation, t.Change.After
	if t.Change.Op != journal.OpInsert && t.Change.Before != nil {
		key = t.Change.Before
	}
	f := &flight{}
	lock, err := tab.lock(f, rel, key)
	if err != nil {
		return err
	}
	if err := s.d.s.do(f); err != nil {
		return err
	}
	h, err := s.history(t.Key, s.d.ended(rel))
	if err != nil {
		return err
	}
	r, err := h.Result(s.checker(tab))
	if err != nil {
		s.d.histories.drop(t.Key)
		return err
	}
	f = &flight{}
	if _, err := tab.write(f, rel, key, r, lock.tag > 0); err != nil {
		gone, e := s.removed(t, err)
		if !gone {
			return errors.Join(err, e)
		}
		if _, err = tab.without().write(f, rel, key, r, lock.tag > 0); err != nil {
			return err
		}
	}
	if len(f.steps) > 0 {
		if err := s.d.s.do(f); err != nil {
			return err
		}
	}
	s.a.counts.Merged++
	s.tell(t.Key, h.Decisions(s.rec.ID))
	return nil
}

// checker asks the database whether it would take a row.
func (s *single) checker(tab *table) conflict.Check {
	if len(tab.checks) == 0 {
		return nil
	}
	return func(rel *journal.Relation, row conflict.Row) (bool, error) {
		w := &writer{}
		w.s("SELECT (")
		sep := ""
		for _, c := range tab.checks {
			w.s(sep, "(", c.expression, ") IS NOT FALSE")
			sep = " AND "
		}
		w.s(")::pg_catalog.text FROM (SELECT ")
		sep = ""
		for _, n := range slices.Sorted(maps.Keys(tab.columns)) {
			v, ok := row[n]
			if !ok {
				v = journal.Null()
			}
			w.s(sep, w.arg(v), "::", tab.columns[n].typ, " AS ", ident(n))
			sep = ", "
		}
		w.s(") AS ", ident(rel.Name))
		rows, err := s.d.s.query(w.b.String(), w.args...)
		if err != nil {
			return false, fmt.Errorf("ask for the checks of %s.%s: %w", rel.Schema, rel.Name, err)
		}
		return string(rows[0][0]) == "true", nil
	}
}

// refs gives the records that are in a row, with s's own, as the index knows them.
func (s *single) refs(g *journal.Gate, applied journal.Vector, k journal.RowKey) (refs map[journal.ID]bool, pending bool) {
	refs = map[journal.ID]bool{s.rec.ID: true}
	for _, ref := range g.Changes(k) {
		here, wait := s.a.here(ref, applied)
		if here {
			refs[ref.ID] = true
		}
		pending = pending || wait
	}
	return refs, pending
}

// history gives the row's changes up to now, and notes what they were.
func (s *single) history(k journal.RowKey, ends []*conflict.Change) (*conflict.History, error) {
	var refs map[journal.ID]bool
	var pending bool
	err := s.a.o.Journal.Gate(func(g *journal.Gate) error {
		refs, pending = s.refs(g, g.Applied(), k)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up row: %w", err)
	}
	if pending {
		return nil, errPending
	}
	all := maps.Clone(refs)
	for _, e := range ends {
		all[e.ID] = true
	}
	h := s.d.histories.get(k)
	if !h.Within(all) {
		h = conflict.NewHistory() // something in it was not applied after all
	}
	h.Add(ends...)
	for id := range refs {
		if h.Has(id) {
			continue
		}
		rec, err := s.a.record(id, []*item{{rec: s.rec}})
		if err != nil {
			return nil, fmt.Errorf("read record %s: %w", id, err)
		}
		for _, t := range conflict.Touches(rec) {
			if t.Key == k && !t.Keyless {
				h.Add(t.Change)
			}
		}
	}
	s.d.histories.put(k, h)
	s.folded[k] = refs
	return h, nil
}

// commit takes the last look and commits; conflicts are told before COMMIT is sent, so that none can be missing.
func (s *single) commit() error {
	if err := s.a.follow(); err != nil {
		return err
	}
	if s.d.endCount != s.seen {
		return errLook
	}
	err := s.a.o.Journal.Gate(func(g *journal.Gate) error {
		applied := g.Applied()
		for k, used := range s.folded {
			refs, pending := s.refs(g, applied, k)
			if pending || len(refs) != len(used) {
				return errLook
			}
			for id := range refs {
				if !used[id] {
					return errLook
				}
			}
		}
		now := &seen{}
		if !newest(applied, s.rec) {
			for k := range s.direct {
				s.a.lookRow(g, applied, s.it, k, now)
			}
		}
		if now.pending || !now.within(s.direct) {
			return errLook
		}
		g.MarkApplied(s.rec.ID)
		return nil
	})
	if err != nil {
		return err
	}
	s.a.o.Fault("apply.gate")
	for _, c := range s.told {
		if err := s.a.o.Journal.AddConflict(c); err != nil {
			s.a.unmark(s.rec.ID)
			return fmt.Errorf("keep a conflict: %w", err)
		}
		s.a.counts.Conflicts++
	}
	if err := s.a.sendCommit(s.d, []journal.ID{s.rec.ID}); err != nil {
		return err
	}
	if err := s.a.answered(s.d); err != nil {
		return err
	}
	s.d.end(s.ends)
	return nil
}

func (a *Applier) unmark(id journal.ID) {
	_ = a.o.Journal.Gate(func(g *journal.Gate) error {
		g.UnmarkApplied(id)
		return nil
	})
}

// tell notes the decisions of one row as conflicts.
func (s *single) tell(k journal.RowKey, decisions []conflict.Decision) {
	for _, dec := range decisions {
		loser, err := s.a.record(dec.Loser, []*item{{rec: s.rec}})
		if err != nil || loser.Tx == nil {
			continue
		}
		c := journal.Conflict{Kind: dec.Kind, Time: s.a.o.Now(), Database: loser.Tx.Database, Winner: dec.Winner, Loser: dec.Loser,
			Columns: dec.Columns, Rule: dec.Rule, Key: map[string]string{}}
		for _, t := range conflict.Touches(loser) {
			if t.Key != k && t.Other != k || t.Change.Place != dec.Place {
				continue
			}
			rel := t.Change.Relation
			c.Schema, c.Table, c.Key, c.LoserSQL = rel.Schema, rel.Name, keyOf(t.Change), conflict.SQL(t.Change)
		}
		s.told = append(s.told, c)
	}
}
