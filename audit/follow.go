package audit

import (
	"context"
	"slices"
	"strings"
	"time"

	"pgproxy/journal"
)

const (
	// followPoll is how often a follower looks on its own: attempts wake nobody.
	followPoll = 500 * time.Millisecond
	// followGrace is how long a follower waits for the outcome of a transaction before it shows it as unknown.
	followGrace = 3 * time.Second
)

// Follow gives the newest q.Limit transactions, oldest of them first, then each new one as it comes, until ctx ends (not an
// error) or give fails. wake may be nil; a signal on it makes Follow look at once.
func Follow(ctx context.Context, r journal.Reader, q Query, wake <-chan struct{}, now func() time.Time, give func(Transaction) error) error {
	after, err := followStart(r, q, give)
	if err != nil {
		return err
	}
	tick := time.NewTicker(followPoll)
	defer tick.Stop()
	q.Forward, q.Limit = true, 0
	for {
		q.After = after
		for t, err := range q.Run(r) {
			if err != nil {
				return err
			}
			if t.Outcome == OutcomeName(journal.OutcomeUnknown) && now().Sub(t.Time) < followGrace {
				break
			}
			if err := give(t); err != nil {
				return err
			}
			after = t.Position
			if ctx.Err() != nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-tick.C:
		}
	}
}

// followStart gives the newest transactions in their order and the position from which to go on.
func followStart(r journal.Reader, q Query, give func(Transaction) error) (uint64, error) {
	var after uint64
	for it, err := range r.Scan(journal.Filter{Limit: 1}) {
		if err != nil {
			return 0, err
		}
		after = it.Position
	}
	if q.Limit <= 0 || after == 0 {
		return after, nil
	}
	var newest []Transaction
	q.Forward = false
	for t, err := range q.Run(r) {
		if err != nil {
			return 0, err
		}
		newest = append(newest, t)
	}
	for _, t := range slices.Backward(newest) {
		if err := give(t); err != nil {
			return 0, err
		}
		after = max(after, t.Position)
	}
	return after, nil
}

func sorted(names []string) string {
	slices.Sort(names)
	return strings.Join(names, ", ")
}
