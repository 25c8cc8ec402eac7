package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// Store checks and keeps records of other origins, in order per origin, and returns once they are durable. Records that
// are already here are skipped, after a look whether they are the same. ErrGap, ErrFork, ErrDamaged and hlc's errors
// name the record; what stood before it in recs is kept. Own records that this node has lost are taken back as long as
// nothing stands in their place.
func (j *Journal) Store(ctx context.Context, recs []Raw) error {
	entries, bad := j.checkRaw(recs)
	var size int64
	for _, e := range entries {
		size += int64(e.bytes)
	}
	if err := j.room(size); err != nil {
		return fmt.Errorf("store records: %w", err)
	}
	t, seen, err := j.accept(entries)
	if err != nil {
		bad = err
	}
	// An empty ticket waits for what others have just queued: a record that is skipped must be durable too.
	select {
	case err := <-t.done:
		if err != nil {
			return fmt.Errorf("store records: %w", err)
		}
	case <-ctx.Done():
		return fmt.Errorf("store records: %w", context.Cause(ctx))
	}
	for _, e := range seen {
		if err := j.sameAsStored(e); err != nil {
			return fmt.Errorf("store records: %w", err)
		}
	}
	if bad != nil {
		return fmt.Errorf("store records: %w", bad)
	}
	return nil
}

// checkRaw reads records up to the first that is bad by itself.
func (j *Journal) checkRaw(recs []Raw) ([]*entry, error) {
	entries := make([]*entry, 0, len(recs))
	for _, raw := range recs {
		r, err := DecodeRaw(raw.Bytes)
		if err != nil {
			return entries, fmt.Errorf("record %s: %w", raw.ID, err)
		}
		if r.ID != raw.ID {
			return entries, fmt.Errorf("record %s says that it is %s: %w", raw.ID, r.ID, ErrDamaged)
		}
		if err := j.clock.Check(r.HLC); err != nil {
			return entries, fmt.Errorf("record %s: %w", r.ID, err)
		}
		if r.Tx != nil && r.Tx.Images != nil && !j.images.has(*r.Tx.Images) {
			return entries, fmt.Errorf("record %s: its images are not here: %w", r.ID, ErrGap)
		}
		j.bind(r)
		entries = append(entries, recordEntry(entryForeign, r, raw.Bytes, raw.Hash(), len(raw.Bytes)))
	}
	return entries, nil
}

// accept queues the entries that come next in their origin's stream, up to the first that does not fit. seen are those
// that are here or in the queue already.
func (j *Journal) accept(entries []*entry) (t *ticket, seen []*entry, err error) {
	j.gate.Lock()
	defer j.gate.Unlock()
	t = newTicket(true)
	if err := j.usable(); err != nil {
		t.done <- err
		return t, nil, err
	}
	for _, e := range entries {
		last := j.tails[e.record.Origin]
		if e.record.Seq <= last.seq {
			seen = append(seen, e)
			continue
		}
		if err = last.accepts(e.record); err != nil {
			break
		}
		if e.record.Origin == j.self {
			if err = j.takeBackOwn(e.record); err != nil {
				break
			}
		}
		t.entries = append(t.entries, e)
		t.bytes += int64(e.bytes)
		j.tails[e.record.Origin] = tail{seq: e.record.Seq, hash: e.hash, hlc: e.record.HLC, incarnation: e.record.Incarnation}
		j.clock.Advance(e.record.HLC)
		j.register(e)
	}
	if !j.queue.add(t) {
		t.done <- ErrClosed
	}
	return t, seen, err
}

// takeBackOwn admits an own record from outside: this journal is an older copy of itself. It must not have begun to write
// anything else, and its incarnation becomes later than that of the record. The caller holds the gate.
func (j *Journal) takeBackOwn(r *Record) error {
	j.mu.RLock()
	clean := len(j.undecided) == 0
	j.mu.RUnlock()
	if !clean {
		return fmt.Errorf("own record %s came from outside while others are in doubt here: %w", r.ID, ErrFork)
	}
	if r.Incarnation < j.identity.get().Incarnation {
		return nil
	}
	return j.identity.change(func(id *Identity) { id.Incarnation = r.Incarnation + 1 })
}

// sameAsStored refuses a record whose place another one holds.
func (j *Journal) sameAsStored(e *entry) error {
	id := e.record.ID
	j.mu.RLock()
	aborted, open := j.aborted[id.Seq], j.undecided[id.Seq] != nil
	j.mu.RUnlock()
	kind, b, err := j.stored(id)
	if errors.Is(err, ErrPruned) {
		return nil // everybody has it
	}
	if err != nil {
		return err
	}
	if (Raw{Bytes: b}).Hash() != e.hash {
		return fmt.Errorf("record %s: %w: another one is here", id, ErrFork)
	}
	if kind == entryOwn && open {
		return nil // a peer knows what the resolver here has still to find out
	}
	if kind == entryOwn && aborted {
		if b, err = voidOf(b); err != nil {
			return err
		}
	}
	if !bytes.Equal(b, e.payload) {
		return fmt.Errorf("record %s: %w: it is void on one side only", id, ErrFork)
	}
	return nil
}

// voidOf gives the void form of a stored full one.
func voidOf(b []byte) ([]byte, error) {
	f, err := parseFrame(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return f.void(), nil
}

// Stored gives, for each origin, up to which sequence its records are here and durable; of the own origin, what is
// published.
func (j *Journal) Stored() Vector {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.storedLocked()
}

func (s *shelf) storedLocked() Vector {
	v := make(Vector, len(s.durable.tails))
	for n, t := range s.durable.tails {
		v[n] = t.seq
	}
	if _, ok := v[s.self]; ok {
		v[s.self] = s.published
	}
	return v
}
