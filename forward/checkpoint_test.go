package forward

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"pgproxy/journal"
)

// attempts writes transactions that no peer ever gets: only the checkpoints tell of them.
func (n *node) attempts(count int) {
	n.t.Helper()
	for i := range count {
		tx := &journal.Tx{User: "u", Statements: []journal.Statement{{Query: fmt.Sprint("attempt ", i), Command: "SELECT"}}}
		if err := n.j.Attempt(tx, journal.OutcomeAborted); err != nil {
			n.t.Fatal(err)
		}
	}
	e := &journal.Event{Kind: journal.EventAct, Act: &journal.Act{Verb: "barrier"}}
	if err := n.j.NoteDurable(n.t.Context(), e); err != nil { // what is waited for stands behind them
		n.t.Fatal(err)
	}
}

func (n *node) sign() journal.Checkpoint {
	n.t.Helper()
	c, err := n.j.Sign(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

// keeps waits until n keeps a checkpoint of the other node of at least that size, and the other one knows.
func keeps(t *testing.T, n, other *node, size uint64) {
	t.Helper()
	eventually(t, func() string {
		if s := statusOf(n, other.name); s.Checkpoint.Size < size {
			return fmt.Sprintf("%s keeps a checkpoint of %d entries of %s, want %d", n.name, s.Checkpoint.Size, other.name, size)
		}
		if s := statusOf(other, n.name); s.Holds < size || s.Contradicts != "" {
			return fmt.Sprintf("%s believes that %s keeps %d entries (%s)", other.name, n.name, s.Holds, s.Contradicts)
		}
		return ""
	})
}

// copied is a folder as it was.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestCheckpointsAreKept: each node keeps the other's newest checkpoint, over restarts, and each is proven to go on from
// the one before.
func TestCheckpointsAreKept(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	mesh(a, b)
	for range 3 {
		a.start()
		b.start()
		connected(t, a, b)
		for range 3 {
			a.write(3)
			b.attempts(5)
			ca, cb := a.sign(), b.sign()
			keeps(t, b, a, ca.Size)
			keeps(t, a, b, cb.Size)
		}
		a.kill()
		b.kill()
		a.openJournal()
		b.openJournal()
	}
}

// TestChangedPastIsRefused: a node whose journal does not go on from what it signed is refused, over restarts, until an
// operator trusts it again.
func TestChangedPastIsRefused(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	mesh(a, b)
	a.start()
	b.start()
	connected(t, a, b)
	keeps(t, a, b, b.sign().Size)
	b.kill()
	old := copied(t, b.dir)
	b.openJournal()
	b.attempts(10)
	b.start()
	keeps(t, a, b, b.sign().Size)
	b.kill()
	b.dir = old
	b.openJournal()
	b.attempts(30)
	b.sign()
	b.start()
	complains(t, a, "b", "contradicts a checkpoint")
	eventually(t, func() string {
		if s := statusOf(b, "a"); !strings.Contains(s.LastError, "audit trust b") {
			return fmt.Sprintf("b does not know why: %+v", s)
		}
		return ""
	})
	a.kill()
	a.openJournal()
	a.start()
	complains(t, a, "b", "refused since")
	if s := statusOf(a, "b"); s.Distrusted == "" || s.Connected {
		t.Errorf("status after a restart: %+v", s)
	}
	if err := a.f.Trust("zz"); err == nil {
		t.Error("a stranger is trusted")
	}
	if err := a.f.Trust("b"); err != nil {
		t.Fatal(err)
	}
	connected(t, a, b)
	keeps(t, a, b, b.sign().Size)
}

// TestShorterJournalIsTold: an older copy that has not gone on yet may get back what it lost, and both sides say so.
func TestShorterJournalIsTold(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	mesh(a, b)
	a.start()
	b.start()
	connected(t, a, b)
	b.kill()
	old := copied(t, b.dir)
	b.openJournal()
	b.attempts(100)
	b.start()
	keeps(t, a, b, b.sign().Size)
	b.kill()
	b.dir = old
	b.openJournal()
	b.start()
	eventually(t, func() string {
		if s := statusOf(a, "b"); !strings.Contains(s.LastError, "older copy") {
			return fmt.Sprintf("a does not say it: %+v", s)
		}
		if s := statusOf(b, "a"); !strings.Contains(s.Contradicts, "fewer now") {
			return fmt.Sprintf("b does not know: %+v", s)
		}
		return ""
	})
}

// TestAnotherKeyIsRefused: who comes with the identity of a node and another key is not that node.
func TestAnotherKeyIsRefused(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	mesh(a, b)
	a.start()
	b.start()
	connected(t, a, b)
	keeps(t, a, b, b.sign().Size)
	node := b.j.Identity().Node
	b.kill()
	key := a.j.Identity().Key
	if err := a.j.ChangeWitness(node, func(w *journal.Witness) { w.Key = key }); err != nil {
		t.Fatal(err)
	}
	b.openJournal()
	b.start()
	complains(t, a, "b", "another key")
}
