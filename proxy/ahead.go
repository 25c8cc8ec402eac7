package proxy

import (
	"fmt"

	"pgproxy/parser"
)

// A client usually sends its Sync together with the last Execute of its segment. Where that Sync commits nothing behind our
// back, because a block of the client's is open, it travels with the Execute: the server is asked once instead of twice, and
// the client is written to once.

// syncAhead reports whether the client's next message is a Sync, and here already.
func (s *session) syncAhead() bool { return s.cr.NextIs('S') }

// copiesNothing reports whether a statement is certainly no COPY FROM STDIN: a Sync sent too early would get lost in one.
func copiesNothing(st *parser.Statement) bool { return !st.CopyStdin && st.Command != "" }

// sendFlush makes the server answer what was sent, and gives the number to wait for.
func (s *session) sendFlush() uint64 {
	_ = s.bw.Empty('H') // sticks
	return s.q.state().pushed
}

// sendSyncAhead sends the client's next message before its turn, and gives the number to wait for. endAhead must follow.
func (s *session) sendSyncAhead() uint64 {
	s.cw.setHold(true) // the answers leave together
	return s.sendSync()
}

// endAhead takes the client's Sync, which has been sent already unless something went wrong before it, and answers it. err is
// how the message before it ended; it ends the session.
func (s *session) endAhead(err error) error {
	if err != nil {
		return err
	}
	if _, _, err := s.cr.Next(); err != nil {
		return fmt.Errorf("read Sync: %w", err)
	}
	if s.segment || s.q.state().failed {
		err = s.sync()
	} else {
		err = s.settle()
	}
	if err != nil {
		return err
	}
	s.segment, s.skipping, s.block = false, false, 0
	s.cw.setHold(s.holding)
	s.readyForQuery(s.q.state().status)
	return nil
}
