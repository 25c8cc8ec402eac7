package proxy

import (
	"errors"
	"fmt"

	"pgproxy/journal"
	"pgproxy/parser"
	"pgproxy/proxy/wire"
)

// onQuery handles a simple Query. A string without anything to hold passes as it came; else it is played: run statement by
// statement with extended messages.
func (s *session) onQuery() error {
	if s.skipping {
		return s.cr.Skip()
	}
	body, err := s.cr.Body(s.srv.o.MaxText)
	if errors.Is(err, wire.ErrTooLarge) {
		return s.refuseQuery(fmt.Errorf("%w: %d bytes", errTextTooLarge, s.cr.Left()))
	}
	if err != nil {
		return fmt.Errorf("read Query: %w", err)
	}
	text, err := wire.Query(body)
	if err != nil || s.q.state().failed {
		return s.passQuery(body, nil)
	}
	script := s.parse(text)
	if s.queryPasses(script) {
		return s.passQuery(body, script)
	}
	if err := s.settle(); err != nil {
		return err
	}
	if s.q.state().failed {
		return s.passQuery(body, nil)
	}
	p, err := s.newPlayer(script)
	if err != nil {
		return s.refuseQuery(err)
	}
	if p == nil {
		return s.passQuery(body, script)
	}
	return p.play()
}

// passQuery forwards a Query as it came.
func (s *session) passQuery(body []byte, script *parser.Script) error {
	delete(s.stmts, "") // a Query destroys the unnamed statement
	s.segment = false   // and ends an implicit transaction
	s.block = 0
	refused := script != nil && s.q.state().status == 'E'
	s.q.push(owed{kind: 'Q', watch: s.watchString(script, refused)})
	if err := s.bw.Frame('Q', body); err != nil {
		return err
	}
	if script != nil {
		s.visit.statements += uint64(len(script.Statements))
		for _, st := range script.Statements {
			if refused && s.worthSkipped(st) {
				s.recordSkipped(st, s.from(journal.ProtocolSimple), errInFailed)
				continue
			}
			s.after(st)
			s.noteEnd(st)
		}
	}
	return nil
}

// queryPasses reports whether a string certainly holds nothing to hold.
func (s *session) queryPasses(script *parser.Script) bool {
	if script.Unread != nil || s.tx != nil && !s.tx.explicit {
		return false
	}
	for _, st := range script.Statements {
		if !s.passes(st) || s.tx != nil && st.Class == parser.ClassTransaction || s.tx != nil && st.ReadOnly {
			return false
		}
	}
	return true
}

// refuseQuery fails a Query with one of the proxy's own conditions, as any error would.
func (s *session) refuseQuery(reason error) error {
	if err := s.cr.Skip(); err != nil {
		return fmt.Errorf("skip a message: %w", err)
	}
	if err := s.settle(); err != nil {
		return err
	}
	if s.q.state().failed {
		return nil // the server skips a Query up to Sync
	}
	p := &player{s: s}
	return p.fail(reason)
}
