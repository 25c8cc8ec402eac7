package journal

import (
	"crypto/sha256"
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// All entries together, whatever their kind, are the leaves of one Merkle tree as RFC 6962 defines it: leaf i is the entry
// at position i+1. What a leaf is the hash of is the entry as it is stored: its kind and payload. Behind them stand the
// hashes that the leaf completes, its own first, then one of each full subtree that ends with it; so the tree costs the
// commit no key and no page of its own, and an inner hash is found by its position alone.

// completed gives how many hashes stand in the entry at a position.
func completed(position uint64) int { return 1 + bits.TrailingZeros64(position) }

// frontier is a tree as far as growing needs it: the full subtrees that make up its leaves, the largest first.
type frontier struct {
	size   uint64 // leaves
	hashes []tlog.Hash
}

func (t *frontier) clone() frontier { return frontier{t.size, slices.Clone(t.hashes)} }

// grow adds a leaf and gives the hashes that it completes.
func (t *frontier) grow(leaf tlog.Hash) []tlog.Hash {
	t.size++
	done := make([]tlog.Hash, 1, completed(t.size))
	done[0] = leaf
	for len(done) < cap(done) {
		last := len(t.hashes) - 1
		leaf = tlog.NodeHash(t.hashes[last], leaf)
		t.hashes = t.hashes[:last]
		done = append(done, leaf)
	}
	t.hashes = append(t.hashes, leaf)
	return done
}

// root gives the hash of the whole tree.
func (t *frontier) root() tlog.Hash {
	if t.size == 0 {
		return tlog.Hash(sha256.Sum256(nil))
	}
	h := t.hashes[len(t.hashes)-1]
	for i := len(t.hashes) - 2; i >= 0; i-- {
		h = tlog.NodeHash(t.hashes[i], h)
	}
	return h
}

// find gives the hash of a full subtree, if the frontier holds it.
func (t *frontier) find(level int, n int64) (tlog.Hash, bool) {
	at := 0
	for l := 63; l > level; l-- {
		if t.size&(1<<l) != 0 {
			at++
		}
	}
	if t.size&(1<<level) == 0 || uint64(n) != t.size>>level-1 {
		return tlog.Hash{}, false
	}
	return t.hashes[at], true
}

func (e *encoder) frontier(t *frontier) {
	for i := range t.hashes {
		e.raw(t.hashes[i][:])
	}
}

// frontier reads the tree of so many leaves.
func (d *decoder) frontier(size uint64) frontier {
	t := frontier{size: size}
	for n := bits.OnesCount64(size); n > 0 && d.err == nil; n-- {
		t.hashes = append(t.hashes, tlog.Hash(d.hash()))
	}
	return t
}

// leafHash is RFC 6962's hash of an entry.
func (e *entry) leafHash() (h tlog.Hash) {
	s := sha256.New()
	s.Write([]byte{0, byte(e.kind)})
	s.Write(e.head)
	s.Write(e.payload)
	s.Write(e.foot)
	s.Sum(h[:0])
	return h
}

// splitStamp cuts a stored entry, whose checksum was verified, into what the leaf is the hash of and the hashes that the
// leaf completes. It gives nil where the entry is too short.
func splitStamp(position uint64, b []byte) (leaf []byte, hashes []tlog.Hash) {
	n := completed(position)
	end := len(b) - 4 - n*tlog.HashSize
	if end < 1 {
		return nil, nil
	}
	hashes = make([]tlog.Hash, n)
	for i := range hashes {
		copy(hashes[i][:], b[end+i*tlog.HashSize:])
	}
	return b[:end], hashes
}

// storedLeaf gives the leaf as it stands in a stored entry, whatever else is wrong with it; zero if it is cut off.
func storedLeaf(position uint64, b []byte) tlog.Hash {
	if _, hashes := splitStamp(position, b); hashes != nil {
		return hashes[0]
	}
	return tlog.Hash{}
}

// checkHashes makes the hashes of a stored entry anew and compares. tree is what stands before it.
func checkHashes(position uint64, b []byte, tree frontier) error {
	leaf, stored := splitStamp(position, b)
	if leaf == nil {
		return fmt.Errorf("%w: %d bytes", ErrDamaged, len(b))
	}
	if hash := tlog.RecordHash(leaf); stored[0] != hash {
		return fmt.Errorf("%w: its content is not what the tree holds", ErrDamaged)
	}
	if !slices.Equal(tree.grow(stored[0]), stored) {
		return fmt.Errorf("%w: its place in the tree is not what the entries before it lead to", ErrDamaged)
	}
	return nil
}
