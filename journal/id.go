package journal

import (
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"

	"pgproxy/journal/hlc"
)

// NodeID is a node's 128-bit random identity. It is made once, together with the node's journal, and never changes;
// the node's name is only a label beside it.
type NodeID [16]byte

// String gives the identity as 32 hexadecimal digits.
func (n NodeID) String() string { return hex.EncodeToString(n[:]) }

// IsZero reports whether n names no node.
func (n NodeID) IsZero() bool { return n == NodeID{} }

// ParseNodeID reads what String writes.
func ParseNodeID(s string) (NodeID, error) {
	var n NodeID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(n) {
		return n, fmt.Errorf("node id %q is not 32 hexadecimal digits", s)
	}
	copy(n[:], b)
	return n, nil
}

// ID names one record for ever: the node that wrote it and its place in that node's stream. Sequences start at 1 and
// have no gap.
type ID struct {
	Origin NodeID
	Seq    uint64
}

// String gives "origin/seq" with the full node id. People see the node's name instead (Names.Format).
func (id ID) String() string { return id.Origin.String() + "/" + strconv.FormatUint(id.Seq, 10) }

// Vector is a version vector: for each origin the highest sequence up to which everything is included.
type Vector map[NodeID]uint64

// Covers reports whether id is included in v.
func (v Vector) Covers(id ID) bool { return id.Seq <= v[id.Origin] }

// Includes reports whether everything in o is included in v.
func (v Vector) Includes(o Vector) bool {
	for n, s := range o {
		if v[n] < s {
			return false
		}
	}
	return true
}

// Clone gives an independent copy; never nil.
func (v Vector) Clone() Vector {
	c := make(Vector, len(v))
	maps.Copy(c, v)
	return c
}

// Order compares two places in the one global order (HLC, origin) in which changes are folded; the sequence only
// separates records of one origin that share a time, which a correct origin never issues.
func Order(ta hlc.Time, a ID, tb hlc.Time, b ID) int {
	switch {
	case ta < tb:
		return -1
	case ta > tb:
		return 1
	}
	for i := range a.Origin {
		if a.Origin[i] != b.Origin[i] {
			if a.Origin[i] < b.Origin[i] {
				return -1
			}
			return 1
		}
	}
	switch {
	case a.Seq < b.Seq:
		return -1
	case a.Seq > b.Seq:
		return 1
	}
	return 0
}
