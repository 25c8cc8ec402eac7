package faultnet

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"
)

// Frame is one PostgreSQL message, as far as a rule can see it.
type Frame struct {
	Type byte   // 0 for the untyped first messages of a client
	Body []byte // without type and length; at most the first 64 KiB
}

// Rule strikes at a frame. Arm it at a relay that was made with frames.
type Rule struct {
	Direction Direction
	Match     func(Frame) bool
	Skip      int  // matching frames to let pass before it strikes
	After     int  // bytes of the frame, type byte and length included, that still go through
	Hold      bool // leave the connection open and silent, instead of closing it
	fired     chan struct{}
	struck    bool
}

// Query matches a simple query, or a Parse, whose text begins with one of the given words, in any case.
func Query(words ...string) func(Frame) bool {
	return func(f Frame) bool {
		text := f.Body
		switch f.Type {
		case 'Q':
		case 'P':
			i := bytes.IndexByte(text, 0)
			text = text[i+1:]
		default:
			return false
		}
		for _, w := range words {
			if len(text) >= len(w) && bytes.EqualFold(text[:len(w)], []byte(w)) {
				return true
			}
		}
		return false
	}
}

// Type matches frames by their type byte.
func Type(t byte) func(Frame) bool { return func(f Frame) bool { return f.Type == t } }

// Tag matches a CommandComplete with the given beginning.
func Tag(tag string) func(Frame) bool {
	return func(f Frame) bool { return f.Type == 'C' && bytes.HasPrefix(f.Body, []byte(tag)) }
}

// Arm puts a rule in place; it strikes once. The channel is closed when it has.
func (r *Relay) Arm(rule Rule) <-chan struct{} {
	rule.fired = make(chan struct{})
	r.change(func() { r.rules = append(r.rules, &rule) })
	return rule.fired
}

// strike gives the rule that strikes at this frame, if any.
func (r *Relay) strike(d Direction, f Frame) *Rule {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rule := range r.rules {
		if rule.struck || rule.Direction&d == 0 || !rule.Match(f) {
			continue
		}
		if rule.Skip > 0 {
			rule.Skip--
			continue
		}
		rule.struck = true
		return rule
	}
	return nil
}

// scanner cuts a stream into frames; a stream that it cannot read goes on raw.
type scanner struct {
	startup bool // the next message has no type byte
	server  bool // this is the server's direction
	raw     bool
	rest    int       // bytes of a large frame that are still to come
	asked   *greeting // what both directions of a connection know
}

// greeting counts the client's requests for encryption: each is answered with a single byte, which is no frame.
type greeting struct{ open atomic.Int32 }

// The codes of the untyped messages after which the connection is not a plain stream of frames.
const (
	codeCancel = 80877102
	codeTLS    = 80877103
	codeGSS    = 80877104
)

var errFrame = errors.New("not a frame")

// next gives the next piece of the stream, and the frame that it is the beginning of. The bytes are the caller's.
func (s *scanner) next(in *bufio.Reader) ([]byte, *Frame, error) {
	if s.raw || s.rest > 0 {
		return s.pass(in)
	}
	head := 5
	if s.startup {
		head = 8
	}
	if s.server {
		// The server speaks when it is spoken to: once its first byte is here, the request before it has been counted.
		if _, err := in.Peek(1); err == nil && s.asked.open.Load() > 0 {
			return s.answer(in)
		}
	}
	h, err := in.Peek(head)
	if err != nil {
		b := make([]byte, in.Buffered())
		_, _ = io.ReadFull(in, b)
		return b, nil, err
	}
	if s.startup && encryption(h) {
		s.asked.open.Add(1)
		b := make([]byte, head)
		_, err := io.ReadFull(in, b)
		return b, nil, err
	}
	f, size, err := s.header(h)
	if err != nil {
		s.raw = true
		return s.pass(in)
	}
	b := make([]byte, min(size, chunkBytes))
	n, err := io.ReadFull(in, b)
	s.rest = size - len(b)
	if err != nil {
		return b[:n], nil, err
	}
	f.Body = b[len(h):]
	return b, &f, nil
}

// encryption reports whether an untyped message asks for TLS or GSS.
func encryption(h []byte) bool {
	code := binary.BigEndian.Uint32(h[4:])
	return binary.BigEndian.Uint32(h) == 8 && (code == codeTLS || code == codeGSS)
}

// answer passes the single byte that answers a request for encryption; if that is granted, nothing can be read any more.
func (s *scanner) answer(in *bufio.Reader) ([]byte, *Frame, error) {
	b := make([]byte, 1)
	_, err := io.ReadFull(in, b)
	s.asked.open.Add(-1)
	s.raw = b[0] != 'N'
	return b, nil, err
}

func (s *scanner) header(h []byte) (f Frame, size int, err error) {
	if !s.startup {
		size = int(binary.BigEndian.Uint32(h[1:])) + 1
		if size < 5 || h[0] == 0 {
			return f, 0, errFrame
		}
		return Frame{Type: h[0]}, size, nil
	}
	size = int(binary.BigEndian.Uint32(h))
	switch binary.BigEndian.Uint32(h[4:]) {
	case codeCancel:
		return f, 0, errFrame
	}
	if size < 8 {
		return f, 0, errFrame
	}
	s.startup = false
	return f, size, nil
}

// pass gives what has arrived, unlooked at.
func (s *scanner) pass(in *bufio.Reader) ([]byte, *Frame, error) {
	if _, err := in.Peek(1); err != nil {
		return nil, nil, err
	}
	n := in.Buffered()
	if s.rest > 0 {
		n = min(n, s.rest)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(in, b)
	if s.rest > 0 {
		s.rest -= n
	}
	return b, nil, err
}
