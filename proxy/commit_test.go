package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/journal"
	"pgproxy/test/harness"
)

const within = 20 * time.Second

// client connects pgx through the proxy.
func (r *rig) client(database string) *pgx.Conn {
	r.t.Helper()
	host, port, _ := strings.Cut(r.addr, ":")
	c, err := pgx.Connect(context.Background(), fmt.Sprintf("host=%s port=%s user=postgres dbname=%s sslmode=disable", host, port, database))
	if err != nil {
		r.t.Fatalf("connect through the proxy: %v", err)
	}
	r.t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// await waits until ok.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		<-tick.C
	}
}

func sqlstate(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

// outcomes gives what the journal says about each record with a statement that contains text.
func (r *rig) outcomes(text string) []string {
	var out []string
	for _, it := range r.records() {
		if it.Record.Tx == nil {
			continue
		}
		for _, st := range it.Record.Tx.Statements {
			if strings.Contains(st.Query, text) {
				kind := "attempt"
				if it.Record.Seq != 0 {
					kind = "record"
				}
				out = append(out, fmt.Sprintf("%s %d", kind, it.Outcome))
			}
		}
	}
	return out
}

func must(t testing.TB, c *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := c.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestRecordOfTransaction(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, nil)
	c := r.client("postgres")
	must(t, c, "CREATE TABLE t (id int PRIMARY KEY, v text)")
	must(t, c, "INSERT INTO t VALUES ($1, $2)", 1, "one")
	tx, err := c.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"UPDATE t SET v = 'two'", "SAVEPOINT a", "INSERT INTO t VALUES (2, 'gone')", "ROLLBACK TO a", "DELETE FROM t WHERE id = 7"} {
		if _, err := tx.Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(context.Background(), "INSERT INTO t VALUES (1, 'dup')"); sqlstate(err) != "23505" {
		t.Fatalf("duplicate: %v", err)
	}
	must(t, c, "UPDATE t SET v = 'none' WHERE id = 12345")
	must(t, c, "SELECT 1")

	await(t, "five items in the journal", func() bool { return len(r.records()) == 5 })
	items := r.records()
	insert := items[1].Record
	if insert.Seq != 2 || items[1].Outcome != journal.OutcomeCommitted || insert.Tx.User != "postgres" || insert.Tx.XID == 0 {
		t.Errorf("insert: %+v of %+v", insert.ID, insert.Tx)
	}
	st := insert.Tx.Statements[0]
	if st.Query != "INSERT INTO t VALUES ($1, $2)" || len(st.Params) != 2 || st.Params[1].Value != journal.Text("one") ||
		st.Params[0].Value != journal.Text("1") || st.Params[0].Type != "int4" && st.Params[0].Type != "integer" || st.RowsAffected != 1 {
		t.Errorf("statement: %+v", st)
	}
	update := items[2].Record.Tx
	if len(update.Statements) != 3 || !update.Statements[1].RolledBack || len(update.Statements[1].Changes) != 1 {
		t.Errorf("transaction: %+v", update.Statements)
	}
	if ch := update.Statements[0].Changes; len(ch) != 1 || ch[0].Before[1] != journal.Text("one") || ch[0].After[1] != journal.Text("two") {
		t.Errorf("changes: %+v", ch)
	}
	if got := r.outcomes("dup"); len(got) != 1 || got[0] != "attempt 2" {
		t.Errorf("failed statement: %v", got)
	}
	if got := r.outcomes("none"); len(got) != 1 || got[0] != "attempt 1" {
		t.Errorf("statement without effect: %v", got)
	}
	markers := exec(t, pg, "postgres", "SELECT count(*) FROM pgproxy.marker WHERE NOT aborted")
	if markers[0][0] != "3" {
		t.Errorf("%s markers, want 3", markers[0][0])
	}
}

// switchboard is a Fault function whose points can be made to do something.
type switchboard struct {
	mu sync.Mutex
	f  map[string]func()
}

func (s *switchboard) hit(point string) {
	s.mu.Lock()
	f := s.f[point]
	s.mu.Unlock()
	if f != nil {
		f()
	}
}

func (s *switchboard) set(point string, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		s.f = map[string]func(){}
	}
	s.f[point] = f
}

// TestBackendKilled kills the client's backend around the commit, in each way of committing: the journal must know
// the truth in the end.
func TestBackendKilled(t *testing.T) {
	for _, major := range harness.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			pg := harness.Postgres(t, harness.Major(major))
			var board switchboard
			r := newRig(t, pg, func(r *rig) { r.options.Fault = board.hit })
			must(t, r.client("postgres"), "CREATE TABLE t (id int PRIMARY KEY, v text)")
			n := 0
			for _, point := range []string{"commit.sealed", "commit.sent"} {
				for _, how := range []string{"simple", "several", "block", "extended", "extended block"} {
					n++
					t.Run(point+" "+how, func(t *testing.T) { killAt(t, r, &board, point, how, n) })
				}
			}
		})
	}
}

func killAt(t *testing.T, r *rig, board *switchboard, point, how string, n int) {
	c := r.client("postgres")
	ctx := context.Background()
	var pid int
	if err := c.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	var once atomic.Bool
	board.set(point, func() {
		if once.CompareAndSwap(false, true) {
			exec(t, r.pg, "postgres", fmt.Sprintf("SELECT pg_terminate_backend(%d)", pid))
			if point == "commit.sealed" {
				await(t, "backend gone", func() bool {
					return exec(t, r.pg, "postgres", fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE pid = %d", pid))[0][0] == "0"
				})
			}
		}
	})
	defer board.set(point, nil)
	insert := fmt.Sprintf("INSERT INTO t VALUES (%d, 'x')", n)
	var err error
	switch how {
	case "simple":
		_, err = c.Exec(ctx, insert, pgx.QueryExecModeSimpleProtocol)
	case "several":
		_, err = c.PgConn().Exec(ctx, insert+"; SELECT 1").ReadAll()
	case "block":
		_, err = c.PgConn().Exec(ctx, "BEGIN").ReadAll()
		if err == nil {
			_, err = c.PgConn().Exec(ctx, insert).ReadAll()
		}
		if err == nil {
			_, err = c.PgConn().Exec(ctx, "COMMIT").ReadAll()
		}
	case "extended":
		_, err = c.Exec(ctx, insert)
	case "extended block":
		for _, sql := range []string{"BEGIN", insert, "COMMIT"} {
			if err == nil {
				_, err = c.Exec(ctx, sql, pgx.QueryExecModeExec)
			}
		}
	}
	await(t, "nothing in doubt", func() bool { return len(r.journal.InDoubt()) == 0 })
	there := exec(t, r.pg, "postgres", fmt.Sprintf("SELECT count(*) FROM t WHERE id = %d", n))[0][0] == "1"
	want := "record 2"
	if there {
		want = "record 1"
	}
	var got []string
	await(t, "outcome", func() bool { got = r.outcomes(fmt.Sprintf("(%d,", n)); return len(got) == 1 && got[0] == want })
	if err == nil && !there {
		t.Errorf("acknowledged, but not in the database")
	}
	if point == "commit.sealed" && there {
		t.Errorf("committed although the backend was gone before the commit was sent")
	}
}

func TestJournalFull(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, nil)
	c := r.client("postgres")
	ctx := context.Background()
	must(t, c, "CREATE TABLE t (id int PRIMARY KEY, v text)")
	r.journal.SetMaxBytes(1)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement} {
		_, err := c.Exec(ctx, "INSERT INTO t VALUES (1, 'x')", mode)
		if sqlstate(err) != "53100" {
			t.Errorf("mode %v: %v", mode, err)
		}
		must(t, c, "BEGIN")
		if _, err := c.Exec(ctx, "INSERT INTO t VALUES (1, 'x')", mode); err != nil {
			t.Errorf("in a block: %v", err)
		}
		if _, err := c.Exec(ctx, "COMMIT", mode); sqlstate(err) != "53100" {
			t.Errorf("COMMIT, mode %v: %v", mode, err)
		}
		if s := c.PgConn().TxStatus(); s != 'I' {
			t.Errorf("status %c after a refused COMMIT", s)
		}
		must(t, c, "SELECT 1")
	}
	if n := exec(t, pg, "postgres", "SELECT count(*) FROM t")[0][0]; n != "0" {
		t.Errorf("%s rows were committed", n)
	}
	r.journal.SetMaxBytes(0)
	must(t, c, "INSERT INTO t VALUES (1, 'x')")
}

func TestNotWritable(t *testing.T) {
	pg := harness.Postgres(t)
	var closed atomic.Bool
	r := newRig(t, pg, func(r *rig) {
		r.options.Writable = func() error {
			if closed.Load() {
				return errors.New("not admitted yet")
			}
			return nil
		}
	})
	c := r.client("postgres")
	ctx := context.Background()
	must(t, c, "CREATE TABLE t (id int PRIMARY KEY, v text)")
	closed.Store(true)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement} {
		if _, err := c.Exec(ctx, "INSERT INTO t VALUES (1, 'x')", mode); sqlstate(err) != "25006" {
			t.Errorf("mode %v: %v", mode, err)
		}
		must(t, c, "BEGIN")
		if _, err := c.Exec(ctx, "INSERT INTO t VALUES (1, 'x')", mode); sqlstate(err) != "25006" {
			t.Errorf("mode %v: %v", mode, err)
		}
		if s := c.PgConn().TxStatus(); s != 'E' {
			t.Errorf("status %c after a refused write in a block", s)
		}
		must(t, c, "ROLLBACK")
		must(t, c, "SELECT * FROM t")
	}
	closed.Store(false)
	must(t, c, "INSERT INTO t VALUES (1, 'x')")
}

// TestPreparedTransaction leaves the outcome open until somebody decides, and then finds it.
func TestPreparedTransaction(t *testing.T) {
	pg := harness.Postgres(t, harness.Setting("max_prepared_transactions", "2"))
	r := newRig(t, pg, nil)
	c := r.client("postgres")
	must(t, c, "CREATE TABLE t (id int PRIMARY KEY)")
	for i, end := range []string{"COMMIT", "ROLLBACK"} {
		must(t, c, "BEGIN")
		must(t, c, fmt.Sprintf("INSERT INTO t VALUES (7%d)", i))
		must(t, c, "PREPARE TRANSACTION 'gid'")
		if n := len(r.journal.InDoubt()); n != 1 {
			t.Fatalf("%d in doubt", n)
		}
		must(t, c, end+" PREPARED 'gid'")
		r.server.Resolver().Wake()
		await(t, "nothing in doubt", func() bool { return len(r.journal.InDoubt()) == 0 })
		if got := r.outcomes(fmt.Sprintf("(7%d)", i)); len(got) != 1 || got[0] != fmt.Sprintf("record %d", i+1) {
			t.Errorf("%s PREPARED: %v", end, got)
		}
	}
}

// TestMarkersPruned: old rows go, the highest stays, and an intent of that age is not fenced any more.
func TestMarkersPruned(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, nil)
	c := r.client("postgres")
	must(t, c, "CREATE TABLE t (id int)")
	for i := range 5 {
		must(t, c, fmt.Sprintf("INSERT INTO t VALUES (%d)", i))
	}
	exec(t, pg, "postgres", "UPDATE pgproxy.marker SET at = now() - interval '2 days'")
	must(t, c, "INSERT INTO t VALUES (6)")
	n, err := r.server.PruneMarkers(context.Background(), "postgres")
	if err != nil || n != 6 {
		t.Fatalf("%d markers deleted: %v", n, err)
	}
	got := exec(t, pg, "postgres", "SELECT (SELECT string_agg(seq::text, ',') FROM pgproxy.marker), (SELECT seq FROM pgproxy.horizon)")[0]
	if got[0] != "7" || got[1] != "6" {
		t.Errorf("markers %s, horizon %s", got[0], got[1])
	}
}

// TestReplanned: a prepared statement follows what changed since it was prepared.
func TestReplanned(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, nil)
	c := r.client("postgres")
	ctx := context.Background()
	must(t, c, "CREATE TABLE t (id int PRIMARY KEY, v text)")
	must(t, c, "CREATE ROLE writer; GRANT INSERT ON t TO writer; CREATE TABLE log (id int)", pgx.QueryExecModeSimpleProtocol)
	if _, err := c.Prepare(ctx, "ins", "INSERT INTO t VALUES ($1, $2)"); err != nil {
		t.Fatal(err)
	}
	must(t, c, "ins", 1, "a")
	must(t, c, "SET ROLE writer") // may not SELECT: no RETURNING any more
	must(t, c, "ins", 2, "b")
	must(t, c, "RESET ROLE")
	must(t, c, "ALTER TABLE t ADD COLUMN w int DEFAULT 7")
	must(t, c, "ins", 3, "c")
	must(t, c, "CREATE TEMP TABLE t (id int, v text)")
	must(t, c, "ins", 4, "temporary")
	must(t, c, "DROP TABLE pg_temp.t")
	must(t, c, "ins", 5, "d")
	var got []string
	await(t, "records", func() bool {
		got = nil
		for _, it := range r.records() {
			for _, st := range it.Record.Tx.Statements {
				if strings.HasPrefix(st.Query, "INSERT") && it.Record.Seq != 0 {
					got = append(got, fmt.Sprintf("%d/%d", st.Capture, len(st.Changes)))
				}
			}
		}
		return len(got) == 4
	})
	if got[0] != "1/1" || got[2] != "1/1" || got[3] != "1/1" {
		t.Errorf("captures: %v", got)
	}
	if n := exec(t, pg, "postgres", "SELECT count(*) FROM t")[0][0]; n != "4" {
		t.Errorf("%s rows", n)
	}
}

// TestAloneInDoubt: a statement without a marker is judged by the catalog.
func TestAloneInDoubt(t *testing.T) {
	pg := harness.Postgres(t)
	var board switchboard
	r := newRig(t, pg, func(r *rig) { r.options.Fault = board.hit })
	c := r.client("postgres")
	ctx := context.Background()
	must(t, c, "CREATE TABLE t (id int PRIMARY KEY, v text)")
	must(t, c, "CREATE INDEX CONCURRENTLY there ON t (v)")
	var pid int
	if err := c.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	board.set("commit.sealed", func() { exec(t, pg, "postgres", fmt.Sprintf("SELECT pg_terminate_backend(%d, 5000)", pid)) })
	if _, err := c.Exec(ctx, "CREATE INDEX CONCURRENTLY gone ON t (v)"); err == nil {
		t.Error("index made by a backend that was killed")
	}
	board.set("commit.sealed", nil)
	await(t, "the index that was not made is known as such", func() bool {
		got := r.outcomes("gone")
		return len(got) == 1 && got[0] == "record 2"
	})
	for text, want := range map[string]string{"CREATE INDEX CONCURRENTLY there ON t (v)": "1", "DROP INDEX CONCURRENTLY there": "2", "DROP DATABASE nosuch": "1"} {
		in, err := r.journal.Seal(ctx, &journal.Tx{Database: "postgres", Statements: []journal.Statement{{Query: text + " /* late */", Capture: journal.CaptureStatement,
			Replay: &journal.Replay{Text: text, NoBlock: true, Settings: map[string]string{"search_path": "public"}}}}})
		if err != nil {
			t.Fatal(err)
		}
		in.Doubt()
		r.server.Resolver().Wake()
		await(t, "settled: "+text, func() bool { return len(r.journal.InDoubt()) == 0 })
		if got := r.outcomes(text + " /* late */"); len(got) != 1 || got[0] != "record "+want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
