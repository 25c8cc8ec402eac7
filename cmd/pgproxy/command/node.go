package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pgproxy/audit"
	"pgproxy/audit/sink"
	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/cmd/pgproxy/config"
	"pgproxy/forward"
	"pgproxy/forward/apply"
	"pgproxy/journal"
	"pgproxy/parser"
	"pgproxy/proxy"
	"pgproxy/proxy/capture"
)

// errInUse is the system's error for an address that is taken.
var errInUse error = syscall.EADDRINUSE

// node is a running node: the rooms, wired.
type node struct {
	c       *cli
	set     *config.Config
	log     *slog.Logger
	started time.Time
	state   atomic.Value // string, for status
	failed  chan error   // a part ended that must not

	listeners    []net.Listener // for clients; owned by server once it takes clients
	peerListener net.Listener   // owned by forward once made

	upstream *upstream
	journal  *journal.Journal
	admin    *admin.Server
	capturer *capture.Capturer
	server   *proxy.Server
	// certificate is shown to clients; nil: there is none.
	certificate *proxy.Certificate

	forwarder *forward.Forwarder
	applier   *apply.Applier

	ctx    context.Context // of the rooms' goroutines
	cancel context.CancelFunc
	wait   sync.WaitGroup
	taking atomic.Bool
	sinks  []*sink.Sink
	veil   *audit.Veil // over what is shown of the journal
	noted  bool        // the node's start stands in the journal
}

// run runs a part of the node until close; its end before that is a failure of the node.
func (n *node) run(name string, f func(context.Context) error) {
	n.wait.Add(1)
	go func() {
		defer n.wait.Done()
		err := f(n.ctx)
		if n.ctx.Err() != nil || errors.Is(err, proxy.ErrClosed) {
			return
		}
		if err == nil {
			err = errors.New("it ended")
		}
		select {
		case n.failed <- fmt.Errorf("%s: %w", name, err):
		default:
		}
	}()
}

func (n *node) openJournal(ctx context.Context) error {
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.state.Store("starting")
	dir := n.set.DataDir
	j, err := journal.Open(ctx, journal.Options{
		Dir: dir, Node: n.set.Node, Now: n.c.Now, Rand: rand.Reader, SegmentBytes: int64(n.set.JournalSegment), MaxBytes: int64(n.set.JournalMax),
		NoSync: !n.set.JournalSync, Logger: n.room("journal"), Fault: faultPoints(&n.c.Environment),
	})
	switch {
	case err == nil:
	case errors.Is(err, journal.ErrLocked):
		return admin.Fail(admin.ExitError, "stop the other one, or give another --data-dir", "data folder %s is used by another pgproxy: %w", dir, err)
	case errors.Is(err, journal.ErrOtherNode):
		return admin.Fail(admin.ExitError, "give the name that this folder belongs to, or another --data-dir", "data folder %s: %w", dir, err)
	case errors.Is(err, journal.ErrDamaged):
		return admin.Fail(admin.ExitDifference, "pgproxy journal check --data-dir "+dir, "%w", err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return admin.Fail(admin.ExitError, "give a folder that this user may write to", "data folder %s cannot be used: %w", dir, err)
	default:
		return admin.Fail(admin.ExitError, "", "open journal in %s: %w", dir, err)
	}
	n.journal = j
	if err := n.makeVeil(); err != nil {
		return admin.Fail(admin.ExitError, "", "%w", err)
	}
	id := j.Identity()
	n.run("journal", n.watchJournal)
	if n.set.Retain > 0 || n.set.RetainSize > 0 {
		n.run("retention", n.prune)
	}
	n.log.Info("journal opened", "node", id.Name, "node_id", id.Node.String(), "incarnation", id.Incarnation, "in_doubt", len(j.InDoubt()))
	if !n.set.JournalSync {
		n.log.Warn("journal-sync is off: a power cut can lose acknowledged writes")
	}
	return nil
}

// watchJournal returns when the journal has failed for good: the node must end, and read what is there at its next start.
func (n *node) watchJournal(ctx context.Context) error {
	wake, stop := n.journal.Watch()
	defer stop()
	for {
		if err := n.journal.Err(); err != nil && n.set.AuditFailure != config.FailContinue {
			return err
		} else if err != nil {
			n.log.Error("the journal has failed: writes are neither recorded nor replicated until the next start", "error", err)
			<-ctx.Done()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		}
	}
}

func (n *node) openAdmin(context.Context) error {
	l, err := admin.Listen(n.set.DataDir)
	if err != nil {
		return admin.Fail(admin.ExitError, "", "%w", err)
	}
	n.admin = admin.NewServer(n, n.c.Now)
	n.run("admin socket", func(context.Context) error { return n.admin.Serve(l) })
	return nil
}

// excluded reports tables whose rows stay on this node by choice.
func (n *node) excluded(schema, table string) bool {
	name := schema + "." + table
	return slices.Contains(n.set.ExcludeTables, name) || n.set.AuditTable != "" && (name == sink.ActionsTable || name == sink.PositionTable)
}

// makeRooms makes the rooms; nothing in them runs yet.
func (n *node) makeRooms(context.Context) error {
	fault := faultPoints(&n.c.Environment)
	number := func() (uint32, bool) {
		id := n.journal.Identity()
		return id.Number, !id.Cluster.IsZero()
	}
	n.capturer = capture.New(capture.Options{Connect: n.upstream.connect, Number: number, Rand: rand.Reader, Spool: n.journal.Spool,
		Logger:   n.room("capture"),
		Excluded: func(_, schema, table string) bool { return n.excluded(schema, table) }})
	var err error
	if n.applier, err = apply.New(apply.Options{Journal: n.journal, Connect: n.upstream.connect, Databases: n.upstream.databases,
		Now: n.c.Now, Rand: randomFraction, Logger: n.room("apply"), Fault: fault}); err != nil {
		return admin.Fail(admin.ExitError, "", "%w", err)
	}
	o := forward.Options{Journal: n.journal, Node: n.set.Node, Listener: n.peerListener, Insecure: n.set.PeerInsecure, Connect: n.upstream.connect,
		Rand: rand.Reader, Now: n.c.Now, Logger: n.log, Fault: fault, Excluded: n.excluded, Limits: forward.Limits{Beat: n.set.LineInterval}}
	for _, p := range n.set.PeerList() {
		o.Peers = append(o.Peers, forward.Peer{Name: p.Name, Addr: p.Addr})
	}
	if n.set.PeerCA != "" {
		o.TLS = &forward.TLSFiles{CA: n.set.PeerCA, Cert: n.set.PeerCert, Key: n.set.PeerKey}
	}
	if n.forwarder, err = forward.New(o); err != nil {
		return admin.Fail(admin.ExitUsage, "", "%w", err)
	}
	policy, err := n.set.AuditPolicy()
	if err != nil {
		return admin.Fail(admin.ExitUsage, "", "%w", err)
	}
	n.server = proxy.New(proxy.Options{
		Audit: policy, Failure: n.auditFailure(), Broken: n.broken,
		Dial: n.upstream.dial, Connect: n.upstream.connect, Journal: n.journal, Parser: parser.New(parser.Options{}),
		Certificate: n.certificate, TLSMode: tlsModes[n.set.TLSMode],
		Capturer: n.capturer, Logger: n.room("proxy"), Now: n.c.Now, Rand: rand.Reader, Fault: fault, Writable: n.writable,
		RefuseUnreplicable: n.set.Unreplicable == "refuse",
		MaxClients:         n.set.MaxClients, MaxTx: int64(n.set.TransactionMax),
	})
	return nil
}

// writable says why clients' writes are refused, if they are.
func (n *node) writable() error {
	if err := n.forwarder.WritableErr(); err != nil {
		return err
	}
	return n.applier.WritableErr()
}

// resolve settles what the last start left open, before apply reads rows that a late commit could still change.
func (n *node) resolve(ctx context.Context) error {
	if left := n.server.Resolver().Pass(ctx); left > 0 {
		n.log.Warn("transactions are still in doubt; they are asked about again", "count", left)
	}
	n.run("resolver", n.server.Resolver().Run)
	return nil
}

func (n *node) prepareApply(ctx context.Context) error {
	if err := n.applier.Prepare(ctx); err != nil {
		return admin.Fail(admin.ExitError, "the role of --upstream must be able to create the schema pgproxy in each database", "prepare the databases: %w", err)
	}
	return nil
}

// join starts the exchange with the peers and waits until this node belongs to a cluster, or knows that it has to wait.
func (n *node) join(ctx context.Context) error {
	n.run("peers", n.forwarder.Run)
	n.state.Store("joining")
	if err := n.forwarder.Ready(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n.log.Warn("writes are refused for now", "reason", err)
	}
	return nil
}

// sequencesTime is how long a start waits for the sequences to get this node's stride, before it takes clients all the same:
// their writes are refused until then.
const sequencesTime = 20 * time.Second

func (n *node) runApply(ctx context.Context) error {
	n.run("apply", n.applier.Run)
	if n.forwarder.WritableErr() != nil {
		return nil // no member yet, so no number to stride by
	}
	const look = 10 * time.Millisecond
	tick := time.NewTicker(look)
	defer tick.Stop()
	late := time.NewTimer(sequencesTime)
	defer late.Stop()
	for {
		err := n.applier.WritableErr()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			n.log.Warn("writes are refused for now", "reason", err)
			return nil
		case err := <-n.failed:
			return admin.Fail(admin.ExitError, "", "node %s: %w", n.set.Node, err)
		case <-tick.C:
		}
	}
}

func (n *node) takeClients(context.Context) error {
	for _, l := range n.listeners {
		n.run("clients on "+l.Addr().String(), func(context.Context) error { return n.server.Serve(l) })
	}
	n.noteStart()
	n.taking.Store(true)
	n.state.Store("running")
	return nil
}

// close stops whatever was started, in reverse order.
func (n *node) close() {
	n.state.Store("stopping")
	n.taking.Store(false)
	if n.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), n.set.ShutdownTimeout)
		if err := n.server.Shutdown(ctx); err != nil {
			n.log.Warn("clients were cut off", "reason", err)
		}
		n.noteStop()
		cancel()
	}
	for _, l := range n.listeners {
		l.Close() // again: of a start that did not get far
	}
	if n.cancel != nil {
		n.cancel()
	}
	if n.forwarder != nil {
		n.forwarder.Close()
	} else if n.peerListener != nil {
		n.peerListener.Close()
	}
	if n.admin != nil {
		n.admin.Close()
	}
	n.wait.Wait()
	if n.capturer != nil {
		n.capturer.Close()
	}
	if n.journal != nil {
		if err := n.journal.Close(); err != nil {
			n.log.Error("close journal", "error", err)
		}
	}
}

// randomFraction is in [0, 1).
func randomFraction() float64 {
	const parts = 1 << 53
	i, err := rand.Int(rand.Reader, big.NewInt(parts))
	if err != nil {
		return 0.5
	}
	return float64(i.Int64()) / parts
}
