package apply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
	"pgproxy/test/harness"
)

// world is one server; each node has a database of its own there, which it calls "app".
type world struct {
	t      testing.TB
	server *harness.Server
	nodes  []*node
	last   hlc.Time // of the last transaction of any node

	large   int // every so many-th transaction has its changes in images; 0: none
	written int
}

func newWorld(t testing.TB, major int, names ...string) *world {
	w := &world{t: t, server: harness.Postgres(t, harness.Major(major), harness.Setting("wal_writer_delay", "10s"))}
	for _, n := range names {
		w.node(n)
	}
	return w
}

// each runs a test on the oldest and the newest server.
func each(t *testing.T, f func(t *testing.T, major int)) {
	for _, m := range harness.Majors(t) {
		t.Run(fmt.Sprint(m), func(t *testing.T) { f(t, m) })
	}
}

// node is a journal, an applier and a database.
type node struct {
	w     *world
	name  string
	dir   string
	j     *journal.Journal
	a     *Applier
	c     *pgx.Conn
	fault func(string)
	stop  func()
	later atomic.Int64  // by how many nanoseconds apply's clock is ahead
	calm  time.Duration // how long apply leaves what it did unsynced
}

var itemRel = journal.Relation{Schema: "public", Name: "item", Key: []int{0}, Columns: []journal.Column{
	{Name: "id", Type: "integer", NotNull: true}, {Name: "name", Type: "text"}, {Name: "qty", Type: "integer"}, {Name: "price", Type: "numeric(8,2)"}}}

var noteRel = journal.Relation{Schema: "public", Name: "note", Columns: []journal.Column{
	{Name: "a", Type: "text"}, {Name: "b", Type: "integer"}, {Name: "c", Type: "json"}}}

const schema = `CREATE TABLE item (id int PRIMARY KEY, name text, qty int, price numeric(8,2));
CREATE TABLE note (a text, b int, c json);`

func (w *world) node(name string) *node {
	w.t.Helper()
	ctx := context.Background()
	root, err := pgx.Connect(ctx, w.server.DSN("postgres"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer root.Close(ctx)
	if _, err := root.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		w.t.Fatal(err)
	}
	n := &node{w: w, name: name, dir: filepath.Join(w.t.TempDir(), name), fault: func(string) {}, calm: 20 * time.Millisecond}
	if n.c, err = pgx.Connect(ctx, w.server.DSN(name)); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { n.c.Close(ctx) })
	n.exec(schema)
	n.open()
	w.nodes = append(w.nodes, n)
	w.t.Cleanup(n.close)
	return n
}

func (n *node) open() {
	n.w.t.Helper()
	var err error
	if n.j, err = journal.Open(context.Background(), journal.Options{Dir: n.dir, Node: n.name, NoSync: true, FlushDelay: time.Millisecond}); err != nil {
		n.w.t.Fatal(err)
	}
	if n.a, err = New(n.options()); err != nil {
		n.w.t.Fatal(err)
	}
}

func (n *node) options() Options {
	return Options{Journal: n.j, Retry: 10 * time.Millisecond, RetryMax: 200 * time.Millisecond, Fault: func(p string) { n.fault(p) },
		Settle: n.calm, Now: func() time.Time { return time.Now().Add(time.Duration(n.later.Load())) },
		Databases: func(context.Context) ([]string, error) { return []string{"app"}, nil },
		Connect: func(ctx context.Context, database string) (*pgconn.PgConn, error) {
			if database == "app" {
				database = n.name
			}
			return pgconn.Connect(ctx, n.w.server.DSN(database))
		}}
}

func (n *node) close() {
	n.halt()
	if n.j != nil {
		n.j.Close()
		if os.Getenv("PGPROXY_TEST_CHECK") != "" {
			if r, err := journal.Check(n.dir); err != nil || len(r.Problems) > 0 {
				n.w.t.Errorf("journal of %s: %v %v", n.name, err, r.Problems)
			}
		}
	}
	n.j = nil
}

// run starts apply; halt stops it.
func (n *node) run() {
	n.w.t.Helper()
	if n.stop != nil {
		return
	}
	if err := n.a.Prepare(context.Background()); err != nil {
		n.w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.a.Run(ctx) }()
	n.stop = func() {
		cancel()
		if err := <-done; err != nil {
			n.w.t.Errorf("apply at %s: %v", n.name, err)
		}
	}
}

func (n *node) halt() {
	if n.stop != nil {
		n.stop()
		n.stop = nil
	}
}

func (n *node) exec(sql string, args ...any) {
	n.w.t.Helper()
	if _, err := n.c.Exec(context.Background(), sql, args...); err != nil {
		n.w.t.Fatalf("%s: %s: %v", n.name, sql, err)
	}
}

// tx is a transaction of a client, put together by hand as capture would.
type tx struct {
	n *node
	*journal.Tx
}

func (n *node) begin() *tx {
	n.exec("BEGIN")
	return &tx{n, &journal.Tx{Start: time.Now(), User: "u", Database: "app", Relations: []journal.Relation{itemRel, noteRel}}}
}

func (t *tx) change(rel int, op journal.Op, before, after []journal.Value, set, delta []int) *tx {
	t.Statements = append(t.Statements, journal.Statement{Query: "...", Command: "X", Capture: journal.CaptureExact, RowsAffected: 1,
		Changes: []journal.Change{{Relation: rel, Op: op, Before: before, After: after, Set: set, Delta: delta}}})
	return t
}

func (t *tx) item(id int) []journal.Value {
	t.n.w.t.Helper()
	return t.row("SELECT id::text, name, qty::text, price::text FROM item WHERE id = $1", id)
}

func (t *tx) row(sql string, args ...any) []journal.Value {
	rows, err := t.n.c.Query(context.Background(), sql, args...)
	if err != nil {
		t.n.w.t.Fatal(err)
	}
	defer rows.Close()
	if !rows.Next() {
		return nil
	}
	var out []journal.Value
	for _, v := range rows.RawValues() {
		if v == nil {
			out = append(out, journal.Null())
		} else {
			out = append(out, journal.Text(string(v)))
		}
	}
	return out
}

func (t *tx) insert(id int, name string, qty int) *tx {
	t.n.w.t.Helper()
	t.n.exec("INSERT INTO item VALUES ($1, $2, $3, 1.50)", id, name, qty)
	return t.change(0, 'I', nil, t.item(id), nil, nil)
}

// update runs SET text on a row; names of columns that add are marked by a plus.
func (t *tx) update(id int, set string, columns ...string) *tx {
	t.n.w.t.Helper()
	before := t.item(id)
	t.n.exec("UPDATE item SET "+set+" WHERE id = $1", id)
	after := t.item(id)
	if before == nil {
		return t
	}
	var cols, delta []int
	for _, c := range columns {
		i := slices.IndexFunc(itemRel.Columns, func(x journal.Column) bool { return x.Name == strings.TrimSuffix(c, "+") })
		if before[i] == after[i] {
			continue
		}
		cols = append(cols, i)
		if strings.HasSuffix(c, "+") {
			delta = append(delta, i)
		}
	}
	if len(cols) == 0 {
		return t
	}
	return t.change(0, 'U', before, after, cols, delta)
}

func (t *tx) delete(id int) *tx {
	t.n.w.t.Helper()
	before := t.item(id)
	if before == nil {
		return t
	}
	t.n.exec("DELETE FROM item WHERE id = $1", id)
	return t.change(0, 'D', before, nil, nil, nil)
}

func noteRow(a string, b int) []journal.Value {
	return []journal.Value{journal.Text(a), journal.Text(fmt.Sprint(b)), journal.Text(`{"x": 1}`)}
}

func (t *tx) addNote(a string, b int) *tx {
	t.n.exec(`INSERT INTO note VALUES ($1, $2, '{"x": 1}')`, a, b)
	return t.change(1, 'I', nil, noteRow(a, b), nil, nil)
}

func (t *tx) noteExists(a string, b int) bool {
	return t.row("SELECT 1 FROM note WHERE a = $1 AND b = $2", a, b) != nil
}

func (t *tx) dropNote(a string, b int) *tx {
	if !t.noteExists(a, b) {
		return t
	}
	t.n.exec("DELETE FROM note WHERE ctid = (SELECT ctid FROM note WHERE a = $1 AND b = $2 LIMIT 1)", a, b)
	return t.change(1, 'D', noteRow(a, b), nil, nil, nil)
}

func (t *tx) changeNote(a string, b, to int) *tx {
	if !t.noteExists(a, b) {
		return t
	}
	t.n.exec("UPDATE note SET b = $3 WHERE ctid = (SELECT ctid FROM note WHERE a = $1 AND b = $2 LIMIT 1)", a, b, to)
	set := []int{1}
	if to == b {
		set = nil // assigned, and not changed
	}
	return t.change(1, 'U', noteRow(a, b), noteRow(a, to), set, nil)
}

func (t *tx) ddl(sql string, tables ...string) *tx {
	t.n.w.t.Helper()
	t.n.exec(sql)
	t.Statements = append(t.Statements, journal.Statement{Query: sql, Command: "DDL", Capture: journal.CaptureStatement, RowsAffected: -1,
		Replay: &journal.Replay{Text: sql, Tables: tables, Settings: map[string]string{"search_path": "public", "DateStyle": "German"}}})
	return t
}

// enlarge moves the changes to images, as capture does where there are many.
func (t *tx) enlarge() *journal.ImageWriter {
	t.n.w.t.Helper()
	copy(t.Marker[:], fmt.Sprintf("%s %d", t.n.name, t.n.w.written))
	w := t.n.j.NewImages(t.Marker, t.Database)
	for i := range t.Statements {
		st := &t.Statements[i]
		if len(st.Changes) == 0 {
			continue
		}
		err := w.Begin()
		for k := range st.Changes {
			err = errors.Join(err, w.Append(&t.Relations[st.Changes[k].Relation], &st.Changes[k]))
		}
		var e error
		if st.Stored, e = w.End(); errors.Join(err, e) != nil {
			t.n.w.t.Fatal(err, e)
		}
		st.Changes = nil
	}
	t.Collected(w)
	return w
}

// commit takes the transaction through the journal and the database; nothing if it changed nothing.
func (t *tx) commit() journal.ID {
	t.n.w.t.Helper()
	if len(t.Statements) == 0 {
		t.n.exec("ROLLBACK")
		return journal.ID{}
	}
	t.End = time.Now()
	if last := t.n.w.last; last != 0 { // two nodes may write within one tick: the order of the test is to be the global one
		if err := t.n.j.Clock().Observe(last); err != nil {
			t.n.w.t.Fatal(err)
		}
	}
	if w := t.n.w; w.large > 0 {
		if w.written++; w.written%w.large == 0 {
			defer t.enlarge().Discard()
		}
	}
	in, err := t.n.j.Seal(context.Background(), t.Tx)
	if err != nil {
		t.n.w.t.Fatal(err)
	}
	t.n.w.last = in.Record().HLC
	t.n.exec("COMMIT")
	if err := in.Commit(); err != nil {
		t.n.w.t.Fatal(err)
	}
	return in.ID()
}

// send stores at to everything that n has and to lacks.
func (n *node) send(to *node) {
	n.w.t.Helper()
	for {
		recs, err := n.j.After(to.j.Stored(), 1<<20)
		if err != nil {
			n.w.t.Fatal(err)
		}
		if len(recs) == 0 {
			return
		}
		n.stage(to, recs)
		if err := to.j.Store(context.Background(), recs); err != nil {
			n.w.t.Fatal(err)
		}
	}
}

// stage brings the images of records to another node.
func (n *node) stage(to *node, recs []journal.Raw) {
	n.w.t.Helper()
	stage := to.j.Stage()
	for _, r := range recs {
		if err := errors.Join(n.j.Pieces(r, stage.Add), stage.Complete(r)); err != nil {
			n.w.t.Fatal(err)
		}
	}
}

// settled waits until everything that is stored at n is applied.
func (n *node) settled() {
	n.w.t.Helper()
	harness.WaitFor(n.w.t, 120*time.Second, n.name+" to have applied all", func() (bool, string) {
		return n.j.Applied().Includes(n.j.Stored()), fmt.Sprintf("%+v of %v", n.a.Status(), n.j.Stored())
	})
	n.quiet()
}

// quiet waits until the last COMMIT is done: the position in the database is what is counted as applied.
func (n *node) quiet() {
	n.w.t.Helper()
	harness.WaitFor(n.w.t, 60*time.Second, n.name+" to have nothing under way", func() (bool, string) {
		var busy int
		err := n.c.QueryRow(context.Background(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
			AND application_name = 'pgproxy' AND state <> 'idle'`).Scan(&busy)
		return err == nil && busy == 0, fmt.Sprint(busy, err)
	})
}

func (n *node) dump() string {
	n.w.t.Helper()
	var out strings.Builder
	for _, q := range []string{"SELECT i::text FROM item i ORDER BY id", "SELECT n::text FROM note n ORDER BY 1"} {
		rows, err := n.c.Query(context.Background(), q)
		if err != nil {
			n.w.t.Fatal(err)
		}
		for rows.Next() {
			fmt.Fprintln(&out, string(rows.RawValues()[0]))
		}
		rows.Close()
	}
	return out.String()
}

// conflicts gives the kinds of conflicts that n was told of, in order.
func (n *node) conflicts() []string {
	var kinds []string
	for c, err := range n.j.Conflicts() {
		if err != nil {
			n.w.t.Fatal(err)
		}
		kinds = append(kinds, c.Kind)
	}
	slices.Sort(kinds)
	return kinds
}

// converge sends everything everywhere and checks that all tables are equal.
func (w *world) converge() {
	w.t.Helper()
	for _, n := range w.nodes {
		n.run()
	}
	for range 2 {
		for _, from := range w.nodes {
			for _, to := range w.nodes {
				if from != to {
					from.send(to)
				}
			}
		}
	}
	for _, n := range w.nodes {
		n.settled()
	}
	for _, n := range w.nodes[1:] {
		if a, b := w.nodes[0].dump(), n.dump(); a != b {
			w.t.Fatalf("%s:\n%s\n%s:\n%s", w.nodes[0].name, a, n.name, b)
		}
	}
}
