package apply

import (
	"errors"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// seen is what the row index says of a record's rows: the changes that are in them already and that its author did not
// know of (concerns). Where there are none, the record is newer than all that is known of its rows.
type seen struct {
	concerns map[journal.RowKey][]journal.Ref
	ended    map[journal.RowKey]bool // a TRUNCATE of the table, that the author did not know of, concerns the row
	beyond   bool                    // others changed, unaware, what clashes with the record beyond its rows
	pending  bool                    // an own transaction with one of the rows is not decided yet
}

func (s *seen) ids() map[journal.RowKey]map[string]bool {
	if len(s.concerns) == 0 {
		return nil
	}
	out := map[journal.RowKey]map[string]bool{}
	for k, refs := range s.concerns {
		out[k] = map[string]bool{}
		for _, r := range refs {
			out[k][r.ID.String()] = true
		}
	}
	return out
}

// within reports whether everything in s is in an earlier look.
func (s *seen) within(before map[journal.RowKey]map[string]bool) bool {
	for k, refs := range s.concerns {
		for _, r := range refs {
			if !before[k][r.ID.String()] {
				return false
			}
		}
	}
	return true
}

// look reads the row index for a record's rows. The vector is the gate's, with the records before rec in its batch.
func (a *Applier) look(g *journal.Gate, applied journal.Vector, it *item) *seen {
	s := &seen{}
	if newest(applied, it.rec) {
		return s
	}
	done := map[journal.RowKey]bool{}
	for i := range it.touches {
		for _, k := range [2]journal.RowKey{it.touches[i].Key, it.touches[i].Other} {
			if k != "" && !done[k] {
				done[k] = true
				a.lookRow(g, applied, it, k, s)
			}
		}
		s.lookEnded(it, &it.touches[i])
	}
	a.lookBeyond(g, applied, it, s)
	return s
}

// lookEnded notes a touch whose row a TRUNCATE may have ended. A younger insert has nothing to do with it.
func (s *seen) lookEnded(it *item, t *conflict.Touch) {
	for _, e := range it.d.ended(t.Change.Relation) {
		if it.rec.Knew.Covers(e.ID) || e.ID == it.rec.ID || t.Change.Op == journal.OpInsert && conflict.Order(t.Change, e) > 0 {
			continue
		}
		if s.ended == nil {
			s.ended = map[journal.RowKey]bool{}
		}
		s.ended[t.Key] = true
		if t.Other != "" {
			s.ended[t.Other] = true
		}
	}
}

func (a *Applier) lookRow(g *journal.Gate, applied journal.Vector, it *item, k journal.RowKey, s *seen) {
	rec := it.rec
	for _, ref := range g.ChangesSince(k, it.since) {
		if ref.ID == rec.ID || rec.Knew.Covers(ref.ID) {
			continue
		}
		switch here, pending := a.here(ref, applied); {
		case pending:
			s.pending = true
		case here:
			if s.concerns == nil {
				s.concerns = map[journal.RowKey][]journal.Ref{}
			}
			s.concerns[k] = append(s.concerns[k], ref)
		}
	}
}

// since gives a time that all concerns of a record are after: the first record of each origin that is in the database and
// that its author did not know of is the earliest that can be one. It spares hot rows the walk through their past.
// (The author's mark would do as well, but for members that the author did not know of either.)
func (a *Applier) since(rec *journal.Record, applied journal.Vector) hlc.Time {
	least := ^hlc.Time(0)
	for origin, seq := range applied {
		knew := rec.Knew[origin]
		switch {
		case origin == rec.Origin:
		case knew < seq:
			least = min(least, max(a.timeOf(journal.ID{Origin: origin, Seq: knew + 1}), 1)-1)
		case origin == a.own: // what is sealed from now on is later than the last
			least = min(least, a.timeOf(journal.ID{Origin: origin, Seq: seq}))
		}
	}
	if least == ^hlc.Time(0) {
		return 0
	}
	return least
}

// timeOf gives a record's time; zero if it cannot be told. The last few are kept.
func (a *Applier) timeOf(id journal.ID) hlc.Time {
	if t, ok := a.times[id]; ok {
		return t
	}
	rec, err := a.o.Journal.Record(id)
	if err != nil {
		return 0
	}
	if len(a.times) > 256 {
		clear(a.times)
	}
	a.times[id] = rec.HLC
	return rec.HLC
}

// newest reports whether the author of rec knew everything that is in the database: then nothing there can concern it.
func newest(applied journal.Vector, rec *journal.Record) bool {
	for origin, seq := range applied {
		if origin != rec.Origin && rec.Knew[origin] < seq {
			return false
		}
	}
	return true
}

// here reports whether a change is in the database, or may be.
func (a *Applier) here(ref journal.Ref, applied journal.Vector) (here, pending bool) {
	if ref.ID.Origin != a.own {
		return applied.Covers(ref.ID), false
	}
	return ref.Outcome == journal.OutcomeCommitted, ref.Outcome == journal.OutcomeUnknown
}

// commutes reports whether a record's changes give the same rows whether they are written before or after those that
// it did not know of: then it can be written as it stands, late or not.
func (a *Applier) commutes(d *database, it *item, s *seen, before []*item) bool {
	for k, refs := range s.concerns {
		looked := map[string]bool{}
		for _, ref := range refs {
			found, err := a.manners.get(rowAt{ref.ID, k}, func() ([]conflict.Touch, error) {
				other, err := a.record(ref.ID, before)
				if err != nil {
					return nil, err
				}
				if other.Tx == nil {
					return nil, errNoTransaction
				}
				return conflict.Of(other, k)
			})
			if err != nil {
				return false
			}
			for _, manner := range found {
				if looked[manner] {
					continue
				}
				looked[manner] = true
				if !d.apart(it.touches, a.manners.touch[manner], k) {
					return false
				}
			}
		}
	}
	return true
}

func (a *Applier) record(id journal.ID, near []*item) (*journal.Record, error) {
	for _, it := range near {
		if it.rec.ID == id {
			return it.rec, nil
		}
	}
	return a.o.Journal.Record(id)
}

// errNoTransaction is returned for a record that changes no rows.
var errNoTransaction = errors.New("the record is of no transaction")

// apart reports whether o and each of the touches of the same row set different columns, or add to the same ones.
func (d *database) apart(touches []conflict.Touch, o conflict.Touch, k journal.RowKey) bool {
	for _, t := range touches {
		if t.Key != k && t.Other != k {
			continue
		}
		if t.Keyless {
			if t.Change.Op != journal.OpInsert || o.Change.Op != journal.OpInsert {
				return false
			}
			continue
		}
		if t.Change.Op != journal.OpUpdate || o.Change.Op != journal.OpUpdate || t.Change.Before == nil || o.Change.Before == nil {
			return false
		}
		tab, err := d.table(t.Change.Relation)
		if err != nil || !sums(tab, t.Change, o.Change) {
			return false
		}
	}
	return true
}

// sums reports whether the columns that both set are added by both, and nothing limits a sum.
func sums(tab *table, a, b *conflict.Change) bool {
	set := map[string]bool{}
	var added []string
	for _, i := range a.Set {
		name := a.Relation.Columns[i].Name
		set[name] = adds(a, i)
		if set[name] {
			added = append(added, name)
		}
	}
	for _, i := range b.Set {
		name := b.Relation.Columns[i].Name
		sum := adds(b, i)
		if sum {
			added = append(added, name)
		}
		if was, both := set[name]; both && !(was && sum) {
			return false
		}
	}
	return len(tab.checked(added)) == 0
}
