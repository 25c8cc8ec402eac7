package journal

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
)

// scanBatch is the number of entries that are read in one read transaction and held in memory.
const scanBatch = 64

// scanBatchBytes ends a batch earlier.
const scanBatchBytes = 4 << 20

// walk goes over the entries that have all of some terms and lie in a span of time, in either direction. It holds no
// lock and no transaction between two entries.
type walk struct {
	shelf        *shelf
	terms        []string
	rows         []rowHash // any of them; none: whatever the row
	since, until int64     // milliseconds; both 0: all times
	forward      bool
	after        uint64 // position to go on behind; 0: from the start
	only         sorted // the only positions to look at, if narrow
	narrow       bool
	read         *atomic.Int64

	touched   sorted // where rows were touched in the segment touchedIn
	touchedIn *segment
}

type walked struct {
	position uint64
	entry    *entry
}

func (w *walk) entries() iter.Seq2[walked, error] {
	return func(yield func(walked, error) bool) {
		segments := w.shelf.list()
		if !w.forward {
			slices.Reverse(segments)
		}
		from := w.start()
		for _, g := range segments {
			if w.passed(g, from) {
				continue
			}
			for {
				batch, next, err := w.batch(g, from)
				if errors.Is(err, ErrPruned) {
					break // meanwhile
				}
				if err != nil {
					yield(walked{}, err)
					return
				}
				for _, e := range batch {
					if !yield(e, nil) {
						return
					}
				}
				if from = next; w.passed(g, from) {
					break
				}
			}
		}
	}
}

// start gives the first position to look at.
func (w *walk) start() uint64 {
	switch {
	case w.forward:
		return w.after + 1
	case w.after == 0:
		return math.MaxUint64
	}
	return w.after - 1
}

// passed reports whether the segment has nothing at or beyond p.
func (w *walk) passed(g *segment, p uint64) bool {
	if w.forward {
		return p >= g.next()
	}
	return p < g.first
}

// batch reads the next entries of a segment, and gives the position to go on from, past the segment if it has no more.
func (w *walk) batch(g *segment, from uint64) ([]walked, uint64, error) {
	var found []walked
	var raw [][]byte
	next := w.beyond(g)
	size := 0
	if err := w.findRows(g); err != nil {
		return nil, 0, err
	}
	// What is looked up must be in the transaction's snapshot: the end and the kind of index are taken before it begins.
	w.shelf.mu.RLock()
	mem, sealed, end := g.mem, g.sealed, g.next()
	w.shelf.mu.RUnlock()
	err := g.view(func(tx *bolt.Tx) error {
		var list positions
		var chunks []*termChunks
		if all := (span{g.first, end}); mem != nil {
			list = w.memory(mem, all)
		} else {
			list, chunks = w.file(tx, sealed, all)
		}
		b := tx.Bucket(bucketEntries)
		p, ok := list.next(from, w.forward)
		for ok {
			if len(found) == scanBatch || size > scanBatchBytes {
				next = p
				break
			}
			v := b.Get(positionKey(p))
			if v == nil {
				return fmt.Errorf("%s: %w: position %d is missing", g.path, ErrDamaged, p)
			}
			found = append(found, walked{position: p})
			raw = append(raw, slices.Clone(v))
			size += len(v)
			if w.forward {
				p, ok = list.next(p+1, true)
			} else if ok = p > g.first; ok {
				p, ok = list.next(p-1, false)
			}
		}
		for _, c := range chunks {
			if c.err != nil {
				return fmt.Errorf("%s: %w", g.path, c.err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	for i := range found {
		if found[i].entry, err = readEntry(found[i].position, raw[i]); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", g.path, err)
		}
		w.shelf.bind(found[i].entry.record)
	}
	if w.read != nil {
		w.read.Add(int64(len(found)))
	}
	return found, next, nil
}

// beyond gives a position past the segment in the walk's direction.
func (w *walk) beyond(g *segment) uint64 {
	if w.forward {
		return g.next()
	}
	return g.first - 1
}

// lists begins the lists of candidates.
func (w *walk) lists(all span) both {
	lists := both{all}
	if w.narrow {
		lists = append(lists, w.only)
	}
	if len(w.rows) > 0 {
		lists = append(lists, w.touched)
	}
	return lists
}

// memory gives the candidates among all, from an index in memory.
func (w *walk) memory(x *index, all span) positions {
	w.shelf.mu.RLock()
	defer w.shelf.mu.RUnlock()
	lists := w.lists(all)
	for _, t := range w.terms {
		lists = append(lists, sorted(x.terms[t]))
	}
	if w.timed() {
		lists = append(lists, zoned{all, slices.Clone(x.zones), w.since, w.until})
	}
	return lists
}

// file gives the candidates among all, from the index of a sealed segment, and the parts of it that may fail.
func (w *walk) file(tx *bolt.Tx, x *sealedIndex, all span) (positions, []*termChunks) {
	lists := w.lists(all)
	var chunks []*termChunks
	for _, t := range w.terms {
		c := &termChunks{cursor: tx.Bucket(bucketTerms).Cursor(), term: t}
		chunks = append(chunks, c)
		lists = append(lists, c)
	}
	if w.timed() {
		lists = append(lists, zoned{all, x.zones, w.since, w.until})
	}
	return lists, chunks
}

func (w *walk) timed() bool { return w.since != 0 || w.until != 0 }
