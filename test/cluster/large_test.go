package cluster

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"pgproxy/test/harness"
)

// largest is the resident memory in bytes that the proxy may have reached once everything has passed through.
const largest = 256 << 20

// TestLargePasses: what only passes through costs no memory: a huge value, many rows, a huge parameter, many statements.
func TestLargePasses(t *testing.T) {
	if os.Getenv("PGPROXY_LARGE") == "" {
		t.Skip("long: make large")
	}
	pg := harness.Postgres(t)
	p := harness.NewProxy(t, harness.ProxyOptions{Upstream: pg, NoPeers: true})
	connect := func() *pgconn.PgConn {
		c, err := pgconn.Connect(t.Context(), p.DSN("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, step := range []struct {
		name string
		do   func(c *pgconn.PgConn) error
	}{
		{"a value of a gigabyte", func(c *pgconn.PgConn) error {
			_, err := c.CopyTo(t.Context(), io.Discard, "COPY (SELECT repeat('x', 1000000000)) TO STDOUT")
			return err
		}},
		{"a million rows", func(c *pgconn.PgConn) error {
			_, err := c.CopyTo(t.Context(), io.Discard, "COPY (SELECT generate_series(1, 1000000), repeat('x', 100)) TO STDOUT")
			return err
		}},
		{"five million rows to a slow client", func(c *pgconn.PgConn) error {
			c.Frontend().SendQuery(&pgproto3.Query{String: "SELECT g, repeat('x', 100) FROM generate_series(1, 5000000) g"})
			if err := c.Frontend().Flush(); err != nil {
				return err
			}
			harness.WaitFor(t, time.Minute, "the database to wait for the client", func() (bool, string) {
				n := harness.Query(t, pg.DSN("postgres"), "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite'")[0]
				return n == "1", n + " sessions wait to write"
			})
			for {
				m, err := c.Frontend().Receive()
				if _, ready := m.(*pgproto3.ReadyForQuery); ready || err != nil {
					return err
				}
			}
		}},
		{"a parameter of 300 MB in a read", func(c *pgconn.PgConn) error {
			return c.ExecParams(t.Context(), "SELECT length($1::text)", [][]byte{bytes.Repeat([]byte("x"), 300<<20)}, nil, nil, nil).Read().Err
		}},
		{"100,000 statements in one string", func(c *pgconn.PgConn) error {
			r := c.Exec(t.Context(), strings.Repeat("SELECT 1;", 100_000))
			return r.Close()
		}},
	} {
		c := connect()
		err := step.do(c)
		_ = c.Close(t.Context())
		now, peak := memory(t, p.Process().PID())
		t.Logf("%-34s resident %d MB, at most so far %d MB", step.name, now>>20, peak>>20)
		if err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if peak > largest {
			t.Errorf("%s: the proxy took %d MB", step.name, peak>>20)
		}
	}
}

// memory gives a process's resident memory, and the most it has had, in bytes.
func memory(t *testing.T, pid int) (now, peak int64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			now = n << 10
		case "VmHWM:":
			peak = n << 10
		}
	}
	return now, peak
}
