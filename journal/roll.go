package journal

import (
	"errors"
	"fmt"
)

// firstSegment begins an empty journal.
func (j *Journal) firstSegment() error {
	j.durable = newState(j.self)
	return j.addSegment()
}

// addSegment makes the segment that goes on after what is durable, and makes it the last.
func (j *Journal) addSegment() error {
	g, err := createSegment(j.segmentsDir(), j.durable, j.o.SegmentBytes, j.o.NoSync)
	if err != nil {
		return err
	}
	j.o.Fault("journal.created")
	if _, err := g.base(); err != nil { // also measures the file
		return fmt.Errorf("read back new segment: %w", err)
	}
	if err := j.identity.reach(reached{segment: g.first, seq: j.durable.tails[j.self].seq}); err != nil {
		return errors.Join(err, g.close()) // the empty file is made anew at the next try, or used by the next start
	}
	g.mem = newIndex(g.first)
	j.mu.Lock()
	j.segments = append(j.segments, g)
	j.mu.Unlock()
	return nil
}

// roll begins a new segment and lets the old one be sealed beside the running work.
func (j *Journal) roll() error {
	j.o.Fault("journal.roll")
	old := j.last()
	if err := j.addSegment(); err != nil {
		return fmt.Errorf("begin segment: %w", err)
	}
	j.sealings.Add(1)
	go j.sealSegment(old)
	return nil
}

// sealOld seals what the last run left unsealed.
func (j *Journal) sealOld() {
	segments := j.list()
	for _, g := range segments[:len(segments)-1] {
		if g.mem != nil {
			j.sealings.Add(1)
			go j.sealSegment(g)
		}
	}
}

// sealSegment writes a segment's indexes into its file and gives up those in memory. If it fails, they stay in memory,
// and the next start tries again.
func (j *Journal) sealSegment(g *segment) {
	defer j.sealings.Done()
	x := g.mem // nobody adds to it any more
	sealed, err := g.seal(x, j.o.Fault)
	if err != nil {
		j.o.Logger.Warn("segment could not be sealed: its indexes stay in memory", "segment", g.path, "error", err)
		return
	}
	j.mu.Lock()
	g.mem, g.sealed = nil, sealed
	j.countBytesLocked()
	j.mu.Unlock()
}

func (j *Journal) countBytes() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.countBytesLocked()
}

// countBytesLocked sums up the files. The caller holds mu.
func (j *Journal) countBytesLocked() {
	j.bytes = 0
	for _, g := range j.segments {
		j.bytes += g.bytes.Load()
	}
}
