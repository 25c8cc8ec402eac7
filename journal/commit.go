package journal

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// fullPause is how long a full journal waits before it tries again to write what nobody waits for.
const fullPause = 250 * time.Millisecond

// errAmbiguous marks a failed write of which something is on the disk all the same.
var errAmbiguous = errors.New("a write that failed is on the disk")

// commitAll is the committer: the one goroutine that writes segments. It ends when the queue is closed and empty, or
// when the journal fails.
func (j *Journal) commitAll() {
	defer close(j.stopped)
	j.findReserve()
	var hold time.Duration
	for {
		group := j.queue.next(hold)
		if group == nil {
			return
		}
		start := j.o.Now()
		err := j.write(group)
		hold = 0
		switch {
		case err == nil:
			j.finish(group, j.o.Now().Sub(start))
			j.keepReserve()
		case errors.Is(err, ErrFull):
			hold = fullPause
			if j.refuse(group, err); j.closing.Load() && !j.giveReserve() {
				j.o.Logger.Warn("journal closes without what the full disk did not take: it will be found in doubt", "error", err)
				return
			}
			j.giveReserve()
		default:
			j.fail(group, err)
			return
		}
	}
}

// write makes a group durable in one transaction.
func (j *Journal) write(group []*ticket) error {
	g := j.last() // only the committer changes the list
	if g.bytes.Load() >= j.o.SegmentBytes {
		if err := j.roll(); err != nil {
			return j.classify(err)
		}
		g = j.last()
	}
	j.o.Fault("journal.append")
	err := j.o.disk("append")
	var size int64
	if err == nil {
		size, err = g.append(j.durable.tree.clone(), group, j.ackedBytes(group))
	}
	if err == nil {
		err = j.o.disk("appended")
	}
	if err != nil {
		if err = j.classify(err); errors.Is(err, ErrFull) && g.has(j.durable.next) {
			err = fmt.Errorf("%w: %w", errAmbiguous, err)
		}
		return err
	}
	g.bytes.Store(size)
	j.o.Fault("journal.appended")
	return nil
}

// append writes the entries of a group behind those of the tree, and gives the size of the file.
func (g *segment) append(tree frontier, group []*ticket, acked []byte) (size int64, err error) {
	tx, err := g.db.Begin(true)
	if err != nil {
		return 0, err
	}
	b := tx.Bucket(bucketEntries)
	b.FillPercent = 1 // positions only rise
	for _, t := range group {
		for _, e := range t.entries {
			p := tree.size + 1
			if err := b.Put(positionKey(p), e.stamp(p, &tree)); err != nil {
				return 0, errors.Join(err, tx.Rollback())
			}
		}
	}
	if acked != nil {
		if err := tx.Bucket(bucketSegment).Put(keyAcked, acked); err != nil {
			return 0, errors.Join(err, tx.Rollback())
		}
	}
	if err := tx.Commit(); err != nil { // rolls back when it fails
		return 0, err
	}
	return g.size()
}

// size gives the used bytes of the file.
func (g *segment) size() (n int64, err error) {
	err = g.view(func(tx *bolt.Tx) error {
		n = tx.Size()
		return nil
	})
	return n, err
}

// has reports whether position p is in the file, or that cannot be told.
func (g *segment) has(p uint64) bool {
	found := true
	err := g.view(func(tx *bolt.Tx) error {
		found = tx.Bucket(bucketEntries).Get(positionKey(p)) != nil
		return nil
	})
	return found || err != nil
}

// ackedBytes encodes the acknowledged vectors if the group asks for it.
func (j *Journal) ackedBytes(group []*ticket) []byte {
	for _, t := range group {
		if t.acked {
			j.mu.RLock()
			defer j.mu.RUnlock()
			return encodeAcked(j.durable.acked)
		}
	}
	return nil
}

// classify tells a full disk, from which the journal recovers, from everything else.
func (j *Journal) classify(err error) error {
	full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
	if !full && !errors.Is(err, syscall.EIO) {
		// bbolt does not wrap the cause when it cannot grow its file.
		free, ferr := freeBytes(j.segmentsDir())
		full = ferr == nil && free < reserveBytes/4
	}
	if full {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// finish makes a durable group known to everybody.
func (j *Journal) finish(group []*ticket, took time.Duration) {
	j.gate.Lock()
	j.mu.Lock()
	g := j.last()
	entries := 0
	for _, t := range group {
		for _, e := range t.entries {
			g.mem.add(e)
			j.durable.play(e)
			j.countUnsigned(e)
			j.forget(e)
			if e.record != nil && e.record.Seq > 0 {
				j.cache.put(e.record, e.bytes) // apply and the fold are about to ask for it
			}
			entries++
		}
		if t.intent != nil {
			j.undecided[t.intent.record.Seq] = t.intent
		}
	}
	g.end.Store(j.durable.next)
	j.publish()
	j.countBytesLocked()
	j.mu.Unlock()
	j.gate.Unlock()
	j.stats.group(took, entries)
	for _, t := range group {
		if t.done != nil {
			t.done <- nil
		}
		if t.intent != nil {
			t.intent.settle()
		}
	}
	j.watchers.notify()
}

// forget takes an entry off what was pending. The caller holds the gate.
func (j *Journal) forget(e *entry) {
	if e.kind == entryConflict {
		delete(j.verdict, e.conflictKey)
	}
	if x := e.images(); x != nil && j.large[x.Hash].id == e.record.ID {
		delete(j.large, x.Hash)
	}
	if e.record == nil || e.record.Seq == 0 {
		return
	}
	for _, h := range e.rows {
		if refs := removeRef(j.pending[h], e.record.ID); len(refs) > 0 {
			j.pending[h] = refs
		} else {
			delete(j.pending, h)
		}
	}
}

// refuse takes back a group that the full disk did not take, and everything behind it that was built on it: nobody has
// seen any of it, so the sequences are used again. What nobody waits for stays in the queue.
func (j *Journal) refuse(group []*ticket, cause error) {
	j.gate.Lock()
	waiting := j.takeBack(group)
	j.gate.Unlock()
	j.o.Logger.Warn("journal is full: writes are refused", "refused", len(waiting), "error", cause)
	for _, t := range waiting {
		t.done <- cause
	}
}

// takeBack resets what the gate knows to what is durable. The caller holds the gate.
func (j *Journal) takeBack(group []*ticket) []*ticket {
	waiting := j.queue.drain(group)
	for _, t := range waiting {
		for _, e := range t.entries {
			j.forget(e)
		}
	}
	j.mu.Lock()
	clear(j.tails)
	for n, t := range j.durable.tails {
		j.tails[n] = t
	}
	j.marks.cut(j.durable.tails[j.self].seq)
	j.mu.Unlock()
	return waiting
}

// fail ends the journal: what is on the disk is not known any more.
func (j *Journal) fail(group []*ticket, cause error) {
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	j.failed.Store(&err)
	j.o.Logger.Error("journal has failed: it takes no more writes until the next start", "error", cause)
	j.queue.close()
	j.gate.Lock()
	waiting := j.queue.drain(group) // pending rows stay: the records may be there
	j.gate.Unlock()
	for _, t := range waiting {
		t.done <- err
	}
	j.watchers.notify()
}
