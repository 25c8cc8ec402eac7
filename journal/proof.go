package journal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// proofHeader begins a proof: it has the form of C2SP's tlog-proof, with the entry itself as its extra data.
//
//	c2sp.org/tlog-proof@v1
//	extra BASE64        what the leaf is the SHA-256 of, after a zero byte: kind and payload of the entry
//	index N             of the leaf: the entry's position less one
//	BASE64 ...          the hashes from the leaf up to the root, a line each
//
//	the signed checkpoint
const proofHeader = "c2sp.org/tlog-proof@v1"

// Proof is an entry with the proof that it is in the journal of which a checkpoint was signed.
type Proof struct {
	Position   uint64
	Leaf       []byte
	Hashes     tlog.RecordProof
	Checkpoint Checkpoint
	Record     *Record // what the entry is, if it is a record or an attempt
}

// Prove makes the proof that the entry at a position is in the journal that c was signed of.
func (s *shelf) Prove(position uint64, c Checkpoint) ([]byte, error) {
	leaf, err := s.Leaf(position)
	if err != nil {
		return nil, fmt.Errorf("prove entry: %w", err)
	}
	hashes, err := s.ProveEntry(position, c.Size)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nextra %s\nindex %d\n", proofHeader, base64.StdEncoding.EncodeToString(leaf), position-1)
	for i := range hashes {
		fmt.Fprintf(&b, "%s\n", base64.StdEncoding.EncodeToString(hashes[i][:]))
	}
	b.WriteString("\n")
	b.Write(c.Note)
	return b.Bytes(), nil
}

// errProof is returned for a proof that does not prove.
var errProof = errors.New("not a proof of an entry of a journal")

// CheckProof reads a proof and checks it: the signature against key (empty: unchecked), and the way from the entry to the
// signed root. It needs no journal.
func CheckProof(b []byte, key string) (Proof, error) {
	var p Proof
	head, signed, ok := bytes.Cut(b, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) < 3 || lines[0] != proofHeader {
		return p, errProof
	}
	c, err := ParseCheckpoint(signed, key)
	if err != nil {
		return p, err
	}
	extra, ok1 := strings.CutPrefix(lines[1], "extra ")
	number, ok2 := strings.CutPrefix(lines[2], "index ")
	index, err1 := strconv.ParseUint(number, 10, 62)
	leaf, err2 := base64.StdEncoding.DecodeString(extra)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || len(leaf) == 0 {
		return p, errProof
	}
	p = Proof{Position: index + 1, Leaf: leaf, Checkpoint: c}
	for _, line := range lines[3:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			return p, fmt.Errorf("%w: %w", errProof, err)
		}
		p.Hashes = append(p.Hashes, h)
	}
	if index >= c.Size {
		return p, fmt.Errorf("%w: entry %d of %d", errProof, p.Position, c.Size)
	}
	if err := tlog.CheckRecord(p.Hashes, int64(c.Size), c.Root, int64(index), tlog.RecordHash(leaf)); err != nil {
		return p, fmt.Errorf("entry %d is not what stands in the journal that was signed: %w", p.Position, err)
	}
	if e, err := parseEntry(entryKind(leaf[0]), leaf[1:]); err == nil {
		p.Record = e.record
	}
	return p, nil
}
