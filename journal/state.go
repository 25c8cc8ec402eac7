package journal

import (
	"fmt"

	"pgproxy/journal/hlc"
)

// tail is the last record of an origin.
type tail struct {
	seq         uint64
	hash        [32]byte
	hlc         hlc.Time
	incarnation uint64
	mark        hlc.Time // the latest that the origin has stated
}

// memberAt is a member with the place of the record that said so.
type memberAt struct {
	Member
	id    ID
	hlc   hlc.Time
	since hlc.Time // the line of the moment when it became known
}

// counts are what Stats sums up over the whole journal.
type counts struct {
	records, transactions, attempts, conflicts, missing, events int64
}

// state is what the durable entries say, taken together: the result of playing them in the order of their positions.
// Each segment begins with the state before its first entry, so that opening plays only what is not sealed yet. The
// committer keeps it while the journal is open; nobody else may touch it without the journal's locks.
type state struct {
	self    NodeID
	next    uint64 // the position of the next entry
	tree    frontier
	purged  uint64 // what stands before this position was deleted on purpose, or is about to be
	tails   map[NodeID]tail
	open    map[uint64]bool // own intents without outcome
	members map[NodeID]memberAt
	acked   map[string]Vector // by peer
	counts  counts
	last    hlc.Time // the latest time of any record
	content hlc.Time // the latest time of any record but beats
	wanted  hlc.Time // the line is to pass this: content, or what a beat asks for
	highest uint64   // the highest own incarnation seen
}

func newState(self NodeID) *state {
	return &state{self: self, next: 1, tails: map[NodeID]tail{}, open: map[uint64]bool{},
		members: map[NodeID]memberAt{}, acked: map[string]Vector{}}
}

// follows checks that e may come next. Everything that is stored passes here, once more when it is read back.
func (s *state) follows(e *entry) error {
	switch e.kind {
	case entryOwn, entryForeign:
		return s.tails[e.record.Origin].accepts(e.record)
	case entryOutcome:
		if !s.open[e.seq] {
			return fmt.Errorf("outcome of record %d, which has none to come: %w", e.seq, errMalformed)
		}
	}
	return nil
}

// accepts checks that r is the record after t.
func (t tail) accepts(r *Record) error {
	switch {
	case r.Seq > t.seq+1:
		return fmt.Errorf("record %s after %d: %w", r.ID, t.seq, ErrGap)
	case r.Seq <= t.seq:
		return fmt.Errorf("record %s after %d: %w", r.ID, t.seq, ErrFork)
	case r.Prev != t.hash:
		return fmt.Errorf("record %s does not go on from %s's record %d as it is here: %w", r.ID, r.Origin, t.seq, ErrFork)
	case r.HLC <= t.hlc:
		return fmt.Errorf("record %s is not later than the one before it: %w", r.ID, ErrDamaged)
	}
	return nil
}

// play moves the state past e, which follows it.
func (s *state) play(e *entry) {
	s.next++
	s.tree.grow(e.leaf)
	switch e.kind {
	case entryOwn, entryForeign:
		s.playRecord(e)
	case entryOutcome:
		delete(s.open, e.seq)
		if e.outcome == OutcomeCommitted {
			s.counts.transactions++
			s.counts.missing += e.missing
		}
	case entryAttempt:
		s.counts.attempts++
		s.last = max(s.last, e.record.HLC)
	case entryConflict:
		s.counts.conflicts++
	case entryPurge:
		s.purged = max(s.purged, e.seq)
	case entryEvent:
		s.counts.events++
		s.last = max(s.last, e.event.Time)
	}
}

func (s *state) playRecord(e *entry) {
	r := e.record
	s.counts.records++
	s.last = max(s.last, r.HLC)
	s.tails[r.Origin] = tail{seq: r.Seq, hash: e.hash, hlc: r.HLC, incarnation: r.Incarnation, mark: max(r.Mark, s.tails[r.Origin].mark)}
	if r.Kind != KindBeat {
		s.content = max(s.content, r.HLC)
	}
	s.wanted = max(s.wanted, s.content, r.Want)
	if r.Origin == s.self {
		s.highest = max(s.highest, r.Incarnation)
	}
	switch {
	case r.Kind == KindMember:
		s.playMember(r)
	case r.Kind == KindTx && e.kind == entryOwn:
		s.open[r.Seq] = true
	case r.Kind == KindTx:
		s.counts.transactions++
		s.counts.missing += e.missing
	}
}

func (s *state) playMember(r *Record) {
	old, known := s.members[r.Member.Node]
	since := s.line(r.Member.Cluster)
	if known && old.Cluster == r.Member.Cluster {
		since = old.since
	}
	if !known || Order(old.hlc, old.id, r.HLC, r.ID) < 0 {
		s.members[r.Member.Node] = memberAt{Member: *r.Member, id: r.ID, hlc: r.HLC, since: since}
	}
}

// encode writes the state for the beginning of a segment.
func (s *state) encode() []byte {
	e := encoder{}
	e.byte(formatVersion)
	e.node(s.self)
	e.uint(s.next)
	e.frontier(&s.tree)
	e.uint(s.purged)
	e.uint(uint64(len(s.tails)))
	for _, n := range sortedNodes(s.tails) {
		t := s.tails[n]
		e.node(n)
		e.uint(t.seq)
		e.raw(t.hash[:])
		e.fixed(uint64(t.hlc))
		e.uint(t.incarnation)
		e.fixed(uint64(t.mark))
	}
	e.uint(uint64(len(s.open)))
	for _, seq := range sortedSeqs(s.open) {
		e.uint(seq)
	}
	e.uint(uint64(len(s.members)))
	for _, n := range sortedNodes(s.members) {
		m := s.members[n]
		e.member(&m.Member)
		e.id(m.id)
		e.fixed(uint64(m.hlc))
		e.fixed(uint64(m.since))
	}
	e.uint(uint64(len(s.acked)))
	for _, p := range sortedNames(s.acked) {
		e.string(p)
		e.vector(s.acked[p], NodeID{})
	}
	for _, c := range []int64{s.counts.records, s.counts.transactions, s.counts.attempts, s.counts.conflicts, s.counts.missing, s.counts.events} {
		e.int(c)
	}
	e.fixed(uint64(s.last))
	e.fixed(uint64(s.content))
	e.fixed(uint64(s.wanted))
	e.uint(s.highest)
	return e.b
}

func decodeState(b []byte) (*state, error) {
	d := decoder{s: string(b)}
	if v := d.byte(); v != formatVersion {
		return nil, fmt.Errorf("format %d, this program reads %d: %w", v, formatVersion, errMalformed)
	}
	s := newState(d.node())
	if s.next = d.uint(); s.next == 0 {
		d.fail()
	}
	s.tree = d.frontier(s.next - 1)
	s.purged = d.uint()
	for n := d.uint(); n > 0 && d.err == nil; n-- {
		node := d.node()
		s.tails[node] = tail{seq: d.uint(), hash: d.hash(), hlc: hlc.Time(d.fixed()), incarnation: d.uint(), mark: hlc.Time(d.fixed())}
	}
	for n := d.uint(); n > 0 && d.err == nil; n-- {
		s.open[d.uint()] = true
	}
	for n := d.uint(); n > 0 && d.err == nil; n-- {
		m := memberAt{Member: *d.member(), id: d.id(), hlc: hlc.Time(d.fixed()), since: hlc.Time(d.fixed())}
		s.members[m.Node] = m
	}
	for n := d.uint(); n > 0 && d.err == nil; n-- {
		peer := d.string()
		s.acked[peer] = d.vector()
	}
	c := &s.counts
	c.records, c.transactions, c.attempts, c.conflicts, c.missing, c.events = d.int(), d.int(), d.int(), d.int(), d.int(), d.int()
	s.last, s.content, s.wanted = hlc.Time(d.fixed()), hlc.Time(d.fixed()), hlc.Time(d.fixed())
	s.highest = d.uint()
	return s, d.end()
}
