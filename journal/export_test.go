package journal

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// VoidForm gives the void form of a full record.
func VoidForm(b []byte) ([]byte, error) { return voidOf(b) }

// WithDisk lets a test make the disk fail.
func (o Options) WithDisk(f func(point string) error) Options {
	o.disk = f
	return o
}

// PurgeTo deletes all segments but the last n, whoever needs them, and gives the first position that is left.
func (j *Journal) PurgeTo(n int) (uint64, error) {
	segments := j.list()
	gone := segments[:max(0, len(segments)-n)]
	if len(gone) == 0 {
		return segments[0].first, nil
	}
	first := segments[len(gone)].first
	return first, j.purge(context.Background(), gone, first, "test")
}

// WaitSealed waits until all segments but the last are sealed.
func (j *Journal) WaitSealed() { j.sealings.Wait() }

// Counting counts the entries that a scan reads.
func (f Filter) Counting(n *atomic.Int64) Filter {
	f.read = n
	return f
}

// GrowTree gives a function that adds an entry with such a payload to a tree.
func GrowTree() func(payload []byte) {
	var t frontier
	return func(payload []byte) {
		e := entry{kind: entryOwn, payload: payload}
		t.grow(e.leafHash())
	}
}

// Rests reports whether the last segment was not played.
func (r *ReadOnly) Rests() bool { return r.last().rested != nil }

// Disturb takes one index away from the last segment of a closed journal.
func Disturb(t testing.TB, dir string) {
	t.Helper()
	paths, err := segmentPaths(filepath.Join(dir, segmentsFolder))
	if err != nil || len(paths) == 0 {
		t.Fatalf("segments: %v, %v", paths, err)
	}
	g, err := openSegment(paths[len(paths)-1], 0, true)
	if err != nil {
		t.Fatal(err)
	}
	err = g.db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketTerms) })
	if err := errors.Join(err, g.close()); err != nil {
		t.Fatal(err)
	}
}
