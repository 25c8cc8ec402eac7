package proxy

import (
	"errors"
	"fmt"

	"pgproxy/parser"
	"pgproxy/proxy/capture"
	"pgproxy/proxy/wire"
)

// Inside, texts are UTF-8; on the wire they are in the session's client_encoding. A text that cannot be turned without loss stays
// as it came, unread, and is handled by its effect.

// errUnsettled: the server tells a setting's new value only at Sync.
var errUnsettled = errors.New("how texts are written was changed in the same segment")

// parse reads a text of the client's, which the script holds as UTF-8. One that cannot be read is Unread.
func (s *session) parse(text string) *parser.Script {
	if s.rewritten && !s.segment {
		_ = s.settle() // an error meets the next message as well
		s.rewritten = false
	}
	ascii, escapes := isPlain(text)
	if s.rewritten && !(ascii && escapes) {
		return &parser.Script{Text: text, Unread: errUnsettled}
	}
	if !ascii && s.foreign() {
		own, err := capture.Decode(*s.encoding.Load(), text)
		if err != nil {
			return &parser.Script{Text: text, Unread: err}
		}
		text = own
	}
	if escapes || s.conforming.Load() {
		return s.srv.o.Parser.Parse(text)
	}
	return s.srv.o.Parser.ParseEscaped(text)
}

// isPlain reports whether a text is ASCII, and whether it has no backslash.
func isPlain(text string) (ascii, noEscape bool) {
	ascii, noEscape = true, true
	for i := range len(text) {
		ascii = ascii && text[i] < 0x80
		noEscape = noEscape && text[i] != '\\'
	}
	return ascii, noEscape
}

// foreign reports whether client_encoding is neither UTF-8 nor unknown bytes.
func (s *session) foreign() bool {
	enc := *s.encoding.Load()
	return enc != "UTF8" && enc != "SQL_ASCII"
}

// encode gives a UTF-8 text as it goes to the server.
func (s *session) encode(text string) (string, error) {
	if !s.foreign() {
		return text, nil
	}
	if ascii, _ := isPlain(text); ascii {
		return text, nil
	}
	return capture.Encode(*s.encoding.Load(), text)
}

// sendParse sends Parse with a text of ours or one that parse has read. One that client_encoding cannot hold was found out
// before it was planned; if the encoding has changed since, the server says what it thinks of it.
func (s *session) sendParse(p wire.Parse) error {
	if text, err := s.encode(p.Text); err == nil {
		p.Text = text
	}
	return s.bw.Parse(p)
}

// fits says why a text cannot go to the server.
func (s *session) fits(text string) error {
	if _, err := s.encode(text); err != nil {
		return fmt.Errorf("names in the text: %w", err)
	}
	return nil
}

// decodeParam gives a parameter in text form as UTF-8, if it can be had.
func (s *session) decodeParam(v []byte) []byte {
	if v == nil || !s.foreign() {
		return v
	}
	if text, err := capture.Decode(*s.encoding.Load(), string(v)); err == nil {
		return []byte(text)
	}
	return v
}

// noteWriting notes that a statement changed how texts are written.
func (s *session) noteWriting(st *parser.Statement) {
	switch st.Setting {
	case "client_encoding", "standard_conforming_strings", "all":
		s.rewritten = true
	}
	if st.Command == "DISCARD ALL" || st.DropsPrepared && st.AltersSession {
		s.rewritten = true
	}
}
