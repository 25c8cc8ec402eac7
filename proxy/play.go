package proxy

import (
	"errors"
	"slices"
	"strconv"
	"unicode/utf8"

	"pgproxy/journal"
	"pgproxy/parser"
	"pgproxy/proxy/capture"
	"pgproxy/proxy/wire"
)

// player runs the statements of a simple Query by extended messages, so that the client sees what a Query shows: no
// acknowledgements, one ReadyForQuery, and the last tag only after the commit.
//
// A string of several statements is one implicit block of PostgreSQL's; the player opens a block of its own for it and
// imitates the differences. A single one needs no block: its Sync is withheld until the commit.
type player struct {
	s     *session
	text  string
	sts   []*parser.Statement
	plans []*capture.Plan // of a single statement; several are planned as they come
	raw   bool            // text is as it came: not UTF-8
	last  *run            // whose tag waits for the end
	open  bool            // extended messages were sent without a Sync behind them
}

// newPlayer decides whether a string must be played; nil if it passes.
func (s *session) newPlayer(script *parser.Script) (*player, error) {
	p := &player{s: s, text: script.Text, sts: script.Statements}
	if script.Unread != nil {
		p.sts = []*parser.Statement{unread(script.Text)}
		p.raw = errors.Is(script.Unread, capture.ErrCharset) || errors.Is(script.Unread, errUnsettled)
	}
	status := s.q.state().status
	if status == 'E' && (len(p.sts) == 1 && p.sts[0].Class != parser.ClassTransaction) {
		return nil, nil
	}
	if s.tx != nil && !s.tx.explicit {
		return p, nil // an implicit transaction is open: nothing passes raw
	}
	held := false
	for _, st := range p.sts {
		if s.tx != nil && (st.Class == parser.ClassTransaction || st.ReadOnly) {
			held = true
		}
		if s.passes(st) {
			continue
		}
		if s.renames(st) {
			held = true
			continue
		}
		if status == 'E' {
			held = true
			continue
		}
		plan, err := s.plan(st)
		if err != nil && len(p.sts) > 1 {
			held = true // it may depend on the statements before it
			continue
		}
		if err != nil {
			return nil, err
		}
		if plan != nil && plan.Hold {
			held = true
			if len(p.sts) == 1 {
				p.plans = []*capture.Plan{plan}
				if st.Class == parser.ClassWrite && st.MaxParam > 0 {
					return nil, nil // "there is no parameter $1": the server says it best
				}
			}
		}
	}
	if !held {
		return nil, nil
	}
	return p, nil
}

// play runs the string.
func (p *player) play() error {
	s := p.s
	delete(s.stmts, "")
	s.segment = false
	s.visit.statements += uint64(len(p.sts))
	if len(p.sts) == 0 { // only comments, inside a held segment
		p.last = &run{ended: 'I'}
		return p.finish()
	}
	for i, st := range p.sts {
		if p.last != nil {
			s.answer(p.last)
			p.last = nil
		}
		r, err := p.statement(i, st)
		if r == nil && err != nil {
			return err
		}
		if err != nil {
			p.skipBehind(i)
			return p.fail(p.shift(st, err))
		}
		p.last = r
	}
	return p.finish()
}

// statement runs one statement. A nil run with an error ends the session.
func (p *player) statement(i int, st *parser.Statement) (*run, error) {
	s := p.s
	if st.Class == parser.ClassTransaction {
		return p.control(st)
	}
	var plan *capture.Plan
	if len(p.plans) > i {
		plan = p.plans[i]
	} else if !s.passes(st) && s.q.state().status != 'E' {
		var err error
		if plan, err = s.plan(st); err != nil {
			return &run{}, err
		}
	}
	if plan != nil && !plan.Hold {
		plan = nil
	}
	if plan != nil {
		if err := s.writable(); err != nil {
			return &run{}, err
		}
		if st.RefusesBlock && len(p.sts) == 1 && s.tx == nil && s.q.state().status == 'I' {
			return s.runAlone(p.text, st, plan)
		}
	}
	if err := p.enter(plan != nil); err != nil {
		return nil, err
	}
	if err := s.beforeReadOnly(st); err != nil {
		return &run{}, err
	}
	return p.run(st, plan)
}

// origin says how a statement of the string came.
func (p *player) origin(st *parser.Statement) origin {
	o := p.s.from(journal.ProtocolSimple)
	if len(p.sts) > 1 {
		o.part, o.parts = uint32(slices.Index(p.sts, st)+1), uint32(len(p.sts))
	}
	return o
}

// skipBehind records the statements behind the one that failed.
func (p *player) skipBehind(failed int) {
	for _, st := range p.sts[failed+1:] {
		if p.s.worthSkipped(st) {
			p.s.recordSkipped(st, p.origin(st), nil)
		}
	}
}

// enter makes the transaction for a statement: a block of our own for several statements outside of the client's block.
func (p *player) enter(held bool) error {
	s := p.s
	if len(p.sts) > 1 && s.q.state().status == 'I' && (s.tx == nil || !s.tx.block) {
		if err := s.command("BEGIN"); err != nil {
			return err
		}
		t, err := s.begin()
		if err != nil {
			return err
		}
		t.block, t.explicit = true, false
		s.hold(true)
		return nil
	}
	if held {
		_, err := s.begin()
		return err
	}
	return nil
}

// run runs one statement that is no transaction control, in one flight.
func (p *player) run(st *parser.Statement, plan *capture.Plan) (*run, error) {
	s := p.s
	r := s.newRun(plan, st, nil, p.origin(st))
	sh := shapeOf(plan)
	s.q.push(owed{kind: 'P', mode: modePlay})
	parse := wire.Parse{Text: p.textOf(st, plan)}
	if p.raw {
		_ = s.bw.Parse(parse) // sticks, as all writes here
	} else {
		_ = s.sendParse(parse)
	}
	s.q.push(owed{kind: 'B', mode: modePlay})
	b := wire.Bind{}
	if plan != nil && plan.OwnRows {
		b.Results = []int16{1}
	}
	_ = s.bw.Bind(b)
	// PostgreSQL runs anything but a SELECT to its end before it sends a row: an error in it comes without RowDescription.
	s.q.push(owed{kind: 'D', mode: modePlay, shape: sh, late: st.Class != parser.ClassRead})
	_ = s.bw.Target('D', 'P', "")
	seq := s.q.push(owed{kind: 'E', mode: modePlay, shape: sh, run: r})
	_ = s.bw.Execute("", 0)
	if plan != nil && s.tx != nil {
		if s.askXID(s.tx, st); s.tx.ask != nil {
			seq = s.q.state().pushed
		}
	}
	// Nothing but Flush and Sync may follow a COPY FROM STDIN, and a text that could not be read may be one.
	if s.tx != nil && s.tx.explicit && len(p.sts) == 1 && !st.CopyStdin && st.Command != "" {
		s.q.push(owed{kind: 'C', mode: modeOwn})
		_ = s.bw.Target('C', 'S', "")
		seq = s.q.push(owed{kind: 'S', mode: modeOwn})
		_ = s.bw.Empty('S')
	} else {
		_ = s.bw.Empty('H')
		p.open, s.segment = true, true
	}
	err := s.collect(seq, r, true)
	if s.tx != nil {
		s.tx.takeXID()
	}
	if err == nil && s.tx != nil && plan != nil {
		return r, s.finish(s.tx, r)
	}
	var f *failure
	if err != nil && !errors.As(err, &f) {
		return nil, err
	}
	if err != nil && s.tx != nil && plan != nil {
		s.addFailed(s.tx, r, err)
	} else if err != nil && plan == nil && s.worthSkipped(st) {
		s.recordSkipped(st, r.origin, err)
	}
	if plan == nil && (err == nil || !s.worthSkipped(st)) && s.watches(st) {
		s.recordPassed(r, err)
	}
	if err == nil {
		s.after(st)
	}
	return r, err
}

// textOf gives what is sent for a statement: a single one keeps what stands before it, so that error positions are right.
func (p *player) textOf(st *parser.Statement, plan *capture.Plan) string {
	text := st.Text
	if plan != nil {
		text = plan.Text
	}
	if len(p.sts) == 1 {
		return p.text[:st.Offset] + text
	}
	return text
}

// shift moves an error's position from the statement to the string. Positions count characters.
func (p *player) shift(st *parser.Statement, err error) error {
	var f *failure
	if len(p.sts) == 1 || !errors.As(err, &f) || f.own {
		return err
	}
	at, e := strconv.Atoi(f.fields.Get('P'))
	if e != nil {
		return err
	}
	at += utf8.RuneCountInString(p.text[:st.Offset])
	shifted := &failure{fields: f.fields.With('P', strconv.Itoa(at)), kind: f.kind}
	shifted.delivered.Store(f.delivered.Swap(true))
	return shifted
}

// finish ends the string: commits what is implicit, and gives the last tag and ReadyForQuery.
func (p *player) finish() error {
	s := p.s
	if p.open {
		// The unnamed statement is gone after a Query. This goes with whatever is sent next.
		s.q.push(owed{kind: 'C', mode: modeOwn})
		_ = s.bw.Target('C', 'S', "") // sticks
	}
	if t := s.tx; t != nil && !t.explicit {
		if err := p.commit(t); err != nil {
			if errors.Is(err, errSessionOver) {
				return err
			}
			return p.fail(err)
		}
	} else if p.open {
		if err := s.sync(); err != nil {
			return err
		}
	}
	if p.last != nil {
		s.answer(p.last)
	}
	s.readyForQuery(s.q.state().status)
	return nil
}

// errSessionOver says that the session cannot go on.
var errSessionOver = errors.New("session is over")

// commit commits the implicit transaction of the string.
func (p *player) commit(t *tx) error {
	s := p.s
	if err := s.drainAll(t); err != nil {
		return err
	}
	if !t.wrote() {
		return p.commitEmpty(t)
	}
	var last func() (uint64, *run)
	if t.block {
		last = s.commitText("COMMIT", modePlay)
	}
	o, err := s.commitFlight(t, last)
	if o == outcomeLost {
		return errors.Join(errSessionOver, err)
	}
	return err
}

// commitEmpty ends a transaction that wrote nothing.
func (p *player) commitEmpty(t *tx) error {
	s := p.s
	var err error
	if t.block {
		seq, _ := s.commitText("COMMIT", modePlay)()
		err = s.collect(seq, nil, false)
	} else {
		err = s.collect(s.sendSync(), nil, false)
	}
	var f *failure
	if err != nil && !errors.As(err, &f) {
		return errors.Join(errSessionOver, err)
	}
	o := journal.OutcomeCommitted
	if err != nil {
		o = journal.OutcomeAborted
	}
	s.attempt(t, o)
	if err != nil {
		if e := s.settle(); e != nil {
			return errors.Join(errSessionOver, e)
		}
	}
	s.end(err == nil)
	return err
}

// fail ends the string with an error: the rest of it is not run.
func (p *player) fail(reason error) error {
	s := p.s
	s.tell(reason)
	if p.last != nil {
		p.last = nil
	}
	if t := s.tx; t != nil && !t.explicit {
		s.attempt(t, journal.OutcomeAborted)
		if !s.q.state().failed { // a Sync would commit what the server has no fault to find with
			if err := s.poison(); err != nil {
				return err
			}
		}
		if err := s.sync(); err != nil {
			return err
		}
		if t.block && s.q.state().status != 'I' {
			if err := s.command("ROLLBACK"); err != nil {
				return err
			}
		}
		s.end(false)
	} else if err := p.failBlock(reason); err != nil {
		return err
	}
	s.readyForQuery(s.q.state().status)
	return nil
}

// failBlock makes the server fail the client's block, unless the error was the server's own.
func (p *player) failBlock(reason error) error {
	s := p.s
	var f *failure
	if s.q.state().status == 'T' && (!errors.As(reason, &f) || f.own) && !s.q.state().failed {
		if err := s.poison(); err != nil {
			return err
		}
	}
	return s.sync()
}
