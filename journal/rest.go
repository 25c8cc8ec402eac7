package journal

import (
	"encoding/binary"
	"math"

	bolt "go.etcd.io/bbolt"
)

// Who reads the journal of a stopped node would have to play its last segment. So that it need not, Close leaves the indexes
// and the state there, as sealing does in a full one: it rests. They hold as long as no entry comes behind them, and are not
// used by a journal that is opened for writing.

// restBytes is the size from which a segment rests: a smaller one is played in a moment.
const restBytes = 1 << 20

// rest leaves the indexes of the last segment in its file. Without them it only takes longer to read.
func (j *Journal) rest() {
	g := j.last()
	if j.failed.Load() != nil || g.mem == nil || g.bytes.Load() < restBytes || j.room(g.bytes.Load()/2) != nil {
		return
	}
	if old, _ := g.loadRested(); old != nil {
		return
	}
	_, err := g.writeIndexes(g.mem, func(w *sealWriter, s *sealedIndex) {
		summary := s.encode()
		v := binary.AppendUvarint(nil, uint64(len(summary)))
		w.put(bucketSegment, keyRested, append(append(v, summary...), j.durable.encode()...))
	})
	if err != nil {
		j.o.Logger.Warn("indexes of the last segment could not be left: who reads it has to play it", "segment", g.path, "error", err)
	}
}

// loadRested reads what Close left; nil if there is nothing, or entries have come behind it. What cannot be read counts as
// nothing: the entries tell all of it.
func (g *segment) loadRested() (sealed *sealedIndex, end *state) {
	err := g.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketSegment)
		v := b.Get(keyRested)
		last, _ := tx.Bucket(bucketEntries).Cursor().Last()
		n, w := binary.Uvarint(v)
		if w <= 0 || len(last) != 8 || n > math.MaxInt32 || int(n) > len(v)-w {
			return nil
		}
		s, err := decodeSealed(v[w : w+int(n)])
		if err != nil || s.end != binary.BigEndian.Uint64(last)+1 {
			return err
		}
		for _, name := range indexBuckets {
			if tx.Bucket(name) == nil {
				return nil
			}
		}
		if end, err = decodeState(v[w+int(n):]); err != nil {
			return err
		}
		sealed = s
		g.bytes.Store(tx.Size())
		g.end.Store(s.end)
		return nil
	})
	if err != nil || sealed == nil || end.next != sealed.end {
		return nil, nil
	}
	return sealed, end
}
