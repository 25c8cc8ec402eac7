package peerpb

import (
	"bytes"
	"fmt"
	"slices"

	"pgproxy/journal"
)

// MaxOrigins is how many origins a version vector from a peer may name: a cluster has 256 node numbers, and clusters
// that dissolved leave a few more.
const MaxOrigins = 4096

// FromVector gives v in the form that travels, sorted by origin.
func FromVector(v journal.Vector) []*Entry {
	entries := make([]*Entry, 0, len(v))
	for n, seq := range v {
		entries = append(entries, &Entry{Origin: n[:], Seq: seq})
	}
	slices.SortFunc(entries, func(a, b *Entry) int { return bytes.Compare(a.Origin, b.Origin) })
	return entries
}

// ToVector reads what FromVector made.
func ToVector(entries []*Entry) (journal.Vector, error) {
	if len(entries) > MaxOrigins {
		return nil, fmt.Errorf("vector of %d origins is over the limit of %d", len(entries), MaxOrigins)
	}
	v := make(journal.Vector, len(entries))
	for _, e := range entries {
		n, err := ToNode(e.GetOrigin())
		if err != nil {
			return nil, err
		}
		v[n] = e.GetSeq()
	}
	return v, nil
}

// ToNode reads a node's id.
func ToNode(b []byte) (journal.NodeID, error) {
	var n journal.NodeID
	if len(b) != len(n) {
		return n, fmt.Errorf("node id of %d bytes, expected %d", len(b), len(n))
	}
	copy(n[:], b)
	return n, nil
}
