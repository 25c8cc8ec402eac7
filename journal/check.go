package journal

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
)

// Report is what Check found.
type Report struct {
	Segments int
	Entries  int64 // of all kinds
	Records  int64
	InDoubt  int64
	Problems []string // none: the journal is whole
}

func (r *Report) add(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// Check walks the whole journal of a node that is not running: pages, checksums, hashes, chains, sequences, outcomes,
// and whether the indexes say what the records say. It changes nothing. What is wrong is in the report; an error says that
// the check itself could not be made (ErrLocked: the node runs). Though the pages are looked at before bbolt reads them, a
// disk that changes under it can still end the process: run it in a child.
func Check(dir string) (Report, error) {
	var r Report
	lock, err := lockFolder(dir, false)
	if err != nil {
		return r, fmt.Errorf("check journal: %w", err)
	}
	defer lock.Close()
	paths, err := segmentPaths(filepath.Join(dir, segmentsFolder))
	if err != nil {
		return r, fmt.Errorf("check journal: %w", err)
	}
	id, err := readIdentity(filepath.Join(dir, identityFile))
	if err != nil {
		r.add("%v", err)
		id = &identityStore{}
	}
	c := checker{report: &r, self: id.id.Node, images: newImageStore(dir)}
	for _, path := range paths {
		c.segment(path)
	}
	if c.state != nil {
		r.InDoubt = int64(len(c.state.open))
		if err := id.missing(&shelf{segments: c.segments, self: c.state.self, durable: c.state}); err != nil {
			r.add("%v", err)
		} else if !c.open {
			r.add("the last segment is missing: the one before it is sealed")
		}
	} else if len(paths) == 0 && id.reached.segment > 0 {
		r.add("%v", id.reached.missing(nil, 0))
	}
	return r, nil
}

// checker goes over the segments in order. state is nil until the first readable segment, and after an unreadable one.
type checker struct {
	report *Report
	self   NodeID
	state  *state
	images *imageStore

	segments []*segment // closed
	open     bool       // the last one was not sealed
}

func (c *checker) segment(path string) {
	c.report.Segments++
	if err := checkPages(path); err != nil {
		c.report.add("%v: the records in it are lost", err)
		c.state = nil
		return
	}
	g, err := openSegmentReadOnly(path)
	if err != nil {
		c.report.add("%v", err)
		c.state = nil
		return
	}
	defer g.close()
	c.segments = append(c.segments, g)
	base, err := g.base()
	if err != nil {
		c.report.add("%v: the records in it cannot be used", err)
		c.state = nil
		return
	}
	c.begin(g, base)
	x := newIndex(g.first)
	c.entries(g, x)
	c.index(g, x)
}

// begin compares the state that a segment begins with, with what was played so far.
func (c *checker) begin(g *segment, base *state) {
	if !c.self.IsZero() && base.self != c.self {
		c.report.add("%s: it belongs to node %s", g.path, base.self)
	}
	if c.state == nil {
		c.state = base
		return
	}
	played := *c.state
	played.acked, base.acked = nil, nil // written as they move, not as entries
	switch {
	case played.next != base.next:
		c.report.add("%s: it begins at position %d, the one before it ends at %d: records are missing", g.path, base.next, played.next)
	case !bytes.Equal(played.encode(), base.encode()):
		c.report.add("%s: it does not begin with the state that the segments before it lead to", g.path)
	}
	base.acked = map[string]Vector{}
	c.state = base
}

// entries plays a segment.
func (c *checker) entries(g *segment, x *index) {
	err := g.each(func(p uint64, stamped []byte) error {
		c.report.Entries++
		e, err := readEntry(p, stamped)
		if err != nil {
			c.report.add("%s: %v", g.path, err)
			x.add(&entry{kind: 0})
			c.state.play(&entry{leaf: storedLeaf(p, stamped)})
			return nil
		}
		if err := checkHashes(p, stamped, c.state.tree.clone()); err != nil {
			c.report.add("%s: entry at position %d: %v", g.path, p, err)
		}
		if err := c.state.follows(e); err != nil {
			c.report.add("%s: entry at position %d: %v", g.path, p, err)
		}
		if e.kind == entryOwn || e.kind == entryForeign {
			c.report.Records++
		}
		if err := c.images.check(e); err != nil {
			c.report.add("entry at position %d: %v", p, err)
		}
		c.state.play(e)
		x.add(e)
		return nil
	})
	if err != nil {
		c.report.add("%v", err)
	}
}

// index compares a sealed segment's indexes with those that its entries give.
func (c *checker) index(g *segment, x *index) {
	sealed, err := g.loadSealed()
	if err != nil {
		c.report.add("%v", err)
		return
	}
	if c.open = sealed == nil; c.open {
		var rested *state
		if sealed, rested = g.loadRested(); sealed == nil {
			return // built at opening
		}
		c.rested(g, rested)
	}
	if !bytes.Equal(sealed.encode(), x.summary().encode()) {
		c.report.add("%s: the summary of its index is not that of its records", g.path)
		return
	}
	if err := compareIndex(g, x, sealed); err != nil {
		c.report.add("%s: %v", g.path, err)
	}
}

// rested compares the state that Close left with what was played.
func (c *checker) rested(g *segment, rested *state) {
	played := *c.state
	played.acked, rested.acked = nil, nil // written as they move, not as entries
	if !bytes.Equal(played.encode(), rested.encode()) {
		c.report.add("%s: the state at its end is not the one that its records lead to", g.path)
	}
}

// compareIndex looks up everything that x knows.
func compareIndex(g *segment, x *index, sealed *sealedIndex) error {
	for n, r := range x.runs {
		for i, want := range r.at {
			at, err := sealed.positions(g, ID{n, r.from + uint64(i)})
			if err != nil {
				return err
			}
			if len(at) == 0 || at[0] != want {
				return fmt.Errorf("index of sequences is wrong at %s/%d: %w", n, r.from+uint64(i), ErrDamaged)
			}
		}
	}
	if err := compareRows(g, x, sealed); err != nil {
		return err
	}
	return errors.Join(compareTerms(g, x), compareKeys(g, x, sealed))
}
