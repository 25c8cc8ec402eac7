package proxy

import (
	"errors"
	"fmt"

	"pgproxy/journal"
	"pgproxy/parser"
	"pgproxy/proxy/capture"
	"pgproxy/proxy/wire"
)

// Statements that refuse a transaction block get no marker: their intent is sealed before they are sent, and the server's
// answer is the outcome. If that does not come, nobody but an operator can tell.

// sealAlone seals the record of such a statement; a nil intent means that there is nothing to record.
func (s *session) sealAlone(r *run) (*journal.Intent, error) {
	t := &tx{start: s.srv.o.Now()}
	if _, err := s.srv.o.Rand.Read(t.marker[:]); err != nil {
		return nil, fmt.Errorf("make a marker: %w", err)
	}
	e, err := r.ex.Ahead(s.ctx)
	if err != nil {
		return nil, wrapf(errCatalog, "%v", err)
	}
	st := s.add(t, r, e)
	st.RowsAffected = -1
	if !t.wrote() {
		return nil, nil
	}
	intent, err := s.srv.o.Journal.Seal(s.ctx, s.journalTx(t))
	if s.srv.goesOn(err) {
		s.srv.trail.missed(journal.GapWrites, err, func(g *journal.Gap) { addGap(g, s.journalTx(t)) })
		return nil, nil
	}
	if err != nil {
		s.srv.metrics.Refused.Add(1)
		s.srv.broken(err)
		return nil, err
	}
	s.srv.o.Fault("commit.sealed")
	return intent, nil
}

// concludeAlone writes down the outcome of such a statement.
func (s *session) concludeAlone(intent *journal.Intent, st *parser.Statement, err error) {
	if intent == nil {
		return
	}
	s.srv.o.Fault("commit.outcome")
	var f *failure
	var e error
	switch {
	case err == nil:
		e = intent.Commit()
		s.after(st)
		if st.AltersSchema {
			s.cap.EndTransaction(true)
			s.srv.o.Capturer.Invalidate(s.database)
		}
	case errors.As(err, &f) && !f.fatal():
		code, message := describe(f)
		if len(st.Secrets) > 0 {
			message = withheld(code, message)
		}
		e = intent.Abort(code + " " + message)
	default:
		s.srv.metrics.Doubts.Add(1)
		intent.Doubt()
		s.srv.resolver.Wake()
	}
	if e != nil {
		s.srv.o.Logger.Error("cannot write an outcome", "record", intent.ID(), "err", e)
	}
}

// runAlone runs such a statement of a simple Query.
func (s *session) runAlone(text string, st *parser.Statement, plan *capture.Plan) (*run, error) {
	r := s.newRun(plan, st, nil, s.from(journal.ProtocolSimple))
	intent, err := s.sealAlone(r)
	if err != nil {
		return &run{}, err
	}
	s.q.push(owed{kind: 'P', mode: modePlay})
	_ = s.sendParse(wire.Parse{Text: text[:st.Offset] + st.Text}) // sticks, as all writes here
	s.q.push(owed{kind: 'B', mode: modePlay})
	_ = s.bw.Bind(wire.Bind{})
	s.q.push(owed{kind: 'E', mode: modePlay, run: r})
	_ = s.bw.Execute("", 0)
	err = s.collect(s.sendSync(), nil, false)
	s.concludeAlone(intent, st, err)
	var f *failure
	if err != nil && !errors.As(err, &f) {
		return nil, err
	}
	return r, err
}

// executeAlone runs such a statement of the extended protocol. It commits at Execute.
func (s *session) executeAlone(po *portal, rows int32) error {
	po.run = s.newRun(po.ps.plan, po.ps.st, po.params, s.fromPortal(po))
	intent, err := s.sealAlone(po.run)
	if err != nil {
		return s.refuse(err)
	}
	err = s.executeRun(po, rows, s.sendFlush)
	s.concludeAlone(intent, po.ps.st, err)
	var f *failure
	switch {
	case err == nil:
		s.answer(po.run)
	case errors.As(err, &f):
		s.tell(f)
	default:
		return err
	}
	return nil
}

// onFunctionCall runs a FunctionCall message: nobody can tell what it does before it is done.
func (s *session) onFunctionCall() error {
	if s.skipping {
		return s.cr.Skip()
	}
	if err := s.settle(); err != nil {
		return err
	}
	q := s.q.state()
	if q.failed || q.status == 'E' {
		return s.forward(owed{kind: 'F'})
	}
	st := unread("/* function call message */")
	p := &player{s: s, sts: []*parser.Statement{st, st}} // as one of several: in a block
	plan, err := s.plan(st)
	if err == nil {
		err = s.writable()
	}
	if err != nil {
		if e := s.cr.Skip(); e != nil {
			return e
		}
		return p.fail(err)
	}
	s.segment = false
	if err := p.enter(true); err != nil {
		return err
	}
	s.visit.statements++
	r := s.newRun(plan, st, nil, s.from(journal.ProtocolCall))
	seq := s.q.push(owed{kind: 'F', mode: modePlay, run: r})
	if err := s.cr.Forward(s.bw); err != nil {
		return err
	}
	err = s.collect(seq, nil, false)
	if err == nil {
		err = s.finish(s.tx, r)
	}
	var f *failure
	if err != nil && !errors.As(err, &f) && !errors.Is(err, errCapture) && !errors.Is(err, errTxTooLarge) {
		return err
	}
	if err != nil {
		return p.fail(err)
	}
	return p.finish()
}
