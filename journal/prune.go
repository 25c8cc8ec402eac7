package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Retention is what an operator wants to keep beyond what others still need.
type Retention struct {
	Before time.Time // what was recorded at or after it is kept
	Bytes  int64     // oldest segments go while the journal is larger, whatever their age; 0: no such limit
	Why    string    // for the record of the purge
	DryRun bool      // only say what would go
}

// Purge is what Prune did, or would do.
type Purge struct {
	Segments int
	Bytes    int64
	First    uint64 // position of the first entry that is kept
	Held     string // why the next segment stays; "" if it is the last
}

// purgeEntry says that entries up to a position were deleted on purpose. It is durable before the first file goes.
func purgeEntry(first uint64, at time.Time, checkpoint Checkpoint, why string) *entry {
	e := encoder{}
	e.uint(first)
	e.time(at)
	e.string(string(checkpoint.Note))
	e.string(why)
	return &entry{kind: entryPurge, payload: e.b, seq: first, reason: why, bytes: len(e.b)}
}

func parsePurge(payload []byte) (*entry, error) {
	d := decoder{s: string(payload)}
	e := &entry{kind: entryPurge, seq: d.uint(), bytes: len(payload)}
	d.time()
	d.string()
	e.reason = d.string()
	return e, d.end()
}

// Prune deletes the oldest segments whole, as far as nobody needs them: every member has acknowledged their records, all of it
// is final (Final) and applied here, every member that keeps checkpoints of this journal keeps one that covers them, nothing in
// them waits for an outcome, and they are past what r keeps. What is left begins with the state before its first entry,
// the tree included, so proofs go on.
func (j *Journal) Prune(ctx context.Context, r Retention) (Purge, error) {
	j.pruning.Lock()
	defer j.pruning.Unlock()
	var p Purge
	segments := j.list()
	p.First = segments[0].first
	left := j.Stats().Bytes
	for i, g := range segments[:len(segments)-1] {
		after, err := segments[i+1].base()
		if err != nil {
			return p, fmt.Errorf("prune journal: %w", err)
		}
		if p.Held = j.needed(g, after, r, left); p.Held != "" {
			break
		}
		p.Segments, p.First, p.Bytes = p.Segments+1, after.next, p.Bytes+g.bytes.Load()
		left -= g.bytes.Load()
	}
	if r.DryRun || p.Segments == 0 {
		return p, nil
	}
	return p, j.purge(ctx, segments[:p.Segments], p.First, r.Why)
}

// needed says why a segment must stay; after is the state behind it, left what the journal takes with it.
func (j *Journal) needed(g *segment, after *state, r Retention, left int64) string {
	j.mu.RLock()
	sealed := g.sealed
	least := j.published
	for seq := range j.undecided {
		least = min(least, seq-1)
	}
	j.mu.RUnlock()
	if sealed == nil {
		return "its indexes are not written yet"
	}
	young := !r.Before.After(time.UnixMilli(sealed.latest))
	if young && (r.Bytes <= 0 || left <= r.Bytes) {
		return "it is younger than what is to be kept"
	}
	if after.tails[j.self].seq > least {
		return "a transaction in it has no outcome yet"
	}
	if final := j.Final(); after.last > final {
		return "not every node has said yet that it has applied all that was written by then"
	}
	have := j.Applied()
	for n, t := range after.tails {
		if t.seq > have[n] {
			return fmt.Sprintf("record %d of node %s is not applied here yet", t.seq, n)
		}
	}
	return j.neededByPeers(g, after)
}

// neededByPeers says which member still needs a segment.
func (j *Journal) neededByPeers(g *segment, after *state) string {
	cluster := j.identity.get().Cluster
	for _, m := range j.Members() {
		if m.Node == j.self || m.Retired || m.Cluster != cluster {
			continue
		}
		if w := j.Witness(m.Node); w.Holds > 0 && w.Holds < g.next()-1 {
			return fmt.Sprintf("node %s keeps a checkpoint of %d entries, and could not check a newer one without it", m.Name, w.Holds)
		}
		acked := j.Acked(m.Node.String())
		for n, t := range after.tails {
			if n != m.Node && t.seq > acked[n] {
				return fmt.Sprintf("node %s has not acknowledged record %d of node %s", m.Name, t.seq, n)
			}
		}
	}
	return ""
}

// purge writes down what goes, and then deletes it.
func (j *Journal) purge(ctx context.Context, gone []*segment, first uint64, why string) error {
	if _, err := j.Sign(ctx); err != nil {
		return fmt.Errorf("prune journal: %w", err)
	}
	t := newTicket(true, purgeEntry(first, j.o.Now(), j.Checkpoint(), why))
	if !j.queue.add(t) {
		return ErrClosed
	}
	if err := <-t.done; err != nil {
		return fmt.Errorf("write record of the purge: %w", err)
	}
	j.o.Fault("journal.purge")
	return j.drop(gone)
}

// drop deletes the oldest segments. Readers that are at one of them find it pruned.
func (j *Journal) drop(gone []*segment) error {
	before, err := j.list()[len(gone)].base()
	if err != nil {
		return fmt.Errorf("prune journal: %w", err)
	}
	j.mu.Lock()
	j.segments = append(j.segments[:0:0], j.segments[len(gone):]...)
	j.before, j.kept = before.tree, before.tails
	for seq := range j.aborted {
		if seq <= before.tails[j.self].seq {
			delete(j.aborted, seq)
		}
	}
	j.countBytesLocked()
	j.mu.Unlock()
	var errs []error
	for _, g := range gone { // the oldest first: what is left after a crash has no hole
		g.pruned.Store(true)
		errs = append(errs, os.Remove(g.path), syncFolder(j.segmentsDir()))
		go g.close() // waits for its readers
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete segments: %w", err)
	}
	return nil
}

// dropLeft deletes what a purge that was cut short has left. It is called before anything runs.
func (j *Journal) dropLeft() error {
	n := 0
	for n < len(j.segments)-1 && j.segments[n+1].first <= j.durable.purged {
		n++
	}
	if n == 0 {
		return nil
	}
	return j.drop(j.segments[:n:n])
}

// missingBefore says that the journal begins later than any purge has said; nil if it does not.
func (s *shelf) missingBefore() error {
	if len(s.segments) > 0 && s.segments[0].first > max(1, s.durable.purged) {
		return fmt.Errorf("%w: the segments before position %d are missing, and no purge is recorded", ErrDamaged, s.segments[0].first)
	}
	return nil
}
