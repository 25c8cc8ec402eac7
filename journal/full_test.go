package journal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/journaltest"
)

// until waits for something that other goroutines bring about.
func until(t testing.TB, j *journal.Journal, what string, f func() bool) {
	t.Helper()
	watch, stop := j.Watch()
	defer stop()
	deadline, tick := time.After(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-watch:
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// TestRefusedGroupLeavesNoHole: when the disk takes no more, everybody in the group and behind it is refused, and what
// comes afterwards gets the same sequences, in a chain that is whole. 16 writers go on all the time; the disk is full in
// between.
func TestRefusedGroupLeavesNoHole(t *testing.T) {
	var full atomic.Bool
	o := journal.Options{Dir: t.TempDir(), Node: "a", NoSync: true}.WithDisk(func(point string) error {
		if point == "append" && full.Load() {
			return fmt.Errorf("write: %w", syscall.ENOSPC)
		}
		return nil
	})
	j := journaltest.Open(t, o)
	peer := journaltest.Open(t, journal.Options{Node: "b", NoSync: true})
	var done, refused atomic.Int64
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 60 {
				in, err := j.Seal(context.Background(), update(w*1000+i, "ann"))
				if errors.Is(err, journal.ErrFull) {
					refused.Add(1)
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if err := in.Commit(); err != nil {
					t.Error(err)
				}
				n := done.Add(1)
				full.Store(n%100 > 70 && refused.Load() < n)
			}
		})
	}
	wg.Wait()
	full.Store(false)
	if refused.Load() == 0 || done.Load() == 0 {
		t.Fatalf("%d done, %d refused", done.Load(), refused.Load())
	}
	last := commit(t, j, update(1, "bob"))
	if got := last.ID().Seq; got != uint64(done.Load())+1 {
		t.Errorf("sequence %d after %d were sealed", got, done.Load())
	}
	until(t, j, "all is published", func() bool { return j.Stored()[last.ID().Origin] == last.ID().Seq })
	pull(t, peer, j) // checks the chain
	if got := peer.Stored()[last.ID().Origin]; got != last.ID().Seq {
		t.Errorf("the peer has %d of %d", got, last.ID().Seq)
	}
	if err := j.Gate(func(g *journal.Gate) error {
		tx := update(1, "")
		if refs := g.Changes(tx.RowKeys()[0]); len(refs) == 0 || refs[len(refs)-1].ID != last.ID() {
			t.Errorf("changes of the row: %+v", refs)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestRefusedRowsAreNotPending: what was refused is not in the row index.
func TestRefusedRowsAreNotPending(t *testing.T) {
	full := true
	j := journaltest.Open(t, journal.Options{Node: "a"}.WithDisk(func(point string) error {
		if full && point == "append" {
			return syscall.ENOSPC
		}
		return nil
	}))
	tx := update(1, "ann")
	if _, err := j.Seal(context.Background(), tx); !errors.Is(err, journal.ErrFull) {
		t.Fatal(err)
	}
	if err := j.Gate(func(g *journal.Gate) error {
		if refs := g.Changes(tx.RowKeys()[0]); len(refs) != 0 {
			t.Errorf("changes: %+v", refs)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	full = false
	if in := commit(t, j, tx); in.ID().Seq != 1 {
		t.Errorf("sequence %d", in.ID().Seq)
	}
}

// TestFailureIsFinal: after EIO nothing is written any more; what was on its way may be there after all, and is then
// found in doubt, not lost and not taken for committed.
func TestFailureIsFinal(t *testing.T) {
	dir := t.TempDir()
	var broken atomic.Bool
	o := journal.Options{Dir: dir, Node: "a"}.WithDisk(func(point string) error {
		if point == "appended" && broken.Load() { // the bytes are there, the disk says no
			return fmt.Errorf("fdatasync: %w", syscall.EIO)
		}
		return nil
	})
	j, err := journal.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, j, update(1, "ann"))
	open := seal(t, j, update(2, "ann"))
	broken.Store(true)
	if _, err := j.Seal(context.Background(), update(3, "bob")); !errors.Is(err, journal.ErrFailed) {
		t.Fatalf("seal: %v", err)
	}
	broken.Store(false)
	if _, err := j.Seal(context.Background(), update(4, "bob")); !errors.Is(err, journal.ErrFailed) {
		t.Errorf("a failed journal goes on: %v", err)
	}
	if err := open.Commit(); !errors.Is(err, journal.ErrFailed) {
		t.Errorf("commit: %v", err)
	}
	if err := j.Err(); !errors.Is(err, journal.ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Errorf("err: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = journaltest.Open(t, journal.Options{Dir: dir, Node: "a"})
	if got := j.InDoubt(); len(got) != 2 || got[1].Record().Tx.User != "bob" {
		t.Errorf("%d in doubt", len(got))
	}
}

func TestBudget(t *testing.T) {
	j := journaltest.Open(t, journal.Options{Node: "a", NoSync: true, MaxBytes: 1 << 20, SegmentBytes: 256 << 10})
	var open []*journal.Intent
	for i := 0; ; i++ {
		in, err := j.Seal(context.Background(), update(i, "ann"))
		if errors.Is(err, journal.ErrFull) {
			break
		}
		if err != nil || i > 10000 {
			t.Fatalf("%d: %v", i, err)
		}
		open = append(open, in)
	}
	for _, in := range open {
		if err := in.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if got := j.Stored()[j.Identity().Node]; got != uint64(len(open)) {
		t.Errorf("published %d of %d", got, len(open))
	}
	if err := j.Attempt(update(1, "x"), journal.OutcomeAborted); !errors.Is(err, journal.ErrFull) {
		t.Errorf("attempt: %v", err)
	}
	j.SetMaxBytes(8 << 20)
	commit(t, j, update(1, "bob"))
}

// TestDiskFull fills a small filesystem: writes are refused, outcomes of what is on its way are still taken, reads go on,
// and once there is room all goes on, without a new start.
func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount a small filesystem")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Skipf("mount a small filesystem: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	}()
	data := filepath.Join(dir, "data")
	j, err := journal.Open(context.Background(), journal.Options{Dir: data, Node: "a", SegmentBytes: 512 << 10})
	if err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	big := update(1, "ann")
	big.Statements[0].Query = strings.Repeat("x", 50<<10)
	var open []*journal.Intent
	for {
		in, err := j.Seal(context.Background(), big)
		if errors.Is(err, journal.ErrFull) {
			break
		}
		if err != nil || len(open) > 1000 {
			t.Fatalf("after %d: %v", len(open), err)
		}
		open = append(open, in)
	}
	for i, in := range open {
		if i%2 == 0 {
			abort(t, in, "no")
		} else if err := in.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	node := j.Identity().Node
	if got := j.Stored()[node]; got != uint64(len(open)) {
		t.Errorf("published %d of %d", got, len(open))
	}
	until(t, j, "the outcomes are on the full disk", func() bool { return j.Stats().Transactions == int64(len(open)/2) })
	if n := len(all(t, j, journal.Filter{User: "ann", Limit: 10})); n != 10 {
		t.Errorf("a scan of the full journal gives %d", n)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if in := commit(t, j, update(i, "bob")); in.ID().Seq != uint64(len(open)+1+i) {
			t.Errorf("goes on with %d after %d", in.ID().Seq, len(open))
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	journaltest.Check(t, data)
}
