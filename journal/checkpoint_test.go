package journal_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"pgproxy/journal"
	"pgproxy/journal/journaltest"
)

// TestCheckpoints: they come after so many entries, when asked for and at the end; they are what the tree says; and the key
// stays.
func TestCheckpoints(t *testing.T) {
	o := journal.Options{Dir: t.TempDir(), Node: "a", NoSync: true, CheckpointEvery: 20, CheckpointDelay: -1}
	j, err := journal.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if c := j.Checkpoint(); len(c.Note) > 0 {
		t.Errorf("an empty journal has a checkpoint: %s", c.Note)
	}
	watch, stop := j.Watch()
	defer stop()
	for i := range 15 {
		commit(t, j, update(i, "ann"))
	}
	for len(j.Checkpoint().Note) == 0 {
		select {
		case <-watch:
		case <-time.After(time.Minute):
			t.Fatal("no checkpoint after 30 entries")
		}
	}
	checkCheckpoint(t, j, j.Checkpoint())
	commit(t, j, update(1, "ann"))
	c, err := j.Sign(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	checkCheckpoint(t, j, c)
	again, err := j.Sign(context.Background())
	if err != nil || again.Size > c.Size+2 { // the outcome may have come later
		t.Errorf("signed again at %d after %d, %v", again.Size, c.Size, err)
	}
	commit(t, j, update(2, "ann"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := journal.OpenReadOnly(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Checkpoint(); c.Size != r.Size()-1 {
		t.Errorf("the last checkpoint is of %d entries of %d", c.Size, r.Size())
	}
	size := r.Size()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	j = journaltest.Open(t, o)
	if _, err := journal.ParseCheckpoint(again.Note, j.Identity().Key); err != nil {
		t.Errorf("the key has changed: %v", err)
	}
	if err := j.Close(); err != nil || j.Size() != size {
		t.Errorf("an idle run went from %d to %d entries, %v", size, j.Size(), err)
	}
}

// checkCheckpoint holds a checkpoint against the journal, and against its own text.
func checkCheckpoint(t *testing.T, j *journal.Journal, c journal.Checkpoint) {
	t.Helper()
	root, err := j.Root(c.Size)
	if err != nil || root != c.Root {
		t.Errorf("checkpoint of %d entries says %s, the journal %s, %v", c.Size, c.Root, root, err)
	}
	read, err := journal.ParseCheckpoint(c.Note, j.Identity().Key)
	if err != nil || read.Root != c.Root || read.Size != c.Size || !read.Time.Equal(c.Time) || read.Name != "a" || read.Node != j.Identity().Node {
		t.Errorf("read %+v, %v, want %+v", read, err, c)
	}
	for i := range c.Note {
		bad := bytes.Clone(c.Note)
		bad[i] ^= 1
		if got, err := journal.ParseCheckpoint(bad, j.Identity().Key); err == nil && got.Size != c.Size {
			t.Errorf("byte %d is changed and the signature passes", i)
		}
	}
	_, other, err := note.GenerateKey(nil, "pgproxy.journal/"+j.Identity().Node.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := journal.ParseCheckpoint(c.Note, other); err == nil {
		t.Error("another key passes")
	}
}

// TestCutTailIsMissedAtOpening: segments that end before the newest checkpoint are not opened.
func TestCutTailIsMissedAtOpening(t *testing.T) {
	o := journal.Options{Dir: t.TempDir(), Node: "a", NoSync: true}
	write := func(n int) {
		j, err := journal.Open(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if err := j.Attempt(update(i, "ann"), journal.OutcomeAborted); err != nil { // no own record: the counters do not move
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write(5)
	segment := filepath.Join(o.Dir, "segments", fmt.Sprintf("%016x.segment", 1))
	old, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	write(5)
	if err := os.WriteFile(segment, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Open(context.Background(), o); err == nil || !strings.Contains(err.Error(), "signed a checkpoint") {
		t.Errorf("open: %v", err)
	}
	if r, err := journal.Check(o.Dir); err != nil || len(r.Problems) != 1 {
		t.Errorf("check: %+v, %v", r, err)
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add([]byte("pgproxy.journal/000000000000000000000000000000ff\n3\nRcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=\ntime 2026-11-25T15:04:05Z\nnode a\n\n— x AAAAAAAA\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := journal.ParseCheckpoint(b, ""); err == nil && !bytes.Equal(c.Note, b) {
			t.Error("not the same")
		}
	})
}
