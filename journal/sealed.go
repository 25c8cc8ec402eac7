package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"pgproxy/journal/hlc"

	bolt "go.etcd.io/bbolt"
)

// Buckets of a sealed segment's indexes. Their layout is part of the format.
var (
	bucketSeqs      = []byte("seqs")      // node, first seq of the chunk -> positions
	bucketRows      = []byte("rows")      // row hash, HLC, number of the origin, seq -> nothing
	bucketTerms     = []byte("terms")     // term, 0, first position of the chunk -> positions
	bucketOutcomes  = []byte("outcomes")  // own seq -> position of its outcome
	bucketConflicts = []byte("conflicts") // conflict key -> position
	indexBuckets    = [][]byte{bucketSeqs, bucketRows, bucketTerms, bucketOutcomes, bucketConflicts}
)

// chunkSize is the number of positions that are kept together under one key.
const chunkSize = 512

// rowKeyBytes is the length of a key in bucketRows.
const rowKeyBytes = 16 + 8 + 2 + 8

// seqSpan is the records of one origin in a segment: from up to and with to.
type seqSpan struct{ from, to uint64 }

// sealedIndex finds entries of a segment that will not change any more. The small part of it is in memory.
type sealedIndex struct {
	end     uint64 // the next position after the segment
	spans   map[NodeID]seqSpan
	zones   []zone
	aborted []uint64
	origins []NodeID // by their number in bucketRows
	large   []largeRef
	latest  int64 // milliseconds of the latest entry: made from the zones
}

// summary makes the small part from a complete index.
func (x *index) summary() *sealedIndex {
	s := &sealedIndex{end: x.next, spans: map[NodeID]seqSpan{}, zones: x.zones, aborted: slices.Clone(x.aborted), large: x.large}
	slices.Sort(s.aborted)
	for n, r := range x.runs {
		s.spans[n] = seqSpan{r.from, r.from + uint64(len(r.at)) - 1}
	}
	s.origins = sortedNodes(x.runs)
	s.findLatest()
	return s
}

func (s *sealedIndex) findLatest() {
	s.latest = math.MinInt64
	for _, z := range s.zones {
		s.latest = max(s.latest, z.greatest)
	}
}

func (s *sealedIndex) encode() []byte {
	e := encoder{}
	e.byte(formatVersion)
	e.uint(s.end)
	sequence(&e, s.origins, func(e *encoder, n *NodeID) {
		e.node(*n)
		e.uint(s.spans[*n].from)
		e.uint(s.spans[*n].to)
	})
	sequence(&e, s.zones, func(e *encoder, z *zone) { e.int(z.least); e.int(z.greatest) })
	sequence(&e, s.aborted, func(e *encoder, v *uint64) { e.uint(*v) })
	sequence(&e, s.large, func(e *encoder, l *largeRef) {
		e.id(l.id)
		e.fixed(uint64(l.hlc))
		e.uint(l.position)
		e.images(&l.images)
	})
	return e.b
}

func decodeSealed(b []byte) (*sealedIndex, error) {
	d := decoder{s: string(b)}
	if v := d.byte(); v != formatVersion {
		return nil, fmt.Errorf("index format %d, this program reads %d: %w", v, formatVersion, errMalformed)
	}
	s := &sealedIndex{end: d.uint(), spans: map[NodeID]seqSpan{}}
	s.origins = items(&d, 18, func(d *decoder, n *NodeID) {
		*n = d.node()
		s.spans[*n] = seqSpan{d.uint(), d.uint()}
	})
	s.zones = items(&d, 2, func(d *decoder, z *zone) { z.least, z.greatest = d.int(), d.int() })
	s.aborted = items(&d, 1, func(d *decoder, v *uint64) { *v = d.uint() })
	s.large = items(&d, 16+1+8+1+1+32+2, func(d *decoder, l *largeRef) {
		l.id, l.hlc, l.position = d.id(), hlc.Time(d.fixed()), d.uint()
		if x := d.images(); x != nil {
			l.images = *x
		} else {
			d.fail()
		}
	})
	s.findLatest()
	return s, d.end()
}

// seqKey is a key of bucketSeqs.
func seqKey(n NodeID, seq uint64) []byte { return binary.BigEndian.AppendUint64(n[:], seq) }

// chunkKey is a key of bucketTerms.
func chunkKey(term string, p uint64) []byte {
	b := make([]byte, 0, len(term)+9)
	b = append(append(b, term...), 0)
	return binary.BigEndian.AppendUint64(b, p)
}

// encodeChunk writes rising positions as their number, the first and the distances.
func encodeChunk(at []uint64) []byte {
	b := binary.AppendUvarint(make([]byte, 0, 2*len(at)+12), uint64(len(at)))
	last := uint64(0)
	for _, p := range at {
		b = binary.AppendUvarint(b, p-last)
		last = p
	}
	return b
}

func decodeChunk(b []byte) ([]uint64, error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n == 0 || n > uint64(len(b)) {
		return nil, fmt.Errorf("index chunk: %w", ErrDamaged)
	}
	at, last := make([]uint64, 0, n), uint64(0)
	for b = b[w:]; uint64(len(at)) < n; b = b[w:] {
		var v uint64
		if v, w = binary.Uvarint(b); w <= 0 {
			return nil, fmt.Errorf("index chunk: %w", ErrDamaged)
		}
		last += v
		at = append(at, last)
	}
	return at, nil
}

// positions finds a record in g, whose index s is, and some of those after it; none if it is not there.
func (s *sealedIndex) positions(g *segment, id ID) (found []uint64, err error) {
	span, ok := s.spans[id.Origin]
	if !ok || id.Seq < span.from || id.Seq > span.to {
		return nil, nil
	}
	err = g.view(func(tx *bolt.Tx) error {
		at, from, err := seqChunk(tx, span.from, id)
		if err != nil {
			return fmt.Errorf("%s: %w", g.path, err)
		}
		if i := id.Seq - from; i < uint64(len(at)) {
			found = at[i:]
			return nil
		}
		return fmt.Errorf("%s: %w: record %s is not in the index", g.path, ErrDamaged, id)
	})
	return found, err
}

// seqChunk gives the chunk of positions that holds id, and the first sequence in it. first is the origin's first in
// the segment.
func seqChunk(tx *bolt.Tx, first uint64, id ID) ([]uint64, uint64, error) {
	from := first + (id.Seq-first)/chunkSize*chunkSize
	b := tx.Bucket(bucketSeqs)
	if b == nil {
		return nil, 0, fmt.Errorf("index of sequences: %w", ErrDamaged)
	}
	at, err := decodeChunk(b.Get(seqKey(id.Origin, from)))
	return at, from, err
}

// rowKey is a key of bucketRows.
func rowKey(h rowHash, t hlc.Time, origin int, seq uint64) []byte {
	b := make([]byte, 0, rowKeyBytes)
	b = append(b, h[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t))
	b = binary.BigEndian.AppendUint16(b, uint16(origin))
	return binary.BigEndian.AppendUint64(b, seq)
}

// refs gives the records of g that change a row later than t, in order of time.
func (s *sealedIndex) refs(g *segment, h rowHash, t hlc.Time) ([]rowRef, error) {
	if s.latest < t.Millis() {
		return nil, nil // spares old segments a look for what is asked most: the recent
	}
	var refs []rowRef
	err := g.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketRows).Cursor()
		for k, _ := c.Seek(rowKey(h, t+1, 0, 0)); len(k) == rowKeyBytes && bytes.HasPrefix(k, h[:]); k, _ = c.Next() {
			n := int(binary.BigEndian.Uint16(k[24:]))
			if n >= len(s.origins) {
				return fmt.Errorf("%s: index of rows: %w", g.path, ErrDamaged)
			}
			refs = append(refs, rowRef{
				id:  ID{Origin: s.origins[n], Seq: binary.BigEndian.Uint64(k[26:])},
				hlc: hlc.Time(binary.BigEndian.Uint64(k[16:])),
			})
		}
		return nil
	})
	return refs, err
}

// termChunks walks the positions of one term in a sealed segment. It lives within one read transaction.
type termChunks struct {
	cursor *bolt.Cursor
	term   string
	chunk  sorted
	err    error
}

func (t *termChunks) next(p uint64, forward bool) (uint64, bool) {
	if n := len(t.chunk); n > 0 && t.chunk[0] <= p && p <= t.chunk[n-1] {
		return t.chunk.next(p, forward)
	}
	after, value := t.cursor.Seek(chunkKey(t.term, p+1))
	if forward {
		after, value = bytes.Clone(after), bytes.Clone(value)
	}
	var k, v []byte
	if after == nil {
		k, v = t.cursor.Last()
	} else {
		k, v = t.cursor.Prev()
	}
	if t.load(k, v) && (!forward || t.chunk[len(t.chunk)-1] >= p) {
		return t.chunk.next(p, forward)
	}
	if forward && t.load(after, value) {
		return t.chunk.next(p, forward)
	}
	return 0, false
}

// load makes the chunk under a key the present one, if it is of this term.
func (t *termChunks) load(k, v []byte) bool {
	if t.err != nil || len(k) != len(t.term)+9 || string(k[:len(t.term)]) != t.term || k[len(t.term)] != 0 {
		return false
	}
	at, err := decodeChunk(v)
	t.chunk, t.err = at, err
	return err == nil
}
