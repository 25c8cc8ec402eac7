package journal

import (
	"context"
	"crypto/sha256"
	"fmt"
)

// Seal passes tx through the gate: sequence, HLC, Knew, Mark and Prev are taken, its rows are registered as pending in
// the row index, and it returns once the intent is durable. tx is read-only from here on. ErrFull and ErrFailed leave
// nothing that anybody could see. If ctx ends first, the intent is aborted as soon as it is durable: nothing must be sent
// to the database.
func (j *Journal) Seal(ctx context.Context, tx *Tx) (*Intent, error) {
	if err := j.collect(tx); err != nil {
		return nil, fmt.Errorf("seal transaction: %w", err)
	}
	s := j.prepare(&Record{Kind: KindTx, Tx: tx})
	in := &Intent{j: j, missing: s.entry.missing}
	done, err := j.pass(s, in)
	if err != nil {
		return nil, err
	}
	j.o.Fault("journal.gate")
	select {
	case err := <-done:
		if err != nil {
			return nil, err
		}
		return in, nil
	case <-ctx.Done():
		in.abandon()
		return nil, fmt.Errorf("seal transaction: %w", context.Cause(ctx))
	}
}

// SealMember writes a member record into the own stream (founding, admission, retirement) and returns once it is durable.
func (j *Journal) SealMember(ctx context.Context, m Member) (*Record, error) {
	return j.sealPlain(ctx, &Record{Kind: KindMember, Member: &m})
}

// Beat writes this node's mark into its own stream, and returns once it is durable. KeepLine does where it is of use.
func (j *Journal) Beat(ctx context.Context) (*Record, error) {
	return j.sealPlain(ctx, &Record{Kind: KindBeat})
}

// sealPlain seals a record that needs no outcome.
func (j *Journal) sealPlain(ctx context.Context, r *Record) (*Record, error) {
	s := j.prepare(r)
	done, err := j.pass(s, nil)
	if err != nil {
		return nil, err
	}
	select {
	case err := <-done:
		return s.entry.record, err
	case <-ctx.Done():
		return nil, fmt.Errorf("seal record: %w", context.Cause(ctx)) // it will be there all the same
	}
}

// unsealed is a record with everything done that can be done before the gate.
type unsealed struct {
	entry    *entry
	body     []byte
	bodyHash [32]byte
}

func (j *Journal) prepare(r *Record) unsealed {
	r.Origin, r.Incarnation = j.self, j.identity.get().Incarnation
	body := encodeBody(r)
	return unsealed{entry: recordEntry(entryOwn, r, body, [32]byte{}, len(body)), body: body, bodyHash: sha256.Sum256(body)}
}

// pass takes a record through the gate into the queue. in is nil for a record that needs no outcome.
func (j *Journal) pass(s unsealed, in *Intent) (<-chan error, error) {
	if len(s.body) > MaxRecordBytes/2 {
		return nil, fmt.Errorf("seal record: %w: %d bytes", ErrTooLarge, len(s.body))
	}
	if err := j.room(int64(len(s.body))); err != nil {
		return nil, err
	}
	j.gate.Lock()
	defer j.gate.Unlock()
	if err := j.usable(); err != nil {
		return nil, err
	}
	r := s.entry.record
	j.stampLocked(r)
	s.entry.head, s.entry.foot, s.entry.hash = seal(r, s.body, s.bodyHash)
	s.entry.bytes += len(s.entry.head) + len(s.entry.foot)
	t := newTicket(true, s.entry)
	if in != nil {
		in.record, t.intent = r, in
	}
	if !j.queue.add(t) {
		return nil, ErrClosed
	}
	j.tails[j.self] = tail{seq: r.Seq, hash: s.entry.hash, hlc: r.HLC, incarnation: r.Incarnation}
	j.register(s.entry)
	j.mu.Lock()
	j.marks.sealed(r.Seq, r.HLC)
	j.mu.Unlock()
	return t.done, nil
}

// stampLocked gives a record its place. The caller holds the gate.
func (j *Journal) stampLocked(r *Record) {
	last := j.tails[j.self]
	r.Seq = last.seq + 1
	r.Prev = last.hash
	r.HLC = j.clock.Now()
	r.Knew = j.applied.vector.Clone()
	if r.Seq > 1 {
		r.Knew[j.self] = r.Seq - 1
	}
	r.Mark = j.mark(r.HLC)
	j.marks.said = r.Mark
}

// register makes the rows of a queued record visible to Gate.Changes. The caller holds the gate.
func (j *Journal) register(e *entry) {
	ref := rowRef{e.record.ID, e.record.HLC}
	for _, h := range e.rows {
		j.pending[h] = insertRef(j.pending[h], ref)
	}
	j.registerImages(e)
}

// registerImages keeps the images of a queued entry. The caller holds the gate.
func (j *Journal) registerImages(e *entry) {
	if x := e.images(); x != nil {
		j.large[x.Hash] = largeRef{rowRef: rowRef{e.record.ID, e.record.HLC}, images: *x}
	}
}

// removeRef takes a record out of refs.
func removeRef(refs []rowRef, id ID) []rowRef {
	kept := refs[:0:0]
	for _, r := range refs {
		if r.id != id {
			kept = append(kept, r)
		}
	}
	return kept
}

// Attempt records a transaction that rolled back, failed or wrote nothing: local, without a sequence, and not waited for.
// ErrFull says that it could not be kept.
func (j *Journal) Attempt(tx *Tx, o Outcome) error {
	if err := j.usable(); err != nil {
		return err
	}
	if err := j.collect(tx); err != nil {
		return fmt.Errorf("record attempt: %w", err)
	}
	if j.queue.lazyFull() {
		return fmt.Errorf("record attempt: %w", ErrFull)
	}
	e := attemptEntry(j.self, j.clock.Now(), j.identity.get().Incarnation, tx, o)
	if err := j.room(int64(e.bytes)); err != nil {
		return fmt.Errorf("record attempt: %w", err)
	}
	j.gate.Lock()
	defer j.gate.Unlock()
	if !j.queue.add(newTicket(false, e)) {
		return ErrClosed
	}
	j.registerImages(e)
	return nil
}

// collect completes tx's images and checks it.
func (j *Journal) collect(tx *Tx) (err error) {
	if tx.writer != nil {
		if tx.Images, err = tx.writer.finish(); err != nil {
			return err
		}
	}
	if tx.Images != nil {
		tx.shelf = j.images
	}
	return tx.validate()
}
