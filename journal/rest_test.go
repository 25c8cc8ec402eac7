package journal_test

import (
	"context"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/journaltest"
)

// rested makes a journal of one segment that is large enough to rest, with records in doubt and aborted ones, and closes it.
func rested(t *testing.T) journal.Options {
	t.Helper()
	o := journal.Options{Dir: t.TempDir(), Node: "a", NoSync: true}
	j := journaltest.Open(t, o)
	fill(t, j, 5000)
	abort(t, seal(t, j, update(1, "aborted")), "for the test")
	seal(t, j, update(2, "open"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestRest: who reads the journal of a stopped node need not play its last segment, and is told the same as who does.
func TestRest(t *testing.T) {
	o := rested(t)
	r := readOnly(t, o.Dir)
	if !r.Rests() {
		t.Fatal("the last segment does not rest")
	}
	played := copyJournal(t, o.Dir)
	journal.Disturb(t, played)
	p := readOnly(t, played)
	if p.Rests() {
		t.Fatal("a segment that lacks an index is used")
	}
	a, b := r.Stats(), p.Stats()
	if a.Bytes, b.Bytes = 0, 0; a != b {
		t.Errorf("resting: %+v\nplayed:  %+v", a, b)
	}
	if !reflect.DeepEqual(r.Names(), p.Names()) || !reflect.DeepEqual(r.Members(), p.Members()) {
		t.Error("members differ")
	}
	unknown, aborted := journal.OutcomeUnknown, journal.OutcomeAborted
	for name, f := range map[string]journal.Filter{"all": {}, "user": {User: "user7"}, "table": {Table: "table3"}, "unknown": {Outcome: &unknown},
		"aborted": {Outcome: &aborted}, "forward": {Forward: true, Limit: 10}} {
		var read atomic.Int64
		got := all(t, r, f.Counting(&read))
		if want := all(t, p, f); len(got) == 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %d items, expected the %d of a played journal", name, len(got), len(want))
		}
		if name == "user" && read.Load() > int64(2*len(got)) {
			t.Errorf("read %d entries for %d items", read.Load(), len(got))
		}
	}
}

// TestRestIsOver: entries that come behind a rest are found, whether the journal was closed after them or not.
func TestRestIsOver(t *testing.T) {
	o := rested(t)
	o.FlushDelay = time.Hour // nothing is written while the files are copied
	j := journaltest.Open(t, o)
	commit(t, j, update(3, "later"))
	killed := copyJournal(t, o.Dir) // as if the process had died here
	k := readOnly(t, killed)
	if k.Rests() || len(all(t, k, journal.Filter{User: "later"})) != 1 {
		t.Error("a rest that is over is used")
	}
	if report, err := journal.Check(killed); err != nil || len(report.Problems) > 0 {
		t.Errorf("%v: %v", err, report.Problems)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	r := readOnly(t, o.Dir)
	if !r.Rests() || len(all(t, r, journal.Filter{User: "later"})) != 1 {
		t.Error("the journal does not rest again")
	}
}

// readOnly opens a journal that is closed when t ends.
func readOnly(t *testing.T, dir string) *journal.ReadOnly {
	t.Helper()
	r, err := journal.OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// BenchmarkRest measures what Close does for a nearly full segment, and what it saves.
func BenchmarkRest(b *testing.B) {
	o := journal.Options{Dir: b.TempDir(), Node: "a", NoSync: true}
	j, err := journal.Open(context.Background(), o)
	if err != nil {
		b.Fatal(err)
	}
	fill(b, j, 100_000)
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			r, err := journal.OpenReadOnly(o.Dir)
			if err == nil {
				err = r.Close()
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
