package journal_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"pgproxy/journal"
	"pgproxy/journal/journaltest"
)

// plainTree is a tree as tlog keeps it in memory, made from the journal's leaves.
type plainTree []tlog.Hash

func (p plainTree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		found[i] = p[index]
	}
	return found, nil
}

// TestTree compares every root and some proofs of a journal of several segments, opened again in between, with a tree that
// tlog makes from the leaves.
func TestTree(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	o := journal.Options{Dir: t.TempDir(), Node: "a", NoSync: true, SegmentBytes: 64 << 10}
	for range 3 {
		j, err := journal.Open(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range j.InDoubt() {
			abort(t, in, "opened again")
		}
		for i := range 60 {
			in := seal(t, j, update(i, "ann"))
			if i%7 == 0 {
				abort(t, in, "no")
			} else if err := in.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	j := journaltest.Open(t, o)
	var plain plainTree
	for p := uint64(1); p <= j.Size(); p++ {
		leaf, err := j.Leaf(p)
		if err != nil {
			t.Fatal(err)
		}
		grown, err := tlog.StoredHashes(int64(p-1), leaf, plain)
		if err != nil {
			t.Fatal(err)
		}
		plain = append(plain, grown...)
		want, err := tlog.TreeHash(int64(p), plain)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := j.Root(p); err != nil || got != want {
			t.Fatalf("root of %d entries: %s, %v, want %s", p, got, err, want)
		}
	}
	if j.Size() < 300 {
		t.Fatalf("only %d entries", j.Size())
	}
	for range 100 {
		size := 1 + rnd.Uint64N(j.Size())
		at := 1 + rnd.Uint64N(size)
		root, _ := j.Root(size)
		old, _ := j.Root(at)
		leaf, _ := j.Leaf(at)
		proof, err := j.ProveEntry(at, size)
		if err == nil {
			err = tlog.CheckRecord(proof, int64(size), root, int64(at-1), tlog.RecordHash(leaf))
		}
		if err != nil {
			t.Fatalf("entry %d in %d: %v", at, size, err)
		}
		growth, err := j.ProveGrowth(at, size)
		if err == nil {
			err = tlog.CheckTree(growth, int64(size), root, int64(at), old)
		}
		if err != nil {
			t.Fatalf("from %d to %d: %v", at, size, err)
		}
	}
}
