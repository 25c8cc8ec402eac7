package journal

import "fmt"

// After gives the next records that somebody at v lacks, causes before effects, up to about limit bytes but at least one.
// Own records are among them once they are published. An empty answer means that there are no more for now.
//
// The journals' positions are an order in which every record stands behind all that its author knew, so the lowest
// position of all origins' next records is always a good next one.
func (s *shelf) After(v Vector, limit int) ([]Raw, error) {
	heads, err := s.heads(v)
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	var recs []Raw
	for size := 0; len(heads) > 0 && (len(recs) == 0 || size < limit); {
		i := leastHead(heads)
		h := heads[i]
		raw, err := s.raw(h)
		if err != nil {
			return nil, fmt.Errorf("read record %s: %w", h.id, err)
		}
		recs = append(recs, raw)
		size += len(raw.Bytes)
		more, err := s.advance(h)
		if err != nil {
			return nil, fmt.Errorf("read records: %w", err)
		}
		if !more {
			heads = append(heads[:i], heads[i+1:]...)
		}
	}
	return recs, nil
}

// head is the next record of an origin that After may give.
type head struct {
	id      ID
	upto    uint64 // the last that may be given
	segment *segment
	at      []uint64 // positions of id and the ones after it, as far as they were looked up
}

func (s *shelf) heads(v Vector) ([]*head, error) {
	s.mu.RLock()
	stored := s.storedLocked()
	s.mu.RUnlock()
	var heads []*head
	for _, n := range sortedNodes(stored) {
		if v[n] >= stored[n] {
			continue
		}
		h := &head{id: ID{n, v[n] + 1}, upto: stored[n]}
		if err := s.fill(h); err != nil {
			return nil, err
		}
		heads = append(heads, h)
	}
	return heads, nil
}

// fill looks up the next positions of h.
func (s *shelf) fill(h *head) (err error) {
	h.segment, h.at, err = s.locateRun(h.id)
	return err
}

// advance moves h to its origin's next record; false if there is none to give.
func (s *shelf) advance(h *head) (bool, error) {
	if h.id.Seq == h.upto {
		return false, nil
	}
	h.id.Seq++
	if h.at = h.at[1:]; len(h.at) > 0 {
		return true, nil
	}
	return true, s.fill(h)
}

func leastHead(heads []*head) int {
	least := 0
	for i, h := range heads {
		if h.at[0] < heads[least].at[0] {
			least = i
		}
	}
	return least
}

// raw reads the published form of h's record.
func (s *shelf) raw(h *head) (Raw, error) {
	stamped, err := h.segment.read(h.at[0])
	if err != nil {
		return Raw{}, err
	}
	kind, b, err := openStamp(h.at[0], stamped)
	if err != nil {
		return Raw{}, fmt.Errorf("%s: %w", h.segment.path, err)
	}
	f, err := parseFrame(b)
	if err != nil {
		return Raw{}, fmt.Errorf("%s: position %d: %w: %w", h.segment.path, h.at[0], ErrDamaged, err)
	}
	r, err := f.decodeHeader()
	if err != nil || r.ID != h.id {
		return Raw{}, fmt.Errorf("%s: position %d does not hold record %s: %w: %v", h.segment.path, h.at[0], h.id, ErrDamaged, err)
	}
	if kind == entryOwn && r.Kind == KindTx && s.isAborted(r.ID) {
		b = f.void()
	}
	return Raw{ID: r.ID, HLC: r.HLC, Bytes: b}, nil
}

func (s *shelf) isAborted(id ID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return id.Origin == s.self && s.aborted[id.Seq]
}
