package proxy

import (
	"fmt"

	"pgproxy/journal"
	"pgproxy/parser"
	"pgproxy/proxy/wire"
)

// Behind a failure the server skips what the client has sent up to its Sync, and refuses what follows in a failed block. What
// would have written there is part of the record: not executed.

// maxSkippedNames bounds the statements that are kept by name while the server skips.
const maxSkippedNames = 1000

// skipped is what is known of the messages that the server skips.
type skipped struct {
	stmts   map[string]*parser.Statement
	portals map[string]*prepared
}

// skipExtended drops one message, up to the client's Sync, and records what would have been executed.
func (s *session) skipExtended(typ byte) error {
	switch typ {
	case 'P':
		if s.cr.Left() > s.srv.o.MaxText {
			break
		}
		body, err := s.cr.Body(s.srv.o.MaxText)
		if err != nil {
			return fmt.Errorf("read Parse: %w", err)
		}
		if p, err := wire.DecodeParse(body); err == nil {
			s.skip.parse(p.Name, s.parse(p.Text))
		}
		return nil
	case 'B', 'E':
		peek, err := s.cr.Peek(s.cr.Left())
		if err != nil {
			return fmt.Errorf("read a message: %w", err)
		}
		if portal, name, ok := wire.BindNames(peek); ok && typ == 'B' {
			s.skipBind(string(portal), string(name))
		} else if name, _, err := wire.DecodeExecute(peek); err == nil && typ == 'E' {
			s.visit.statements++
			s.skipExecute(name)
		}
	}
	return s.cr.Skip()
}

func (k *skipped) parse(name string, script *parser.Script) {
	st := unread(script.Text)
	if script.Unread == nil {
		if len(script.Statements) != 1 {
			return
		}
		st = script.Statements[0]
	}
	if k.stmts == nil {
		k.stmts = map[string]*parser.Statement{}
	}
	if len(k.stmts) < maxSkippedNames {
		k.stmts[name] = st
	}
}

func (s *session) skipBind(portal, name string) {
	st := s.skip.stmts[name]
	if st == nil {
		if ps := s.stmts[name]; ps != nil && !ps.closed {
			st = ps.st // also one that was skipped itself
		}
	}
	if s.skip.portals == nil {
		s.skip.portals = map[string]*prepared{}
	}
	if st != nil && len(s.skip.portals) < maxSkippedNames {
		s.skip.portals[portal] = &prepared{name: name, st: st}
	}
}

func (s *session) skipExecute(name string) {
	ps := s.skip.portals[name]
	if ps == nil {
		if po := s.portals[name]; po != nil {
			ps = po.ps
		}
	}
	if ps == nil || ps.st == nil || !s.worthSkipped(ps.st) {
		return
	}
	s.recordSkipped(ps.st, s.fromPortal(&portal{name: name, ps: ps}), nil)
}

// skippedPortal records a portal that is executed where the server will skip or refuse it.
func (s *session) skippedPortal(po *portal) {
	switch {
	case !s.worthSkipped(po.ps.st):
	case s.q.state().failed:
		s.recordSkipped(po.ps.st, s.fromPortal(po), nil)
	case s.inFailed():
		s.recordSkipped(po.ps.st, s.fromPortal(po), errInFailed)
	}
}

// worthSkipped reports whether a statement would have stood in the journal.
func (s *session) worthSkipped(st *parser.Statement) bool {
	switch st.Class {
	case parser.ClassWrite, parser.ClassCopyFrom, parser.ClassTruncate, parser.ClassDDL, parser.ClassOpaque:
		return true
	}
	return false
}

// recordSkipped records a statement that was not executed: skipped, or refused with err; or one that was not held and failed.
func (s *session) recordSkipped(st *parser.Statement, o origin, err error) {
	out := journal.Statement{Start: s.srv.o.Now(), RowsAffected: -1}
	s.describeStatement(&out, st, o)
	nameTables(&out, st)
	if err != nil {
		out.SQLState, out.Message = describe(err)
		if out.Redacted&journal.RedactedSecret != 0 {
			out.Message = withheld(out.SQLState, out.Message)
		}
	}
	out.NotExecuted = err == nil || out.SQLState == "25P02"
	s.applyPolicy(&out, st)
	if s.tx != nil {
		s.tx.stmts = append(s.tx.stmts, out)
		return
	}
	s.attempt(&tx{start: out.Start, stmts: []journal.Statement{out}}, journal.OutcomeAborted)
}
