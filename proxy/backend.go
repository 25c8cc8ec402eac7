package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"

	"pgproxy/proxy/wire"
)

// maxHeldRow is the largest result row in bytes that a captured statement may return.
const maxHeldRow = 256 << 20

var (
	errProtocol   = errors.New("unexpected message of the server")
	errReadServer = errors.New("read from the server")
)

// serveBackend passes the server's messages on to the client, by the queue of owed answers.
func (s *session) serveBackend() error {
	for {
		typ, n, err := s.br.Next()
		if err != nil {
			return fmt.Errorf("%w: %w", errReadServer, err)
		}
		if !s.burst {
			s.cw.mu.Lock()
			s.burst = true
		}
		if err := s.onServer(typ, n); err != nil {
			return err
		}
	}
}

// beforeServerRead ends the burst: the client gets what was written, unless it is held. In the middle of a frame the burst
// goes on: who handles the frame is going to write, and only the end of a burst flushes.
func (s *session) beforeServerRead() error {
	if s.br.Left() == 0 {
		s.endBurst()
	}
	return nil
}

func (s *session) endBurst() {
	if !s.burst {
		return
	}
	if !s.cw.hold || s.urgent {
		_ = s.cw.w.Flush() // sticks; the client's reader finds out
	}
	s.urgent, s.burst = false, false
	s.cw.mu.Unlock()
}

// onServer handles one message.
func (s *session) onServer(typ byte, n int) error {
	switch typ {
	case 'D', 'd':
		return s.onRow(typ)
	case 'N', 'A', 'S':
		return s.onAsync(typ)
	case 'E':
		return s.onServerError()
	case 'Z':
		return s.onReady()
	}
	o, ok := s.first()
	if !ok {
		return fmt.Errorf("%w: %q while nothing is owed", errProtocol, typ)
	}
	switch o.kind {
	case 'Q', 'F':
		return s.onQueryAnswer(typ)
	case 'E':
		return s.onExecuteAnswer(o, typ)
	case 'D':
		return s.onDescribeAnswer(o, typ)
	case 'P', 'B', 'C':
		if typ != acknowledgement(o.kind) {
			return fmt.Errorf("%w: %q in answer to %q", errProtocol, typ, o.kind)
		}
		s.pass(o)
		s.pop()
		return nil
	}
	return fmt.Errorf("%w: %q in answer to %q", errProtocol, typ, o.kind)
}

// first gives the queue's head, from a copy as long as it stays.
func (s *session) first() (*owed, bool) {
	if !s.headOK {
		s.head, s.headOK = s.q.first()
	}
	return &s.head, s.headOK
}

func (s *session) pop() {
	s.headOK = false
	s.q.done()
}

// pass forwards or swallows the current frame.
func (s *session) pass(o *owed) {
	if o.mode == modeRaw {
		_ = s.br.Forward(s.cw.w) // a client that is gone is found by its reader; the server's error comes with Next
	}
}

// onRow passes a DataRow or a piece of COPY OUT: the hot path.
func (s *session) onRow(typ byte) error {
	o, ok := s.first()
	if !ok {
		return fmt.Errorf("%w: a row while nothing is owed", errProtocol)
	}
	r := o.run
	if r == nil || typ == 'd' {
		if o.mode == modeOwn {
			return nil
		}
		return s.br.Forward(s.cw.w)
	}
	if o.kind != 'E' {
		return fmt.Errorf("%w: a row in answer to %q", errProtocol, o.kind)
	}
	s.describeNow()
	r.count++
	if r.collect {
		return s.collectRow(r)
	}
	if o.shape == shapeAsIs {
		if o.mode == modeOwn {
			return nil
		}
		return s.br.Forward(s.cw.w)
	}
	return s.captureRow(o, r)
}

func (s *session) collectRow(r *run) error {
	body, err := s.br.Body(maxHeldRow)
	if err != nil {
		return fmt.Errorf("read a row of an own query: %w", err)
	}
	cols, err := wire.Columns(append([]byte(nil), body...))
	if err != nil {
		return fmt.Errorf("read a row of an own query: %w", err)
	}
	r.rows = append(r.rows, cols)
	return nil
}

// captureRow gives the appended column to capture and the rest, if anything, to the client.
func (s *session) captureRow(o *owed, r *run) error {
	body, err := s.br.Body(maxHeldRow)
	if errors.Is(err, wire.ErrTooLarge) {
		r.err = fmt.Errorf("%w: a result row of more than %d bytes", errTxTooLarge, maxHeldRow)
		return nil // the row is skipped; the statement fails afterwards
	}
	if err != nil {
		return fmt.Errorf("read a captured row: %w", err)
	}
	count, rest, last, err := wire.SplitRow(body)
	if err != nil {
		return fmt.Errorf("read a captured row: %w", err)
	}
	if r.err == nil && r.ex != nil {
		r.err = r.ex.Row(last)
	}
	if o.shape == shapeTrim && o.mode != modeOwn {
		_ = s.cw.w.Counted('D', count, rest) // sticks
	}
	return nil
}

// onAsync passes NoticeResponse, NotificationResponse and ParameterStatus.
func (s *session) onAsync(typ byte) error {
	switch typ {
	case 'S':
		body, err := s.br.Body(s.srv.o.MaxText)
		if err != nil {
			return fmt.Errorf("read ParameterStatus: %w", err)
		}
		s.noteParameter(body)
		s.passLate('S', body)
		return nil
	case 'A':
		body, err := s.br.Body(s.srv.o.MaxText)
		if err != nil {
			return fmt.Errorf("read NotificationResponse: %w", err)
		}
		s.passLate('A', body)
		return nil
	case 'N':
		if o, ok := s.first(); ok && o.mode == modeOwn {
			return nil
		}
		s.urgent = true
	}
	return s.br.Forward(s.cw.w)
}

// passLate passes a message that PostgreSQL sends at the end of a cycle: behind the tag, which may be kept back.
func (s *session) passLate(typ byte, body []byte) {
	if o, ok := s.first(); ok && o.mode != modeRaw {
		s.cw.late = wire.AppendFrame(s.cw.late, typ, body)
		return
	}
	_ = s.cw.w.Frame(typ, body) // sticks
}

// onQueryAnswer handles what answers the client's own Query or FunctionCall.
func (s *session) onQueryAnswer(typ byte) error {
	switch typ {
	case 'C':
		return s.onWatchedTag()
	case 'T', 'I', 'H', 'c', 'V':
	case 'G':
		s.q.copyIn()
		s.urgent = true
	default:
		return fmt.Errorf("%w: %q in answer to a query", errProtocol, typ)
	}
	return s.br.Forward(s.cw.w)
}

func (s *session) onExecuteAnswer(o *owed, typ byte) error {
	if o.mode == modePlay {
		s.describeNow()
	}
	switch typ {
	case 'C', 'I', 's':
		if o.run == nil {
			return s.onPassingEnd(o, typ)
		}
		if typ == 'C' {
			body, err := s.br.Body(wire.MaxStartup)
			if err != nil {
				return fmt.Errorf("read a command tag: %w", err)
			}
			if o.run.tag, err = wire.Tag(body); err != nil {
				return fmt.Errorf("read a command tag: %w", err)
			}
		}
		o.run.ended = typ
		s.pop()
		return nil
	case 'G':
		s.urgent = true
		err := s.br.Forward(s.cw.w)
		s.endBurst() // the client must see it before the front goroutine reads its data
		s.q.copyIn()
		return err
	case 'H', 'c', 'W':
		return s.br.Forward(s.cw.w)
	}
	return fmt.Errorf("%w: %q in answer to Execute", errProtocol, typ)
}

func (s *session) onDescribeAnswer(o *owed, typ byte) error {
	switch typ {
	case 't':
		if o.run == nil {
			s.pass(o)
			return nil
		}
		body, err := s.br.Body(s.srv.o.MaxText)
		if err != nil {
			return fmt.Errorf("read ParameterDescription: %w", err)
		}
		o.run.types, err = wire.DecodeParameterTypes(body)
		if err != nil {
			return fmt.Errorf("read ParameterDescription: %w", err)
		}
		return nil
	case 'n':
		s.pass(o)
		s.pop()
		return nil
	case 'T':
		err := s.describeRows(o)
		s.pop()
		return err
	}
	return fmt.Errorf("%w: %q in answer to Describe", errProtocol, typ)
}

// describeRows passes a RowDescription without the column that is not the client's. Where a simple Query is played,
// NoData is swallowed and RowDescription passes.
func (s *session) describeRows(o *owed) error {
	switch {
	case o.mode == modeOwn:
		return nil
	case o.shape == shapeAsIs && !o.late:
		return s.br.Forward(s.cw.w)
	case o.shape == shapeNone:
		if o.mode == modeRaw {
			_ = s.cw.w.Empty('n') // sticks
		}
		return nil
	}
	body, err := s.br.Body(s.srv.o.MaxText)
	if err != nil {
		return fmt.Errorf("read RowDescription: %w", err)
	}
	if o.shape == shapeTrim {
		count, rest, err := wire.SplitDescription(body)
		if err != nil {
			return fmt.Errorf("read RowDescription: %w", err)
		}
		if !o.late {
			return s.cw.w.Counted('T', count, rest)
		}
		body = append(binary.BigEndian.AppendUint16(nil, uint16(count)), rest...)
	}
	s.rowDesc = wire.AppendFrame(s.rowDesc[:0], 'T', body)
	return nil
}

// describeNow sends the RowDescription that waited: the statement did not fail before its first row.
func (s *session) describeNow() {
	if len(s.rowDesc) > 0 {
		_ = s.cw.w.Write(s.rowDesc) // sticks
		s.rowDesc = s.rowDesc[:0]
	}
}

// onServerError handles an ErrorResponse.
func (s *session) onServerError() error {
	o, ok := s.first()
	body, err := s.br.Body(s.srv.o.MaxText)
	if err != nil {
		return fmt.Errorf("read ErrorResponse: %w", err)
	}
	fields, err := wire.DecodeFields(body)
	if err != nil {
		return fmt.Errorf("read ErrorResponse: %w", err)
	}
	f := &failure{fields: fields}
	if ok {
		f.kind, f.own, f.ps, f.run = o.kind, o.mode == modeOwn && !endsReady(o.kind), o.ps, o.run
	}
	if !f.own {
		s.failures.Add(1)
	}
	raw := !ok || f.fatal() || o.mode == modeRaw && o.run == nil && !(o.ps != nil && o.ps.plan != nil && o.kind == 'P')
	if raw {
		if f.fatal() && s.untoldFailure != nil && s.untoldFailure.delivered.CompareAndSwap(false, true) {
			_ = s.cw.w.Fields('E', clientError(s.untoldFailure, "ERROR")) // what came first is told first
		}
		_ = s.cw.w.Frame('E', body) // sticks
		f.delivered.Store(true)
		s.urgent = true
	}
	s.untoldFailure = nil
	if !raw && !f.own {
		s.untoldFailure = f
	}
	s.headOK = false
	s.rowDesc = s.rowDesc[:0]
	s.endBurst()
	failed := *o
	if ok && endsReady(failed.kind) {
		s.watchedDone(failed.watch, "", f)
	}
	for _, w := range s.q.fail(f, !raw) {
		if w.owns(&failed) {
			s.watchedDone(w, "", f)
		}
		s.report(w)
	}
	return nil
}

// onReady handles ReadyForQuery.
func (s *session) onReady() error {
	o, ok := s.first()
	if !ok || !endsReady(o.kind) {
		return fmt.Errorf("%w: ReadyForQuery while none is owed", errProtocol)
	}
	body, err := s.br.Body(1)
	if err != nil || len(body) != 1 {
		return fmt.Errorf("%w: ReadyForQuery: %v", errProtocol, err)
	}
	status := body[0]
	if o.mode == modeRaw {
		_ = s.cw.w.Frame('Z', body) // sticks
		if s.ending.Load() && status == 'I' {
			s.askToEnd()
		}
	}
	s.report(o.watch)
	s.headOK, s.untoldFailure = false, nil
	s.q.idle(status)
	return nil
}
