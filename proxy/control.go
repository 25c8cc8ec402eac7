package proxy

import (
	"errors"

	"pgproxy/journal"
	"pgproxy/parser"
)

// executeControl runs BEGIN, COMMIT, ROLLBACK, SAVEPOINT... of the extended protocol while a transaction of ours is open.
func (s *session) executeControl(po *portal) error {
	if err := s.cr.Skip(); err != nil {
		return err
	}
	if err := s.settleReady(); err != nil {
		return err
	}
	if s.q.state().failed {
		return nil // skipped by the server as well
	}
	if s.q.owesExecute() { // the flight that may commit begins behind it
		if err := s.answers(); err != nil {
			return err
		}
	}
	if s.q.state().failed || s.tx == nil {
		return s.executeFailed(po, 0)
	}
	last, ahead := s.sendFlush, s.tx.explicit && s.syncAhead()
	if ahead {
		last = s.sendSyncAhead
	}
	r, err := s.control(po.ps.st, s.commitOf(po, last))
	if r == nil && err != nil {
		return err
	}
	if err != nil {
		s.tell(err)
		s.skipping = true
	} else {
		s.noteBlock(po.ps.st)
		s.answer(r)
	}
	if ahead {
		return s.endAhead(nil)
	}
	return nil
}

// control runs a transaction-control statement of the client's: send sends it and gives the number to wait for. It mirrors
// what the statement does to the open transaction. A nil run with an error ends the session; an error beside a run is the
// client's to know.
func (s *session) control(st *parser.Statement, send func() (uint64, *run)) (*run, error) {
	t := s.tx
	failed := s.inFailed() && t.explicit
	switch st.Transaction {
	case parser.Commit, parser.PrepareTransaction:
		if failed {
			break
		}
		if err := s.drainAll(t); err != nil {
			return s.failBlock(t, err)
		}
		if t.wrote() {
			return s.commitControl(t, send)
		}
	case parser.SetTransaction:
		if err := s.beforeReadOnly(st); err != nil {
			return s.failBlock(t, err)
		}
	}
	seq, r := send()
	err := s.collect(seq, nil, false)
	var f *failure
	if err != nil && !errors.As(err, &f) {
		return nil, err
	}
	s.mirror(t, st, r, err)
	return r, err
}

// commitControl runs the commit protocol with the client's own COMMIT.
func (s *session) commitControl(t *tx, send func() (uint64, *run)) (*run, error) {
	var r *run
	o, err := s.commitFlight(t, func() (uint64, *run) {
		var seq uint64
		seq, r = send()
		return seq, r
	})
	if o == outcomeLost {
		return nil, err
	}
	if r == nil {
		r = &run{}
	}
	return r, err
}

// failBlock fails the client's block for a reason of pgproxy's.
func (s *session) failBlock(t *tx, reason error) (*run, error) {
	if err := s.poison(); err != nil {
		return nil, err
	}
	return &run{}, reason
}

// mirror brings our picture of the transaction up to what a control statement did.
func (s *session) mirror(t *tx, st *parser.Statement, r *run, err error) {
	if err != nil {
		// An error in COMMIT ends the transaction; in anything else it fails the block, which ROLLBACK ends later.
		if st.Transaction == parser.Commit {
			s.attempt(t, journal.OutcomeAborted)
			s.end(false)
		}
		return
	}
	switch st.Transaction {
	case parser.Begin:
		t.explicit = true
		s.hold(false)
	case parser.Commit, parser.PrepareTransaction:
		committed := r.tag != "ROLLBACK"
		o := journal.OutcomeCommitted
		if !committed {
			o = journal.OutcomeAborted
		}
		s.attempt(t, o)
		s.end(committed)
	case parser.Rollback:
		s.attempt(t, journal.OutcomeAborted)
		s.end(false)
	case parser.Savepoint:
		t.savepoint(st.Name)
	case parser.Release:
		t.release(st.Name)
	case parser.RollbackTo:
		t.rollbackTo(st.Name)
		s.alter()
		s.rewritten = true
	}
}

// beforeReadOnly writes the marker of a transaction that has written and is about to be made read-only.
func (s *session) beforeReadOnly(st *parser.Statement) error {
	if !st.ReadOnly || s.tx == nil || !s.tx.wrote() {
		return nil
	}
	return s.markEarly(s.tx)
}
