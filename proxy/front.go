package proxy

import (
	"errors"
	"fmt"
	"os"
	"time"

	"pgproxy/proxy/wire"
)

// errBye ends a session whose client said Terminate.
var errBye = errors.New("client said goodbye")

// serveClient reads the client's messages until it leaves or the server does.
func (s *session) serveClient() error {
	for {
		if s.ending.Load() && s.idle() {
			s.cw.write(true, func(w *wire.Writer) { _ = w.Fields('E', clientError(errShutdown, "FATAL")) })
			return errShutdown
		}
		typ, n, err := s.cr.Next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// Woken by askToEnd. If there is still something going on, the end of that wakes again.
			if !s.idle() {
				_ = s.cc.SetReadDeadline(time.Time{})
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("read from the client: %w", err)
		}
		if err := s.onClient(typ, n); err != nil {
			return err
		}
		if st := s.q.state(); st.closed != nil {
			return st.closed
		}
	}
}

// onClient handles one message of the client's.
func (s *session) onClient(typ byte, n int) error {
	switch typ {
	case 'Q':
		return s.onQuery()
	case 'P', 'B', 'D', 'E', 'C':
		if s.skipping || s.q.state().failed {
			return s.skipExtended(typ)
		}
		if typ != 'P' {
			s.segment = true // with Parse only once it is planned
		}
		return s.onExtended(typ)
	case 'H':
		return s.onFlush()
	case 'S':
		return s.onSync()
	case 'd', 'c', 'f':
		return s.onCopyData(typ)
	case 'F':
		return s.onFunctionCall()
	case 'X':
		return errBye
	}
	// The server says what is wrong with it, and closes.
	return s.cr.Forward(s.bw)
}

// onCopyData passes COPY data of a statement that is not held. (Data of a held one is read by pumpCopy.)
func (s *session) onCopyData(typ byte) error {
	s.q.mark(typ)
	return s.cr.Forward(s.bw)
}

// onFlush passes Flush. What is held for the client must leave now, as PostgreSQL would send it.
func (s *session) onFlush() error {
	if s.skipping {
		return s.cr.Skip()
	}
	if err := s.cr.Forward(s.bw); err != nil {
		return err
	}
	if !s.holding && !s.spliced() {
		return nil
	}
	if err := s.bw.Flush(); err != nil {
		return err
	}
	if err := s.answers(); err != nil {
		return err
	}
	s.cw.flush()
	return nil
}

// settle waits until every answer is here, so that the transaction status is known.
func (s *session) settle() error {
	st := s.q.state()
	if st.owed == 0 || st.failed {
		return nil
	}
	if s.segment { // what was sent since the last Sync is answered only upon the next, or this
		_ = s.bw.Empty('H') // sticks
	}
	if err := s.bw.Flush(); err != nil {
		return err
	}
	err := s.q.await(st.pushed, false)
	if errors.Is(err, errServerFailed) {
		// Until its Sync the rest is skipped; what stands behind that Sync is still to come.
		return s.resettle()
	}
	return err
}

// resettle waits on after a failure in the middle.
func (s *session) resettle() error {
	for {
		f := s.q.take()
		if f != nil && !f.delivered.Load() {
			s.tell(f)
		}
		st := s.q.state()
		if st.owed == 0 || st.failed {
			return st.closed
		}
		err := s.q.await(st.pushed, false)
		if !errors.Is(err, errServerFailed) {
			return err
		}
	}
}

// tell writes an error to the client at once, unless it has it already.
func (s *session) tell(err error) {
	var f *failure
	if errors.As(err, &f) && f.delivered.Swap(true) {
		return
	}
	s.cw.write(true, func(w *wire.Writer) { _ = w.Fields('E', clientError(err, "ERROR")) })
}

// applicationName gives application_name as the client has set it by now.
func (s *session) applicationName() string {
	if name := s.appName.Load(); name != nil {
		return *name
	}
	return s.application
}
