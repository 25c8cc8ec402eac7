package proxy

import (
	"errors"

	"pgproxy/parser"
)

// SQL's PREPARE and DEALLOCATE share their names with the protocol's statements. Where they touch a name that is known here,
// their outcome is waited for: a name must never mean something else to us than to the server.

// renames reports whether a PREPARE or DEALLOCATE touches names that are known.
func (s *session) renames(st *parser.Statement) bool {
	return st.Class == parser.ClassPrepare && (s.stmts[st.Name].live() != nil || st.DropsPrepared && len(s.stmts) > 0)
}

// noteNames notes what a PREPARE or DEALLOCATE did. What SQL prepared and may write is captured by its effect when the
// protocol executes it.
func (s *session) noteNames(st *parser.Statement) {
	switch {
	case st.Class != parser.ClassPrepare, s.inFailed(): // the server refuses it in a failed block
	case st.DropsPrepared:
		clear(s.stmts)
	case st.Command == "DEALLOCATE":
		delete(s.stmts, st.Name)
	case st.Inner != nil:
		delete(s.stmts, st.Name)
		if !s.passes(st.Inner) {
			inner := unread(st.Inner.Text)
			s.define(st.Name, &prepared{name: st.Name, st: inner, plan: s.cap.PlanUnread(inner.Text), text: inner.Text})
		}
	}
}

// executeRename runs such a statement of the extended protocol and waits.
func (s *session) executeRename(po *portal) error {
	if err := s.cr.Skip(); err != nil {
		return err
	}
	r := &run{st: po.ps.st, start: s.srv.o.Now()}
	seq := s.q.push(owed{kind: 'E', run: r})
	_ = s.bw.Execute(po.name, 0) // sticks
	_ = s.bw.Empty('H')
	err := s.collect(seq, nil, false)
	var f *failure
	switch {
	case errors.As(err, &f):
		s.tell(f)
	case errors.Is(err, errServerFailed):
	case err != nil:
		return err
	default:
		s.after(po.ps.st)
		s.answer(r)
	}
	return nil
}
