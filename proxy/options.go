package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/audit"
	"pgproxy/journal"
	"pgproxy/parser"
	"pgproxy/proxy/capture"
)

// Defaults of Options.
const (
	DefaultLoginTimeout = 60 * time.Second // as PostgreSQL's authentication_timeout
	DefaultMaxClients   = 1000
	DefaultMaxText      = 64 << 20  // bytes of a Query or Parse that pgproxy must read
	DefaultMaxTx        = 256 << 20 // bytes that one transaction's record may take in memory
	DefaultMaxPrepared  = 100_000   // prepared statements and portals that write, per session
)

// Journal is what the proxy needs of the journal; *journal.Journal implements it.
type Journal interface {
	// Seal makes the intent durable; see journal.Journal.Seal. Called by session goroutines, many at once.
	Seal(ctx context.Context, tx *journal.Tx) (*journal.Intent, error)
	// Attempt records what did not commit, or wrote nothing.
	Attempt(tx *journal.Tx, o journal.Outcome) error
	// Note records what is no transaction: sessions, refused logins, gaps.
	Note(e *journal.Event) error
	// NewImages begins to collect the changes of a transaction that are too many to be held in memory.
	NewImages(marker [16]byte, database string) *journal.ImageWriter
	// InDoubt lists the intents that the resolver must settle.
	InDoubt() []*journal.Intent
	Identity() journal.Identity
}

// Options of a Server. Dial, Connect, Journal, Parser and Capturer are required.
type Options struct {
	// Dial opens a plain connection to the upstream server (TCP or unix socket). The TLS configuration, if there is one, is used
	// on it after an SSLRequest; SCRAM with channel binding is taken out of the server's offer then, unless Certificate is the
	// server's own.
	Dial func(ctx context.Context) (net.Conn, *tls.Config, error)
	// Certificate is shown to clients that want TLS; nil: they are told that there is none.
	Certificate *Certificate
	TLSMode     TLSMode
	// Connect opens pgproxy's own connection to a database of the upstream server (marker table, recovery).
	Connect func(ctx context.Context, database string) (*pgconn.PgConn, error)

	Journal  Journal
	Parser   *parser.Parser
	Capturer *capture.Capturer
	Logger   *slog.Logger     // default: discards
	Now      func() time.Time // required
	Rand     io.Reader        // required: source of marker ids
	Fault    func(point string)
	// Audit says what is recorded; nil is the default policy.
	Audit *audit.Policy
	// Failure says what happens when the journal does not take a record.
	Failure Failure
	// Broken is called, with FailShutdown, when the journal did not take a record: the owner must end the node. It may be
	// called many times, and must return at once.
	Broken func(error)
	// Writable says why writes are refused at the moment (not admitted yet, retired...); nil if they are not.
	Writable func() error

	// RefuseUnreplicable: a statement whose effect cannot be replicated is refused with 0A000, before it runs where that can be
	// told, else by failing its transaction. Otherwise it is recorded, and counted as not replicated.
	RefuseUnreplicable bool

	LoginTimeout time.Duration
	MaxClients   int
	MaxText      int
	MaxTx        int64
	MaxPrepared  int
}

// Failure is what happens when the journal does not take a record (full, broken).
type Failure uint8

// The policies of failure.
const (
	// FailOperation refuses the write with 53100 or 58030: nothing that is not recorded happens. Reads pass.
	FailOperation Failure = iota
	// FailContinue lets it happen: it is counted, a gap record follows, and no peer gets it.
	FailContinue
	// FailShutdown refuses the write, and ends the node.
	FailShutdown
)

func (o *Options) fill() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Fault == nil {
		o.Fault = func(string) {}
	}
	if o.Broken == nil {
		o.Broken = func(error) {}
	}
	if o.Writable == nil {
		o.Writable = func() error { return nil }
	}
	setDefault(&o.LoginTimeout, DefaultLoginTimeout)
	setDefault(&o.MaxClients, DefaultMaxClients)
	setDefault(&o.MaxText, DefaultMaxText)
	setDefault(&o.MaxTx, int64(DefaultMaxTx))
	setDefault(&o.MaxPrepared, DefaultMaxPrepared)
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
