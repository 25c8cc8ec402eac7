package proxy

import (
	"errors"

	"pgproxy/journal"
	"pgproxy/parser"
	"pgproxy/proxy/wire"
)

// control runs a transaction-control statement of the string.
func (p *player) control(st *parser.Statement) (*run, error) {
	s := p.s
	t := s.tx
	switch {
	case t == nil:
		return p.plainControl(st)
	case t.block:
		return p.blockControl(t, st)
	}
	return s.control(st, s.commitText(p.textOf(st, nil), modePlay))
}

// plainControl runs it where nothing is held.
func (p *player) plainControl(st *parser.Statement) (*run, error) {
	s := p.s
	seq, r := s.commitText(p.textOf(st, nil), modePlay)()
	err := s.collect(seq, nil, false)
	var f *failure
	if err != nil && !errors.As(err, &f) {
		return nil, err
	}
	s.noteEnd(st)
	return r, err
}

// blockControl runs it inside the block that pgproxy opened in place of PostgreSQL's implicit one.
func (p *player) blockControl(t *tx, st *parser.Statement) (*run, error) {
	s := p.s
	switch st.Transaction {
	case parser.Begin:
		// PostgreSQL makes the implicit block a regular one. The warning that a real BEGIN gives here is ours.
		seq, r := s.commitText(st.Text, modeOwn)()
		err := s.collect(seq, nil, false)
		var f *failure
		if err != nil && !errors.As(err, &f) {
			return nil, err
		}
		if err != nil {
			f.own = false
			return r, err
		}
		t.block, t.explicit = false, true
		s.hold(false)
		return r, nil
	case parser.Commit, parser.Rollback:
		if st.AndChain {
			return &run{}, needsBlock(st, " AND CHAIN")
		}
		return p.endBlock(t, st)
	case parser.Savepoint, parser.Release, parser.RollbackTo:
		return &run{}, needsBlock(st, "")
	}
	return s.control(st, s.commitText(st.Text, modePlay))
}

// needsBlock is PostgreSQL's answer to transaction control that is refused in an implicit block.
func needsBlock(st *parser.Statement, suffix string) error {
	routine := map[parser.Transaction]string{
		parser.Commit: "EndTransactionBlock", parser.Rollback: "UserAbortTransactionBlock",
		parser.Savepoint: "DefineSavepoint", parser.Release: "ReleaseSavepoint", parser.RollbackTo: "RollbackToSavepoint",
	}[st.Transaction]
	return &plainError{st.Command + suffix + " can only be used in transaction blocks", errNeedsBlock, "xact.c", routine}
}

// endBlock ends the implicit block in the middle of the string; the client's own statement then runs where no transaction
// is open, and gives the warning that it gives directly.
func (p *player) endBlock(t *tx, st *parser.Statement) (*run, error) {
	s := p.s
	if st.Transaction == parser.Commit {
		if err := p.commit(t); err != nil {
			if errors.Is(err, errSessionOver) {
				return nil, err
			}
			return &run{}, err
		}
	} else {
		s.attempt(t, journal.OutcomeAborted)
		s.end(false)
		if err := s.command("ROLLBACK"); err != nil {
			return nil, err
		}
	}
	return p.plainControl(st)
}

// commitText gives what sends a transaction-control statement as text, with its Sync.
func (s *session) commitText(text string, m mode) func() (uint64, *run) {
	return func() (uint64, *run) {
		r := &run{st: &parser.Statement{Text: text}, start: s.srv.o.Now()}
		s.q.push(owed{kind: 'P', mode: m})
		_ = s.sendParse(wire.Parse{Text: text}) // sticks, as all writes here
		s.q.push(owed{kind: 'B', mode: m})
		_ = s.bw.Bind(wire.Bind{})
		s.q.push(owed{kind: 'E', mode: m, run: r})
		_ = s.bw.Execute("", 0)
		return s.sendSync(), r
	}
}
