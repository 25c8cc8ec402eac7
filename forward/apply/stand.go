package apply

import (
	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// standMax bounds how many records of a stopped stream are looked through; a longer queue holds up whoever knew of it.
const standMax = 20000

// stand is what the records of a stopped stream touch, from the one that it stands at on: others that knew of them may
// go on as long as they touch none of it.
type stand struct {
	from, to   uint64 // records from..to are in it
	rows       map[journal.RowKey]bool
	tables     map[string]bool // with changed rows
	referenced map[string]bool // by rows that changed
	replayed   map[string]bool // touched by statements
	replays    bool
	unknown    bool
}

// ready reports whether a record may be applied: everything that its author knew is applied, or stands still and touches
// nothing that it needs.
func (a *Applier) ready(rec *journal.Record, applied journal.Vector) bool {
	for origin, seq := range rec.Knew {
		if origin == rec.Origin || applied[origin] >= seq {
			continue
		}
		if a.stops[origin] == nil && a.waits[origin] == 0 {
			return false // it comes yet
		}
		s := a.standing(origin, applied[origin]+1, seq)
		if s.holds(rec) {
			a.waits[rec.Origin] = rec.Seq
			return false
		}
	}
	delete(a.waits, rec.Origin)
	return true
}

func (a *Applier) standing(origin journal.NodeID, from, to uint64) *stand {
	s := a.stands[origin]
	if s == nil || s.from != from {
		s = &stand{from: from, to: from - 1, rows: map[journal.RowKey]bool{}, tables: map[string]bool{},
			referenced: map[string]bool{}, replayed: map[string]bool{}}
		a.stands[origin] = s
	}
	if to-from > standMax {
		s.unknown = true
		return s
	}
	for ; s.to < to; s.to++ {
		rec, err := a.o.Journal.Record(journal.ID{Origin: origin, Seq: s.to + 1})
		if err != nil {
			s.unknown = true
			return s
		}
		s.add(rec)
	}
	return s
}

func (s *stand) add(rec *journal.Record) {
	if rec.Tx == nil {
		return
	}
	for _, t := range conflict.Touches(rec) {
		s.rows[t.Key] = true
		if t.Other != "" {
			s.rows[t.Other] = true
		}
		rel := t.Change.Relation
		s.tables[rec.Tx.Database+"\x00"+rel.Schema+"."+rel.Name] = true
		for _, r := range rel.References {
			s.referenced[rec.Tx.Database+"\x00"+r.Schema+"."+r.Table] = true
		}
	}
	for i := range rec.Tx.Statements {
		if st := &rec.Tx.Statements[i]; runs(st) {
			s.replays = true
			for _, t := range append(st.Replay.Tables, st.Tables...) {
				s.replayed[rec.Tx.Database+"\x00"+t] = true
			}
		}
	}
}

// holds reports whether rec needs anything that s touches. Statements that are run again may need anything.
func (s *stand) holds(rec *journal.Record) bool {
	if s.unknown {
		return true
	}
	if rec.Tx == nil {
		return false
	}
	if replays(rec) && (s.replays || len(s.tables) > 0) {
		return true
	}
	for _, t := range conflict.Touches(rec) {
		rel := t.Change.Relation
		name := rec.Tx.Database + "\x00" + rel.Schema + "." + rel.Name
		if s.rows[t.Key] || s.rows[t.Other] || s.replayed[name] || s.referenced[name] || len(rel.Uniques) > 0 && s.tables[name] {
			return true
		}
		for _, r := range rel.References {
			if s.tables[rec.Tx.Database+"\x00"+r.Schema+"."+r.Table] {
				return true
			}
		}
	}
	return false
}
