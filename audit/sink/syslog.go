package sink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pgproxy/audit"
)

// Syslog sends entries as RFC 5424 messages whose text is the native form. At least once: the position is kept in State, and moved
// after sending.
type Syslog struct {
	Network string // unix, unixgram, udp, tcp
	Address string
	Host    string // HOSTNAME of the messages
	State   string // file
	// Dial opens a connection; nil is net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	conn net.Conn
}

const (
	// facility 13 is "log audit"; severity 6 informational, 4 warning.
	facility, informational, warning = 13, 6, 4
	// datagramBytes is the largest message sent as a datagram; what is larger is replaced by its size and hash, and said to be.
	datagramBytes = 60 << 10
	sendTimeout   = 30 * time.Second
)

// ParseSyslog reads unix:///dev/log, udp://host:514 or tcp://host:601. The ports are those by default.
func ParseSyslog(s string) (network, address string, err error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", "", err
	}
	switch {
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		return "unix", u.Path, nil
	case u.Scheme == "udp" && u.Hostname() != "" && u.Path == "":
		return "udp", net.JoinHostPort(u.Hostname(), orPort(u, "514")), nil
	case u.Scheme == "tcp" && u.Hostname() != "" && u.Path == "":
		return "tcp", net.JoinHostPort(u.Hostname(), orPort(u, "601")), nil
	}
	return "", "", fmt.Errorf("%q is none of unix:///path, udp://host:port, tcp://host:port", s)
}

func orPort(u *url.URL, port string) string {
	if p := u.Port(); p != "" {
		return p
	}
	return port
}

// Name implements Output.
func (s *Syslog) Name() string { return "syslog " + s.Network + " " + s.Address }

// Resume implements Output.
func (s *Syslog) Resume(ctx context.Context) (uint64, error) {
	if err := s.Close(); err != nil {
		return 0, err
	}
	position := uint64(0)
	b, err := os.ReadFile(s.State)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, err
	default:
		if position, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err != nil {
			return 0, fmt.Errorf("%s does not hold a position: %w", s.State, err)
		}
	}
	return position, s.open(ctx)
}

func (s *Syslog) open(ctx context.Context) (err error) {
	dial := s.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: sendTimeout}).DialContext
	}
	if s.conn, err = dial(ctx, s.Network, s.Address); err == nil || s.Network != "unix" {
		return err
	}
	// Most local servers take datagrams, some streams.
	s.conn, err = dial(ctx, "unixgram", s.Address)
	return err
}

// Put implements Output.
func (s *Syslog) Put(ctx context.Context, entries []audit.Transaction) error {
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) }) // a server that takes nothing holds nobody up
	defer stop()
	for i := range entries {
		m, err := message(s.Host, &entries[i])
		if err != nil {
			return err
		}
		if err := s.send(&entries[i], m); err != nil {
			return err
		}
	}
	return s.keep(entries[len(entries)-1].Position)
}

func (s *Syslog) send(t *audit.Transaction, m []byte) error {
	switch s.conn.RemoteAddr().Network() {
	case "tcp", "unix": // octet counting, RFC 6587: a message may hold anything
		m = append(append(strconv.AppendInt(nil, int64(len(m)), 10), ' '), m...)
	default:
		if len(m) > datagramBytes {
			m = cut(s.Host, t, m)
		}
	}
	_, err := s.conn.Write(m)
	return err
}

// message makes the RFC 5424 message of an entry.
func message(host string, t *audit.Transaction) ([]byte, error) {
	var text bytes.Buffer
	w, err := audit.NewExport(&text, "jsonl")
	if err != nil {
		return nil, err
	}
	if err := w.Write(t); err != nil {
		return nil, err
	}
	return append(header(host, t), bytes.TrimRight(text.Bytes(), "\n")...), nil
}

// cut replaces what does not fit into a datagram.
func cut(host string, t *audit.Transaction, whole []byte) []byte {
	sum := sha256.Sum256(whole[len(header(host, t)):])
	body, _ := json.Marshal(map[string]any{"position": t.Position, "record": t.ID(), "truncated": len(whole), "sha256": hex.EncodeToString(sum[:])})
	return append(header(host, t), body...)
}

func header(host string, t *audit.Transaction) []byte {
	severity := informational
	if t.Outcome == "aborted" || t.Kind == "auth_fail" || t.Kind == "gap" {
		severity = warning
	}
	var sd strings.Builder
	sd.WriteString("[pgproxy@32473")
	for _, p := range [][2]string{{"node", t.Origin}, {"record", t.ID()}, {"position", strconv.FormatUint(t.Position, 10)}, {"user", t.User}, {"db", t.Database},
		{"client", t.Client}, {"outcome", t.Outcome}, {"session", t.SessionID}} {
		if p[1] != "" {
			fmt.Fprintf(&sd, ` %s="%s"`, p[0], parameter(p[1]))
		}
	}
	sd.WriteByte(']')
	return fmt.Appendf(nil, "<%d>1 %s %s pgproxy - %s %s \ufeff", facility*8+severity, t.Time.UTC().Format("2006-01-02T15:04:05.000000Z07:00"), word(host), word(t.Kind), sd.String())
}

// parameter escapes a parameter of the structured data; what is no plain text is shown.
func parameter(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`).Replace(audit.Cell(s))
}

// word is s as a field of the header: printable ASCII, "-" for nothing.
func word(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	const most = 32
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}

// keep moves the position.
func (s *Syslog) keep(position uint64) error {
	temp := s.State + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, position)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, s.State); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(s.State))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Close implements Output.
func (s *Syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	c := s.conn
	s.conn = nil
	return c.Close()
}
