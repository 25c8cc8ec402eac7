package capture

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// DefaultScanPages bounds the tables that are read whole to find what a statement did: 8 kB pages.
const DefaultScanPages = 131072

// DefaultMaxBytes bounds the rows of one statement that must be looked at together.
const DefaultMaxBytes = 256 << 20

// Querier runs one of pgproxy's own queries and gives its rows, every value in binary format; nil is NULL. Arguments
// are in text format, nil is NULL; the SQL gives them their types by casts.
// The session's implementation sends extended messages inside the client's own transaction (named statements, cached
// per session by SQL text, no Sync while the client's is withheld); a failure there has aborted the client's transaction.
// Another implementation uses pgproxy's own connection.
type Querier interface {
	Query(ctx context.Context, sql string, args ...[]byte) ([][][]byte, error)
}

// Options are what a Capturer needs. Only Connect is required.
type Options struct {
	// Connect opens pgproxy's own connection to a database of the upstream server (catalog, before-images).
	Connect func(ctx context.Context, database string) (*pgconn.PgConn, error)
	// Number gives the node's number, once it has one: the residue of its sequences' values. nil: sequences are left alone.
	Number func() (uint32, bool)
	// Rand makes the salt of SCRAM verifiers. nil: a clear password is not replicated, and said to be missing.
	Rand io.Reader
	// Excluded reports tables that are not replicated, by choice. nil: none.
	Excluded func(database, schema, table string) bool
	// ScanPages is the size in pages up to which a table is read whole where nothing else finds a statement's effect;
	// 0 means DefaultScanPages.
	ScanPages int64
	// Spool makes a file, without a name any more, for rows of a large statement on their way; nil: in the system's
	// temporary folder.
	Spool func() (*os.File, error)
	// MaxBytes bounds the rows of one statement where they must be looked at together; 0 means DefaultMaxBytes.
	MaxBytes int64
	// Recheck is how often catalogs in use are compared with the server's; 0 means DefaultRecheck.
	Recheck time.Duration
	Logger  *slog.Logger
}

// Capturer holds what is shared by all sessions: catalogs per database and own connections. It is safe for concurrent use.
type Capturer struct {
	options  Options
	printSQL string // printQuery's, made once

	stop   context.CancelFunc
	polled chan struct{} // closed once poll has ended

	mu        sync.Mutex
	databases map[string]*database
}

// database is what is known of one database of the server.
type database struct {
	name    string
	pool    *pool
	catalog *catalog
	used    atomic.Bool // since the last recheck
	// counts and rows are what recheck saw last; only poll touches them.
	counts, rows string
}

// New makes a Capturer, which must be closed. Nothing is opened before it is needed.
func New(o Options) *Capturer {
	if o.ScanPages == 0 {
		o.ScanPages = DefaultScanPages
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Spool == nil {
		o.Spool = temporary
	}
	if o.Recheck == 0 {
		o.Recheck = DefaultRecheck
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Capturer{options: o, printSQL: printQuery(), databases: map[string]*database{}, stop: stop, polled: make(chan struct{})}
	go c.poll(ctx)
	return c
}

// temporary makes a file that is gone when it is closed.
func temporary() (*os.File, error) {
	f, err := os.CreateTemp("", "pgproxy")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// Close closes pgproxy's own connections. Sessions must have ended.
func (c *Capturer) Close() error {
	c.stop()
	<-c.polled
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.databases {
		d.pool.close()
	}
	clear(c.databases)
	return nil
}

// Invalidate forgets the database's catalog. It is called when DDL has committed, also by others than a client.
func (c *Capturer) Invalidate(name string) {
	c.mu.Lock()
	d := c.databases[name]
	c.mu.Unlock()
	if d != nil {
		d.catalog.invalidate()
	}
}

// Release closes the own connections to a database that somebody wants to drop or rename.
func (c *Capturer) Release(name string) {
	c.mu.Lock()
	d := c.databases[name]
	delete(c.databases, name)
	c.mu.Unlock()
	if d != nil {
		d.pool.close()
	}
}

func (c *Capturer) database(name string) *database {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.databases[name]
	if d == nil {
		d = &database{name: name, catalog: newCatalog()}
		d.pool = newPool(func(ctx context.Context) (*pgconn.PgConn, error) { return c.options.Connect(ctx, name) })
		c.databases[name] = d
	}
	return d
}

func (c *Capturer) excluded(database, schema, table string) bool {
	if schema == "pgproxy" {
		return true
	}
	return c.options.Excluded != nil && c.options.Excluded(database, schema, table)
}
