package proxy

import (
	"errors"
	"fmt"

	"pgproxy/journal"
	"pgproxy/parser"
	"pgproxy/proxy/wire"
)

// onExecute runs a portal: one that is not known just passes.
func (s *session) onExecute(peek []byte) error {
	s.visit.statements++
	name, rows, err := wire.DecodeExecute(peek)
	var po *portal
	if err == nil && len(s.portals) > 0 {
		po = s.portals[name]
	}
	if po == nil {
		return s.forward(owed{kind: 'E'})
	}
	st := po.ps.st
	s.claims(po)
	switch {
	case po.ps.plan != nil:
		return s.executeHeld(po, rows)
	case s.renames(st):
		return s.executeRename(po)
	case st.Class == parser.ClassTransaction && s.tx != nil:
		return s.executeControl(po)
	}
	if err := s.beforeReadOnly(st); err != nil {
		return s.refuse(err)
	}
	s.skippedPortal(po)
	if err := s.forward(owed{kind: 'E', watch: s.watchPortal(po)}); err != nil {
		return err
	}
	s.after(st)
	s.noteEnd(st)
	s.noteBlock(st)
	return nil
}

// noteEnd lets capture forget what a transaction that held nothing may have set, when it ends.
func (s *session) noteEnd(st *parser.Statement) {
	if s.tx == nil && s.altered && st.Class == parser.ClassTransaction && st.Transaction != parser.Begin {
		s.cap.Altered()
		s.rewritten = s.rewritten || st.Transaction == parser.Rollback
		s.altered = st.Transaction != parser.Commit && st.Transaction != parser.Rollback
	}
}

// executeHeld runs a captured statement and waits for its end.
func (s *session) executeHeld(po *portal, rows int32) error {
	if err := s.cr.Skip(); err != nil {
		return err
	}
	if err := s.settleReady(); err != nil {
		return err
	}
	if s.q.state().failed || s.inFailed() {
		return s.executeFailed(po, rows)
	}
	if err := s.writable(); err != nil {
		return s.refuse(err)
	}
	if po.run != nil && po.run.ended != 's' {
		return s.executeAgain(po, rows)
	}
	if po.ps.st.RefusesBlock && s.tx == nil && !s.inBlock() {
		return s.executeAlone(po, rows)
	}
	t, err := s.begin()
	if err != nil {
		return err
	}
	if po.run == nil {
		po.run = s.newRun(po.ps.plan, po.ps.st, po.params, s.fromPortal(po))
	}
	if po.ps.plan.OwnRows {
		rows = 0
	}
	if t.explicit && copiesNothing(po.ps.st) && s.syncAhead() {
		err := s.executeRun(po, rows, s.sendSyncAhead)
		return s.endAhead(s.executed(t, po, err))
	}
	return s.executed(t, po, s.executeRun(po, rows, s.sendFlush))
}

// executed completes a held statement whose Execute has ended with err.
func (s *session) executed(t *tx, po *portal, err error) error {
	if err != nil {
		return s.executeError(t, po, err)
	}
	if po.run.ended == 's' {
		t.pending = append(t.pending, po)
	} else if err := s.finish(t, po.run); err != nil {
		return s.refuse(err)
	}
	s.answer(po.run)
	return nil
}

// executeRun sends Execute, and what makes the server answer it, and waits.
func (s *session) executeRun(po *portal, rows int32, last func() uint64) error {
	po.run.ended = 0
	s.q.push(owed{kind: 'E', run: po.run, shape: shapeOf(po.ps.plan), ps: nil})
	_ = s.bw.Execute(po.name, rows) // sticks
	if s.tx != nil {
		s.askXID(s.tx, po.ps.st)
	}
	err := s.collect(last(), po.run, false)
	if s.tx != nil {
		s.tx.takeXID()
	}
	s.fillParams(po)
	return err
}

// executeError tells and records the failure of a held statement. What the client sent up to its Sync is skipped by the
// server.
func (s *session) executeError(t *tx, po *portal, err error) error {
	var f *failure
	if !errors.As(err, &f) {
		if errors.Is(err, errServerFailed) { // an earlier message failed, and the client knows
			s.recordSkipped(po.ps.st, po.run.origin, nil)
			return nil
		}
		return err
	}
	if !po.failed(f) {
		s.recordSkipped(po.ps.st, po.run.origin, nil)
		return s.toldFailure(f)
	}
	if f.kind == 'P' && f.ps != nil && f.ps.plan != nil && f.ps.plan.Text != f.ps.st.Text {
		return s.splicedFailed(t, po, f)
	}
	s.addFailed(t, po.run, f)
	if !f.delivered.Load() {
		s.tell(f)
	}
	return nil
}

// splicedFailed handles a Parse that failed after text was spliced into it. Where nothing came before it in its
// transaction, it is sent again as the client wrote it, and only that error reaches the client. (Elsewhere the
// transaction is aborted already and the statement cannot be tried again: the error stands, whose position is right because
// text is only added at the end.)
func (s *session) splicedFailed(t *tx, po *portal, f *failure) error {
	alone := !t.explicit && len(t.stmts) == 0
	if alone {
		if err := s.sync(); err != nil {
			return err
		}
		seq := s.q.push(owed{kind: 'P', mode: modePlay})
		_ = s.sendParse(wire.Parse{Text: po.ps.text, Types: po.ps.types}) // sticks
		_ = s.bw.Empty('H')
		err := s.collect(seq, nil, false)
		var own *failure
		switch {
		case errors.As(err, &own):
			f = own
		case err == nil:
			// It parses as written: what the catalog said was wrong. The client may try again.
			s.srv.o.Capturer.Invalidate(s.database)
			s.srv.o.Logger.Error("captured form of a statement failed", "statement", po.ps.st.Redact(), "sqlstate", f.fields.Get(wire.FieldSQLState))
			if err := s.poison(); err != nil {
				return err
			}
			f = &failure{fields: clientError(wrapf(errCatalog, "%v", f), "ERROR")}
		default:
			return err
		}
	}
	s.addFailed(t, po.run, f)
	s.tell(f)
	return nil
}

// executeFailed runs a held statement where the transaction has failed already: the server refuses it.
func (s *session) executeFailed(po *portal, rows int32) error {
	s.skippedPortal(po)
	s.q.push(owed{kind: 'E'})
	return s.bw.Execute(po.name, rows)
}

// executeAgain runs a portal that is at its end. PostgreSQL refuses that for a statement without RETURNING.
func (s *session) executeAgain(po *portal, rows int32) error {
	if po.ps.plan.OwnRows || !po.ps.st.Returning && po.ps.st.Class != parser.ClassRead && po.ps.st.Class != parser.ClassOpaque {
		return s.refuse(&plainError{fmt.Sprintf("portal %q cannot be run", po.name), errPortalRun, "portalmem.c", "MarkPortalActive"})
	}
	s.q.push(owed{kind: 'E', shape: shapeOf(po.ps.plan), run: nil})
	return s.bw.Execute(po.name, rows)
}

// answer gives the client what ended an Execute.
func (s *session) answer(r *run) {
	s.cw.write(false, func(w *wire.Writer) {
		if r.ended == 'C' {
			_ = w.Start('C').String(r.tag).End() // sticks
			return
		}
		_ = w.Empty(r.ended)
	})
}

// drainPortal runs a portal that is suspended to its end, so that no image is missing. PostgreSQL has done the whole
// statement at its first Execute; the rows that are left go to capture only.
func (s *session) drainPortal(po *portal) error {
	if po.run == nil || po.run.ended != 's' || s.tx == nil {
		return nil
	}
	po.run.ended = 0
	seq := s.q.push(owed{kind: 'E', mode: modeOwn, run: po.run, shape: shapeNone})
	_ = s.bw.Execute(po.name, 0) // sticks
	_ = s.bw.Empty('H')
	if err := s.collect(seq, nil, false); err != nil {
		return err
	}
	return s.finish(s.tx, po.run)
}

// drainAll does so for all portals of the transaction.
func (s *session) drainAll(t *tx) error {
	for _, po := range t.pending {
		if err := s.drainPortal(po); err != nil {
			return err
		}
	}
	t.pending = nil
	return nil
}

// settleReady waits while a ReadyForQuery is owed: the transaction status decides what follows.
func (s *session) settleReady() error {
	if s.q.state().ready == 0 {
		return nil
	}
	return s.settle()
}

// onSync ends the client's segment. An implicit transaction that wrote commits here.
func (s *session) onSync() error {
	if err := s.cr.Skip(); err != nil {
		return err
	}
	t := s.tx
	if t == nil || t.explicit {
		if s.spliced() {
			if err := s.answers(); err != nil {
				return err
			}
		}
		s.segment, s.skipping, s.untold, s.block, s.skip = false, false, false, 0, skipped{}
		s.q.push(owed{kind: 'S'})
		return s.bw.Empty('S')
	}
	return s.syncImplicit(t)
}

// syncImplicit commits the implicit transaction of a segment.
func (s *session) syncImplicit(t *tx) error {
	s.segment, s.block, s.skip = false, 0, skipped{}
	failed := s.skipping || s.q.state().failed
	s.skipping = false
	if !failed {
		if err := s.drainAll(t); err != nil {
			failed = true
			if e := s.poison(); e != nil {
				return e
			}
			s.tell(err)
		}
	}
	if failed || !t.wrote() {
		return s.syncPlain(t, failed)
	}
	outcome, err := s.commitFlight(t, nil)
	if outcome == outcomeLost {
		return err
	}
	if err != nil {
		s.tell(err)
	}
	s.readyForQuery('I')
	return nil
}

// syncPlain sends the Sync of a transaction that failed or wrote nothing.
func (s *session) syncPlain(t *tx, failed bool) error {
	err := s.collect(s.sendSync(), nil, false)
	if err != nil {
		failed = true
		if err := s.toldFailure(err); err != nil {
			return err
		}
		if err := s.settle(); err != nil {
			return err
		}
	}
	o := journal.OutcomeCommitted
	if failed {
		o = journal.OutcomeAborted
	}
	s.attempt(t, o)
	s.end(!failed)
	s.readyForQuery(s.q.state().status)
	return nil
}

// readyForQuery tells the client that it is its turn.
func (s *session) readyForQuery(status byte) {
	s.cw.write(true, func(w *wire.Writer) {
		_ = w.Write(s.cw.late)
		s.cw.late = nil
		_ = w.Start('Z').Byte(status).End()
	})
}
