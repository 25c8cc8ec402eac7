package proxy

import (
	"errors"

	"pgproxy/journal"
)

// goesOn reports whether a write happens although the journal did not take it.
func (s *Server) goesOn(err error) bool {
	return s.o.Failure == FailContinue && (errors.Is(err, journal.ErrFull) || errors.Is(err, journal.ErrFailed))
}

// commitUnrecorded commits a transaction that the journal did not take: no intent, no marker, no peer. It is counted, and a
// gap record follows. As in commitFlight, last sends the client's COMMIT; nil means Sync.
func (s *session) commitUnrecorded(t *tx, last func() (uint64, *run), reason error) (outcome, error) {
	jt := s.journalTx(t)
	s.srv.metrics.Unrecorded.Add(1)
	var (
		seq uint64
		r   *run
	)
	if last != nil {
		seq, r = last()
	} else {
		seq = s.sendSync()
	}
	err := s.collect(seq, nil, false)
	if err == nil && r != nil && r.tag == "ROLLBACK" {
		s.end(false)
		return outcomeCommitted, nil // the client's COMMIT was answered so
	}
	var f *failure
	if err != nil && (!errors.As(err, &f) || f.fatal()) {
		s.srv.trail.missed(journal.GapWrites, reason, func(g *journal.Gap) { addGap(g, jt) }) // it may have committed
		s.end(false)
		return outcomeLost, err
	}
	if err != nil {
		return s.afterAbort(last != nil, err)
	}
	s.srv.trail.missed(journal.GapWrites, reason, func(g *journal.Gap) { addGap(g, jt) })
	s.end(true)
	return outcomeCommitted, nil
}
