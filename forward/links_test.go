package forward

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgproxy/journal"
)

// TestOneLink has both sides dial at once, again and again: one link must stay, and the same one.
func TestOneLink(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b")
	mesh(a, b)
	var dials atomic.Int64
	for _, n := range []*node{a, b} {
		n.tune = func(o *Options) {
			o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
				dials.Add(1)
				return (&net.Dialer{}).DialContext(ctx, "tcp", address)
			}
		}
	}
	for range 5 {
		a.start()
		b.start()
		connected(t, a, b)
		connected(t, b, a)
		a.write(3)
		b.write(3)
		equal(t, a, b)
		eventually(t, func() string {
			for _, n := range []*node{a, b} {
				n.f.mu.Lock()
				open := len(n.f.open)
				n.f.mu.Unlock()
				if open != 1 {
					return "more than one link stays open"
				}
			}
			return ""
		})
		before := dials.Load()
		target := a.target()
		a.write(1)
		for range 3 { // three heartbeats without anybody dialing
			eventually(t, func() string {
				if left, _ := a.f.Pending(target, "b"); left["b"] > 0 {
					return "pending"
				}
				return ""
			})
			a.write(1)
			equal(t, a, b)
		}
		if now := dials.Load(); now != before {
			t.Errorf("dialed %d times more while linked", now-before)
		}
		a.stop()
		b.stop()
	}
}

// TestReconnect cuts the link while both write, and lets the queues drain each time.
func TestReconnect(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b")
	r := newRelay(t, b.addr)
	a.peers = []Peer{{"b", r.addr()}}
	a.start()
	b.start()
	connected(t, a, b)
	for range 3 {
		r.cut(true)
		eventually(t, func() string {
			if statusOf(a, "b").Connected {
				return "still connected"
			}
			return ""
		})
		a.write(20)
		b.write(20)
		if s := statusOf(a, "b"); s.Queued == 0 || s.LastError == "" {
			t.Errorf("status while cut: %+v", s)
		}
		r.cut(false)
		a.f.Kick()
		equal(t, a, b)
		acked(t, a)
		sameBytes(t, a, b)
	}
	s := statusOf(a, "b")
	if s.Queued != 0 || s.LastError != "" || s.LagSeconds != 0 || !s.Connected {
		t.Errorf("status at the end: %+v", s)
	}
}

// TestFlapping cuts the link every now and then, in the middle of what flows.
func TestFlapping(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b")
	r := newRelay(t, b.addr)
	a.peers = []Peer{{"b", r.addr()}}
	a.start()
	b.start()
	connected(t, a, b)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				r.cut(true)
				r.cut(false)
			}
		}
	}()
	for range 30 {
		a.writeText(strings.Repeat("x", 100_000))
		b.write(5)
	}
	close(stop)
	<-done
	equal(t, a, b)
	acked(t, a)
	sameBytes(t, a, b)
}

// TestHalfOpen lets bytes stand still without closing anything.
func TestHalfOpen(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b")
	r := newRelay(t, b.addr)
	a.peers = []Peer{{"b", r.addr()}}
	for _, n := range []*node{a, b} {
		n.tune = func(o *Options) { o.Limits.PeerTimeout = 500 * time.Millisecond }
		n.start()
	}
	connected(t, a, b)
	r.hold(true)
	eventually(t, func() string {
		if s := statusOf(a, "b"); s.Connected || !strings.Contains(s.LastError, "silent") {
			return "a has not noticed: " + s.LastError
		}
		if s := statusOf(b, "a"); s.Connected {
			return "b has not noticed"
		}
		return ""
	})
	a.write(3)
	r.cut(true)
	r.hold(false)
	r.cut(false)
	equal(t, a, b)
}

// TestRestart kills nodes and starts them again with their journals.
func TestRestart(t *testing.T) {
	noLeaks(t)
	a, b, c := newNode(t, "a"), newNode(t, "b"), newNode(t, "c")
	mesh(a, b, c)
	for _, n := range []*node{a, b, c} {
		n.start()
	}
	equal(t, a, b, c)
	for _, n := range []*node{a, b, c} {
		a.write(5)
		n.kill()
		for _, o := range others(n, a, b, c) {
			o.write(5)
		}
		n.openJournal()
		n.start()
		n.write(5)
		equal(t, a, b, c)
		if n == a {
			continue
		}
		sameBytes(t, a, n)
	}
}

// TestLarge sends a record of many frames.
func TestLarge(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b")
	mesh(a, b)
	a.start()
	b.start()
	noise := make([]byte, 12<<20)
	state := uint64(1)
	for i := range noise {
		state = state*6364136223846793005 + 1442695040888963407
		noise[i] = 'a' + byte(state>>59)
	}
	a.writeText(string(noise))
	a.writeText(strings.Repeat("x", 20<<20))
	a.write(10)
	equal(t, a, b)
	sameBytes(t, a, b)
}

// TestRefusedPeers covers the peers that a person has to do something about.
func TestRefusedPeers(t *testing.T) {
	t.Run("another cluster", func(t *testing.T) {
		noLeaks(t)
		a, b := newNode(t, "a").start(), newNode(t, "b").start()
		for _, n := range []*node{a, b} {
			if err := n.f.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			n.write(1)
			n.stop()
		}
		a.dials(b).start()
		b.start()
		complains(t, a, "b", "separate histories")
	})
	t.Run("wrong name", func(t *testing.T) {
		noLeaks(t)
		a, c := newNode(t, "a"), newNode(t, "c").start()
		a.peers = []Peer{{"b", c.addr}}
		a.start()
		complains(t, a, "b", "the node that answers is c: correct --peer b=ADDRESS")
	})
	t.Run("self", func(t *testing.T) {
		noLeaks(t)
		a := newNode(t, "a")
		a.peers = []Peer{{"b", a.addr}}
		a.start()
		complains(t, a, "b", "dialed itself")
	})
	t.Run("nobody there", func(t *testing.T) {
		noLeaks(t)
		a, b := newNode(t, "a"), newNode(t, "b")
		a.dials(b).start()
		complains(t, a, "b", "refused")
	})
	t.Run("copy", func(t *testing.T) {
		noLeaks(t)
		a, b := newNode(t, "a"), newNode(t, "b")
		b.dials(a).start()
		a.start()
		equal(t, a, b)
		b.kill()
		twin := &node{t: t, name: "b", dir: t.TempDir(), addr: "127.0.0.1:0"}
		if err := os.CopyFS(filepath.Join(twin.dir), os.DirFS(b.dir)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(twin.kill)
		b.openJournal()
		b.start()
		connected(t, b, a)
		twin.openJournal()
		twin.peers = b.peers
		twin.start()
		complains(t, twin, "a", "two processes run as node b")
		b.write(3)
		equal(t, a, b)
	})
}

// TestBehind gives b an old copy of its journal: a has more of b's own records, which have to come back before b may
// write again.
func TestBehind(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b")
	b.dials(a).start()
	a.start()
	equal(t, a, b)
	b.write(3)
	equal(t, a, b)
	b.kill()
	old := t.TempDir()
	if err := os.CopyFS(filepath.Join(old, "x"), os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	b.openJournal()
	b.start()
	b.write(7)
	equal(t, a, b)
	b.kill()
	b.dir = filepath.Join(old, "x")
	b.openJournal()
	var told atomic.Uint64
	b.tune = func(o *Options) { o.Behind = func(seq uint64) { told.Store(seq) } }
	b.start()
	equal(t, a, b)
	if told.Load() == 0 {
		t.Error("nobody was told that the journal went back in time")
	}
	eventually(t, func() string {
		if err := b.f.WritableErr(); err != nil {
			return err.Error()
		}
		return ""
	})
	b.write(2)
	equal(t, a, b)
	sameBytes(t, a, b)
}

// TestFork gives b an old copy of its journal and lets it write before it meets a: two different records have one id.
func TestFork(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b")
	b.dials(a).start()
	a.start()
	equal(t, a, b)
	b.kill()
	old := t.TempDir()
	if err := os.CopyFS(filepath.Join(old, "x"), os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	b.openJournal()
	b.start()
	b.write(7)
	equal(t, a, b)
	b.kill()
	b.dir = filepath.Join(old, "x")
	b.openJournal()
	b.write(2)
	b.start()
	eventually(t, func() string {
		if err := b.f.WritableErr(); err == nil || !strings.Contains(err.Error(), journal.ErrFork.Error()) {
			return "b does not know that its records are forked"
		}
		if s := statusOf(a, "b"); len(s.Refused) == 0 {
			return "a does not show the fork"
		}
		return ""
	})
	a.write(4) // the other origin goes on
	eventually(t, func() string {
		node := a.j.Identity().Node
		if b.j.Stored()[node] != a.j.Stored()[node] {
			return "a's records do not reach b"
		}
		return ""
	})
}

// TestAckedRemembered checks that what was acknowledged is remembered over a restart, for status.
func TestAckedRemembered(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b")
	a.dials(b).start()
	b.start()
	a.write(5)
	equal(t, a, b)
	acked(t, a)
	b.kill()
	a.kill()
	a.openJournal()
	a.start()
	if s := statusOf(a, "b"); s.Queued > 1 { // the journal keeps acknowledgements lazily
		t.Errorf("after a restart %d records count as queued", s.Queued)
	}
	if _, err := a.f.Pending(a.target(), "nobody"); err == nil {
		t.Error("an unknown peer has nothing pending")
	}
}
