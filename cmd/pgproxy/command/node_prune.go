package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/journal"
)

// pruneEvery is how often the node looks whether segments of its journal may go.
const pruneEvery = 10 * time.Minute

// prune deletes what neither a node nor the audit trail needs any more, from time to time, until ctx ends.
func (n *node) prune(ctx context.Context) error {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		var before time.Time
		if n.set.Retain > 0 {
			before = n.c.Now().Add(-n.set.Retain)
		}
		p, err := n.journal.Prune(ctx, journal.Retention{Before: before, Bytes: int64(n.set.RetainSize), Why: "retention"})
		switch {
		case errors.Is(err, journal.ErrClosed), ctx.Err() != nil:
			return nil
		case err != nil:
			n.log.Warn("journal could not be pruned", "error", err)
		case p.Segments > 0:
			n.log.Info("journal pruned", "segments", p.Segments, "bytes", p.Bytes, "first", p.First)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Purge implements admin.Prover.
func (n *node) Purge(ctx context.Context, before time.Time, really bool) (admin.Purged, error) {
	if err := n.starting(); err != nil {
		return admin.Purged{}, err
	}
	r := journal.Retention{Before: before, DryRun: !really, Why: "operator, before " + before.UTC().Format(time.RFC3339)}
	if really {
		act := &journal.Event{Kind: journal.EventAct, Who: journal.Who{Client: "admin"},
			Act: &journal.Act{Verb: "purge", Arguments: []string{before.UTC().Format(time.RFC3339)}}}
		if err := n.journal.NoteDurable(ctx, act); err != nil {
			return admin.Purged{}, fmt.Errorf("note the purge: %w", err)
		}
	}
	p, err := n.journal.Prune(ctx, r)
	return admin.Purged{Segments: p.Segments, Bytes: p.Bytes, First: p.First, Held: p.Held, Done: really}, err
}
