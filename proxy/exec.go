package proxy

import (
	"errors"
	"fmt"
	"os"
	"time"

	"pgproxy/journal"
	"pgproxy/parser"
	"pgproxy/proxy/capture"
)

// noPortal is the name of a portal that never exists: executing it makes the server fail the client's transaction where
// pgproxy must refuse something.
const noPortal = "pgproxy.refused"

// newRun begins the capture of one execution.
func (s *session) newRun(plan *capture.Plan, st *parser.Statement, params []journal.Param, o origin) *run {
	r := &run{st: st, params: params, start: s.srv.o.Now(), origin: o}
	if plan != nil && plan.Hold {
		if ps := s.executes(st); ps != nil {
			st = ps.st
		}
		if st.Command == "" {
			st = nil // it could not be read
		}
		r.ex = s.cap.Start(plan, st)
	}
	return r
}

// collect sends what is buffered and waits for the answers up to seq; COPY data that the server asks for is read from
// the client meanwhile. A server's error is returned as *failure.
func (s *session) collect(seq uint64, r *run, play bool) error {
	if err := s.bw.Flush(); err != nil {
		return fmt.Errorf("send to the server: %w", err)
	}
	for {
		err := s.q.await(seq, r != nil)
		switch {
		case errors.Is(err, errCopyIn):
			if err := s.pumpCopy(r, play); err != nil {
				return err
			}
		case errors.Is(err, errServerFailed):
			s.own.doubt() // own statements behind the failure were skipped
			if f := s.q.take(); f != nil {
				return f
			}
			return errServerFailed
		default:
			return err
		}
	}
}

// pumpCopy passes the client's COPY data on until it ends, or until the server gives up. Flush and Sync are ignored, as
// the server does. In play (no Sync of the client's will follow) a failure of the server ends it at once.
func (s *session) pumpCopy(r *run, play bool) error {
	if play {
		defer func() { _ = s.cc.SetReadDeadline(time.Time{}) }()
		s.q.interrupt(func() { _ = s.cc.SetReadDeadline(time.Unix(1, 0)) })
		defer s.q.interrupt(nil)
	}
	for {
		st := s.q.state()
		if !st.copying || st.closed != nil {
			return nil
		}
		if !s.cr.Ready() {
			if err := s.bw.Flush(); err != nil {
				return fmt.Errorf("send COPY data: %w", err)
			}
		}
		typ, _, err := s.cr.Next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			_ = s.cc.SetReadDeadline(time.Time{})
			continue
		}
		if err != nil {
			return fmt.Errorf("read COPY data: %w", err)
		}
		ended, err := s.copyFrame(r, typ)
		if ended || err != nil {
			return err
		}
	}
}

// copyFrame handles one message of the client's while it copies.
func (s *session) copyFrame(r *run, typ byte) (ended bool, err error) {
	switch typ {
	case 'd':
		r.copied.messages++
		if err := s.bw.Header('d', s.cr.Left()); err != nil {
			return false, err
		}
		for {
			p, err := s.cr.Piece()
			if err != nil {
				return false, fmt.Errorf("read COPY data: %w", err)
			}
			if p == nil {
				return false, nil
			}
			r.copied.add(p)
			if r.ex != nil {
				r.ex.Copy(p)
			}
			if err := s.bw.Write(p); err != nil {
				return false, fmt.Errorf("send COPY data: %w", err)
			}
		}
	case 'H', 'S':
		return false, s.cr.Skip()
	}
	// CopyDone and CopyFail end it; anything else is an error that the server reports.
	if err := s.cr.Forward(s.bw); err != nil {
		return false, err
	}
	return true, s.waitCopyEnd()
}

// waitCopyEnd waits until the server has taken the end of the data.
func (s *session) waitCopyEnd() error {
	_ = s.bw.Empty('H') // the answer is wanted before the Sync; sticks
	if err := s.bw.Flush(); err != nil {
		return fmt.Errorf("end COPY data: %w", err)
	}
	s.q.leaveCopy()
	return nil
}

// finish completes the capture of a statement that succeeded, and puts it into the transaction's record. An error has
// aborted the client's transaction, or must.
func (s *session) finish(t *tx, r *run) error {
	if r.noted {
		return nil
	}
	if r.err != nil {
		err := captureError(r.err)
		if errors.Is(r.err, errTxTooLarge) {
			err = r.err
		}
		s.addFailed(t, r, err)
		return err
	}
	var e capture.Effect
	if r.ex != nil {
		var err error
		if unforeseen(r.st) {
			s.own.doubt() // it may have dropped them, and capture is about to use them
		}
		s.guard.Lock()
		e, err = r.ex.Finish(s.ctx, &t.state, r.tag)
		s.guard.Unlock()
		if err == nil && s.untold {
			err = errors.New("a query of its own failed")
		}
		if err != nil {
			err = captureError(err)
			s.addFailed(t, r, err)
			return err
		}
	}
	st := s.add(t, r, e)
	s.afterHeld(r.st)
	if st.Capture == journal.CaptureMissing {
		if s.srv.o.RefuseUnreplicable {
			err := &unreplicable{st.Note, ""}
			st.SQLState, st.Message = describe(err)
			return err
		}
		s.srv.metrics.Missing.Add(1)
	}
	if t.bytes > min(heldBytes, s.srv.o.MaxTx) {
		if err := t.spill(); err != nil {
			return captureError(err)
		}
	}
	if t.bytes > s.srv.o.MaxTx {
		return fmt.Errorf("%w: its statements take more than %d bytes", errTxTooLarge, s.srv.o.MaxTx)
	}
	return nil
}

// captureError keeps apart what the client can do something about.
func captureError(err error) error {
	switch {
	case errors.Is(err, journal.ErrFull), errors.Is(err, journal.ErrFailed):
		return err
	case errors.Is(err, capture.ErrTooLarge):
		return fmt.Errorf("%w: %w", errTxTooLarge, err)
	}
	return ofOwnWork(errCapture, err)
}

// after notes what a statement that was not held may change for later ones.
func (s *session) after(st *parser.Statement) {
	s.followContext(st)
	s.noteRole(st)
	s.noteNames(st)
	s.noteWriting(st)
	if st.DropsPrepared {
		s.own.doubt()
	}
	if st.AltersSession {
		s.alter()
	}
	if st.AltersSchema {
		s.cap.AlteredSchema()
	}
}

// afterHeld does so for a held one, whose capture has told itself.
func (s *session) afterHeld(st *parser.Statement) {
	s.altered = s.altered || st.AltersSession || unforeseen(st)
}

// unforeseen reports whether a held statement may have done anything to the session: drop its prepared statements, change
// its settings.
func unforeseen(st *parser.Statement) bool {
	return st.DropsPrepared || st.Class == parser.ClassOpaque || st.Class == parser.ClassRead
}

// alter notes that session settings were or may have been changed; they may be taken back with the transaction.
func (s *session) alter() {
	s.altered = true
	s.cap.Altered()
}

// poison makes the server fail the open transaction without a word to the client, who is told by the caller.
func (s *session) poison() error {
	seq := s.q.push(owed{kind: 'E', mode: modeOwn})
	_ = s.bw.Execute(noPortal, 0) // sticks
	_ = s.bw.Empty('H')
	err := s.collect(seq, nil, false)
	var f *failure
	if errors.As(err, &f) || errors.Is(err, errServerFailed) {
		return nil
	}
	return err
}

// sendSync sends pgproxy's own Sync, which ends what was open, and gives its queue number.
func (s *session) sendSync() uint64 {
	s.segment, s.untold, s.block = false, false, 0
	seq := s.q.push(owed{kind: 'S', mode: modeOwn})
	_ = s.bw.Empty('S') // sticks
	return seq
}

// sync sends pgproxy's own Sync and waits: afterwards the server is out of any skipping and the status is known.
func (s *session) sync() error {
	seq := s.sendSync()
	for {
		err := s.collect(seq, nil, false)
		var f *failure
		if errors.As(err, &f) {
			if !f.delivered.Load() && !f.own {
				s.tell(f)
			}
			continue
		}
		return err
	}
}

// writable says why a write must be refused now; nil if it need not.
func (s *session) writable() error {
	if err := s.srv.o.Writable(); err != nil {
		s.srv.metrics.Refused.Add(1)
		return &notWritable{err}
	}
	return s.srv.markers.ensure(s.ctx, s.database)
}
