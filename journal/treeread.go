package journal

import (
	"fmt"
	"sort"

	"golang.org/x/mod/sumdb/tlog"
)

// hashes reads the tree of what is durable. Of what was pruned it has the full subtrees that everything later is built on.
type hashes struct{ shelf *shelf }

var _ tlog.HashReader = hashes{}

// ReadHashes gives stored hashes by their index in tlog's numbering.
func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	segments := h.shelf.list()
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		position := uint64(n+1) << level
		var err error
		if found[i], err = h.read(segments, position, level, n); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (h hashes) read(segments []*segment, position uint64, level int, n int64) (tlog.Hash, error) {
	k := sort.Search(len(segments), func(k int) bool { return segments[k].first > position }) - 1
	if k < 0 {
		if hash, ok := h.shelf.before.find(level, n); ok {
			return hash, nil
		}
		return tlog.Hash{}, fmt.Errorf("hash of entries up to position %d: %w", position, ErrPruned)
	}
	b, err := segments[k].read(position)
	if err != nil {
		return tlog.Hash{}, err
	}
	if _, _, err := openStamp(position, b); err != nil {
		return tlog.Hash{}, fmt.Errorf("%s: %w", segments[k].path, err)
	}
	_, hashes := splitStamp(position, b)
	return hashes[level], nil
}

// Size gives the number of entries that are durable here, pruned ones included: the position of the last one.
func (s *shelf) Size() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.durable.tree.size
}

// Root gives the hash of the tree of the first size entries.
func (s *shelf) Root(size uint64) (tlog.Hash, error) {
	if have := s.Size(); size > have {
		return tlog.Hash{}, fmt.Errorf("root of %d entries: %w: there are %d", size, ErrNotFound, have)
	}
	if size == 0 {
		return (&frontier{}).root(), nil
	}
	root, err := tlog.TreeHash(int64(size), hashes{s})
	if err != nil {
		return root, fmt.Errorf("root of %d entries: %w", size, err)
	}
	return root, nil
}

// ProveGrowth gives the proof that the tree of the first size entries begins with that of the first from.
func (s *shelf) ProveGrowth(from, size uint64) (tlog.TreeProof, error) {
	if have := s.Size(); from == 0 || from > size || size > have {
		return nil, fmt.Errorf("prove growth from %d to %d entries: %w: there are %d", from, size, ErrNotFound, have)
	}
	proof, err := tlog.ProveTree(int64(size), int64(from), hashes{s})
	if err != nil {
		return nil, fmt.Errorf("prove growth from %d to %d entries: %w", from, size, err)
	}
	return proof, nil
}

// Leaf gives what the leaf of a position is the hash of: the entry's kind and payload, as it is stored.
func (s *shelf) Leaf(position uint64) ([]byte, error) {
	segments := s.list()
	k := sort.Search(len(segments), func(k int) bool { return segments[k].first > position }) - 1
	switch {
	case position == 0 || position > s.Size():
		return nil, fmt.Errorf("entry at position %d: %w", position, ErrNotFound)
	case k < 0:
		return nil, fmt.Errorf("entry at position %d: %w", position, ErrPruned)
	}
	b, err := segments[k].read(position)
	if err != nil {
		return nil, err
	}
	if _, _, err := openStamp(position, b); err != nil {
		return nil, fmt.Errorf("%s: %w", segments[k].path, err)
	}
	leaf, _ := splitStamp(position, b)
	return leaf, nil
}

// ProveEntry gives the proof that the entry at a position is in the tree of the first size entries.
func (s *shelf) ProveEntry(position, size uint64) (tlog.RecordProof, error) {
	if have := s.Size(); position == 0 || position > size || size > have {
		return nil, fmt.Errorf("prove entry at position %d in %d: %w: there are %d", position, size, ErrNotFound, have)
	}
	proof, err := tlog.ProveRecord(int64(size), int64(position-1), hashes{s})
	if err != nil {
		return nil, fmt.Errorf("prove entry at position %d: %w", position, err)
	}
	return proof, nil
}
