package admin

import (
	"context"
	"time"

	"pgproxy/audit"
)

// Node is what the server asks; serve implements it over the rooms. Its methods are called from many goroutines.
type Node interface {
	Prover
	Status(ctx context.Context) Status
	Journal() audit.Reader
	// Fold makes rows out of their changes as the databases do.
	Fold() audit.NewFold
	// Veil is over what is shown of the journal; nil hides nothing.
	Veil() *audit.Veil
	// Asked records that somebody has asked the journal something, and what: readers of an audit trail stand in it.
	Asked(q audit.Question)
	// Wake gives a channel signalled when the journal has something new, and the function that ends it.
	Wake() (<-chan struct{}, func())
	// Drain reconnects to the named peer, or all, and reports until they have acknowledged everything that was committed when
	// it was called, and have applied it, unless they make no headway with that. It returns an Error with ExitDifference when the timeout passes first.
	Drain(ctx context.Context, peer string, timeout time.Duration, report func(DrainProgress) error) error
	// Explain says what would be done with SQL, a proxy.Explanation for each statement.
	Explain(ctx context.Context, q ExplainQuery, report func(any) error) error
	// Doctor looks at the databases, or one, and reports what will not replicate exactly.
	Doctor(ctx context.Context, database string, report func(Finding) error) error
	// Verify reports each table and peer compared. It returns an Error with ExitDifference or ExitUnreachable accordingly.
	Verify(ctx context.Context, database, table string, report func(VerifyProgress) error) error
}

// JournalQuery is a query for the journal in the form in which it travels.
type JournalQuery struct {
	audit.Query
	Follow bool
}
