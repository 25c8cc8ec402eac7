package journal

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// shelf is the segments in their order, and what is known of them: the part of the journal that reads. The open journal
// and a read-only one share it.
type shelf struct {
	self NodeID
	name string // this node's

	// mu guards everything below, and the mem and sealed of each segment. It is held for moments only.
	mu        sync.RWMutex
	segments  []*segment
	before    frontier           // what is before the first segment
	kept      map[NodeID]tail    // the last records before the first segment: those up to them were pruned
	durable   *state             // of what is on the disk
	undecided map[uint64]*Intent // own durable intents whose outcome is not known
	aborted   map[uint64]bool    // own intents that did not commit
	// published is the own sequence up to which everything is visible to peers.
	published uint64
	bytes     int64 // of all segments
	cache     *cache
	images    *imageStore
}

// last gives the segment that is written to. The caller holds mu.
func (s *shelf) last() *segment { return s.segments[len(s.segments)-1] }

// list gives the segments as they are now.
func (s *shelf) list() []*segment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.segments)
}

// outcomeOf says what became of a record. The caller holds mu.
func (s *shelf) outcomeOf(id ID, kind Kind) Outcome {
	if kind == KindVoid {
		return OutcomeAborted
	}
	if id.Origin == s.self {
		if _, ok := s.undecided[id.Seq]; ok {
			return OutcomeUnknown
		}
		if s.aborted[id.Seq] {
			return OutcomeAborted
		}
	}
	return OutcomeCommitted
}

// locate finds the position of a record.
func (s *shelf) locate(id ID) (*segment, uint64, error) {
	g, at, err := s.locateRun(id)
	if err != nil {
		return nil, 0, err
	}
	return g, at[0], nil
}

// locateRun finds the positions of a record and of some of those after it in the same segment. The newest segments
// are looked at first.
func (s *shelf) locateRun(id ID) (*segment, []uint64, error) {
	var sealed []*segment
	s.mu.RLock()
	known := id.Seq > 0 && id.Seq <= s.durable.tails[id.Origin].seq
	for _, g := range slices.Backward(s.segments) {
		if !known {
			break
		}
		if g.mem == nil {
			sealed = append(sealed, g)
		} else if at := g.mem.positions(id); len(at) > 0 {
			s.mu.RUnlock()
			return g, at, nil
		}
	}
	s.mu.RUnlock()
	for _, g := range sealed { // what is sealed never changes
		if at, err := g.sealed.positions(g, id); len(at) > 0 || err != nil && !errors.Is(err, ErrPruned) {
			return g, at, err
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if id.Seq > 0 && id.Seq <= s.kept[id.Origin].seq {
		return nil, nil, fmt.Errorf("record %s: %w", id, ErrPruned)
	}
	return nil, nil, fmt.Errorf("record %s: %w", id, ErrNotFound)
}

// stored reads the stored form of a record: its kind of entry and its bytes in the published form (of an own record: as
// it was sealed).
func (s *shelf) stored(id ID) (entryKind, []byte, error) {
	g, p, err := s.locate(id)
	if err != nil {
		return 0, nil, err
	}
	b, err := g.read(p)
	if err != nil {
		return 0, nil, err
	}
	kind, payload, err := openStamp(p, b)
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", g.path, err)
	}
	if kind != entryOwn && kind != entryForeign {
		return 0, nil, fmt.Errorf("%s: position %d: %w: the index says that it holds record %s", g.path, p, ErrDamaged, id)
	}
	return kind, payload, nil
}

// Record reads a record whole. It is shared: read-only. An own transaction that did not commit is KindVoid, without its
// Tx, as peers see it; Get shows what it was.
func (s *shelf) Record(id ID) (*Record, error) {
	r, err := s.written(id)
	if err != nil || r.Kind != KindTx || id.Origin != s.self {
		return r, err
	}
	s.mu.RLock()
	aborted := s.aborted[id.Seq]
	s.mu.RUnlock()
	if !aborted {
		return r, nil
	}
	void := *r
	void.Kind, void.Tx = KindVoid, nil
	return &void, nil
}

// written reads a record as its author wrote it.
func (s *shelf) written(id ID) (*Record, error) {
	if r := s.cache.get(id); r != nil {
		return r, nil
	}
	_, b, err := s.stored(id)
	if err != nil {
		return nil, err
	}
	r, err := decodeStored(b)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", id, err)
	}
	s.bind(r)
	s.cache.put(r, len(b))
	return r, nil
}

// bind makes a record's images readable.
func (s *shelf) bind(r *Record) {
	if r != nil && r.Tx != nil && r.Tx.Images != nil {
		r.Tx.shelf = s.images
	}
}

// Decode is DecodeRaw for a record of this journal: its images can be read.
func (s *shelf) Decode(raw Raw) (*Record, error) {
	r, err := DecodeRaw(raw.Bytes)
	s.bind(r)
	return r, err
}

// decodeStored reads a record from bytes whose checksum was verified.
func decodeStored(b []byte) (*Record, error) {
	f, err := parseFrame(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r, err := f.decode()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return r, nil
}

// Hash gives the hash of a record, for finding forks at a handshake; false if the record is not here.
func (s *shelf) Hash(id ID) ([32]byte, bool) {
	_, b, err := s.stored(id)
	if err != nil {
		return [32]byte{}, false
	}
	return Raw{Bytes: b}.Hash(), true
}

// Names gives the names of all nodes that the journal knows.
func (s *shelf) Names() map[NodeID]string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := map[NodeID]string{s.self: s.name}
	for n, m := range s.durable.members {
		names[n] = m.Name
	}
	return names
}

// Members lists the cluster's members by node number, retired ones included.
func (s *shelf) Members() []Member {
	s.mu.RLock()
	defer s.mu.RUnlock()
	members := make([]Member, 0, len(s.durable.members))
	for _, n := range sortedNodes(s.durable.members) {
		members = append(members, s.durable.members[n].Member)
	}
	slices.SortStableFunc(members, func(a, b Member) int { return int(a.Number) - int(b.Number) })
	return members
}

// closeSegments closes all files.
func (s *shelf) closeSegments() error {
	var errs []error
	for _, g := range s.segments {
		errs = append(errs, g.close())
	}
	return errors.Join(errs...)
}
