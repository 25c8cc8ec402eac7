package forward

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	"pgproxy/journal"
)

// Forwarder exchanges records with other nodes. Make one with New, start it with Run.
type Forwarder struct {
	o       Options
	j       Journal
	log     *slog.Logger
	boot    boot
	keys    *keyring      // nil: plaintext
	changed notice        // links, membership or acknowledgements moved
	large   chan struct{} // place for one large batch on its way in
	answers chan struct{} // places for questions about the database

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	server *grpc.Server
	member *membership

	mu         sync.Mutex // guards what follows
	running    bool
	closed     bool
	neighbours map[string]*neighbour    // by name
	links      map[journal.NodeID]*link // accepted, one per node
	open       map[*link]struct{}       // every one
	behind     uint64                   // own records up to here are known to peers
	behindPeer string                   // who knows them
	forked     error                    // own records differ from what a peer has
	logged     map[string]time.Time     // when a refusal was logged last, by its text
}

// maxAnswers bounds the questions of peers that are answered at once, each with a connection to the database.
const maxAnswers = 4

// New checks the options and reads the certificates. Nothing is opened or sent before Run.
func New(o Options) (*Forwarder, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o.Limits.fill()
	f := &Forwarder{o: o, j: o.Journal, log: o.Logger.With("room", "forward"), large: make(chan struct{}, 1),
		answers: make(chan struct{}, maxAnswers), neighbours: map[string]*neighbour{}, links: map[journal.NodeID]*link{},
		open: map[*link]struct{}{}, logged: map[string]time.Time{}}
	if _, err := io.ReadFull(o.Rand, f.boot[:]); err != nil {
		return nil, fmt.Errorf("read randomness: %w", err)
	}
	if o.TLS != nil {
		keys, err := newKeyring(*o.TLS, o.Node, o.Now, f.log)
		if err != nil {
			return nil, err
		}
		f.keys = keys
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.member = newMembership(f)
	for _, p := range o.Peers {
		f.neighbours[p.Name] = &neighbour{f: f, name: p.Name, addr: p.Addr, configured: true, kick: newBell()}
	}
	return f, nil
}

// Run serves peers and dials them until ctx ends or Close is called. Its error says why it could not go on; it is nil
// after Close or the end of ctx.
func (f *Forwarder) Run(ctx context.Context) error {
	f.mu.Lock()
	if f.running {
		f.mu.Unlock()
		return errors.New("forwarder runs already")
	}
	if f.closed { // before its goroutine came to run
		f.mu.Unlock()
		return nil
	}
	f.running = true
	var dial []*neighbour
	for _, n := range f.neighbours {
		dial = append(dial, n)
	}
	f.wg.Add(1) // for Run itself
	f.mu.Unlock()
	defer f.wg.Done()
	stop := context.AfterFunc(ctx, f.cancel)
	defer stop()

	failed := make(chan error, 3)
	f.wg.Go(func() {
		if err := f.member.run(f.ctx); err != nil && f.ctx.Err() == nil {
			failed <- fmt.Errorf("found or join a cluster: %w", err)
		}
	})
	f.wg.Go(func() {
		if err := f.keepLine(f.ctx); err != nil {
			failed <- err
		}
	})
	if f.o.Listener != nil {
		f.serve(failed)
	}
	for _, n := range dial {
		f.wg.Go(func() { n.run(f.ctx) })
	}
	var err error
	select {
	case <-f.ctx.Done():
	case err = <-failed:
		f.cancel()
	}
	f.shut()
	return err
}

// Close says goodbye to all peers and ends all goroutines. It may be called more than once, also without Run.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	f.closed = true
	ran := f.running
	f.mu.Unlock()
	f.cancel()
	if !ran && f.o.Listener != nil {
		f.o.Listener.Close()
	}
	f.wg.Wait()
	return nil
}

// shut ends the links and the server.
func (f *Forwarder) shut() {
	f.mu.Lock()
	f.closed = true
	links := make([]*link, 0, len(f.open))
	for l := range f.open {
		links = append(links, l)
	}
	f.mu.Unlock()
	for _, l := range links {
		l.end(peerGoing, errGoing)
	}
	for _, l := range links {
		<-l.ended
	}
	if f.server != nil {
		f.server.Stop()
	}
}

// Kick makes all peers that are not connected be dialed at once.
func (f *Forwarder) Kick() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.neighbours {
		if n.configured {
			n.kick.ring()
		}
	}
}

func (f *Forwarder) fault(point string) {
	if f.o.Fault != nil {
		f.o.Fault(point)
	}
}

func (f *Forwarder) random() uint64 {
	var b [8]byte
	if _, err := io.ReadFull(f.o.Rand, b[:]); err != nil {
		return uint64(f.o.Now().UnixNano()) // only tells answers apart
	}
	return binary.BigEndian.Uint64(b[:])
}

// members lists the nodes of this node's own cluster.
func (f *Forwarder) members() []journal.Member {
	cluster := f.j.Identity().Cluster
	var out []journal.Member
	for _, m := range f.j.Members() {
		if m.Cluster == cluster && !cluster.IsZero() {
			out = append(out, m)
		}
	}
	return out
}

// nameOf gives a node's name where it is known.
func (f *Forwarder) nameOf(node journal.NodeID) string {
	if id := f.j.Identity(); id.Node == node {
		return id.Name
	}
	for _, m := range f.j.Members() {
		if m.Node == node {
			return m.Name
		}
	}
	return node.String()
}
