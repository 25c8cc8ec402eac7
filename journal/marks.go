package journal

import "pgproxy/journal/hlc"

// marks keeps what a record's Mark is made from. The times of applied records are guarded by the gate, the unpublished
// ones by shelf.mu.
type marks struct {
	applied     map[NodeID]tail // the last applied record of a node, as far as it was looked up
	unpublished []sealedAt      // own records from the oldest unpublished on
}

type sealedAt struct {
	seq uint64
	hlc hlc.Time
}

// reset forgets the times of applied records.
func (m *marks) reset() { m.applied = nil }

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
// applied records, and before its own oldest unpublished record. now is the time of the record that will say so. A
// retired member counts like the others: nothing says yet that all of it is here. The caller holds the gate.
func (j *Journal) mark(now hlc.Time) hlc.Time {
	j.mu.Lock()
	least := now
	if t := j.marks.oldest(j.published); t != 0 {
		least = t
	}
	var others []NodeID
	for n := range j.durable.members {
		if n != j.self {
			others = append(others, n)
		}
	}
	j.mu.Unlock()
	least--
	for _, n := range others {
		least = min(least, j.appliedTime(n))
	}
	return least
}

// appliedTime gives the time of the last applied record of a node. The caller holds the gate.
func (j *Journal) appliedTime(n NodeID) hlc.Time {
	seq := j.applied.vector[n]
	if seq == 0 {
		return 0
	}
	if known := j.marks.applied[n]; known.seq == seq {
		return known.hlc
	}
	r, err := j.header(ID{n, seq})
	if err != nil {
		return 0 // the database has applied what is not in the journal: nothing can be said
	}
	if j.marks.applied == nil {
		j.marks.applied = map[NodeID]tail{}
	}
	j.marks.applied[n] = tail{seq: seq, hlc: r.HLC}
	return r.HLC
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
