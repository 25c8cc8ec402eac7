package proxy_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgproxy/proxy/wire"
)

// peer is a client made of raw frames.
type peer struct {
	t   testing.TB
	c   net.Conn
	r   *wire.Reader
	w   *wire.Writer
	key []byte
	log []string
}

// dialPeer logs in as postgres.
func dialPeer(t testing.TB, network, addr, database string, params ...string) *peer {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	p := &peer{t: t, c: c, r: wire.NewReader(c), w: wire.NewWriter(c)}
	b := binary.BigEndian.AppendUint32(nil, 3<<16)
	for _, s := range append([]string{"user", "postgres", "database", database}, params...) {
		b = append(append(b, s...), 0)
	}
	b = append(b, 0)
	if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b)+4)), b...)); err != nil {
		t.Fatalf("startup: %v", err)
	}
	p.until('Z')
	p.log = nil
	return p
}

func (p *peer) close() { _ = p.c.Close() }

// until reads frames up to one of type typ.
func (p *peer) until(typ byte) {
	p.t.Helper()
	for {
		got, ok := p.read(10 * time.Second)
		if !ok {
			p.log = append(p.log, "(no more)")
			return
		}
		if got == typ {
			return
		}
	}
}

// read takes one frame into the log.
func (p *peer) read(wait time.Duration) (byte, bool) {
	_ = p.c.SetReadDeadline(time.Now().Add(wait))
	typ, _, err := p.r.Next()
	if err != nil {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			p.log = append(p.log, "(closed)")
		}
		return 0, false
	}
	body, err := p.r.Body(1 << 30)
	if err != nil {
		p.t.Fatalf("read %c: %v", typ, err)
	}
	if typ == 'K' {
		p.key = append([]byte(nil), body...)
	}
	p.log = append(p.log, show(typ, body))
	return typ, true
}

// show makes a frame comparable between two databases.
func show(typ byte, body []byte) string {
	switch typ {
	case 'E', 'N':
		f, err := wire.DecodeFields(body)
		if err != nil {
			return fmt.Sprintf("%c malformed", typ)
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%c", typ)
		for _, x := range f {
			switch x.Code {
			case 'F', 'L', 'R', 'W':
			default:
				fmt.Fprintf(&b, " %c=%q", x.Code, x.Value)
			}
		}
		return b.String()
	case 'T':
		return "T " + describeRow(body)
	case 'A':
		return fmt.Sprintf("A %q", body[4:])
	case 'D':
		cols, err := wire.Columns(body)
		if err != nil {
			return "D malformed"
		}
		var b strings.Builder
		b.WriteByte('D')
		for _, c := range cols {
			if c == nil {
				b.WriteString(" NULL")
			} else if len(c) > 200 {
				fmt.Fprintf(&b, " (%d bytes)", len(c))
			} else {
				fmt.Fprintf(&b, " %q", c)
			}
		}
		return b.String()
	}
	return fmt.Sprintf("%c %q", typ, body)
}

func describeRow(body []byte) string {
	n := int(binary.BigEndian.Uint16(body))
	b := body[2:]
	var out []string
	for range n {
		i := strings.IndexByte(string(b), 0)
		name := string(b[:i])
		b = b[i+1:]
		table := binary.BigEndian.Uint32(b) != 0
		out = append(out, fmt.Sprintf("%s table=%v attr=%d type=%d format=%d", name, table,
			binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint32(b[6:]), binary.BigEndian.Uint16(b[16:])))
		b = b[18:]
	}
	return strings.Join(out, ", ")
}

// do runs one line of a conversation:
//
//	Q text | P name text [type..] | B portal statement [value..] | B2 ..(binary results) | D S name | D P name |
//	E portal rows | C S name | H | S | d data | c | f reason | wait Z | idle
func (p *peer) do(line string) {
	p.t.Helper()
	f := fields(line)
	switch f[0] {
	case "wait":
		_ = p.w.Flush()
		p.until(f[1][0])
	case "idle": // what comes without being asked for
		_ = p.w.Flush()
		for {
			if _, ok := p.read(300 * time.Millisecond); !ok {
				return
			}
		}
	case "Q":
		_ = p.w.Start('Q').String(f[1]).End()
	case "P":
		m := wire.Parse{Name: f[1], Text: f[2]}
		for _, s := range f[3:] {
			n, _ := strconv.Atoi(s)
			m.Types = append(m.Types, uint32(n))
		}
		_ = p.w.Parse(m)
	case "B", "B2", "B22":
		m := wire.Bind{Portal: f[1], Statement: f[2]}
		for _, s := range f[3:] {
			if s == "NULL" {
				m.Params = append(m.Params, nil)
			} else {
				m.Params = append(m.Params, []byte(s))
			}
		}
		if f[0] == "B2" {
			m.Results = []int16{1}
		}
		if f[0] == "B22" {
			m.Results = []int16{1, 0}
		}
		_ = p.w.Bind(m)
	case "D", "C":
		_ = p.w.Target(f[0][0], f[1][0], f[2])
	case "E":
		n, _ := strconv.Atoi(f[2])
		_ = p.w.Execute(f[1], int32(n))
	case "d":
		_ = p.w.Frame('d', []byte(f[1]))
	case "f":
		_ = p.w.Start('f').String(f[1]).End()
	case "raw":
		_, _ = p.c.Write([]byte(f[1]))
	case "type":
		_ = p.w.Frame(f[1][0], []byte(f[2]))
	default:
		_ = p.w.Empty(f[0][0])
	}
}

// fields splits a line at spaces; quoted parts are Go strings.
func fields(line string) []string {
	var out []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] == '"' || line[0] == '`' {
			q, err := strconv.QuotedPrefix(line)
			if err != nil {
				panic(line)
			}
			s, _ := strconv.Unquote(q)
			out = append(out, s)
			line = line[len(q):]
			continue
		}
		w, rest, _ := strings.Cut(line, " ")
		out = append(out, w)
		line = rest
	}
	return out
}
