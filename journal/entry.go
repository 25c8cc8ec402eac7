package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"golang.org/x/mod/sumdb/tlog"

	"pgproxy/journal/hlc"
)

// entryKind says what stands at a position of the journal. The letters are part of the format.
type entryKind byte

const (
	entryOwn      entryKind = 'I' // a record of this node: an intent, a member record, a beat
	entryForeign  entryKind = 'R' // a record in its published form as it came from a peer
	entryOutcome  entryKind = 'O' // what became of an intent
	entryAttempt  entryKind = 'A' // a transaction that rolled back or wrote nothing
	entryConflict entryKind = 'C' // a verdict
	entryEvent    entryKind = 'E' // a session, a refused login, an act, a gap

	entryCheckpoint entryKind = 'K' // a signed statement about the entries before it
	entryPurge      entryKind = 'X' // entries before a position were deleted on purpose
)

// entry is one thing to be written, or read back: its payload, and what the indexes need to know of it. Each kind uses
// only some of the fields. Entries are never changed once they are queued.
type entry struct {
	kind    entryKind
	head    []byte // what is stored is head, payload and foot together: a large body is copied once, by the committer
	payload []byte
	foot    []byte

	record  *Record // own, foreign; an attempt's, with Seq 0
	hash    [32]byte
	leaf    tlog.Hash // known once it is stored
	rows    []rowHash
	terms   []string
	missing int64 // statements without captured effect; for an outcome: those of its intent, if it committed
	bytes   int   // of what is stored

	seq     uint64 // outcome: of which own record
	outcome Outcome
	reason  string

	conflict    *Conflict
	conflictKey conflictKey

	event *Event
}

// when gives the entry's own time; false if it has none.
func (e *entry) when() (hlc.Time, bool) {
	switch {
	case e.record != nil:
		return e.record.HLC, true
	case e.event != nil:
		return e.event.Time, true
	}
	return 0, false
}

// castagnoli is the table of CRC32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stamp gives the entry as it is stored under a position, and adds it to the tree: kind, payload, the hashes that it
// completes in the tree, CRC32C of the position and all of that. The position is in the sum so that an entry which ended up
// elsewhere is noticed.
func (e *entry) stamp(position uint64, tree *frontier) []byte {
	b := make([]byte, 0, 1+e.bytes+completed(position)*tlog.HashSize+4)
	b = append(b, byte(e.kind))
	b = append(append(append(b, e.head...), e.payload...), e.foot...)
	e.leaf = e.leafHash()
	for _, h := range tree.grow(e.leaf) {
		b = append(b, h[:]...)
	}
	return binary.BigEndian.AppendUint32(b, entrySum(position, b))
}

func entrySum(position uint64, b []byte) uint32 {
	sum := crc32.Update(0, castagnoli, positionKey(position))
	return crc32.Update(sum, castagnoli, b)
}

func positionKey(p uint64) []byte { return binary.BigEndian.AppendUint64(nil, p) }

// openStamp checks a stored entry and gives its kind and payload, which is a part of b.
func openStamp(position uint64, b []byte) (entryKind, []byte, error) {
	end := len(b) - 4 - completed(position)*tlog.HashSize
	if end < 1 {
		return 0, nil, fmt.Errorf("entry at position %d: %w: %d bytes", position, ErrDamaged, len(b))
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if entrySum(position, body) != sum {
		return 0, nil, fmt.Errorf("entry at position %d: %w: checksum does not match", position, ErrDamaged)
	}
	return entryKind(body[0]), body[1:end], nil
}

// readEntry reads a stored entry whole and prepares it for the indexes. It checks the entry alone, not its place among
// others, and takes its leaf in the tree as it stands there. It copies what it keeps of b.
func readEntry(position uint64, b []byte) (*entry, error) {
	kind, payload, err := openStamp(position, b)
	if err != nil {
		return nil, err
	}
	e, err := parseEntry(kind, payload)
	if err != nil {
		return nil, fmt.Errorf("entry at position %d: %w: %w", position, ErrDamaged, err)
	}
	_, hashes := splitStamp(position, b)
	e.leaf = hashes[0]
	return e, nil
}

func parseEntry(kind entryKind, payload []byte) (*entry, error) {
	switch kind {
	case entryOwn, entryForeign:
		f, err := parseFrame(payload)
		if err == nil {
			err = f.verify()
		}
		if err != nil {
			return nil, err
		}
		r, err := f.decode()
		if err != nil {
			return nil, err
		}
		return recordEntry(kind, r, nil, f.hash, len(payload)), nil
	case entryOutcome:
		return parseOutcome(payload)
	case entryAttempt:
		return parseAttempt(payload)
	case entryConflict:
		d := decoder{s: string(payload)}
		c := d.conflict()
		if err := d.end(); err != nil {
			return nil, err
		}
		return &entry{kind: kind, conflict: &c, conflictKey: c.identity(), terms: c.terms(), bytes: len(payload)}, nil
	case entryEvent:
		return parseEvent(payload)
	}
	switch kind {
	case entryCheckpoint:
		return parseCheckpointEntry(payload)
	case entryPurge:
		return parsePurge(payload)
	}
	return nil, fmt.Errorf("kind %q: %w", byte(kind), errMalformed)
}

// recordEntry prepares a record for the journal. raw may be nil for an entry that is already stored.
func recordEntry(kind entryKind, r *Record, raw []byte, hash [32]byte, size int) *entry {
	e := &entry{kind: kind, payload: raw, record: r, hash: hash, bytes: size}
	if r.Tx != nil {
		for _, k := range r.Tx.RowKeys() {
			e.rows = append(e.rows, k.hash())
		}
		for _, k := range r.Tx.ClaimKeys() {
			e.rows = append(e.rows, k.hash())
		}
		e.describe(r)
	}
	e.terms = append(e.terms, originTerm(r.Origin))
	return e
}

// images gives the images that the entry names; nil if it names none.
func (e *entry) images() *Images {
	if e.record == nil || e.record.Tx == nil {
		return nil
	}
	return e.record.Tx.Images
}

// describe fills what the indexes need of a transaction beside the rows it changed.
func (e *entry) describe(r *Record) {
	e.terms = r.Tx.terms()
	if r.Tx.Session != 0 {
		e.terms = append(e.terms, r.Session().term())
	}
	if e.kind == entryAttempt || r.Tx.rollsBack() {
		e.terms = append(e.terms, r.Tx.idleRows(e.rows)...)
	}
	e.missing = r.Tx.missing()
}

func outcomeEntry(seq uint64, o Outcome, missing int64, reason string) *entry {
	e := encoder{}
	e.uint(seq)
	e.byte(byte(o))
	e.uint(uint64(missing))
	e.string(reason)
	return &entry{kind: entryOutcome, payload: e.b, seq: seq, outcome: o, missing: missing, reason: reason, bytes: len(e.b)}
}

func parseOutcome(payload []byte) (*entry, error) {
	d := decoder{s: string(payload)}
	e := &entry{kind: entryOutcome, seq: d.uint(), outcome: Outcome(d.byte()), missing: int64(d.uint()), reason: d.string(),
		bytes: len(payload)}
	if e.outcome != OutcomeCommitted && e.outcome != OutcomeAborted {
		d.fail()
	}
	return e, d.end()
}

// attemptEntry prepares a transaction that has no place in the stream.
func attemptEntry(node NodeID, t hlc.Time, incarnation uint64, tx *Tx, o Outcome) *entry {
	e := encoder{}
	e.byte(byte(o))
	e.node(node)
	e.uint(incarnation)
	e.fixed(uint64(t))
	e.tx(tx)
	r := &Record{ID: ID{Origin: node}, Incarnation: incarnation, HLC: t, Kind: KindTx, Tx: tx}
	a := &entry{kind: entryAttempt, payload: e.b, record: r, outcome: o, bytes: len(e.b)}
	a.describe(r) // its rows are idle: it changed none
	a.terms = append(a.terms, originTerm(node))
	return a
}

func parseAttempt(payload []byte) (*entry, error) {
	d := decoder{s: string(payload)}
	o := Outcome(d.byte())
	r := &Record{Kind: KindTx}
	r.Origin = d.node()
	r.Incarnation = d.uint()
	r.HLC = hlc.Time(d.fixed())
	r.Tx = d.tx()
	if err := d.end(); err != nil {
		return nil, err
	}
	a := &entry{kind: entryAttempt, record: r, outcome: o, bytes: len(payload)}
	a.describe(r)
	a.terms = append(a.terms, originTerm(r.Origin))
	return a, nil
}
