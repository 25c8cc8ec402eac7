package journal_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
	"pgproxy/journal/journaltest"
)

func after(t testing.TB, j *journal.Journal) []journal.Raw {
	t.Helper()
	recs, err := j.After(nil, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

// TestStoreRefuses: what is wrong with a record from outside is noticed and named, and what stood before it is kept.
func TestStoreRefuses(t *testing.T) {
	a := journaltest.Open(t, journal.Options{Node: "a"})
	node := a.Identity().Node
	for i := range 5 {
		commit(t, a, update(i, "ann"))
	}
	recs := after(t, a)
	flipped := recs[2]
	flipped.Bytes = bytes.Clone(flipped.Bytes)
	flipped.Bytes[len(flipped.Bytes)/2] ^= 1
	renamed := recs[2]
	renamed.ID.Seq = 9
	for _, c := range []struct {
		name string
		recs []journal.Raw
		want error
		kept uint64
	}{
		{"a flipped byte", []journal.Raw{recs[0], recs[1], flipped, recs[3]}, journal.ErrDamaged, 2},
		{"a gap", []journal.Raw{recs[0], recs[1], recs[3]}, journal.ErrGap, 2},
		{"a gap at the start", []journal.Raw{recs[1]}, journal.ErrGap, 0},
		{"another id on it", []journal.Raw{recs[0], recs[1], renamed}, journal.ErrDamaged, 2},
		{"cut off", []journal.Raw{recs[0], {ID: recs[1].ID, Bytes: recs[1].Bytes[:40]}}, journal.ErrDamaged, 1},
		{"all well, twice", append(append([]journal.Raw{}, recs...), recs...), nil, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := journaltest.Open(t, journal.Options{Node: "b"})
			if err := b.Store(context.Background(), c.recs); !errors.Is(err, c.want) {
				t.Errorf("store: %v, want %v", err, c.want)
			}
			if got := b.Stored()[node]; got != c.kept {
				t.Errorf("stored %d, want %d", got, c.kept)
			}
		})
	}
}

// copyJournal copies a closed journal.
func copyJournal(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "copy"), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(to, "copy")
}

// twins opens one journal twice, from the moment when it held n records.
func twins(t *testing.T, n int) (old, new *journal.Journal) {
	t.Helper()
	dir := t.TempDir()
	j, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		commit(t, j, update(i, "ann"))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	backup := copyJournal(t, dir)
	return journaltest.Open(t, journal.Options{Dir: backup, Node: "a"}), journaltest.Open(t, journal.Options{Dir: dir, Node: "a"})
}

// TestForkIsNoticed: two nodes with one identity write different records under one id.
func TestForkIsNoticed(t *testing.T) {
	clone, real := twins(t, 2)
	commit(t, real, update(7, "real"))
	commit(t, real, update(8, "real"))
	commit(t, clone, update(7, "clone"))
	id := journal.ID{Origin: real.Identity().Node, Seq: 3}
	x, okx := real.Hash(id)
	y, oky := clone.Hash(id)
	if !okx || !oky || x == y {
		t.Errorf("hashes %x, %x", x, y)
	}
	b := journaltest.Open(t, journal.Options{Node: "b"})
	pull(t, b, real)
	for name, j := range map[string]*journal.Journal{"at a third node": b, "at home": real} {
		if err := j.Store(context.Background(), after(t, clone)); !errors.Is(err, journal.ErrFork) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The clone meets the real node's next record: it does not go on from what the clone has.
	if err := clone.Store(context.Background(), after(t, real)[3:]); !errors.Is(err, journal.ErrFork) {
		t.Errorf("at the clone: %v", err)
	}
}

// TestVoidOnOneSideIsAFork: the chain does not tell a void record from a full one, so Store compares.
func TestVoidOnOneSideIsAFork(t *testing.T) {
	a := journaltest.Open(t, journal.Options{Node: "a"})
	b := journaltest.Open(t, journal.Options{Node: "b"})
	commit(t, a, update(1, "ann"))
	pull(t, b, a)
	raw := after(t, a)[0]
	void, err := journal.VoidForm(raw.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	raw.Bytes = void
	for name, j := range map[string]*journal.Journal{"at a peer": b, "at home": a} {
		if err := j.Store(context.Background(), []journal.Raw{raw}); !errors.Is(err, journal.ErrFork) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOlderCopyTakesItsRecordsBack: a journal put back from a backup gets its own lost records from a peer, goes on behind
// them, and issues nothing twice.
func TestOlderCopyTakesItsRecordsBack(t *testing.T) {
	old, new := twins(t, 2)
	for i := range 3 {
		in := seal(t, new, update(i, "new"))
		if i == 1 {
			abort(t, in, "no")
		} else if err := in.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	b := journaltest.Open(t, journal.Options{Node: "b"})
	pull(t, b, new)
	pull(t, old, b)
	if got := old.Stored()[old.Identity().Node]; got != 5 {
		t.Fatalf("has %d of 5", got)
	}
	if old.Identity().Incarnation <= new.Identity().Incarnation {
		t.Errorf("incarnation %d after %d was seen", old.Identity().Incarnation, new.Identity().Incarnation)
	}
	it, err := old.Get(journal.ID{Origin: old.Identity().Node, Seq: 4})
	if err != nil || it.Record.Kind != journal.KindVoid || it.Outcome != journal.OutcomeAborted {
		t.Errorf("the aborted one: %+v, %v", it, err)
	}
	if in := commit(t, old, update(9, "old")); in.ID().Seq != 6 || in.Record().Prev != after(t, b)[4].Hash() {
		t.Errorf("goes on with %s", in.ID())
	}
	pull(t, b, old)
}

// TestOwnFromOutsideAfterWriting: a node that has begun to write in place of its lost records does not take them back.
func TestOwnFromOutsideAfterWriting(t *testing.T) {
	old, new := twins(t, 1)
	commit(t, new, update(1, "new"))
	in := seal(t, old, update(2, "old"))
	if err := old.Store(context.Background(), after(t, new)); !errors.Is(err, journal.ErrFork) {
		t.Errorf("store: %v", err)
	}
	abort(t, in, "")
}

func TestStoreRefusesImpossibleTimes(t *testing.T) {
	start := time.Now()
	var past atomic.Int64
	a := journaltest.Open(t, journal.Options{Node: "a", Now: func() time.Time { return start.Add(2 * time.Minute) }})
	b := journaltest.Open(t, journal.Options{Node: "b", Now: func() time.Time { return start.Add(time.Duration(past.Load())) }})
	commit(t, a, update(1, "ann"))
	if err := b.Store(context.Background(), after(t, a)); !errors.Is(err, hlc.ErrAhead) {
		t.Fatalf("store: %v", err)
	}
	past.Store(int64(90 * time.Second))
	if err := b.Store(context.Background(), after(t, a)); err != nil {
		t.Fatalf("later: %v", err)
	}
	if in := commit(t, b, update(1, "bob")); in.Record().HLC <= after(t, a)[0].HLC {
		t.Error("the clock did not follow")
	}
}

// TestKnewAndMark: records know what their node has applied, and say up to where it has everything.
func TestKnewAndMark(t *testing.T) {
	a := journaltest.Open(t, journal.Options{Node: "a"})
	b := journaltest.Open(t, journal.Options{Node: "b"})
	ctx := context.Background()
	for i, j := range []*journal.Journal{a, b} {
		if err := j.SetCluster(journal.NodeID{1}, uint32(i)); err != nil {
			t.Fatal(err)
		}
	}
	founder, err := a.SealMember(ctx, journal.Member{Cluster: journal.NodeID{1}, Node: a.Identity().Node, Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if beat, err := a.Beat(ctx); err != nil || beat.Mark != 0 { // it may give up its cluster
		t.Errorf("alone, and without a transaction: mark %s", beat.Mark)
	}
	commit(t, a, update(1, "ann"))
	if _, err := a.Beat(ctx); err != nil { // the outcome stands before it
		t.Fatal(err)
	}
	if beat, err := a.Beat(ctx); err != nil || beat.Mark != beat.HLC-1 {
		t.Errorf("alone: mark %s at %s", beat.Mark, beat.HLC)
	}
	alone := a.Line()
	if _, err := a.SealMember(ctx, journal.Member{Cluster: journal.NodeID{1}, Node: b.Identity().Node, Name: "b", Number: 1}); err != nil {
		t.Fatal(err)
	}
	pull(t, b, a)
	in := commit(t, b, update(1, "bob"))
	if in.Record().Mark != 0 || in.Record().Aware(founder.ID) {
		t.Errorf("b has applied nothing: mark %s, knew %v", in.Record().Mark, in.Record().Knew)
	}
	pull(t, a, b)
	err = a.Gate(func(g *journal.Gate) error { g.MarkApplied(in.ID()); return nil })
	if err != nil {
		t.Fatal(err)
	}
	unsafe := commit(t, a, update(2, "ann"))
	if unsafe.Record().Mark > in.Record().HLC || !unsafe.Record().Aware(in.ID()) {
		t.Errorf("mark %s speaks of what a crash of the database would take away", unsafe.Record().Mark)
	}
	if err := a.SetSafe(journal.Vector{in.ID().Origin: in.ID().Seq}); err != nil {
		t.Fatal(err)
	}
	doubtful := seal(t, a, update(2, "ann"))
	if doubtful.Record().Mark != in.Record().HLC || !doubtful.Record().Aware(in.ID()) {
		t.Errorf("mark %s, want %s", doubtful.Record().Mark, in.Record().HLC)
	}
	if a.Line() < alone {
		t.Errorf("line went back from %s to %s", alone, a.Line())
	}
	in2 := commit(t, b, update(3, "bob"))
	pull(t, a, b)
	if err := a.Gate(func(g *journal.Gate) error { g.MarkApplied(in2.ID()); return nil }); err != nil {
		t.Fatal(err)
	}
	if beat, err := a.Beat(ctx); err != nil || beat.Mark >= doubtful.Record().HLC {
		t.Errorf("mark %s past the unpublished record of %s, %v", beat.Mark, doubtful.Record().HLC, err)
	}
	abort(t, doubtful, "")
	if beat, err := a.Beat(ctx); err != nil || beat.Mark != in.Record().HLC {
		t.Errorf("mark %s past what is safe, %v", beat.Mark, err)
	}
	if err := a.Gate(func(g *journal.Gate) error { g.UnmarkApplied(in2.ID()); return nil }); err != nil {
		t.Fatal(err)
	}
	if beat, err := a.Beat(ctx); err != nil || beat.Mark != in.Record().HLC || beat.Aware(in2.ID()) {
		t.Errorf("after the take-back: mark %s, %v", beat.Mark, err)
	}
	if names := b.Names(); names[a.Identity().Node] != "a" || names[b.Identity().Node] != "b" {
		t.Errorf("names %v", names)
	}
	if m := b.Members(); len(m) != 2 || m[1].Name != "b" || m[1].Number != 1 {
		t.Errorf("members %+v", m)
	}
}

func TestConflictsOnceAndCursorsStay(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a"})
	if err != nil {
		t.Fatal(err)
	}
	c := journal.Conflict{Kind: "update/update", Table: "account", Key: map[string]string{"id": "1"}, Winner: journal.ID{Seq: 1}}
	other := c
	other.Winner.Seq = 2
	for range 3 {
		for _, c := range []journal.Conflict{c, other} {
			if err := j.AddConflict(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	j.SetAcked("b", journal.Vector{{1}: 7})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = journaltest.Open(t, journal.Options{Dir: dir, Node: "a"})
	if err := j.AddConflict(c); err != nil {
		t.Fatal(err)
	}
	var n int
	for got, err := range j.Conflicts() {
		if err != nil || got.Kind != c.Kind {
			t.Errorf("%+v, %v", got, err)
		}
		n++
	}
	if n != 2 || j.Stats().Conflicts != 2 {
		t.Errorf("%d conflicts", n)
	}
	if got := j.Acked("b"); got[journal.NodeID{1}] != 7 {
		t.Errorf("acked %v", got)
	}
}

func TestSealGivenUp(t *testing.T) {
	hold := make(chan struct{})
	j := journaltest.Open(t, journal.Options{Fault: func(p string) {
		if p == "journal.append" {
			<-hold
		}
	}})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := j.Seal(ctx, update(1, "ann")); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	watch, stop := j.Watch()
	defer stop()
	close(hold)
	deadline := time.After(10 * time.Second)
	for j.Stored()[j.Identity().Node] != 1 {
		select {
		case <-watch:
		case <-deadline:
			t.Fatal("not published")
		}
	}
	if recs := after(t, j); len(recs) != 1 || !recs[0].Void() {
		t.Errorf("%d records", len(recs))
	}
}
