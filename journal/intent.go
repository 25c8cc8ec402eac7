package journal

import (
	"fmt"
	"slices"
)

// Intent is an own transaction on its way: sealed, and durable once Seal has returned it.
type Intent struct {
	j       *Journal
	record  *Record
	missing int64

	// Guarded by shelf.mu.
	outcome   Outcome
	doubt     bool // nobody waits for the database's answer any more: the resolver has to ask
	abandoned bool // Seal returned before it was durable: nothing was sent to the database
	durable   bool
}

// ID names the intent's record.
func (in *Intent) ID() ID { return in.record.ID }

// Record gives what was sealed: read-only.
func (in *Intent) Record() *Record { return in.record }

// Marker is the key of the transaction's row in pgproxy.marker.
func (in *Intent) Marker() [16]byte {
	if in.record.Tx == nil {
		return [16]byte{}
	}
	return in.record.Tx.Marker
}

// Commit says that the database has committed. The outcome is appended without a sync of its own; the record becomes
// visible to readers and peers once all earlier own ones have an outcome too. It may be said again, but not after Abort.
func (in *Intent) Commit() error { return in.decide(OutcomeCommitted, "") }

// Abort says that the database has not committed and never will, and why. The record is published as void.
func (in *Intent) Abort(reason string) error { return in.decide(OutcomeAborted, reason) }

func (in *Intent) decide(o Outcome, reason string) error {
	j := in.j
	if err := j.usable(); err != nil {
		return err
	}
	j.mu.Lock()
	if in.outcome != OutcomeUnknown {
		same := in.outcome == o
		j.mu.Unlock()
		if !same {
			return fmt.Errorf("decide record %s: it has the opposite outcome already", in.record.ID)
		}
		return nil
	}
	in.outcome = o
	in.doubt = false
	delete(j.undecided, in.record.Seq)
	if o == OutcomeAborted {
		j.aborted[in.record.Seq] = true
	}
	j.publish()
	j.mu.Unlock()
	j.o.Fault("journal.outcome")
	missing := in.missing
	if o == OutcomeAborted {
		missing = 0
	}
	if !j.queue.add(newTicket(false, outcomeEntry(in.record.Seq, o, missing, reason))) {
		return ErrClosed // found in doubt at the next start
	}
	j.watchers.notify()
	return nil
}

// Doubt says that the database's answer will not come: the intent is left to the resolver, which finds it in InDoubt.
func (in *Intent) Doubt() {
	in.j.mu.Lock()
	if in.outcome == OutcomeUnknown {
		in.doubt = true
	}
	in.j.mu.Unlock()
	in.j.watchers.notify()
}

// InDoubt lists the intents whose outcome nobody is going to say but a resolver: found without one when the journal was
// opened, and given up since (Doubt). They are in the order of their sequence.
func (j *Journal) InDoubt() []*Intent {
	j.mu.RLock()
	defer j.mu.RUnlock()
	var found []*Intent
	for _, in := range j.undecided {
		if in.doubt {
			found = append(found, in)
		}
	}
	slices.SortFunc(found, func(a, b *Intent) int { return int(a.record.Seq) - int(b.record.Seq) })
	return found
}

// settle is called once the intent is durable. If its Seal has given up waiting, nothing was sent to the database: it is
// decided here.
func (in *Intent) settle() {
	in.j.mu.Lock()
	in.durable = true
	abandoned := in.abandoned
	in.j.mu.Unlock()
	if abandoned {
		in.giveUp()
	}
}

// abandon is called by a Seal that does not wait any longer.
func (in *Intent) abandon() {
	in.j.mu.Lock()
	in.abandoned = true
	durable := in.durable
	in.j.mu.Unlock()
	if durable {
		in.giveUp()
	}
}

func (in *Intent) giveUp() {
	if err := in.Abort("given up before COMMIT was sent"); err != nil {
		in.j.o.Logger.Warn("an intent that was given up stays in doubt", "record", in.record.ID.String(), "error", err)
	}
}

// publish moves the published sequence over everything that is decided. The caller holds mu.
func (s *shelf) publish() (moved bool) {
	last := s.durable.tails[s.self].seq
	for s.published < last {
		if _, open := s.undecided[s.published+1]; open {
			break
		}
		s.published++
		moved = true
	}
	return moved
}
