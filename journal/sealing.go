package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// sealBatch is the number of keys that sealing writes in one transaction, so that its memory stays bounded.
const sealBatch = 20000

// seal writes the indexes of a segment that gets no more entries into its file. The key "sealed" comes last; a crash
// before it leaves the segment unsealed, and the next start does it again.
func (g *segment) seal(x *index, fault func(string)) (*sealedIndex, error) {
	s, err := g.writeIndexes(x, func(w *sealWriter, s *sealedIndex) {
		fault("journal.seal")
		w.put(bucketSegment, keySealed, s.encode())
	})
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", g.path, err)
	}
	return s, nil
}

// writeIndexes writes what x knows; last puts what says that it is complete.
func (g *segment) writeIndexes(x *index, last func(*sealWriter, *sealedIndex)) (*sealedIndex, error) {
	w := sealWriter{g: g}
	if err := w.begin(); err != nil {
		return nil, err
	}
	s := x.summary()
	if len(s.origins) > 1<<16 {
		return nil, fmt.Errorf("%d origins in one segment", len(s.origins))
	}
	w.writeSeqs(x)
	w.writeTerms(x)
	w.writeRows(x, s)
	for _, seq := range sortedSeqs(x.outcomes) {
		w.put(bucketOutcomes, positionKey(seq), positionKey(x.outcomes[seq]))
	}
	w.writeConflicts(x)
	last(&w, s)
	return s, w.end()
}

// sealWriter puts keys in rising order, a batch to a transaction. After an error it does nothing more.
type sealWriter struct {
	g   *segment
	tx  *bolt.Tx
	n   int
	err error
}

// begin removes what an interrupted sealing, or an earlier rest, left behind.
func (w *sealWriter) begin() error {
	return w.g.db.Update(func(tx *bolt.Tx) error {
		if err := tx.Bucket(bucketSegment).Delete(keyRested); err != nil {
			return err
		}
		for _, name := range indexBuckets {
			if err := tx.DeleteBucket(name); err != nil && !errors.Is(err, berrors.ErrBucketNotFound) {
				return err
			}
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *sealWriter) put(bucket, key, value []byte) {
	if w.err != nil {
		return
	}
	if w.tx == nil {
		if w.tx, w.err = w.g.db.Begin(true); w.err != nil {
			return
		}
	}
	b := w.tx.Bucket(bucket)
	b.FillPercent = 1 // keys come in order
	if w.err = b.Put(key, value); w.err != nil {
		return
	}
	if w.n++; w.n%sealBatch == 0 {
		w.commit()
	}
}

func (w *sealWriter) commit() {
	if w.tx != nil && w.err == nil {
		tx := w.tx
		w.tx = nil
		w.err = tx.Commit()
	}
}

func (w *sealWriter) end() error {
	w.commit()
	if w.tx != nil {
		w.tx.Rollback() // put failed: its error is the one to tell
	}
	if n, err := w.g.size(); w.err == nil && err == nil {
		w.g.bytes.Store(n)
	}
	return w.err
}

func (w *sealWriter) writeSeqs(x *index) {
	for _, n := range sortedNodes(x.runs) {
		from := x.runs[n].from
		for chunk := range slices.Chunk(x.runs[n].at, chunkSize) {
			w.put(bucketSeqs, seqKey(n, from), encodeChunk(chunk))
			from += uint64(len(chunk))
		}
	}
}

func (w *sealWriter) writeTerms(x *index) {
	for _, t := range sortedNames(x.terms) {
		for chunk := range slices.Chunk(x.terms[t], chunkSize) {
			w.put(bucketTerms, chunkKey(t, chunk[0]), encodeChunk(chunk))
		}
	}
}

// writeRows writes the own records that did not commit too: an auditor asks for them.
func (w *sealWriter) writeRows(x *index, s *sealedIndex) {
	number := make(map[NodeID]int, len(s.origins))
	for i, n := range s.origins {
		number[n] = i
	}
	hashes := make([]rowHash, 0, len(x.rows))
	for h := range x.rows {
		hashes = append(hashes, h)
	}
	slices.SortFunc(hashes, func(a, b rowHash) int { return bytes.Compare(a[:], b[:]) })
	for _, h := range hashes {
		for _, ref := range x.rows[h] {
			w.put(bucketRows, rowKey(h, ref.hlc, number[ref.id.Origin], ref.id.Seq), nil)
		}
	}
}

func (w *sealWriter) writeConflicts(x *index) {
	keys := make([]conflictKey, 0, len(x.conflicts))
	for k := range x.conflicts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b conflictKey) int { return bytes.Compare(a[:], b[:]) })
	for _, k := range keys {
		w.put(bucketConflicts, k[:], positionKey(x.conflicts[k]))
	}
}

// loadSealed reads the summary of a sealed segment; nil if it is not sealed.
func (g *segment) loadSealed() (s *sealedIndex, err error) {
	err = g.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketSegment)
		if b == nil {
			return fmt.Errorf("%s: %w: it is not a segment", g.path, ErrDamaged)
		}
		g.bytes.Store(tx.Size())
		v := b.Get(keySealed)
		if v == nil {
			return nil
		}
		if s, err = decodeSealed(v); err != nil {
			return fmt.Errorf("%s: %w: %w", g.path, ErrDamaged, err)
		}
		for _, name := range indexBuckets {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("%s: %w: index %s is missing", g.path, ErrDamaged, name)
			}
		}
		g.end.Store(s.end)
		return nil
	})
	return s, err
}

// outcomePosition gives where the outcome of an own record stands in a sealed segment.
func (s *sealedIndex) outcomePosition(g *segment, seq uint64) (p uint64, ok bool, err error) {
	err = g.view(func(tx *bolt.Tx) error {
		if v := tx.Bucket(bucketOutcomes).Get(positionKey(seq)); len(v) == 8 {
			p, ok = binary.BigEndian.Uint64(v), true
		}
		return nil
	})
	return p, ok, err
}

// hasConflict reports whether a conflict is in a sealed segment.
func (s *sealedIndex) hasConflict(g *segment, k conflictKey) (ok bool, err error) {
	err = g.view(func(tx *bolt.Tx) error {
		ok = tx.Bucket(bucketConflicts).Get(k[:]) != nil
		return nil
	})
	return ok, err
}
