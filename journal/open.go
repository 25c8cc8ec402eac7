package journal

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"

	"pgproxy/journal/hlc"
)

// open reads what is there and makes the journal ready for writing.
func (j *Journal) open(ctx context.Context) (err error) {
	if j.identity, err = openIdentity(j.o.Dir, j.o); err != nil {
		return err
	}
	id := j.identity.get()
	if id.Name != j.o.Node {
		return fmt.Errorf("open journal in %s: %w: it belongs to node %q, not to %q", j.o.Dir, ErrOtherNode, id.Name, j.o.Node)
	}
	j.shelf = newShelf(id, j.o.Dir, j.o.CacheBytes)
	if err := j.openSegments(ctx, true, j.segmentsDir(), j.o.SegmentBytes, j.o.NoSync); err != nil {
		return err
	}
	if err := j.identity.missing(&j.shelf); err != nil {
		return goneSegment(err)
	}
	if len(j.segments) == 0 {
		if err := j.firstSegment(); err != nil {
			return err
		}
	}
	if err := j.dropLeft(); err != nil {
		return err
	}
	if err := j.openClock(); err != nil {
		return err
	}
	return j.start()
}

func newShelf(id Identity, dir string, cacheBytes int64) shelf {
	return shelf{self: id.Node, name: id.Name, durable: newState(id.Node), undecided: map[uint64]*Intent{},
		aborted: map[uint64]bool{}, cache: newCache(cacheBytes), images: newImageStore(dir)}
}

// openSegments opens all segment files and plays those that have no indexes.
func (s *shelf) openSegments(ctx context.Context, writable bool, dir string, size int64, noSync bool) error {
	paths, err := segmentPaths(dir)
	if err != nil {
		return err
	}
	for i, path := range paths {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("open journal: %w", err)
		}
		g, err := openChecked(path, writable, size, noSync)
		if err != nil {
			return err
		}
		s.segments = append(s.segments, g)
		if err := s.join(g, i == 0); err != nil {
			return err
		}
	}
	if n := len(s.segments); n > 0 && s.segments[n-1].sealed != nil && s.segments[n-1].rested == nil {
		// The next segment is made before one is sealed.
		return goneSegment(fmt.Errorf("%w: the segment after %s is missing", ErrDamaged, filepath.Base(s.segments[n-1].path)))
	}
	return nil
}

// openChecked opens a segment file after its pages were checked: of a sealed one those that opening touches, of another
// one all, because bbolt looks at all of them.
func openChecked(path string, writable bool, size int64, noSync bool) (*segment, error) {
	if err := checkMeta(path); err != nil {
		return nil, lostSegment(path, err)
	}
	g, err := openSegmentReadOnly(path)
	if err != nil {
		return nil, err
	}
	sealed, err := g.loadSealed()
	if err != nil {
		g.close()
		return nil, lostSegment(path, err)
	}
	g.sealed = sealed
	if sealed == nil && !writable {
		g.sealed, g.rested = g.loadRested()
	}
	if g.sealed != nil {
		return g, nil
	}
	if err := checkPages(path); err != nil {
		g.close()
		return nil, lostSegment(path, err)
	}
	if !writable {
		return g, nil
	}
	if err := g.close(); err != nil {
		return nil, err
	}
	return openSegment(path, size, noSync)
}

func lostSegment(path string, err error) error {
	return fmt.Errorf("open journal: %w\nrecords in %s are lost or cannot be trusted; run \"pgproxy journal check\" to see which. "+
		"Put the file back from a backup, or move the whole data folder away to start as a new node, which gets from its peers "+
		"all that they have", err, filepath.Base(path))
}

func goneSegment(err error) error {
	return fmt.Errorf("open journal: %w\nput the folder %q back as it was, or move the whole data folder away to start as a new node, "+
		"which gets from its peers all that they have", err, segmentsFolder)
}

// join takes a segment into the shelf: it must go on where the one before it ended.
func (s *shelf) join(g *segment, isFirst bool) error {
	base, err := g.base()
	if err != nil {
		return lostSegment(g.path, err)
	}
	if isFirst {
		s.before, s.kept = base.tree.clone(), maps.Clone(base.tails)
	}
	if base.self != s.self {
		return fmt.Errorf("open journal: %s: %w: it belongs to node %s", g.path, ErrOtherNode, base.self)
	}
	if isFirst || s.durable.next == g.first {
		s.durable = base // for an unsealed predecessor equal to what was played; Check compares
	} else {
		return lostSegment(g.path, fmt.Errorf("%w: it begins at position %d, the one before it ends at %d: a segment is missing",
			ErrDamaged, g.first, s.durable.next))
	}
	if g.sealed != nil {
		if s.durable.next = g.sealed.end; g.rested != nil { // else the rest comes with the next segment's base
			s.durable = g.rested
		}
		for _, seq := range g.sealed.aborted {
			s.aborted[seq] = true
		}
		return nil
	}
	return s.play(g)
}

// play rebuilds the index and the state of a segment that is not sealed.
func (s *shelf) play(g *segment) error {
	g.mem = newIndex(g.first)
	err := g.each(func(p uint64, stamped []byte) error {
		e, err := readEntry(p, stamped)
		if err != nil {
			return err
		}
		if err := s.durable.follows(e); err != nil {
			return fmt.Errorf("entry at position %d: %w: %w", p, ErrDamaged, err)
		}
		s.durable.play(e)
		g.mem.add(e)
		if e.kind == entryOutcome && e.outcome == OutcomeAborted {
			s.aborted[e.seq] = true
		}
		return nil
	})
	if err != nil {
		return lostSegment(g.path, err)
	}
	g.end.Store(g.mem.next)
	return nil
}

// openClock starts the clock after everything that this node has ever said.
func (j *Journal) openClock() error {
	high, err := j.identity.highWater()
	if err != nil {
		return fmt.Errorf("read high water of the clock: %w", err)
	}
	j.clock = hlc.New(hlc.Options{
		Wall: j.o.Now, MaxAhead: j.o.MaxAhead, Start: max(high, j.durable.last), Persist: j.identity.saveHighWater,
	})
	return nil
}

// start begins a new incarnation with what was read.
func (j *Journal) start() error {
	highest := j.durable.highest
	if err := j.identity.change(func(id *Identity) { id.Incarnation = max(id.Incarnation, highest) + 1 }); err != nil {
		return err
	}
	if err := j.identity.reach(reached{segment: j.last().first, seq: j.durable.tails[j.self].seq}); err != nil {
		return err
	}
	j.queue = newQueue(j.o.FlushDelay, j.o.After)
	j.startSigner()
	j.maxBytes.Store(j.o.MaxBytes)
	j.tails = map[NodeID]tail{}
	for n, t := range j.durable.tails {
		j.tails[n] = t
	}
	j.pending = map[rowHash][]rowRef{}
	j.large = map[[32]byte]largeRef{}
	j.verdict = map[conflictKey]bool{}
	j.applied = newAppliedSet()
	j.marks.safe, j.marks.said = map[NodeID]hlc.Time{}, j.durable.tails[j.self].mark
	if err := j.openImages(); err != nil {
		return err
	}
	j.countBytes()
	return j.findDoubt()
}

// openImages looks whether all images that are named are there, and removes all others.
func (j *Journal) openImages() error {
	named := j.namedImages()
	if err := j.images.tidy(named); err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	for _, g := range j.segments {
		for _, l := range g.large() {
			if _, err := j.images.size(l.images); err != nil {
				return fmt.Errorf("open journal: %w\nput the folder %q back as it was, or move the whole data folder away to start as a "+
					"new node, which gets from its peers all that they have", err, imagesFolder)
			}
		}
	}
	return j.images.measure()
}

// findDoubt makes intents of the own records that have no outcome: the process ended before it knew.
func (j *Journal) findDoubt() error {
	own := j.durable.tails[j.self].seq
	first := own + 1
	for _, seq := range sortedSeqs(j.durable.open) {
		r, err := j.written(ID{j.self, seq})
		if err != nil {
			return fmt.Errorf("read intent: %w", err)
		}
		in := &Intent{j: j, record: r, doubt: true}
		if r.Tx != nil {
			in.missing = r.Tx.missing()
		}
		j.undecided[seq] = in
		first = min(first, seq)
	}
	j.published = first - 1
	for seq := first; seq <= own; seq++ {
		r, err := j.written(ID{j.self, seq})
		if err != nil {
			return fmt.Errorf("read intent: %w", err)
		}
		j.marks.sealed(seq, r.HLC)
	}
	return nil
}
