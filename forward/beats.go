package forward

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgproxy/journal"
)

// keepLine moves the line on while this node is idle: at intervals the journal writes a beat, if one is of use.
func (f *Forwarder) keepLine(ctx context.Context) error {
	tick := time.NewTicker(f.o.Limits.Beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		switch _, err := f.j.KeepLine(ctx); {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, journal.ErrFull), errors.Is(err, journal.ErrFailed), errors.Is(err, journal.ErrClosed):
			// A full journal takes beats again when there is room; of the others everybody who writes is told.
		default:
			return fmt.Errorf("move the line on: %w", err)
		}
	}
}
