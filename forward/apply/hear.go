package apply

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// verdicts are what the rules beyond one row say while a record is written.
type verdicts struct {
	ruling  *conflict.Ruling // nil: nothing was asked
	changed []journal.ID     // whose verdict the record changes, its own included
	used    map[journal.RowKey]map[journal.ID]bool
}

// judged gives the record as the rules beyond one row see it.
func (it *item) judged() *conflict.Case {
	if it.own == nil {
		it.own = conflict.NewCase(it.rec, it.touches)
	}
	return it.own
}

// lookBeyond looks for what others did, unaware of the record, to the unique keys that it takes, to what it refers to, and to
// who refers to what it takes away.
func (a *Applier) lookBeyond(g *journal.Gate, applied journal.Vector, it *item, s *seen) {
	for _, k := range it.judged().Beyond() {
		for _, ref := range g.ChangesSince(k, it.since) {
			if ref.ID == it.rec.ID || it.rec.Knew.Covers(ref.ID) {
				continue
			}
			here, pending := a.here(ref, applied)
			s.beyond, s.pending = s.beyond || here, s.pending || pending
		}
	}
}

// suspect reports whether the record builds on one whose verdict its author may have seen otherwise. A database that cannot
// be asked makes it suspect.
func (a *Applier) suspect(d *database, it *item) bool {
	if d.judge == nil || newest(a.appliedNow(), it.rec) {
		return false
	}
	yes, err := d.judge.Concerned(it.judged(), &nearby{a: a, d: d, it: it, used: map[journal.RowKey]map[journal.ID]bool{}})
	return yes || err != nil
}

// nearby is what is in the database, with the record under way, as the row index finds it.
type nearby struct {
	a     *Applier
	d     *database
	it    *item
	used  map[journal.RowKey]map[journal.ID]bool
	cases map[journal.ID]*conflict.Case
}

// Near implements conflict.Source.
func (n *nearby) Near(k journal.RowKey) ([]journal.ID, error) {
	if n.used[k] == nil {
		var pending bool
		err := n.a.o.Journal.Gate(func(g *journal.Gate) error {
			n.used[k], pending = n.a.near(g, g.Applied(), n.it.rec, k)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("look up what is near: %w", err)
		}
		if pending {
			return nil, errPending
		}
	}
	return slices.Collect(maps.Keys(n.used[k])), nil
}

// Case implements conflict.Source.
func (n *nearby) Case(id journal.ID) (*conflict.Case, error) {
	if c := n.cases[id]; c != nil {
		return c, nil
	}
	rec, err := n.a.record(id, []*item{n.it})
	if err != nil {
		return nil, fmt.Errorf("read record %s: %w", id, err)
	}
	if n.cases == nil {
		n.cases = map[journal.ID]*conflict.Case{}
	}
	touches, err := conflict.Whole(rec)
	if err != nil {
		return nil, err
	}
	n.cases[id] = conflict.NewCase(rec, touches)
	return n.cases[id], nil
}

// Ended implements conflict.Source.
func (n *nearby) Ended(rel *journal.Relation) []*conflict.Change { return n.d.ended(rel) }

// near gives the records in the database, and rec, that the index knows under a key.
func (a *Applier) near(g *journal.Gate, applied journal.Vector, rec *journal.Record, k journal.RowKey) (ids map[journal.ID]bool, pending bool) {
	ids = map[journal.ID]bool{}
	for _, ref := range g.Changes(k) {
		here, wait := a.here(ref, applied)
		if here || ref.ID == rec.ID {
			ids[ref.ID] = true
		}
		pending = pending || wait
	}
	return ids, pending
}

// hear asks the judge where the record may clash with others, or build on a loser.
func (s *single) hear(look *seen) error {
	if len(s.it.touches) == 0 || newest(s.a.appliedNow(), s.rec) {
		return nil
	}
	src := &nearby{a: s.a, d: s.d, it: s.it, used: map[journal.RowKey]map[journal.ID]bool{}}
	if !look.beyond && len(look.concerns) == 0 {
		if yes, err := s.d.judge.Concerned(s.it.judged(), src); err != nil || !yes {
			return err
		}
	}
	ruling, err := s.d.judge.Hear(s.it.judged(), src)
	if err != nil {
		return fmt.Errorf("judge record %s: %w", s.rec.ID, err)
	}
	s.ruling, s.used = ruling, src.used
	for id, f := range ruling.Findings {
		if !s.d.judge.Verdict(id).Equal(&f.Verdict) {
			if f.Stuck {
				return &refusal{state: "40000", reason: fmt.Sprintf("record %s clashes with others, and cannot be taken back: %s", id, f.Losses[len(f.Losses)-1].Rule)}
			}
			s.changed = append(s.changed, id)
			s.tellLosses(id, s.d.judge.Verdict(id), &f.Verdict)
		}
	}
	slices.SortFunc(s.changed, func(a, b journal.ID) int { return journal.Order(0, a, 0, b) })
	return nil
}

// verdict gives what is found about a transaction, with what this one changes.
func (s *single) verdict(id journal.ID) *conflict.Verdict {
	if s.ruling != nil {
		if f := s.ruling.Findings[id]; f != nil {
			return &f.Verdict
		}
	}
	return s.d.judge.Verdict(id)
}

// heardAll looks, at the gate, whether what the ruling was made of is all that is there.
func (s *single) heardAll(g *journal.Gate, applied journal.Vector) error {
	for k, was := range s.used {
		now, pending := s.a.near(g, applied, s.rec, k)
		if pending || !maps.Equal(was, now) {
			return errLook
		}
	}
	return nil
}

// tellLosses notes what a transaction has lost anew as conflicts.
func (s *single) tellLosses(id journal.ID, was, now *conflict.Verdict) {
	c := s.ruling.Case(id)
	for _, l := range now.Losses {
		if was != nil && slices.ContainsFunc(was.Losses, func(o conflict.Loss) bool { return o.Kind == l.Kind && o.Place == l.Place && o.Winner == l.Winner }) {
			continue
		}
		told := journal.Conflict{Kind: l.Kind, Time: s.a.o.Now(), Database: s.d.name, Winner: l.Winner, Loser: id, Columns: l.Columns,
			Rule: l.Rule, Key: map[string]string{}}
		var sql []string
		for _, t := range c.Touches {
			if t.Change.Place == l.Place {
				told.Schema, told.Table, told.Key = t.Change.Relation.Schema, t.Change.Relation.Name, keyOf(t.Change)
			}
			if now.Aside || now.Lost[t.Change.Place] && now.Lost[l.Place] || t.Change.Place == l.Place {
				sql = append(sql, conflict.SQL(t.Change))
			}
		}
		if now.Aside {
			told.Rule += "; the whole transaction is set aside"
		}
		told.LoserSQL = strings.Join(sql, " ")
		s.told = append(s.told, told)
	}
}
