package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"pgproxy/journal/hlc"
)

// MaxRecordBytes bounds a record in its published form.
const MaxRecordBytes = 512 << 20

// formatVersion is the version of the published form. It is the first byte of a header, and so covered by the hash.
const formatVersion = 1

// The two shapes of a published record.
const (
	formFull byte = 'F' // with its body
	formVoid byte = 'V' // with the hash of the body alone: the transaction did not commit
)

// Raw is a record in its published form:
//
//	form     1 byte     'F' with body, 'V' void
//	prev     32 bytes   hash of the origin's record before this one
//	header   uvarint length and bytes: version, kind, origin, seq, incarnation, HLC, mark, knew
//	body     'F': uvarint length and bytes; 'V': the SHA-256 of the body
//	hash     32 bytes   SHA-256 of prev, header and the SHA-256 of the body
//
// It travels unchanged. The hash of a void record is that of the full one, so that the chain of an origin is known
// before it is known whether a transaction commits.
type Raw struct {
	ID    ID
	HLC   hlc.Time
	Bytes []byte
}

// chain gives a record's hash.
func chain(prev [32]byte, header []byte, body [32]byte) (h [32]byte) {
	s := sha256.New()
	s.Write(prev[:])
	s.Write(header)
	s.Write(body[:])
	s.Sum(h[:0])
	return h
}

// appendHeader writes the part of r that is known at the gate.
func appendHeader(b []byte, r *Record) []byte {
	e := encoder{b}
	e.byte(formatVersion)
	e.byte(byte(r.Kind))
	e.node(r.Origin)
	e.uint(r.Seq)
	e.uint(r.Incarnation)
	e.fixed(uint64(r.HLC))
	e.fixed(uint64(r.Mark))
	e.vector(r.Knew, r.Origin) // of its own origin it is Seq-1: implied
	return e.b
}

// encodeBody writes the part of r that depends on its kind.
func encodeBody(r *Record) []byte {
	e := encoder{}
	switch r.Kind {
	case KindTx:
		e.b = make([]byte, 0, 1024)
		e.tx(r.Tx)
	case KindMember:
		e.member(r.Member)
	case KindBeat:
		e.fixed(uint64(r.Want))
	}
	return e.b
}

// seal puts a full published form together in three parts, head, body and foot, and gives its hash.
func seal(r *Record, body []byte, bodyHash [32]byte) (head, foot []byte, hash [32]byte) {
	header := appendHeader(make([]byte, 0, 64+20*len(r.Knew)), r)
	hash = chain(r.Prev, header, bodyHash)
	e := encoder{make([]byte, 0, 1+32+2*binary.MaxVarintLen64+len(header))}
	e.byte(formFull)
	e.raw(r.Prev[:])
	e.string(string(header))
	e.uint(uint64(len(body)))
	return e.b, hash[:], hash
}

// frame is a published form, cut into its parts but not decoded. Its slices are parts of the bytes it was cut from.
type frame struct {
	form     byte
	prev     [32]byte
	header   []byte
	body     []byte   // full
	bodyHash [32]byte // void; of a full one only after verify
	hash     [32]byte
}

func parseFrame(b []byte) (frame, error) {
	var f frame
	if len(b) > MaxRecordBytes {
		return f, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	if len(b) < 1+32+1+1+32 {
		return f, errMalformed
	}
	f.form = b[0]
	copy(f.prev[:], b[1:])
	rest := b[33 : len(b)-32]
	copy(f.hash[:], b[len(b)-32:])
	var ok bool
	if f.header, rest, ok = cutBytes(rest); !ok {
		return f, errMalformed
	}
	switch f.form {
	case formFull:
		if f.body, rest, ok = cutBytes(rest); !ok || len(rest) != 0 {
			return f, errMalformed
		}
	case formVoid:
		if len(rest) != 32 {
			return f, errMalformed
		}
		copy(f.bodyHash[:], rest)
	default:
		return f, fmt.Errorf("form %q: %w", f.form, errMalformed)
	}
	return f, nil
}

// cutBytes cuts a length and as many bytes off b.
func cutBytes(b []byte) (part, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) || w > 1 && b[w-1] == 0 {
		return nil, nil, false
	}
	return b[w : w+int(n)], b[w+int(n):], true
}

// verify checks the hash over all parts.
func (f *frame) verify() error {
	if f.form == formFull {
		f.bodyHash = sha256.Sum256(f.body)
	}
	if chain(f.prev, f.header, f.bodyHash) != f.hash {
		return fmt.Errorf("hash does not match: %w", errMalformed)
	}
	return nil
}

// decodeHeader reads the header alone; what is in the body stays zero.
func (f *frame) decodeHeader() (*Record, error) {
	d := decoder{s: string(f.header)}
	if v := d.byte(); v != formatVersion && d.err == nil {
		return nil, fmt.Errorf("record format %d, this program reads %d: %w", v, formatVersion, errMalformed)
	}
	r := &Record{Prev: f.prev, Kind: Kind(d.byte())}
	r.ID = d.id()
	r.Incarnation = d.uint()
	r.HLC = hlc.Time(d.fixed())
	r.Mark = hlc.Time(d.fixed())
	r.Knew = d.vector()
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if r.Seq == 0 || r.Origin.IsZero() || r.HLC == 0 || r.Knew[r.Origin] != 0 {
		return nil, fmt.Errorf("header: %w", errMalformed)
	}
	if (r.Seq == 1) != (r.Prev == [32]byte{}) {
		return nil, fmt.Errorf("first of a chain: %w", errMalformed)
	}
	if r.Seq > 1 {
		r.Knew[r.Origin] = r.Seq - 1
	}
	switch r.Kind {
	case KindTx, KindMember, KindBeat:
	default:
		return nil, fmt.Errorf("kind %d: %w", r.Kind, errMalformed)
	}
	if f.form == formVoid {
		if r.Kind != KindTx {
			return nil, fmt.Errorf("void of kind %d: %w", r.Kind, errMalformed)
		}
		r.Kind = KindVoid
	}
	return r, nil
}

// decode reads everything.
func (f *frame) decode() (*Record, error) {
	r, err := f.decodeHeader()
	if err != nil {
		return nil, err
	}
	d := decoder{s: string(f.body)}
	switch r.Kind {
	case KindTx:
		r.Tx = d.tx()
	case KindMember:
		r.Member = d.member()
	case KindBeat:
		r.Want = hlc.Time(d.fixed())
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	return r, nil
}

// void gives the published form of the same record as one that did not commit.
func (f *frame) void() []byte {
	if f.form == formVoid {
		panic("void of a void record")
	}
	sum := sha256.Sum256(f.body)
	e := encoder{make([]byte, 0, 1+32+binary.MaxVarintLen64+len(f.header)+32+32)}
	e.byte(formVoid)
	e.raw(f.prev[:])
	e.string(string(f.header))
	e.raw(sum[:])
	e.raw(f.hash[:])
	return e.b
}

// DecodeRaw checks a record's published form against its own hash and reads it. It fails with ErrDamaged. It cannot see
// whether the record fits the chain of its origin: Store does.
func DecodeRaw(b []byte) (*Record, error) {
	f, err := parseFrame(b)
	if err == nil {
		err = f.verify()
	}
	if err != nil {
		return nil, fmt.Errorf("read record: %w: %w", ErrDamaged, err)
	}
	r, err := f.decode()
	if err != nil {
		return nil, fmt.Errorf("read record: %w: %w", ErrDamaged, err)
	}
	return r, nil
}

// NewRaw reads the id and time off a record's published form, without checking more than that it can be read. It
// keeps b.
func NewRaw(b []byte) (Raw, error) {
	f, err := parseFrame(b)
	if err != nil {
		return Raw{}, fmt.Errorf("read record: %w: %w", ErrDamaged, err)
	}
	r, err := f.decodeHeader()
	if err != nil {
		return Raw{}, fmt.Errorf("read record: %w: %w", ErrDamaged, err)
	}
	return Raw{ID: r.ID, HLC: r.HLC, Bytes: b}, nil
}

// Hash gives the record's hash as it stands in its bytes.
func (r Raw) Hash() (h [32]byte) {
	if len(r.Bytes) >= len(h) {
		copy(h[:], r.Bytes[len(r.Bytes)-len(h):])
	}
	return h
}

// Void reports whether the record holds only its place.
func (r Raw) Void() bool { return len(r.Bytes) > 0 && r.Bytes[0] == formVoid }

// Equal reports whether both are the same record in the same form.
func (r Raw) Equal(o Raw) bool { return r.ID == o.ID && bytes.Equal(r.Bytes, o.Bytes) }
