package apply

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/journal"
)

// Defaults of Options.
const (
	// DefaultBatchRecords bounds how many records share one local transaction, and with it how long their row locks last.
	DefaultBatchRecords = 256
	// DefaultRetry and DefaultRetryMax bound the wait before a stopped stream is tried again.
	DefaultRetry    = 100 * time.Millisecond
	DefaultRetryMax = 5 * time.Second
	// DefaultSettle is after how long what was applied is synced: so long a crash of the database can take it away.
	DefaultSettle = 500 * time.Millisecond
)

// fetchBytes is how much is read from the journal at once.
const fetchBytes = 1 << 20

// Options make an Applier. Journal, Connect and Databases are required.
type Options struct {
	Journal *journal.Journal
	// Connect opens a connection of pgproxy's own to a database of the upstream server. The Applier closes it.
	Connect func(ctx context.Context, database string) (*pgconn.PgConn, error)
	// Databases lists the databases of the upstream server that are replicated.
	Databases func(ctx context.Context) ([]string, error)
	// Now is the wall clock; nil is time.Now.
	Now func() time.Time
	// After is the timer; nil is time.After.
	After func(time.Duration) <-chan time.Time
	// Rand gives numbers in [0, 1) that spread retries; nil spreads nothing.
	Rand func() float64
	// Logger is told of stopped and resumed streams; nil is silence.
	Logger *slog.Logger
	// Fault is called at every step that a crash test may want to die at; nil is a no-op. Points: "apply.begun" (before
	// the writes are sent), "apply.block" (some of a large record's are done), "apply.locked" (they all are), "apply.gate"
	// (counted as applied), "apply.sent" (COMMIT is on its way), "apply.committed", "apply.ran" (a statement outside a block is done, its position not moved).
	Fault func(point string)
	// BatchRecords is the most records in one local transaction; 0 is DefaultBatchRecords, 1 turns batching off.
	BatchRecords int
	// Retry and RetryMax are the first and longest wait before a stopped stream is tried again; 0 are the defaults.
	Retry, RetryMax time.Duration
	// Settle is after how long what was applied is synced to the database's disk; 0 is DefaultSettle.
	Settle time.Duration
}

func (o Options) withDefaults() (Options, error) {
	if o.Journal == nil || o.Connect == nil || o.Databases == nil {
		return o, errors.New("make applier: journal, connect and databases are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.After == nil {
		o.After = time.After
	}
	if o.Rand == nil {
		o.Rand = func() float64 { return 0 }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Fault == nil {
		o.Fault = func(string) {}
	}
	if o.BatchRecords == 0 {
		o.BatchRecords = DefaultBatchRecords
	}
	if o.Retry == 0 {
		o.Retry = DefaultRetry
	}
	if o.RetryMax == 0 {
		o.RetryMax = DefaultRetryMax
	}
	if o.Settle == 0 {
		o.Settle = DefaultSettle
	}
	return o, nil
}
