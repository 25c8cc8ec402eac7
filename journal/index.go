package journal

import (
	"slices"
	"sort"

	"pgproxy/journal/hlc"
)

// zoneSize is the number of positions whose times are summed up as one least and one greatest.
const zoneSize = 256

// rowRef says that a record changes a row.
type rowRef struct {
	id  ID
	hlc hlc.Time
}

func orderRefs(a, b rowRef) int { return Order(a.hlc, a.id, b.hlc, b.id) }

// run is an origin's consecutive records in one segment: the position of record from+i is at[i].
type run struct {
	from uint64
	at   []uint64
}

// zone is the span of times in zoneSize consecutive positions.
type zone struct{ least, greatest int64 }

// index finds entries of one segment. While the segment is not sealed it lives in memory; entries are added in order. The
// slices only grow: a reader may keep what it got under the lock. Guarded by shelf.mu.
type index struct {
	first     uint64 // the segment's first position
	next      uint64
	runs      map[NodeID]*run
	rows      map[rowHash][]rowRef // in global order
	terms     map[string][]uint64
	outcomes  map[uint64]uint64 // own seq to the position of its outcome
	aborted   []uint64          // own seqs, in the order their outcomes came
	conflicts map[conflictKey]uint64
	zones     []zone
	large     []largeRef
}

// largeRef says that an entry has images; of a record without place (Seq 0), an attempt's, they change no row.
type largeRef struct {
	rowRef
	position uint64
	images   Images
}

func newIndex(first uint64) *index {
	return &index{first: first, next: first, runs: map[NodeID]*run{}, rows: map[rowHash][]rowRef{},
		terms: map[string][]uint64{}, outcomes: map[uint64]uint64{}, conflicts: map[conflictKey]uint64{}}
}

// add puts the next entry into the index.
func (x *index) add(e *entry) {
	p := x.next
	x.next++
	x.addTime(p, e)
	switch e.kind {
	case entryOwn, entryForeign:
		x.addRecord(p, e)
	case entryOutcome:
		x.outcomes[e.seq] = p
		if e.outcome == OutcomeAborted {
			x.aborted = append(x.aborted, e.seq)
		}
	case entryConflict:
		x.conflicts[e.conflictKey] = p
	}
	if i := e.images(); i != nil {
		x.large = append(x.large, largeRef{rowRef{e.record.ID, e.record.HLC}, p, *i})
	}
	for _, t := range e.terms {
		x.terms[t] = append(x.terms[t], p)
	}
}

func (x *index) addRecord(p uint64, e *entry) {
	r := x.runs[e.record.Origin]
	if r == nil {
		r = &run{from: e.record.Seq}
		x.runs[e.record.Origin] = r
	}
	r.at = append(r.at, p)
	ref := rowRef{e.record.ID, e.record.HLC}
	for _, h := range e.rows {
		x.rows[h] = insertRef(x.rows[h], ref)
	}
}

// insertRef keeps refs in the global order; nearly always ref is the last.
func insertRef(refs []rowRef, ref rowRef) []rowRef {
	i := len(refs)
	for i > 0 && orderRefs(refs[i-1], ref) > 0 {
		i--
	}
	return slices.Insert(refs, i, ref)
}

// addTime widens the zone of p. Entries without a time of their own do not count.
func (x *index) addTime(p uint64, e *entry) {
	i := int((p - x.first) / zoneSize)
	if i == len(x.zones) {
		x.zones = append(x.zones, emptyZone())
	}
	at, ok := e.when()
	if !ok {
		return
	}
	// A new slice for a changed zone: readers may hold the old one.
	z := &x.zones[i]
	ms := at.Millis()
	z.least, z.greatest = min(z.least, ms), max(z.greatest, ms)
}

func emptyZone() zone { return zone{least: 1<<63 - 1, greatest: -1 << 63} }

// positions gives where the record is, and those of its origin after it.
func (x *index) positions(id ID) []uint64 {
	r := x.runs[id.Origin]
	if r == nil || id.Seq < r.from || id.Seq-r.from >= uint64(len(r.at)) {
		return nil
	}
	return r.at[id.Seq-r.from:]
}

// positions is a rising list of positions that is walked in either direction.
type positions interface {
	// next gives the first position of the list at p or beyond it, in the direction of the walk.
	next(p uint64, forward bool) (uint64, bool)
}

// sorted is a list in memory.
type sorted []uint64

func (s sorted) next(p uint64, forward bool) (uint64, bool) {
	i := sort.Search(len(s), func(i int) bool { return s[i] >= p })
	if forward {
		if i == len(s) {
			return 0, false
		}
		return s[i], true
	}
	if i < len(s) && s[i] == p {
		return p, true
	}
	if i == 0 {
		return 0, false
	}
	return s[i-1], true
}

// span is all positions from first up to, not including, end.
type span struct{ first, end uint64 }

func (s span) next(p uint64, forward bool) (uint64, bool) {
	if forward {
		p = max(p, s.first)
	} else if s.end > 0 {
		p = min(p, s.end-1)
	}
	return p, p >= s.first && p < s.end
}

// zoned is the positions in zones that touch a span of milliseconds, both ends included.
type zoned struct {
	span
	zones        []zone
	since, until int64
}

func (z zoned) next(p uint64, forward bool) (uint64, bool) {
	p, ok := z.span.next(p, forward)
	for ok {
		i := (p - z.first) / zoneSize
		if zone := z.zones[i]; zone.greatest >= z.since && zone.least <= z.until {
			return p, true
		}
		if forward {
			p = z.first + (i+1)*zoneSize
		} else {
			start := z.first + i*zoneSize
			if start == z.first {
				return 0, false
			}
			p = start - 1
		}
		p, ok = z.span.next(p, forward)
	}
	return 0, false
}

// both is the positions that all of several lists have.
type both []positions

func (b both) next(p uint64, forward bool) (uint64, bool) {
	agreed := 0
	for i := 0; agreed < len(b); i = (i + 1) % len(b) {
		q, ok := b[i].next(p, forward)
		if !ok {
			return 0, false
		}
		if q == p {
			agreed++
		} else {
			p, agreed = q, 1
		}
	}
	return p, true
}
