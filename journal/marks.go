package journal

import (
	"errors"
	"fmt"

	"pgproxy/journal/hlc"
)

// marks keeps what a record's Mark is made from. The unpublished records are guarded by shelf.mu, the rest by the gate.
type marks struct {
	safe        map[NodeID]hlc.Time // the time of the last safe record of a node
	said        hlc.Time            // the latest own mark
	unpublished []sealedAt          // own records from the oldest unpublished on
}

type sealedAt struct {
	seq uint64
	hlc hlc.Time
}

// sealed notes an own record. The caller holds shelf.mu.
func (m *marks) sealed(seq uint64, t hlc.Time) {
	m.unpublished = append(m.unpublished, sealedAt{seq, t})
}

// cut forgets own records past last, which were taken back. The caller holds shelf.mu.
func (m *marks) cut(last uint64) {
	for n := len(m.unpublished); n > 0 && m.unpublished[n-1].seq > last; n-- {
		m.unpublished = m.unpublished[:n-1]
	}
}

// oldest gives the time of the oldest own record past published; zero if there is none. The caller holds shelf.mu.
func (m *marks) oldest(published uint64) hlc.Time {
	for len(m.unpublished) > 0 && m.unpublished[0].seq <= published {
		m.unpublished = m.unpublished[1:]
	}
	if len(m.unpublished) == 0 {
		return 0
	}
	return m.unpublished[0].hlc
}

// mark gives the time up to which this node has applied everything from every member: the least of the members' last
// safe records, and before its own oldest unpublished record. now is the time of the record that will say so. What was
// said once holds for good, so a mark is never less than the one before. Nothing can be said (zero) before all members
// are known, see state.complete, nor by a founder alone that may still give up its cluster for another one. The caller
// holds the gate.
func (j *Journal) mark(now hlc.Time) hlc.Time {
	cluster := j.identity.get().Cluster
	j.mu.Lock()
	defer j.mu.Unlock()
	members := j.durable.cluster(cluster)
	if !j.durable.complete(cluster) || len(members) == 1 && j.durable.counts.transactions == 0 {
		return j.marks.said
	}
	least := now
	if t := j.marks.oldest(j.published); t != 0 {
		least = t
	}
	least--
	for _, n := range members {
		if n != j.self {
			least = min(least, j.marks.safe[n])
		}
	}
	return max(least, j.marks.said)
}

// SetSafe says that the databases hold the records up to v, and keep them whatever happens to their server: only of such
// may marks speak. Records that are applied and whose COMMIT was not synced are not safe. The own origin in v is ignored,
// and so are records that the journal does not have.
func (j *Journal) SetSafe(v Vector) error {
	times := make(map[NodeID]hlc.Time, len(v))
	for n, seq := range v {
		if n == j.self || seq == 0 {
			continue
		}
		r, err := j.header(ID{n, seq})
		if last := j.lastPruned(n); errors.Is(err, ErrPruned) && last.seq == seq {
			times[n] = last.hlc
			continue
		}
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read time of a safe record: %w", err)
		}
		times[n] = r.HLC
	}
	j.gate.Lock()
	defer j.gate.Unlock()
	for n, t := range times {
		j.marks.safe[n] = max(j.marks.safe[n], t)
	}
	return nil
}

// header reads a record's header alone.
func (s *shelf) header(id ID) (*Record, error) {
	_, b, err := s.stored(id)
	if err != nil {
		return nil, err
	}
	f, err := parseFrame(b)
	if err != nil {
		return nil, err
	}
	return f.decodeHeader()
}

// lastPruned gives the last record of an origin that was pruned; zero if none was.
func (s *shelf) lastPruned(n NodeID) tail {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.kept[n]
}
