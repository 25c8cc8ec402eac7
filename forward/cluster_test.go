package forward

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pgproxy/journal"
	"pgproxy/test/harness"
)

// patience is how long anything that must happen may take on a loaded machine.
const patience = 90 * time.Second

// eventually waits until ok gives "" and fails with its last complaint otherwise.
func eventually(t testing.TB, ok func() string) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		complaint := ok()
		if complaint == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			buf := make([]byte, 1<<20)
			t.Fatalf("after %s: %s\n%s", patience, complaint, buf[:runtime.Stack(buf, os.Getenv("STACKS") != "")])
		}
	}
}

// quick are limits for tests: as short as a loaded machine allows.
func quick() Limits {
	return Limits{Beat: time.Hour, // nobody applies anything here but where a test does
		Heartbeat: 100 * time.Millisecond, PeerTimeout: 3 * time.Second, RetryMin: 10 * time.Millisecond,
		RetryMax: 200 * time.Millisecond, FoundAfter: 300 * time.Millisecond, RelayPatience: 200 * time.Millisecond}
}

// node is one node under test: a journal and a forwarder, no database.
type node struct {
	t     testing.TB
	name  string
	dir   string
	j     *journal.Journal
	f     *Forwarder
	addr  string // where it listens
	peers []Peer
	tune  func(*Options)
	ran   chan error
}

func newNode(t testing.TB, name string) *node {
	t.Helper()
	n := &node{t: t, name: name, dir: t.TempDir()}
	n.addr = harness.Local(harness.FreePort(t)) // none that a connection of somebody's may take while the node is down
	n.openJournal()
	t.Cleanup(n.kill)
	return n
}

func (n *node) openJournal() {
	n.t.Helper()
	j, err := journal.Open(n.t.Context(), journal.Options{Dir: n.dir, Node: n.name, Now: time.Now, Rand: rand.Reader, NoSync: true,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		n.t.Fatalf("open journal of %s: %v", n.name, err)
	}
	n.j = j
}

type testWriter struct {
	t  testing.TB
	mu sync.Mutex
	on bool
}

func (w *testWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.on {
		w.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

func testLog(t testing.TB, name string) *slog.Logger {
	w := &testWriter{t: t, on: true}
	t.Cleanup(func() { w.mu.Lock(); w.on = false; w.mu.Unlock() })
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.String("t", time.Now().Format("05.000"))
		}
		return a
	}})).With("node", name)
}

// options are those that start uses.
func (n *node) options() Options {
	l, err := net.Listen("tcp", n.addr)
	if err != nil {
		n.t.Fatalf("listen for %s: %v", n.name, err)
	}
	o := Options{Journal: n.j, Node: n.name, Listener: l, Peers: n.peers, Insecure: true, Rand: rand.Reader, Now: time.Now,
		Logger: testLog(n.t, n.name), Limits: quick()}
	if n.tune != nil {
		n.tune(&o)
	}
	return o
}

func (n *node) start() *node {
	n.t.Helper()
	f, err := New(n.options())
	if err != nil {
		n.t.Fatalf("new forwarder of %s: %v", n.name, err)
	}
	n.f, n.ran = f, make(chan error, 1)
	go func() { n.ran <- f.Run(context.Background()) }()
	return n
}

func (n *node) target() journal.Vector {
	n.t.Helper()
	target, err := n.f.Target(n.t.Context())
	if err != nil {
		n.t.Fatalf("target of %s: %v", n.name, err)
	}
	return target
}

// stop ends the forwarder and leaves the journal open.
func (n *node) stop() {
	if n.f == nil {
		return
	}
	n.f.Close()
	if err := <-n.ran; err != nil {
		n.t.Errorf("node %s: run: %v", n.name, err)
	}
	n.f = nil
}

func (n *node) kill() {
	n.stop()
	if n.j != nil {
		if err := n.j.Close(); err != nil {
			n.t.Errorf("close journal of %s: %v", n.name, err)
		}
		n.j = nil
	}
}

// write commits count transactions.
func (n *node) write(count int) {
	n.t.Helper()
	for i := range count {
		n.writeText(fmt.Sprintf("insert into t values (%d) -- %s", i, n.name))
	}
}

func (n *node) writeText(text string) {
	n.t.Helper()
	now := time.Now().UTC()
	in, err := n.j.Seal(n.t.Context(), &journal.Tx{Start: now, End: now, User: "u", Database: "d", Application: "test", Client: "local",
		Statements: []journal.Statement{{Query: text, Command: "INSERT", Role: "u", Capture: journal.CaptureNone, Start: now}}})
	if err != nil {
		n.t.Fatalf("seal at %s: %v", n.name, err)
	}
	if err := in.Commit(); err != nil {
		n.t.Fatalf("commit at %s: %v", n.name, err)
	}
}

// connect makes nodes know each other as listed: connect(a, b) lets a dial b.
func (n *node) dials(others ...*node) *node {
	for _, o := range others {
		n.peers = append(n.peers, Peer{Name: o.name, Addr: o.addr})
	}
	return n
}

func mesh(nodes ...*node) {
	for _, n := range nodes {
		for _, o := range nodes {
			if n != o {
				n.dials(o)
			}
		}
	}
}

// equal waits until all nodes have stored the same, and have what each of them has written.
func equal(t testing.TB, nodes ...*node) {
	t.Helper()
	eventually(t, func() string {
		want := journal.Vector{}
		for _, n := range nodes {
			for o, seq := range n.j.Stored() {
				want[o] = max(want[o], seq)
			}
		}
		for _, n := range nodes {
			if !n.f.Member() {
				return n.name + " is no member"
			}
			if got := n.j.Stored(); !got.Includes(want) {
				return fmt.Sprintf("%s has %v, of %v", n.name, got, want)
			}
		}
		return ""
	})
}

// acked waits until nothing of now is pending at the configured peers of n.
func acked(t testing.TB, n *node) {
	t.Helper()
	target := n.target()
	eventually(t, func() string {
		left, err := n.f.Pending(target, "")
		if err != nil {
			return err.Error()
		}
		for peer, count := range left {
			if count > 0 {
				return fmt.Sprintf("%s: %d pending at %s", n.name, count, peer)
			}
		}
		return ""
	})
}

// sameBytes checks that every record is the same, byte for byte, on both nodes.
func sameBytes(t testing.TB, a, b *node) {
	t.Helper()
	for origin, seq := range a.j.Stored() {
		for s := uint64(1); s <= seq; s++ {
			id := journal.ID{Origin: origin, Seq: s}
			x, ok1 := a.j.Hash(id)
			y, ok2 := b.j.Hash(id)
			if !ok1 || !ok2 || x != y {
				t.Fatalf("record %s differs between %s and %s", id, a.name, b.name)
			}
		}
	}
}

func statusOf(n *node, peer string) PeerStatus {
	for _, s := range n.f.Status() {
		if s.Name == peer {
			return s
		}
	}
	return PeerStatus{}
}

// connected waits until n has a working link to each of the others.
func connected(t testing.TB, n *node, others ...*node) {
	t.Helper()
	for _, o := range others {
		eventually(t, func() string {
			if s := statusOf(n, o.name); !s.Connected {
				return fmt.Sprintf("%s is not connected to %s: %s", n.name, o.name, s.LastError)
			}
			return ""
		})
	}
}

// complains waits until n says of the peer what is expected.
func complains(t testing.TB, n *node, peer, text string) {
	t.Helper()
	eventually(t, func() string {
		s := statusOf(n, peer)
		if s.Connected {
			return fmt.Sprintf("%s is connected to %s, expected a refusal: %s", n.name, peer, text)
		}
		if !strings.Contains(s.LastError, text) {
			return fmt.Sprintf("%s says of %s: %q, expected %q", n.name, peer, s.LastError, text)
		}
		return ""
	})
}

// relay is a TCP relay in front of a node whose connections can be cut or held.
type relay struct {
	t      testing.TB
	l      net.Listener
	target string
	mu     sync.Mutex
	down   bool
	held   bool // bytes stand still, connections stay open
	moved  *sync.Cond
	conns  map[net.Conn]struct{}
	wg     sync.WaitGroup
}

func newRelay(t testing.TB, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{t: t, l: l, target: target, conns: map[net.Conn]struct{}{}}
	r.moved = sync.NewCond(&r.mu)
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		l.Close()
		r.hold(false)
		r.cut(true)
		r.wg.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.l.Addr().String() }

func (r *relay) accept() {
	for {
		c, err := r.l.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		down := r.down
		r.mu.Unlock()
		if down {
			c.Close()
			continue
		}
		s, err := net.Dial("tcp", r.target)
		if err != nil {
			c.Close()
			continue
		}
		r.mu.Lock()
		r.conns[c], r.conns[s] = struct{}{}, struct{}{}
		r.mu.Unlock()
		r.wg.Go(func() { r.copy(c, s) })
		r.wg.Go(func() { r.copy(s, c) })
	}
}

func (r *relay) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		r.mu.Lock()
		for r.held {
			r.moved.Wait()
		}
		r.mu.Unlock()
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut takes the link down or up again.
func (r *relay) cut(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
	if down {
		for c := range r.conns {
			c.Close()
			delete(r.conns, c)
		}
	}
}

// hold makes the link half-open: connections stay, bytes do not pass.
func (r *relay) hold(held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = held
	r.moved.Broadcast()
}

// noLeaks fails the test if goroutines are left after everything was closed.
func noLeaks(t testing.TB) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		eventually(t, func() string {
			if now := runtime.NumGoroutine(); now > before {
				return fmt.Sprintf("%d goroutines, %d before", now, before)
			}
			return ""
		})
	})
}
