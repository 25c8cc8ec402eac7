package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/mod/sumdb/tlog"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// Journal is what this room needs of the node's journal; *journal.Journal is it. All methods may be called from any
// goroutine.
type Journal interface {
	Pieces(r journal.Raw, f func(piece journal.Raw) error) error
	Stage() *journal.Staging
	Identity() journal.Identity
	Clock() *hlc.Clock
	Members() []journal.Member
	SetCluster(cluster journal.NodeID, number uint32) error
	SealMember(ctx context.Context, m journal.Member) (*journal.Record, error)
	Beat(ctx context.Context) (*journal.Record, error)
	KeepLine(ctx context.Context) (bool, error)
	InDoubt() []*journal.Intent
	Record(id journal.ID) (*journal.Record, error)

	Store(ctx context.Context, recs []journal.Raw) error
	Stored() journal.Vector
	Applied() journal.Vector
	After(v journal.Vector, max int) ([]journal.Raw, error)
	Hash(id journal.ID) ([32]byte, bool)
	Watch() (<-chan struct{}, func())
	SetAcked(peer string, v journal.Vector)
	Acked(peer string) journal.Vector

	Checkpoint() journal.Checkpoint
	Root(size uint64) (tlog.Hash, error)
	ProveGrowth(from, size uint64) (tlog.TreeProof, error)
	Witness(n journal.NodeID) journal.Witness
	Witnesses() map[journal.NodeID]journal.Witness
	ChangeWitness(n journal.NodeID, change func(w *journal.Witness)) error
}

var _ Journal = (*journal.Journal)(nil)

// Peer is a node that this one dials: its name, which it must answer to, and its address (host:port).
type Peer struct {
	Name, Addr string
}

// Options is what a Forwarder is made of. Journal, Node, Rand, Now and Logger are required; every limit has a default.
type Options struct {
	Journal  Journal
	Node     string       // this node's name
	Listener net.Listener // where peers dial in; nil: this node only dials. Closed by Close.
	Peers    []Peer

	TLS      *TLSFiles // certificates; nil only together with Insecure
	Insecure bool      // plaintext, between loopback addresses only

	// Dial opens a connection to a peer; nil is TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Connect opens a session in this node's database server, for verify; database "" is any one.
	Connect func(ctx context.Context, database string) (*pgconn.PgConn, error)
	// Excluded reports tables whose rows are not replicated, by choice: verify leaves them out. nil: none.
	Excluded func(schema, table string) bool
	// Behind is called when a peer has own records of this node, up to seq, that the journal lacks. Writes have to be
	// refused until they are back, which WritableErr sees to. May be nil.
	Behind func(seq uint64)
	Rand   io.Reader
	Now    func() time.Time
	Logger *slog.Logger
	Fault  func(point string) // nil: no-op

	Limits Limits
}

// Limits bound memory and patience. Zero means the default.
type Limits struct {
	BatchBytes    int           // records of one batch, before compression
	WindowBytes   int           // sent and not acknowledged, per link
	QueueBytes    int           // received and not yet stored, per link
	RecordBytes   int           // one record, whole
	Links         int           // open links, configured or not
	Beat          time.Duration // how often an idle node may write a beat, so that the line moves on
	Heartbeat     time.Duration // a link never stays silent for longer
	PeerTimeout   time.Duration // a link that is silent for so long is broken
	HandshakeTime time.Duration // from the first byte to an accepted Hello
	ProbeTime     time.Duration // for an older link to prove that it works, when a second one comes
	RetryMin      time.Duration // first pause before dialing again
	RetryMax      time.Duration // longest pause
	FoundAfter    time.Duration // how long the founder looks for an existing cluster
	RelayPatience time.Duration // how long a record that the peer should get from its origin itself is held back
}

// Defaults of Limits.
const (
	DefaultBatchBytes    = 512 << 10
	DefaultWindowBytes   = 16 << 20
	DefaultQueueBytes    = 8 << 20
	DefaultRecordBytes   = journal.MaxRecordBytes + 1024 // and its head
	DefaultLinks         = 64
	DefaultBeat          = time.Second
	DefaultHeartbeat     = time.Second
	DefaultPeerTimeout   = 8 * time.Second
	DefaultHandshakeTime = 10 * time.Second
	DefaultProbeTime     = time.Second
	DefaultRetryMin      = 100 * time.Millisecond
	DefaultRetryMax      = 5 * time.Second
	DefaultFoundAfter    = 2 * time.Second
	DefaultRelayPatience = 2 * time.Second
)

// maxNameBytes bounds a node's name wherever one comes from outside.
const maxNameBytes = 63

func (l *Limits) fill() {
	number := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	span := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	number(&l.BatchBytes, DefaultBatchBytes)
	number(&l.WindowBytes, DefaultWindowBytes)
	number(&l.QueueBytes, DefaultQueueBytes)
	number(&l.RecordBytes, DefaultRecordBytes)
	number(&l.Links, DefaultLinks)
	span(&l.Beat, DefaultBeat)
	span(&l.Heartbeat, DefaultHeartbeat)
	span(&l.PeerTimeout, DefaultPeerTimeout)
	span(&l.HandshakeTime, DefaultHandshakeTime)
	span(&l.ProbeTime, DefaultProbeTime)
	span(&l.RetryMin, DefaultRetryMin)
	span(&l.RetryMax, DefaultRetryMax)
	span(&l.FoundAfter, DefaultFoundAfter)
	span(&l.RelayPatience, DefaultRelayPatience)
}

// check refuses what cannot work, before anything is opened.
func (o *Options) check() error {
	if o.Journal == nil || o.Rand == nil || o.Now == nil || o.Logger == nil {
		return errors.New("forward: Journal, Rand, Now and Logger are required")
	}
	if err := checkName(o.Node); err != nil {
		return fmt.Errorf("node name: %w", err)
	}
	seen := map[string]bool{}
	addrs := map[string]string{}
	for _, p := range o.Peers {
		if err := checkName(p.Name); err != nil {
			return fmt.Errorf("peer %q: %w", p.Name, err)
		}
		if p.Name == o.Node {
			return fmt.Errorf("peer %s=%s is this node itself: leave it out of the list of peers", p.Name, p.Addr)
		}
		if seen[p.Name] {
			return fmt.Errorf("peer %s is named twice: give each peer once", p.Name)
		}
		if other, ok := addrs[p.Addr]; ok {
			return fmt.Errorf("peers %s and %s have the same address %s: correct one of them", other, p.Name, p.Addr)
		}
		if _, _, err := net.SplitHostPort(p.Addr); err != nil {
			return fmt.Errorf("peer %s: address %q is not host:port: %w", p.Name, p.Addr, err)
		}
		seen[p.Name], addrs[p.Addr] = true, p.Name
	}
	if o.TLS != nil && o.Insecure {
		return errors.New("certificates are given and plaintext is asked for: choose one of the two")
	}
	if o.TLS == nil && (len(o.Peers) > 0 || o.Listener != nil) {
		return o.checkPlaintext()
	}
	return nil
}

// checkName accepts what can stand in ORIGIN/SEQ, in NAME=ADDRESS and in a certificate.
func checkName(s string) error {
	if s == "" || len(s) > maxNameBytes {
		return fmt.Errorf("a name has 1 to %d characters", maxNameBytes)
	}
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	}
	if slices.ContainsFunc([]rune(s), bad) {
		return fmt.Errorf("name %q: only letters, digits, and - _ . are allowed", s)
	}
	return nil
}
