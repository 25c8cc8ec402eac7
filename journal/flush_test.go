package journal_test

import (
	"sync/atomic"
	"testing"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/journaltest"
)

// TestOutcomesAreNotWaitedFor: an outcome alone is not written until its timer says so; with a record that somebody waits for
// it rides along.
func TestOutcomesAreNotWaitedFor(t *testing.T) {
	timer := make(chan time.Time)
	var asked atomic.Int64
	var groups atomic.Int64
	j := journaltest.Open(t, journal.Options{
		After: func(d time.Duration) <-chan time.Time { asked.Add(1); return timer }, CheckpointDelay: -1,
		Fault: func(p string) {
			if p == "journal.appended" {
				groups.Add(1)
			}
		},
	})
	commit(t, j, update(1, "ann"))
	until(t, j, "the timer is set", func() bool { return asked.Load() > 0 })
	if n := groups.Load(); n != 1 || j.Stats().Transactions != 0 {
		t.Errorf("%d groups, %d outcomes: the outcome was written for itself", n, j.Stats().Transactions)
	}
	second := seal(t, j, update(2, "ann"))
	if n := groups.Load(); n != 2 || j.Stats().Transactions != 1 {
		t.Errorf("%d groups, %d outcomes: the outcome did not ride along", n, j.Stats().Transactions)
	}
	if err := second.Commit(); err != nil {
		t.Fatal(err)
	}
	timer <- time.Time{}
	until(t, j, "the outcome is written", func() bool { return j.Stats().Transactions == 2 })
}

func TestIntentDecidesOnce(t *testing.T) {
	j := journaltest.Open(t, journal.Options{})
	in := seal(t, j, update(1, "ann"))
	in.Doubt()
	if got := j.InDoubt(); len(got) != 1 || got[0] != in {
		t.Fatalf("in doubt: %v", got)
	}
	for range 2 {
		if err := in.Commit(); err != nil {
			t.Error(err)
		}
	}
	if err := in.Abort("late"); err == nil {
		t.Error("aborted what was committed")
	}
	if got := j.InDoubt(); len(got) != 0 {
		t.Errorf("in doubt: %v", got)
	}
}

// TestBadTransactionsAreRefused: what no reader could use does not get in.
func TestBadTransactionsAreRefused(t *testing.T) {
	j := journaltest.Open(t, journal.Options{})
	for name, spoil := range map[string]func(*journal.Tx){
		"relation":  func(tx *journal.Tx) { tx.Statements[0].Changes[0].Relation = 1 },
		"image":     func(tx *journal.Tx) { tx.Statements[0].Changes[0].Before = tx.Statements[0].Changes[0].Before[:2] },
		"operation": func(tx *journal.Tx) { tx.Statements[0].Changes[0].Op = 'X' },
		"column":    func(tx *journal.Tx) { tx.Statements[0].Changes[0].Set = []int{3} },
		"key":       func(tx *journal.Tx) { tx.Relations[0].Key = []int{-1} },
	} {
		tx := update(1, "ann")
		tx.Relations = []journal.Relation{account}
		spoil(tx)
		if _, err := j.Seal(t.Context(), tx); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
}
