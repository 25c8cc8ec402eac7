package cluster

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgproxy/test/harness"
)

// web starts something that listens and is no PostgreSQL, and gives its port.
func web(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

// TestHostileClients: what a client can send that is no protocol. Its connection ends, soon, and nobody else's does; the
// process does not grow by what was only announced.
func TestHostileClients(t *testing.T) {
	p := harness.NewProxy(t, harness.ProxyOptions{Upstream: harness.Postgres(t)})
	before := residentBytes(t, p.Process().PID())
	bystander := p.Connect(t, "postgres")
	size := func(n uint32, rest ...byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), rest...) }
	startup := append(size(8+len32("user\x00postgres\x00\x00")), append([]byte{0, 3, 0, 0}, "user\x00postgres\x00\x00"...)...)
	flood := append([]byte{0, 3, 0, 0}, bytes.Repeat([]byte("k\x00v\x00"), 2400)...)
	for name, first := range map[string][]byte{
		"random":              {0x12, 0x99, 0xfe, 0x01, 0x77, 0x13, 0x55, 0x21, 0x00, 0xff},
		"http":                []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"ssh":                 []byte("SSH-2.0-OpenSSH_9.2\r\n"),
		"tls hello":           {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03},
		"length 0":            size(0, 0, 3, 0, 0),
		"length 7":            size(7, 0, 3, 0),
		"length 2^31":         size(1<<31, 0, 3, 0, 0),
		"length -1":           size(1<<32-1, 0, 3, 0, 0),
		"startup of 1 GiB":    size(1<<30, 0, 3, 0, 0),
		"no user":             size(9, 0, 3, 0, 0, 0),
		"parameter flood":     append(size(uint32(4+len(flood)+1)), append(flood, 0)...),
		"protocol 9":          size(8, 0, 9, 0, 0),
		"query before login":  append([]byte{'Q'}, size(13, []byte("SELECT 1\x00")...)...),
		"negative query":      append(bytes.Clone(startup), 'Q', 0xff, 0xff, 0xff, 0xff),
		"short length":        append(bytes.Clone(startup), 'Q', 0, 0, 0, 1),
		"unknown frame":       append(bytes.Clone(startup), 0x7f, 0, 0, 0, 4),
		"query of 2 GiB":      append(bytes.Clone(startup), append([]byte{'Q'}, size(1<<31-1)...)...),
		"parse of 1.5 GiB":    append(bytes.Clone(startup), append([]byte{'P'}, size(3<<29)...)...),
		"bind with counts":    append(bytes.Clone(startup), append([]byte{'B'}, size(12, 0, 0, 0, 0, 0xff, 0xff, 0, 0)...)...),
		"text without end":    append(bytes.Clone(startup), append([]byte{'Q'}, size(12, []byte("SELECT 1")...)...)...),
		"second startup":      append(bytes.Clone(startup), startup...),
		"bytes after SSL":     append(size(8, 4, 210, 22, 47), startup...),
		"stray cancel":        size(16, 4, 210, 22, 46, 1, 2, 3, 4, 5, 6, 7, 8),
		"copy data out of it": append(bytes.Clone(startup), append([]byte{'d'}, size(8, 1, 2, 3, 4)...)...),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", harness.Local(p.Port))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write(first); err != nil {
				t.Logf("write: %v", err)
			}
			// What ends its side must be let go; what still waits for bytes may be waited for.
			_ = c.(*net.TCPConn).CloseWrite()
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
			if answer, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("the connection is still open: %v, after %q", err, answer)
			}
			if _, err := bystander.Exec(t.Context(), "SELECT 1"); err != nil {
				t.Fatalf("another client suffers: %v", err)
			}
		})
	}
	if after := residentBytes(t, p.Process().PID()); after > before+200<<20 {
		t.Errorf("the process grew from %d to %d MiB", before>>20, after>>20)
	}
	if s, err := p.Status(); err != nil || !s.Ready {
		t.Errorf("status: %+v, %v", s, err)
	}
}

func len32(s string) uint32 { return uint32(len(s)) }

// residentBytes is the memory of a process.
func residentBytes(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
