package journaltest

import (
	"context"
	"errors"
	"testing"

	"pgproxy/journal"
)

// Open opens a journal that the test's end closes and checks: every page, checksum, chain and index. Dir and Node get
// defaults (a temporary folder, "test").
func Open(t testing.TB, o journal.Options) *journal.Journal {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Node == "" {
		o.Node = "test"
	}
	j, err := journal.Open(context.Background(), o)
	if err != nil {
		t.Fatalf("open journal: %v", err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("close journal: %v", err)
		}
		Check(t, o.Dir)
	})
	return j
}

// Check fails the test if the journal in dir, which must be closed, has any problem.
func Check(t testing.TB, dir string) {
	t.Helper()
	r, err := journal.Check(dir)
	if errors.Is(err, journal.ErrLocked) {
		return // the test has opened it again and checks it when that one is closed
	}
	if err != nil {
		t.Errorf("check journal: %v", err)
	}
	for _, p := range r.Problems {
		t.Errorf("journal: %s", p)
	}
}
