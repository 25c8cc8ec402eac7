package proxy

import (
	"errors"
	"fmt"

	"pgproxy/journal"
	"pgproxy/parser"
	"pgproxy/proxy/capture"
	"pgproxy/proxy/wire"
)

// onExtended handles Parse, Bind, Describe, Execute and Close.
func (s *session) onExtended(typ byte) error {
	switch typ {
	case 'P':
		return s.onParse()
	case 'B':
		return s.onBind()
	}
	if s.cr.Left() > wire.MaxStartup { // the server's own limit; it closes the connection
		return s.cr.Forward(s.bw)
	}
	peek, err := s.cr.Peek(s.cr.Left())
	if err != nil {
		return fmt.Errorf("read a message: %w", err)
	}
	switch typ {
	case 'D':
		return s.onDescribe(peek)
	case 'C':
		return s.onClose(peek)
	}
	return s.onExecute(peek)
}

// forward passes the current frame, entering o into the queue.
func (s *session) forward(o owed) error {
	s.q.push(o)
	return s.cr.Forward(s.bw)
}

// onParse reads the text, plans, and passes it on, spliced if it is captured.
func (s *session) onParse() error {
	body, err := s.cr.Body(s.srv.o.MaxText)
	if errors.Is(err, wire.ErrTooLarge) {
		return s.refuse(fmt.Errorf("%w: %d bytes", errTextTooLarge, s.cr.Left()))
	}
	if err != nil {
		return fmt.Errorf("read Parse: %w", err)
	}
	p, err := wire.DecodeParse(body)
	if err != nil {
		s.q.push(owed{kind: 'P'})
		return s.bw.Frame('P', body)
	}
	ps, err := s.prepare(&p)
	if err == nil && ps.st != nil && !s.room() {
		err = errTooManyNames
	}
	if err != nil {
		return s.refuse(err)
	}
	if s.q.state().failed { // that was noticed only now
		s.skip.parse(p.Name, s.parse(p.Text))
		return nil
	}
	s.segment = true
	s.define(p.Name, ps)
	s.q.push(owed{kind: 'P', ps: ps})
	if ps.plan == nil || ps.plan.Text == ps.st.Text {
		err = s.bw.Frame('P', body)
	} else {
		p.Text = ps.text[:ps.st.Offset] + ps.plan.Text
		err = s.sendParse(p)
	}
	if err == nil && ps.plan != nil {
		s.askTypes(ps)
	}
	return err
}

// askTypes asks for the parameter types that the client left to the server.
func (s *session) askTypes(ps *prepared) {
	known := len(ps.types) >= ps.st.MaxParam
	for _, t := range ps.types {
		known = known && t != 0
	}
	if known {
		return
	}
	ps.unsure = &run{}
	s.q.push(owed{kind: 'D', mode: modeOwn, run: ps.unsure})
	_ = s.bw.Target('D', 'S', ps.name) // sticks
}

// prepare decides about a text of the extended protocol.
func (s *session) prepare(p *wire.Parse) (*prepared, error) {
	script := s.parse(p.Text)
	ps := &prepared{name: p.Name, types: p.Types, text: script.Text}
	var st *parser.Statement
	switch {
	case script.Unread != nil:
		st = unread(script.Text)
	case len(script.Statements) == 1:
		st = script.Statements[0]
	default:
		return ps, nil // empty, or refused by the server
	}
	if !s.passes(st) {
		plan, err := s.plan(st)
		if err != nil {
			return nil, err
		}
		if plan != nil && plan.Hold {
			ps.plan = plan
		}
	}
	if s.notable(st) {
		ps.st = st
	}
	return ps, nil
}

// unread is the statement that stands for a text which could not be read.
func unread(text string) *parser.Statement {
	return &parser.Statement{Text: text, Class: parser.ClassOpaque, SpliceAt: -1}
}

// passes reports whether a statement certainly needs no plan.
func (s *session) passes(st *parser.Statement) bool {
	switch st.Class {
	case parser.ClassRead:
		return len(st.Functions) == 0
	case parser.ClassTransaction, parser.ClassSession, parser.ClassMaintenance, parser.ClassCursor:
		return true
	case parser.ClassPrepare:
		return !s.renames(st)
	}
	return false
}

// notable reports whether a statement that is not held must still be known when it is executed.
func (s *session) notable(st *parser.Statement) bool {
	return !s.passes(st) || st.Class == parser.ClassTransaction || st.AltersSession || st.AltersSchema || st.DropsPrepared ||
		st.Class == parser.ClassPrepare || st.Setting == parser.ContextSetting || st.Claim != nil || s.watches(st)
}

// plan asks capture. Where it must query in the client's session, nothing may be owed; nil in a failed transaction, where
// the server will refuse the statement anyway.
func (s *session) plan(st *parser.Statement) (*capture.Plan, error) {
	if st.Command == "" {
		return s.cap.PlanUnread(st.Text), nil
	}
	if ps := s.executes(st); ps != nil {
		plan := *ps.plan
		plan.Text = st.Text
		return &plan, nil
	}
	if s.cap.NeedsQuery(st) {
		if err := s.settle(); err != nil {
			return nil, err
		}
		if s.q.state().failed || s.inFailed() {
			return nil, nil
		}
	}
	plan, err := s.cap.Plan(s.ctx, st)
	if err != nil {
		return nil, ofOwnWork(errCatalog, err)
	}
	if err := s.srv.refuses(plan); err != nil {
		return nil, err
	}
	if plan.Text != st.Text && s.fits(plan.Text) != nil {
		return s.cap.PlanUnread(st.Text), nil // the spliced names do not fit the session's encoding
	}
	return plan, nil
}

// executes gives the statement, prepared by the protocol with a column appended, that an SQL EXECUTE runs; else nil.
func (s *session) executes(st *parser.Statement) *prepared {
	if st.Command != "EXECUTE" {
		return nil
	}
	if ps := s.stmts[st.Name].live(); ps != nil && ps.plan != nil && ps.plan.Appended > 0 {
		return ps
	}
	return nil
}

// define gives a prepared statement's name its new meaning. Until the server has taken it, the old one is kept beside.
func (s *session) define(name string, ps *prepared) {
	old := s.stmts[name]
	if ps.st == nil && old == nil {
		return
	}
	if name == "" {
		if ps.st == nil {
			delete(s.stmts, name)
			return
		}
	} else {
		ps.prev = old.live()
	}
	if s.stmts == nil {
		s.stmts = map[string]*prepared{}
	}
	s.stmts[name] = ps
}

// room reports whether one more name can be kept.
func (s *session) room() bool { return len(s.stmts) < s.srv.o.MaxPrepared }

// onBind passes Bind; that of a captured statement is read for its parameters, and its result formats are made right.
func (s *session) onBind() error {
	if len(s.stmts) == 0 && len(s.portals) == 0 {
		return s.forward(owed{kind: 'B'})
	}
	peek, err := s.cr.Peek(s.cr.Left())
	if err != nil {
		return fmt.Errorf("read Bind: %w", err)
	}
	portalName, name, ok := wire.BindNames(peek)
	if !ok {
		return s.forward(owed{kind: 'B'}) // names longer than the buffer, or malformed
	}
	ps := s.stmts[string(name)].live()
	if ps == nil || ps.st == nil {
		if len(s.portals) > 0 {
			delete(s.portals, string(portalName))
		}
		return s.forward(owed{kind: 'B'})
	}
	if s.portals == nil {
		s.portals = map[string]*portal{}
	}
	if len(s.portals) >= s.srv.o.MaxPrepared {
		return s.refuse(errTooManyNames)
	}
	if ps, err = s.replan(ps); err != nil {
		return s.refuse(err)
	}
	po := &portal{name: string(portalName), ps: ps}
	s.portals[po.name] = po
	if ps.plan == nil {
		s.noteClaim(po, peek)
		s.noteParams(po, peek)
		return s.forward(owed{kind: 'B', po: po})
	}
	return s.bindHeld(po)
}

// replan decides once more about a prepared statement: roles, names, triggers or rights may have changed since Parse. Where
// another text must run, the statement is prepared again under its name.
func (s *session) replan(ps *prepared) (*prepared, error) {
	if s.passes(ps.st) || s.q.state().failed || s.inFailed() {
		return ps, nil
	}
	plan, err := s.plan(ps.st)
	if err != nil || plan == nil || plan == ps.plan || !plan.Hold && ps.plan == nil {
		return ps, err
	}
	was, is := ps.st.Text, plan.Text
	if ps.plan != nil {
		was = ps.plan.Text
	}
	again := *ps
	again.plan = plan
	if !plan.Hold {
		again.plan, is = nil, ps.st.Text
	}
	s.stmts[ps.name] = &again
	if was == is {
		return &again, nil
	}
	s.q.push(owed{kind: 'C', mode: modeOwn})
	_ = s.bw.Target('C', 'S', ps.name) // sticks, as all writes here
	s.q.push(owed{kind: 'P', mode: modeOwn})
	_ = s.sendParse(wire.Parse{Name: ps.name, Text: ps.text[:ps.st.Offset] + is, Types: ps.types})
	return &again, nil
}

func (s *session) bindHeld(po *portal) error {
	body, err := s.cr.Body(int(s.srv.o.MaxTx))
	if errors.Is(err, wire.ErrTooLarge) {
		return s.refuse(fmt.Errorf("%w: parameters of %d bytes", errTxTooLarge, s.cr.Left()))
	}
	if err != nil {
		return fmt.Errorf("read Bind: %w", err)
	}
	po.bound = s.q.push(owed{kind: 'B'})
	body = append([]byte(nil), body...) // the parameters are kept until the statement has run
	b, err := wire.DecodeBind(body)
	if err != nil {
		return s.bw.Frame('B', body)
	}
	po.bind = b
	po.params = make([]journal.Param, len(b.Params))
	plan := po.ps.plan
	switch {
	case plan.OwnRows:
		b.Results = []int16{1}
	case plan.Appended > 0 && len(b.Results) > 1:
		b.Results = append(b.Results, 0)
	default:
		return s.bw.Frame('B', body)
	}
	return s.bw.Bind(b)
}

// fillParams completes the parameters in the journal's form. Called once the statement has run: only then are the types
// that the server chose here. (Capture keeps the slice and looks into it in Finish.)
func (s *session) fillParams(po *portal) {
	types := po.ps.types
	if u := po.ps.unsure; u != nil && u.types != nil {
		types = u.types
	}
	for i, v := range po.bind.Params {
		if po.bind.Format(i) == 0 {
			v = s.decodeParam(v)
		}
		var oid uint32
		if i < len(types) {
			oid = types[i]
		}
		po.params[i] = capture.ParamValue(oid, po.bind.Format(i), v, v == nil)
	}
	po.bind.Params = nil
}

func (s *session) onDescribe(peek []byte) error {
	kind, name, err := wire.DecodeTarget(peek)
	o := owed{kind: 'D'}
	if err == nil && len(s.stmts) > 0 {
		var ps *prepared
		if kind == 'S' {
			ps = s.stmts[name].live()
		} else if po := s.portals[name]; po != nil {
			ps = po.ps
		}
		if ps != nil {
			o.shape = shapeOf(ps.plan)
		}
	}
	return s.forward(o)
}

// shapeOf says how a plan's rows are changed.
func shapeOf(plan *capture.Plan) shape {
	switch {
	case plan == nil || plan.Appended == 0:
		return shapeAsIs
	case plan.OwnRows:
		return shapeNone
	}
	return shapeTrim
}

func (s *session) onClose(peek []byte) error {
	kind, name, err := wire.DecodeTarget(peek)
	o := owed{kind: 'C'}
	if err == nil && kind == 'S' {
		if old := s.stmts[name].live(); old != nil {
			o.ps = &prepared{name: name, closed: true, prev: old}
			s.stmts[name] = o.ps
		}
	}
	if err == nil && kind == 'P' {
		if po := s.portals[name]; po != nil {
			if err := s.drainPortal(po); err != nil {
				return err
			}
			delete(s.portals, name)
		}
	}
	return s.forward(o)
}

// spliced reports whether a Parse of changed text may be unanswered: its failure must be told at once.
func (s *session) spliced() bool { return s.q.hasSpliced() }

// answers waits until everything that was sent is answered, telling the client what failed.
func (s *session) answers() error {
	st := s.q.state()
	if st.owed == 0 {
		return nil
	}
	_ = s.bw.Empty('H') // sticks
	return s.toldFailure(s.collect(st.pushed, nil, false))
}

// toldFailure tells the client a server's failure that it does not know yet; other errors end the session.
func (s *session) toldFailure(err error) error {
	var f *failure
	switch {
	case errors.As(err, &f):
		if !f.delivered.Load() {
			s.tell(f)
		}
		return nil
	case errors.Is(err, errServerFailed):
		return nil
	}
	return err
}

// refuse fails the client's segment with one of the proxy's own conditions: its transaction is failed as by any error, and
// what follows is skipped up to its Sync.
func (s *session) refuse(reason error) error {
	if err := s.cr.Skip(); err != nil {
		return fmt.Errorf("skip a message: %w", err)
	}
	if s.untold { // pgproxy's own query failed, and with it the client's segment
		s.untold, s.skipping = false, true
		s.tell(reason)
		return nil
	}
	if s.q.state().failed {
		return nil
	}
	if err := s.answers(); err != nil {
		return err
	}
	if s.q.state().failed {
		return nil
	}
	if err := s.poison(); err != nil {
		return err
	}
	s.skipping = true
	s.tell(reason)
	return nil
}
