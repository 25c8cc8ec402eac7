package apply

import (
	"context"
	"errors"
	"fmt"
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
	verdicts
	direct map[journal.RowKey]map[string]bool // concerns of rows that are written as they stand
	stood  map[int]bool                       // places of changes of tables without key that were
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
			owner: map[*step]conflict.Touch{}, direct: map[journal.RowKey]map[string]bool{}, stood: map[int]bool{}, f: &flight{}}
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
	if it.met || it.large && s.a.unaware(s.a.appliedNow(), s.rec) {
		if err := it.bring(); err != nil {
			return err
		}
	}
	s.seen = s.d.endCount
	look, err := s.lookAt(s.it.touches)
	if err != nil {
		return err
	}
	if err := s.hear(look); err != nil {
		return err
	}
	s.f.add("BEGIN")
	s.a.o.Fault("apply.begun")
	if err := s.redo(); err != nil {
		return err
	}
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
		if err := s.statement(i, &place, look); err != nil {
			return err
		}
	}
	move(s.f, s.rec.ID)
	if err := s.keepFindings(); err != nil {
		return err
	}
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

// lookAt looks at some of the record's changes.
func (s *single) lookAt(touches []conflict.Touch) (*seen, error) {
	for _, t := range touches {
		_, _ = s.d.table(t.Change.Relation) // what is wrong with it, the write will say
	}
	var look *seen
	err := s.a.o.Journal.Gate(func(g *journal.Gate) error {
		look = s.a.look(g, g.Applied(), &item{rec: s.rec, d: s.d, touches: touches, since: s.it.since})
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
		if k != "" && !s.it.large {
			s.direct[k] = look.only(k).ids()[k]
		}
	}
	if err := s.d.hold(s.f, t, map[string]bool{}); err != nil {
		return err
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
	if t.Keyless {
		s.stood[t.Change.Place] = true
	}
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
			if err := s.it.bring(); err != nil {
				return err
			}
			return errLook
		}
	}
	clear(s.owner)
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

// commit takes the last look and commits; conflicts are told before COMMIT is sent, so that none can be missing.
func (s *single) commit() error {
	if err := s.a.follow(); err != nil {
		return err
	}
	if s.d.endCount != s.seen {
		return errLook
	}
	clear := s.a.appliedNow()
	if s.it.large && s.a.unaware(clear, s.rec) {
		s.it.met = true
		return errLook
	}
	err := s.a.o.Journal.Gate(func(g *journal.Gate) error {
		applied := g.Applied()
		if s.it.large && !clear.Includes(applied) {
			return errLook
		}
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
		if err := s.heardAll(g, applied); err != nil {
			return err
		}
		now := &seen{}
		if !newest(applied, s.rec) {
			for k := range s.direct {
				s.a.lookRow(g, applied, s.it, k, now)
			}
			if s.ruling == nil {
				s.a.lookBeyond(g, applied, s.it, now)
			}
		}
		if now.pending || now.beyond || !now.within(s.direct) {
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
	s.accept()
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
		touches, err := conflict.Of(loser, k)
		if err != nil {
			continue
		}
		for _, t := range touches {
			if t.Change.Place != dec.Place {
				continue
			}
			rel := t.Change.Relation
			c.Schema, c.Table, c.Key, c.LoserSQL = rel.Schema, rel.Name, keyOf(t.Change), conflict.SQL(t.Change)
		}
		s.told = append(s.told, c)
	}
}
