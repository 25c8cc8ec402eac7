package proxy

import (
	"errors"

	"pgproxy/journal"
	"pgproxy/proxy/wire"
)

// outcome is how a commit flight ended.
type outcome uint8

const (
	outcomeCommitted outcome = iota
	outcomeAborted           // nothing was committed
	outcomeLost              // the server is gone: in doubt, left to the resolver
)

// commitFlight runs the commit protocol (design, section 4): the intent is sealed, then marker and commit go to the server in
// one flight, then the outcome is written down. last sends what commits: nil means Sync; else it sends the client's COMMIT and
// gives its queue number, and its Sync is not sent here.
//
// Afterwards the transaction is over on this side, whatever happened. With outcomeAborted the error says why, and is to be
// told to the client; the server is idle again if last was nil, else it skips to Sync or the caller's block is failed.
func (s *session) commitFlight(t *tx, last func() (uint64, *run)) (outcome, error) {
	s.guard.Lock()
	defer s.guard.Unlock()
	intent, err := s.srv.o.Journal.Seal(s.ctx, s.journalTx(t))
	if s.srv.goesOn(err) {
		return s.commitUnrecorded(t, last, err)
	}
	if err != nil {
		s.srv.metrics.Refused.Add(1)
		s.srv.broken(err)
		return s.rollBack(t, last != nil, err)
	}
	s.srv.metrics.Commits.Add(1)
	s.srv.o.Fault("commit.sealed")
	if !t.marked {
		s.sendMarker(intent.Marker(), intent.ID().Seq, &run{collect: true})
	}
	var (
		seq uint64
		r   *run
	)
	if last != nil {
		seq, r = last()
	} else {
		seq = s.sendSync()
	}
	if err := s.bw.Flush(); err != nil {
		return s.lost(t, intent, err)
	}
	s.srv.o.Fault("commit.sent")
	err = s.collect(seq, nil, false)
	return s.conclude(t, intent, r, err, last != nil)
}

// conclude writes down what became of an intent whose commit was sent.
func (s *session) conclude(t *tx, intent *journal.Intent, r *run, err error, explicit bool) (outcome, error) {
	s.srv.o.Fault("commit.outcome")
	if err == nil && r != nil && r.tag == "ROLLBACK" {
		told := &failure{fields: wire.Fields{}}
		told.delivered.Store(true)
		err = told
	}
	if err == nil && r != nil && r.tag == "PREPARE TRANSACTION" {
		// Neither committed nor aborted until somebody says COMMIT PREPARED: the resolver watches it.
		intent.Doubt()
		s.srv.resolver.Wake()
		s.end(true)
		return outcomeCommitted, nil
	}
	if err == nil {
		if err := intent.Commit(); err != nil {
			// The intent is durable and the marker is in the database: recovery will find it committed.
			s.srv.o.Logger.Error("cannot write an outcome", "record", intent.ID(), "err", err)
		}
		s.visit.committed(t)
		s.end(true)
		return outcomeCommitted, nil
	}
	var f *failure
	if !errors.As(err, &f) || f.fatal() {
		return s.lost(t, intent, err)
	}
	s.srv.metrics.Aborts.Add(1)
	code, message := describe(f)
	if f.own {
		message = "marker: " + message
	}
	if err := intent.Abort(code + " " + message); err != nil {
		s.srv.o.Logger.Error("cannot write an outcome", "record", intent.ID(), "err", err)
	}
	if f.own {
		s.own.doubt()
		s.srv.markers.forget(s.database)
		s.srv.o.Logger.Error("marker failed", "session", s.id, "err", f)
		err = ofOwnWork(errMarker, f)
	}
	return s.afterAbort(explicit, err)
}

// ofOwnWork gives what the client is told of a failure of pgproxy's own work in its transaction: the server's error, where the
// client's own work would have met it a moment later just as well; else kind.
func ofOwnWork(kind, err error) error {
	var f *failure
	if errors.As(err, &f) {
		switch f.fields.Get(wire.FieldSQLState) {
		case "57014", "40001", "40P01", "53100", "25P02":
			return &failure{fields: f.fields}
		}
	}
	return wrapf(kind, "%v", err)
}

// afterAbort brings the server out of the failed transaction: it is idle afterwards.
func (s *session) afterAbort(explicit bool, err error) (outcome, error) {
	if !explicit {
		if e := s.settle(); e != nil {
			s.end(false)
			return outcomeLost, e
		}
		s.end(false)
		return outcomeAborted, err
	}
	if e := s.ownRollback(); e != nil {
		s.end(false)
		return outcomeLost, e
	}
	s.end(false)
	return outcomeAborted, err
}

// ownRollback ends a failed block of the client's: a COMMIT that fails leaves no transaction open.
func (s *session) ownRollback() error {
	if err := s.sync(); err != nil {
		return err
	}
	if s.q.state().status == 'I' {
		return nil
	}
	return s.command("ROLLBACK")
}

// command runs a statement of pgproxy's own that returns nothing, in a cycle of its own.
func (s *session) command(sql string) error {
	r := &run{collect: true}
	s.q.push(owed{kind: 'P', mode: modeOwn})
	_ = s.sendParse(wire.Parse{Name: ownCommand, Text: sql}) // sticks, as all writes here
	s.q.push(owed{kind: 'B', mode: modeOwn})
	_ = s.bw.Bind(wire.Bind{Portal: ownCommand, Statement: ownCommand})
	s.q.push(owed{kind: 'E', mode: modeOwn, run: r})
	_ = s.bw.Execute(ownCommand, 0)
	s.q.push(owed{kind: 'C', mode: modeOwn})
	_ = s.bw.Target('C', 'P', ownCommand) // BEGIN's portal would live as long as its block
	s.q.push(owed{kind: 'C', mode: modeOwn})
	_ = s.bw.Target('C', 'S', ownCommand)
	return s.sync()
}

// ownCommand is the name of the statement that command prepares and closes, and of its portal: in a failed block ownPortal may
// still stand.
const ownCommand = "pgproxy.command"

// rollBack ends a transaction that the journal did not take: nothing was sent for its commit.
func (s *session) rollBack(t *tx, explicit bool, reason error) (outcome, error) {
	for i := range t.stmts {
		t.stmts[i].Note = joinNote(t.stmts[i].Note, reason.Error())
	}
	s.attempt(t, journal.OutcomeAborted)
	if err := s.poison(); err != nil {
		s.end(false)
		return outcomeLost, err
	}
	if !explicit {
		err := s.sync()
		s.end(false)
		if err != nil {
			return outcomeLost, err
		}
		return outcomeAborted, reason
	}
	return s.afterAbort(true, reason)
}

func joinNote(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// lost leaves an intent to the resolver: the server's answer will not come.
func (s *session) lost(_ *tx, intent *journal.Intent, err error) (outcome, error) {
	s.srv.metrics.Doubts.Add(1)
	intent.Doubt()
	s.srv.resolver.Wake()
	s.end(false)
	if err == nil {
		err = errServerGone
	}
	return outcomeLost, err
}

// commitOf sends the client's own transaction control: an Execute of its portal, and what makes the server answer it.
func (s *session) commitOf(po *portal, last func() uint64) func() (uint64, *run) {
	return func() (uint64, *run) {
		r := &run{st: po.ps.st, start: s.srv.o.Now()}
		s.q.push(owed{kind: 'E', run: r})
		_ = s.bw.Execute(po.name, 0) // sticks
		po.run = r
		return last(), r
	}
}
