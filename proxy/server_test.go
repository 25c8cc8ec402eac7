package proxy_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/journal"
	"pgproxy/parser"
	"pgproxy/proxy"
	"pgproxy/proxy/capture"
	"pgproxy/test/harness"
)

// rig is a proxy with its own journal in front of a real server.
type rig struct {
	t       testing.TB
	pg      *harness.Server
	server  *proxy.Server
	journal *journal.Journal
	addr    string
	options proxy.Options
	dir     string
	jo      journal.Options
	stop    context.CancelFunc
}

// newRig starts a proxy. change may alter the options before it starts.
func newRig(t testing.TB, pg *harness.Server, change func(*rig)) *rig {
	t.Helper()
	r := &rig{t: t, pg: pg, dir: t.TempDir()}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("PGPROXY_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	connect := func(ctx context.Context, db string) (*pgconn.PgConn, error) {
		return pgconn.Connect(ctx, fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname='%s' application_name=pgproxy sslmode=disable", pg.Port, db))
	}
	c := capture.New(capture.Options{Connect: connect, Logger: log})
	r.jo = journal.Options{Dir: r.dir, Node: "a", NoSync: true, Logger: log}
	r.options = proxy.Options{
		Dial: func(ctx context.Context) (net.Conn, *tls.Config, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", pg.Port))
			return c, nil, err
		},
		Connect: connect, Parser: parser.New(parser.Options{}), Capturer: c, Logger: log, Now: time.Now, Rand: rand.Reader,
	}
	if change != nil {
		change(r)
	}
	j, err := journal.Open(context.Background(), r.jo)
	if err != nil {
		t.Fatalf("open journal: %v", err)
	}
	r.journal = j
	r.options.Journal = j
	r.server = proxy.New(r.options)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	r.addr = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() { _ = r.server.Serve(l) }()
	done := make(chan struct{})
	go func() { defer close(done); _ = r.server.Resolver().Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-done
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = r.server.Shutdown(ctx)
		_ = c.Close()
		_ = j.Close()
		if n := r.server.Metrics().Panics.Load(); n != 0 {
			t.Errorf("%d sessions panicked", n)
		}
	})
	return r
}

// records gives the journal's items, oldest first.
func (r *rig) records() []journal.Item {
	r.t.Helper()
	var out []journal.Item
	for it, err := range r.journal.Scan(journal.Filter{Forward: true}) {
		if err != nil {
			r.t.Fatalf("scan: %v", err)
		}
		out = append(out, it)
	}
	return out
}

// exec runs SQL directly, not through the proxy.
func exec(t testing.TB, pg *harness.Server, database, sql string) [][]string {
	t.Helper()
	c, err := pgconn.Connect(context.Background(), pg.DSN(database))
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer c.Close(context.Background())
	res, err := c.Exec(context.Background(), sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var out [][]string
	for _, r := range res {
		for _, row := range r.Rows {
			var cols []string
			for _, c := range row {
				cols = append(cols, string(c))
			}
			out = append(out, cols)
		}
	}
	return out
}
