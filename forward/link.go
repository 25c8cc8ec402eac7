package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
)

// stream is either end of the gRPC stream. Send is called by the sender's goroutine only, Recv by the reader's only.
type stream interface {
	Send(*peerpb.Frame) error
	Recv() (*peerpb.Frame, error)
}

// maxControl bounds the frames that wait to be sent beside records; a peer that makes us owe more is cut off.
const maxControl = 4096

// goodbyeTime is how long a link that was told goodbye may take to end by itself.
const goodbyeTime = time.Second

// link is one stream between this node and another one. It has four goroutines, which all end with its context:
//
//	reader    Recv; judges hellos, takes part in admission, unpacks batches into the queue, takes acknowledgements
//	sender    the only one that sends: control frames, state, and batches read from the journal
//	storer    queue -> Journal.Store, as many records at once as there are
//	watchdog  ends the link when the other side is silent
//
// The reader never waits for the sender, so that two nodes that both send cannot wait for each other.
type link struct {
	f         *Forwarder
	stream    stream
	ctx       context.Context
	cancel    context.CancelCauseFunc
	dialed    bool     // by this node
	expect    string   // configured name of the other end, if dialed
	addr      string   // of the other end
	certified []string // names in its certificate; nil without TLS
	log       *slog.Logger
	ended     chan struct{}    // closed when all goroutines have ended
	settled   chan struct{}    // closed when both are members of one cluster and records may flow
	wake      bell             // for the sender
	arrived   bell             // for the storer
	drained   bell             // for the reader, which waits for room in the queue
	stage     *journal.Staging // the storer's own: images that come before their record
	heard     atomic.Pointer[time.Time]
	busy      atomic.Bool // the reader waits for this node's own journal: silence is ours
	flushed   notice      // control frames were sent
	asked     askers

	intro sync.Mutex // held while this node introduces itself, so that hellos leave in the order in which they were true
	said  saying     // in the last hello; guarded by intro

	mu      sync.Mutex // guards what follows
	remote  *hello     // nil until accepted
	joining bool       // Join was sent and not answered
	control []*peerpb.Frame
	bye     *peerpb.Goodbye // the last frame to be sent
	byeErr  error
	probes  map[uint64]chan struct{}
	out     outgoing
	in      incoming
	witness witnessing
}

func (f *Forwarder) newLink(ctx context.Context, cancel context.CancelCauseFunc, s stream) *link {
	l := &link{f: f, stream: s, ctx: ctx, cancel: cancel, log: f.log, ended: make(chan struct{}), settled: make(chan struct{}),
		wake: newBell(), arrived: newBell(), drained: newBell(), stage: f.o.Journal.Stage(), probes: map[uint64]chan struct{}{}}
	l.out.init()
	l.in.init()
	now := f.o.Now()
	l.heard.Store(&now)
	return l
}

// run works until the link ends and says why it ended. It may return before the goroutines have ended (see ended): a
// gRPC handler must return for a blocked Send to come back.
func (l *link) run() error {
	var wg sync.WaitGroup
	for _, work := range []func() error{l.read, l.send, l.store, l.watch} {
		wg.Go(func() {
			if err := work(); err != nil {
				l.cancel(err)
			}
		})
	}
	go func() {
		wg.Wait()
		l.asked.workers.Wait()
		l.f.forget(l)
		close(l.ended)
	}()
	<-l.ctx.Done()
	return context.Cause(l.ctx)
}

// end says goodbye and ends the link with err; it does not wait for that.
func (l *link) end(reason peerpb.Goodbye_Reason, err error) {
	l.mu.Lock()
	if l.bye == nil {
		l.bye, l.byeErr = &peerpb.Goodbye{Reason: reason, Message: err.Error()}, err
	}
	l.mu.Unlock()
	l.wake.ring()
	stop := time.AfterFunc(goodbyeTime, func() { l.cancel(err) })
	context.AfterFunc(l.ctx, func() { stop.Stop() })
}

// post queues a control frame for the sender.
func (l *link) post(f *peerpb.Frame) {
	l.mu.Lock()
	l.control = append(l.control, f)
	over := len(l.control) > maxControl
	l.mu.Unlock()
	if over {
		l.cancel(fmt.Errorf("peer makes this node owe more than %d answers", maxControl))
		return
	}
	l.wake.ring()
}

// peerName is the name of the other end, as far as it is known.
func (l *link) peerName() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.remote != nil {
		return l.remote.name
	}
	if l.expect != "" {
		return l.expect
	}
	return l.addr
}

func (l *link) peerNode() journal.NodeID {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.remote == nil {
		return journal.NodeID{}
	}
	return l.remote.node
}

func (l *link) isSettled() bool {
	select {
	case <-l.settled:
		return true
	default:
		return false
	}
}

func (l *link) closing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bye != nil || l.ctx.Err() != nil
}

// errSilent ends a link whose other end says nothing any more.
var errSilent = errors.New("peer is silent: the connection is broken, or the node has stopped")

// watch ends the link when the other end is silent, or does not get through the handshake.
func (l *link) watch() error {
	tick := time.NewTicker(l.f.o.Limits.Heartbeat)
	defer tick.Stop()
	start := l.f.o.Now()
	for {
		select {
		case <-l.ctx.Done():
			return nil
		case <-tick.C:
		}
		now := l.f.o.Now()
		if !l.busy.Load() && now.Sub(*l.heard.Load()) > l.f.o.Limits.PeerTimeout {
			return errSilent
		}
		if l.peerNode().IsZero() && now.Sub(start) > l.f.o.Limits.HandshakeTime {
			return errors.New("peer did not introduce itself in time")
		}
	}
}

// probe finds out whether the link still works: true if the other end answers in time.
func (l *link) probe() bool {
	nonce := l.f.random()
	pong := make(chan struct{})
	l.mu.Lock()
	l.probes[nonce] = pong
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.probes, nonce)
		l.mu.Unlock()
	}()
	l.post(&peerpb.Frame{Body: &peerpb.Frame_Ping{Ping: &peerpb.Ping{Nonce: nonce}}})
	late := time.NewTimer(l.f.o.Limits.ProbeTime)
	defer late.Stop()
	select {
	case <-pong:
		return true
	case <-late.C:
	case <-l.ctx.Done():
	}
	return false
}

func (l *link) onPing(p *peerpb.Ping) {
	if !p.GetReply() {
		l.post(&peerpb.Frame{Body: &peerpb.Frame_Ping{Ping: &peerpb.Ping{Nonce: p.GetNonce(), Reply: true}}})
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.probes[p.GetNonce()]; ok {
		close(c)
		delete(l.probes, p.GetNonce())
	}
}

// goodbyeError is the other end's reason for closing the link.
type goodbyeError struct {
	reason  peerpb.Goodbye_Reason
	message string
}

func (e *goodbyeError) Error() string { return e.message }

// read is the reader's goroutine.
func (l *link) read() error {
	defer l.releaseReader()
	if l.dialed {
		l.introduce()
	}
	for {
		frame, err := l.stream.Recv()
		if err != nil {
			return fmt.Errorf("receive from peer: %w", err)
		}
		now := l.f.o.Now()
		l.heard.Store(&now)
		if l.closing() {
			if frame.GetGoodbye() != nil {
				return l.parting()
			}
			continue
		}
		if err := l.handle(frame); err != nil {
			return err
		}
		handled := l.f.o.Now()
		l.heard.Store(&handled) // what this node itself took long for is not the peer's silence
	}
}

// parting is why this node ends the link.
func (l *link) parting() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byeErr
}

// errOrder is returned for a frame that has no place where it came.
var errOrder = errors.New("peer broke the protocol: frame out of order")

// handle deals with one frame.
func (l *link) handle(frame *peerpb.Frame) error {
	switch b := frame.GetBody().(type) {
	case *peerpb.Frame_Ping:
		l.onPing(b.Ping)
		if !l.peerNode().IsZero() && !l.isSettled() {
			l.evaluate() // what this node is may have changed, and who waits is pinged all the time
		}
		return nil
	case *peerpb.Frame_Goodbye:
		return &goodbyeError{b.Goodbye.GetReason(), b.Goodbye.GetMessage()}
	case *peerpb.Frame_Hello:
		return l.onHello(b.Hello)
	}
	if l.peerNode().IsZero() {
		return errOrder
	}
	switch b := frame.GetBody().(type) {
	case *peerpb.Frame_Join:
		return l.onJoin(b.Join)
	case *peerpb.Frame_Admit:
		return l.onAdmit(b.Admit)
	}
	if !l.isSettled() {
		l.evaluate() // the other end may have settled with what this node became in the meantime
		if !l.isSettled() {
			return errOrder
		}
	}
	return l.handleSettled(frame)
}

func (l *link) handleSettled(frame *peerpb.Frame) error {
	switch b := frame.GetBody().(type) {
	case *peerpb.Frame_State:
		return l.onState(b.State)
	case *peerpb.Frame_Batch:
		return l.onBatch(b.Batch)
	case *peerpb.Frame_Resend:
		return l.onResend(b.Resend)
	case *peerpb.Frame_Refuse:
		return l.onRefuse(b.Refuse)
	case *peerpb.Frame_Witness:
		return l.onWitness(b.Witness)
	case *peerpb.Frame_Checkpoint:
		return l.onCheckpoint(b.Checkpoint)
	case *peerpb.Frame_Ask:
		l.onAsk(b.Ask)
		return nil
	case *peerpb.Frame_Answer:
		l.asked.deliver(b.Answer)
		return nil
	}
	return nil // a frame of a later minor version
}

// sortedOrigins lists the keys of a quarantine in a stable order.
func sortedOrigins(m map[journal.NodeID]string) []journal.NodeID {
	out := make([]journal.NodeID, 0, len(m))
	for n := range m {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b journal.NodeID) int { return slices.Compare(a[:], b[:]) })
	return out
}
