package journal_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/journaltest"
)

// TestPrune: a segment goes when every member has it and has applied it, and not before, whatever retention says.
func TestPrune(t *testing.T) {
	w := newLineWorld(t, 5)
	w.join(w.nodes[0])
	a, b := w.nodes[0], w.nodes[1]
	w.quiet()
	for range 150 {
		a.write()
		b.write()
		w.wall.Add(int64(time.Second))
	}
	now := func() time.Time { return time.Unix(0, w.wall.Load()) }
	keepNothing := journal.Retention{Before: now().Add(time.Hour), Why: "test"}
	a.j.WaitSealed()
	held := func(want string, r journal.Retention) {
		t.Helper()
		if p, err := a.j.Prune(context.Background(), r); err != nil || p.Segments > 0 || !strings.Contains(p.Held, want) {
			t.Fatalf("%+v, %v, want that it is held: %s", p, err, want)
		}
	}
	for len(a.open) > 0 {
		a.decide(1 << 30)
	}
	held("applied all", keepNothing)
	w.quiet()
	w.quiet()
	held("has not acknowledged", keepNothing)
	peer := b.j.Identity().Node
	a.j.SetAcked(peer.String(), b.j.Stored())
	held("younger", journal.Retention{Before: now().Add(-time.Hour)})
	if err := a.j.ChangeWitness(peer, func(w *journal.Witness) { w.Holds = 1 }); err != nil {
		t.Fatal(err)
	}
	held("keeps a checkpoint of 1 entries", keepNothing)
	size := a.j.Size()
	if err := a.j.ChangeWitness(peer, func(w *journal.Witness) { w.Holds = size }); err != nil {
		t.Fatal(err)
	}
	keepNothing.DryRun = true
	dry, err := a.j.Prune(context.Background(), keepNothing)
	if err != nil || dry.Segments == 0 || a.j.Stats().Segments <= int64(dry.Segments) {
		t.Fatalf("dry run: %+v, %v", dry, err)
	}
	keepNothing.DryRun = false
	p, err := a.j.Prune(context.Background(), keepNothing)
	if err != nil || p.First != dry.First || p.Segments != dry.Segments {
		t.Fatalf("%+v, %v, the dry run said %+v", p, err, dry)
	}
	checkPruned(t, a, p.First)
	a.reopen()
	checkPruned(t, a, p.First)
	for range 50 { // and life goes on
		a.write()
		b.write()
	}
	w.quiet()
	if line := a.j.Line(); line <= a.line-1 || !a.j.Applied().Includes(b.j.Stored()) {
		t.Errorf("line %s, applied %v of %v", line, a.j.Applied(), b.j.Stored())
	}
}

// checkPruned holds a journal that begins at a position against what must still work.
func checkPruned(t *testing.T, n *lineNode, first uint64) {
	t.Helper()
	if v, err := n.j.Verify(context.Background(), nil); err != nil || len(v.Findings) > 0 || v.From != first || v.Checkpoints == 0 {
		t.Errorf("verify: %+v, %v", v, err)
	}
	if _, err := n.j.After(nil, 1); !errors.Is(err, journal.ErrPruned) {
		t.Errorf("a peer that has nothing: %v", err)
	}
	if _, err := n.j.Leaf(1); !errors.Is(err, journal.ErrPruned) {
		t.Errorf("first entry: %v", err)
	}
	c := n.j.Checkpoint()
	if root, err := n.j.Root(c.Size); err != nil || root != c.Root {
		t.Errorf("root of the checkpoint: %v", err)
	}
	id := journal.ID{Origin: n.j.Identity().Node, Seq: 1}
	if _, err := n.j.Get(id); !errors.Is(err, journal.ErrPruned) || !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("first record: %v", err)
	}
	for it, err := range n.j.Scan(journal.Filter{Forward: true}) {
		if err != nil || it.Position < first {
			t.Fatalf("scan: %+v, %v", it, err)
		}
	}
}

// TestPurgeCutShort: what a crash between the record of a purge and the end of it leaves is deleted at the next start.
func TestPurgeCutShort(t *testing.T) {
	o := journal.Options{Dir: t.TempDir(), Node: "a", NoSync: true, SegmentBytes: 64 << 10}
	crashed := t.TempDir()
	o.Fault = func(point string) {
		if point == "journal.purge" {
			if err := os.CopyFS(crashed, os.DirFS(o.Dir)); err != nil {
				t.Error(err)
			}
		}
	}
	j := journaltest.Open(t, o)
	for i := range 300 {
		commit(t, j, update(i, "ann"))
	}
	j.WaitSealed()
	first, err := j.PurgeTo(2)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := filepath.Glob(filepath.Join(crashed, "segments", "*.segment"))
	o.Dir, o.Fault = crashed, nil
	again := journaltest.Open(t, o)
	if after := again.Stats().Segments; after != 2 || len(before) < 4 {
		t.Errorf("%d segments of %d are left", after, len(before))
	}
	if v, err := again.Verify(context.Background(), nil); err != nil || v.From != first || len(v.Findings) > 0 {
		t.Errorf("verify: %+v, %v", v, err)
	}
}

// TestAttackBeginningRemoved: a beginning that is gone without a purge is an attack, and is not opened.
func TestAttackBeginningRemoved(t *testing.T) {
	dir, segments := written(t)
	if err := os.Remove(segments[0]); err != nil {
		t.Fatal(err)
	}
	v, err := journal.Verify(context.Background(), dir, nil)
	if err != nil || len(v.Findings) == 0 || v.Findings[0].Attack != journal.AttackRemoved || v.Findings[0].Position != 1 {
		t.Errorf("verify: %+v, %v", v, err)
	}
	if _, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a"}); !errors.Is(err, journal.ErrDamaged) {
		t.Errorf("open: %v", err)
	}
	if r, err := journal.Check(dir); err != nil || len(r.Problems) == 0 {
		t.Errorf("check: %+v, %v", r, err)
	}
}
