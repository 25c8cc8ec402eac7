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
	large      []*journal.Tx   // with changes in images, whose rows are in the index of those
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
	if rec.Tx.Images != nil {
		s.large = append(s.large, rec.Tx)
		for _, rel := range stored(rec.Tx) {
			s.tables[rec.Tx.Database+"\x00"+rel.Schema+"."+rel.Name] = true
			for _, r := range rel.References {
				s.referenced[rec.Tx.Database+"\x00"+r.Schema+"."+r.Table] = true
			}
		}
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
	if s.holdsLarge(rec.Tx) {
		return true
	}
	for _, t := range conflict.Touches(rec) {
		if s.rows[t.Key] || s.rows[t.Other] || s.among(t.Key) || s.among(t.Other) || s.holdsTable(rec.Tx.Database, t.Change.Relation) {
			return true
		}
	}
	return false
}

// holdsTable reports whether the tables of a change keep it from going on.
func (s *stand) holdsTable(database string, rel *journal.Relation) bool {
	name := database + "\x00" + rel.Schema + "." + rel.Name
	if s.replayed[name] || s.referenced[name] || len(rel.Uniques) > 0 && s.tables[name] {
		return true
	}
	for _, r := range rel.References {
		if s.tables[database+"\x00"+r.Schema+"."+r.Table] {
			return true
		}
	}
	return false
}

// among reports whether a row may be one of those in the images of what stands; also if that cannot be told.
func (s *stand) among(k journal.RowKey) bool {
	for _, tx := range s.large {
		if k == "" {
			break
		}
		if found, err := tx.MayChange(k); found || err != nil {
			return true
		}
	}
	return false
}

// holdsLarge reports whether the changes in tx's images need anything that s touches. Two that both have images are told
// apart by their tables alone.
func (s *stand) holdsLarge(tx *journal.Tx) bool {
	if tx.Images == nil {
		return false
	}
	for _, rel := range stored(tx) {
		if s.holdsTable(tx.Database, rel) || len(s.large) > 0 && s.tables[tx.Database+"\x00"+rel.Schema+"."+rel.Name] {
			return true
		}
	}
	for k := range s.rows {
		if found, err := tx.MayChange(k); found || err != nil {
			return true
		}
	}
	return false
}

// stored gives the relations of the changes in a transaction's images.
func stored(tx *journal.Tx) (rels []*journal.Relation) {
	for i := range tx.Statements {
		if st := &tx.Statements[i]; st.Stored != nil && !st.RolledBack && st.SQLState == "" {
			for _, n := range st.Stored.Relations {
				rels = append(rels, &tx.Relations[n])
			}
		}
	}
	return rels
}
