package proxy

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"pgproxy/parser"
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
		if s.skipping {
			return s.cr.Skip()
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
	if s.segment && st.ready == 0 {
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
		if f != nil && !f.delivered {
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
	if errors.As(err, &f) && f.delivered {
		return
	}
	s.cw.write(true, func(w *wire.Writer) { _ = w.Fields('E', clientError(err, "ERROR")) })
}

// parse reads a text. One that cannot be read as UTF-8, or not with this session's string syntax, is Unread.
func (s *session) parse(text string) *parser.Script {
	reason := s.unreadable(text)
	switch {
	case reason == nil:
		return s.srv.o.Parser.Parse(text)
	case errors.Is(reason, errEncoding) && singleByte(*s.encoding.Load()) && s.conforming.Load():
		return s.parseMasked(text)
	}
	return &parser.Script{Text: text, Unread: reason}
}

// parseMasked takes a text of another encoding apart, in which each character is one byte: with a letter in the place of
// each byte beyond ASCII, statements begin and end where they do. One with such bytes is handled by its effect.
func (s *session) parseMasked(text string) *parser.Script {
	masked := []byte(text)
	for i, b := range masked {
		if b >= 0x80 {
			masked[i] = 'x'
		}
	}
	script := s.srv.o.Parser.Parse(string(masked))
	if script.Unread != nil {
		return &parser.Script{Text: text, Unread: script.Unread}
	}
	apart := &parser.Script{Text: text, Statements: slices.Clone(script.Statements)}
	for i, st := range apart.Statements {
		own := text[st.Offset : st.Offset+len(st.Text)]
		if own != st.Text && st.Class != parser.ClassTransaction {
			apart.Statements[i] = unread(own)
			apart.Statements[i].Offset = st.Offset
		}
	}
	return apart
}

// singleByte reports whether an encoding's characters are one byte each, with ASCII as itself.
func singleByte(encoding string) bool {
	for _, p := range []string{"LATIN", "WIN", "ISO_8859", "KOI8"} {
		if strings.HasPrefix(encoding, p) {
			return true
		}
	}
	return false
}

var (
	errEncoding = errors.New("client_encoding is not UTF8")
	errStrings  = errors.New("standard_conforming_strings is off")
)

// unreadable says why the parser would misread a text.
func (s *session) unreadable(text string) error {
	enc := *s.encoding.Load()
	other := enc != "UTF8" && enc != "SQL_ASCII"
	if !other && s.conforming.Load() {
		return nil
	}
	for i := range len(text) {
		if other && text[i] >= 0x80 {
			return errEncoding
		}
		if text[i] == '\\' && !s.conforming.Load() {
			return errStrings
		}
	}
	return nil
}

// applicationName gives application_name as the client has set it by now.
func (s *session) applicationName() string {
	if name := s.appName.Load(); name != nil {
		return *name
	}
	return s.application
}
