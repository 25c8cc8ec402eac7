package pgtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// How long a conversation waits.
const (
	answerLimit = 15 * time.Second       // for a frame that must come
	silenceTime = 150 * time.Millisecond // for frames that must not
)

// Run holds the conversation with the server at addr, in a database, and gives the transcript: what was received, with the
// lines that asked for it. An error is one of the conversation itself; what a server does wrong stands in the transcript.
func (c *Conversation) Run(addr, database string) (string, error) {
	r := &runner{addr: addr, database: database, conns: map[string]*talk{}}
	defer func() {
		for _, t := range r.conns {
			_ = t.net.Close()
		}
	}()
	for _, step := range c.Steps {
		if step.Verb != "conn" && step.Verb != "raw" && step.Verb != "#" && r.now == nil {
			if err := r.open(Step{step.Line, "conn", []string{"main"}}); err != nil {
				return r.out.String(), err
			}
		}
		if err := r.step(step); err != nil {
			return r.out.String(), fmt.Errorf("%s:%d: %s: %w", c.Name, step.Line, step.Verb, err)
		}
	}
	text := r.out.String()
	for _, m := range c.Masks {
		text = m.Pattern.ReplaceAllString(text, m.Text)
	}
	return text, nil
}

type runner struct {
	addr, database string
	conns          map[string]*talk
	now            *talk
	out            strings.Builder
}

// talk is one connection.
type talk struct {
	net   net.Conn
	in    *pgproto3.Frontend
	queue []byte // to be sent
	key   *pgproto3.BackendKeyData
}

func (r *runner) step(s Step) error {
	switch s.Verb {
	case "#":
		fmt.Fprintln(&r.out, s.Words[0])
		return nil
	case "conn", "raw":
		fmt.Fprintf(&r.out, "-- %s %s\n", s.Verb, s.Words[0])
		return r.open(s)
	case "until":
		return r.until(s.Words)
	case "silence":
		return r.silence()
	case "end":
		return r.end()
	case "cancel":
		return r.cancel(s.Words[0])
	case "drop":
		return r.now.net.Close()
	}
	fmt.Fprintf(&r.out, "-> %s %s\n", s.Verb, shorten([]byte(strings.Join(s.Words, " "))))
	b, err := s.encode()
	r.now.queue = append(r.now.queue, b...)
	return err
}

// open makes a connection, or goes back to one.
func (r *runner) open(s Step) error {
	name := s.Words[0]
	if t := r.conns[name]; t != nil {
		r.now = t
		return nil
	}
	c, err := net.DialTimeout("tcp", r.addr, answerLimit)
	if err != nil {
		return err
	}
	r.now = &talk{net: c, in: pgproto3.NewFrontend(c, c)}
	r.conns[name] = r.now
	if s.Verb == "raw" {
		return nil
	}
	params := map[string]string{"user": "postgres", "database": r.database}
	for _, w := range s.Words[1:] {
		k, v, _ := strings.Cut(w, "=")
		params[k] = v
	}
	if r.now.queue, err = (&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: params}).Encode(nil); err != nil {
		return err
	}
	return r.until([]string{"Z"})
}

func (r *runner) send() error {
	b := r.now.queue
	r.now.queue = nil
	if len(b) == 0 {
		return nil
	}
	_ = r.now.net.SetWriteDeadline(time.Now().Add(answerLimit))
	if _, err := r.now.net.Write(b); err != nil {
		fmt.Fprintf(&r.out, "<- the connection takes nothing more\n")
	}
	return nil
}

// until receives up to a frame of each type.
func (r *runner) until(types []string) error {
	if err := r.send(); err != nil {
		return err
	}
	for len(types) > 0 {
		typ, err := r.receive(answerLimit)
		if err != nil {
			fmt.Fprintf(&r.out, "<- waiting for %v: %s\n", types, problem(err))
			return nil
		}
		if typ == types[0][0] {
			types = types[1:]
		}
	}
	return nil
}

func (r *runner) receive(limit time.Duration) (typ byte, err error) {
	_ = r.now.net.SetReadDeadline(time.Now().Add(limit))
	m, err := r.now.in.Receive()
	if err != nil {
		return 0, err
	}
	if k, ok := m.(*pgproto3.BackendKeyData); ok {
		r.now.key = &pgproto3.BackendKeyData{ProcessID: k.ProcessID, SecretKey: append([]byte(nil), k.SecretKey...)}
	}
	text, typ := show(m)
	fmt.Fprintf(&r.out, "<- %s\n", text)
	return typ, nil
}

func problem(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "nothing came"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), strings.Contains(err.Error(), "reset by peer"):
		return "the connection ended"
	}
	return err.Error()
}

func (r *runner) silence() error {
	if err := r.send(); err != nil {
		return err
	}
	if _, err := r.receive(silenceTime); err == nil {
		fmt.Fprintf(&r.out, "<- (this came instead of silence)\n")
	} else if p := problem(err); p != "nothing came" {
		fmt.Fprintf(&r.out, "<- instead of silence: %s\n", p)
	}
	return nil
}

func (r *runner) end() error {
	if err := r.send(); err != nil {
		return err
	}
	for {
		if _, err := r.receive(answerLimit); err != nil {
			fmt.Fprintf(&r.out, "<- %s\n", problem(err))
			return nil
		}
	}
}

// cancel sends a cancel request for a connection and waits until the server has taken it.
func (r *runner) cancel(name string) error {
	t := r.conns[name]
	if t == nil || t.key == nil {
		return fmt.Errorf("connection %s has no key", name)
	}
	c, err := net.DialTimeout("tcp", r.addr, answerLimit)
	if err != nil {
		return err
	}
	defer c.Close()
	b := binary.BigEndian.AppendUint32(nil, uint32(12+len(t.key.SecretKey)))
	b = binary.BigEndian.AppendUint32(b, 80877102)
	b = binary.BigEndian.AppendUint32(b, t.key.ProcessID)
	if _, err := c.Write(append(b, t.key.SecretKey...)); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(answerLimit))
	_, _ = c.Read(make([]byte, 1))
	return nil
}
