package proxy_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"pgproxy/test/harness"
)

// countedConn counts what is written, each time being one flight to the server.
type countedConn struct {
	net.Conn
	flights *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	c.flights.Add(1)
	return c.Conn.Write(b)
}

// TestFlights: how often the server is asked for each kind of client's message. A read costs what it costs directly, a
// write inside a block too; a write of its own waits once more, for the journal.
func TestFlights(t *testing.T) {
	for _, major := range harness.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			pg := harness.Postgres(t, harness.Major(major))
			exec(t, pg, "postgres", "CREATE TABLE f (id int PRIMARY KEY, v int); INSERT INTO f VALUES (1, 0)")
			var flights atomic.Int64
			r := newRig(t, pg, func(r *rig) {
				dial := r.options.Dial
				r.options.Dial = func(ctx context.Context) (net.Conn, *tls.Config, error) {
					c, config, err := dial(ctx)
					return countedConn{c, &flights}, config, err
				}
			})
			c := r.client("postgres").PgConn()
			ctx := context.Background()
			for name, text := range map[string]string{"read": "SELECT v FROM f WHERE id = $1", "write": "UPDATE f SET v = v + 1 WHERE id = $1",
				"begin": "BEGIN", "commit": "COMMIT"} {
				if _, err := c.Prepare(ctx, name, text, nil); err != nil {
					t.Fatal(err)
				}
			}
			prepared := func(name string, args ...[]byte) {
				t.Helper()
				if res := c.ExecPrepared(ctx, name, args, nil, nil).Read(); res.Err != nil {
					t.Fatalf("%s: %v", name, res.Err)
				}
			}
			simple := func(sql string) {
				t.Helper()
				if _, err := c.Exec(ctx, sql).ReadAll(); err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
			}
			one := []byte("1")
			for round := range 2 { // in the first one the catalog is read
				for _, step := range []struct {
					name string
					run  func()
					want int64
				}{
					{"read", func() { simple("SELECT v FROM f WHERE id = 1") }, 1},
					{"prepared read", func() { prepared("read", one) }, 1},
					{"write", func() { simple("UPDATE f SET v = v + 1 WHERE id = 1") }, 2},
					{"prepared write", func() { prepared("write", one) }, 2},
					{"BEGIN", func() { simple("BEGIN") }, 1},
					{"write in a block", func() { simple("UPDATE f SET v = v + 1 WHERE id = 1") }, 1},
					{"prepared write in a block", func() { prepared("write", one) }, 1},
					{"COMMIT", func() { simple("COMMIT") }, 1},
					{"prepared BEGIN", func() { prepared("begin") }, 1},
					{"another write in a block", func() { prepared("write", one) }, 1},
					{"prepared COMMIT", func() { prepared("commit") }, 1},
				} {
					before := flights.Load()
					step.run()
					if n := flights.Load() - before; round > 0 && n != step.want {
						t.Errorf("%s: %d flights to the server, expected %d", step.name, n, step.want)
					}
				}
			}
		})
	}
}
