package proxy_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"pgproxy/journal"
	"pgproxy/test/harness"
)

// replayed plays all committed changes of the journal into rows of columns id and v, and says how many transactions had
// images.
func (r *rig) replayed(table string) (rows map[string]string, large int) {
	r.t.Helper()
	rows = map[string]string{}
	for _, it := range r.records() {
		tx := it.Record.Tx
		if tx == nil || it.Outcome != journal.OutcomeCommitted {
			continue
		}
		if tx.Images != nil {
			large++
		}
		for i := range tx.Statements {
			st := &tx.Statements[i]
			if st.RolledBack || st.SQLState != "" {
				continue
			}
			if st.Capture == journal.CaptureMissing {
				r.t.Errorf("%s: %s", st.Query, st.Note)
			}
			for c, err := range tx.Each(st) {
				if err != nil {
					r.t.Fatal(err)
				}
				if tx.Relations[c.Relation].Name != table {
					continue
				}
				if c.Before != nil {
					if rows[c.Before[0].Data] != c.Before[1].Data {
						r.t.Fatalf("%s: row %s was %.40q before, not %.40q", st.Query, c.Before[0].Data, rows[c.Before[0].Data], c.Before[1].Data)
					}
					delete(rows, c.Before[0].Data)
				}
				if c.After != nil {
					rows[c.After[0].Data] = c.After[1].Data
				}
			}
		}
	}
	return rows, large
}

// TestLargeStatements: statements whose rows have no room in memory are captured whole, by whatever way, with savepoints
// and rollbacks between.
func TestLargeStatements(t *testing.T) {
	for _, major := range harness.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) { largeStatements(t, harness.Postgres(t, harness.Major(major))) })
	}
}

func largeStatements(t *testing.T, pg *harness.Server) {
	r := newRig(t, pg, nil)
	c := r.client("postgres")
	ctx := context.Background()
	text := func(n, from int) *strings.Reader {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%d\tcopied %d %s\n", from+i, i, strings.Repeat("y", 100))
		}
		return strings.NewReader(b.String())
	}
	must(t, c, "CREATE TABLE big (id int PRIMARY KEY, v text)")
	must(t, c, "INSERT INTO big SELECT g, repeat('x', 200) || g FROM generate_series(1, 9000) g")
	must(t, c, "UPDATE big SET v = v || '!' WHERE id <= 8000")
	must(t, c, "BEGIN")
	must(t, c, "INSERT INTO big VALUES (20000, 'a small one before')")
	must(t, c, "SAVEPOINT s")
	must(t, c, "UPDATE big SET v = repeat('gone', 100)")
	must(t, c, "ROLLBACK TO s")
	if _, err := c.PgConn().CopyFrom(ctx, text(12000, 30000), "COPY big FROM STDIN"); err != nil {
		t.Fatal(err)
	}
	must(t, c, "UPDATE big SET v = v || '?' WHERE id BETWEEN 35000 AND 41000")
	must(t, c, "DELETE FROM big WHERE id < 7000")
	must(t, c, "INSERT INTO big VALUES (20001, 'a small one behind')")
	must(t, c, "COMMIT")
	if _, err := c.PgConn().CopyFrom(ctx, text(3000, 60000), "COPY big FROM STDIN"); err != nil { // few of many: by key
		t.Fatal(err)
	}
	must(t, c, "INSERT INTO big SELECT id, 'upsert ' || repeat('z', 200) FROM generate_series(30000, 37000) id ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v")
	must(t, c, "BEGIN")
	must(t, c, "UPDATE big SET v = repeat('gone', 100)")
	must(t, c, "ROLLBACK")
	got, large := r.replayed("big")
	if large < 5 {
		t.Errorf("%d transactions have images", large)
	}
	want := exec(t, pg, "postgres", "SELECT id, v FROM big")
	if len(got) != len(want) {
		t.Errorf("%d rows by the journal, %d in the table", len(got), len(want))
	}
	for _, row := range want {
		if got[row[0]] != row[1] {
			t.Fatalf("row %s is %.60q by the journal, %.60q in the table", row[0], got[row[0]], row[1])
		}
	}
	files, _ := filepath.Glob(filepath.Join(r.dir, "images", "*.part"))
	if len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

// TestLargeTransaction: a transaction is bounded by its statements, not by their rows; past that it fails, and harms nobody.
func TestLargeTransaction(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, func(r *rig) { r.options.MaxTx = 100_000 })
	c := r.client("postgres")
	ctx := context.Background()
	must(t, c, "CREATE TABLE t (id int PRIMARY KEY, v text)")
	for i, sql := range []string{"INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(%d, %d) g",
		"INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(%d, %d) g RETURNING id"} {
		for k, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
			from := 1000 * (2*i + k)
			if _, err := c.Exec(ctx, fmt.Sprintf(sql, from, from+999), mode); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
	}
	if got, _ := r.replayed("t"); len(got) != 4000 {
		t.Errorf("%d rows are in the journal", len(got))
	}
	must(t, c, "BEGIN")
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		_, err = c.Exec(ctx, "INSERT INTO t VALUES ($1, repeat('x', 1000))", 10000+i)
	}
	if sqlstate(err) != "54000" || c.PgConn().TxStatus() != 'E' {
		t.Errorf("growing transaction: %v", err)
	}
	must(t, c, "ROLLBACK")
	if n := exec(t, pg, "postgres", "SELECT count(*) FROM t")[0][0]; n != "4000" {
		t.Errorf("%s rows", n)
	}
	must(t, c, "INSERT INTO t VALUES (1000000, 'x')")
}

// TestLargeAndFull: rows that the journal has no room for fail their transaction with 53100.
func TestLargeAndFull(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, func(r *rig) { r.jo.MaxBytes = 4 << 20 })
	c := r.client("postgres")
	must(t, c, "CREATE TABLE t (id int PRIMARY KEY, v text)")
	_, err := c.Exec(context.Background(), "INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 10000) g")
	if sqlstate(err) != "53100" {
		t.Errorf("ten MB into four: %v", err)
	}
	must(t, c, "INSERT INTO t VALUES (1, 'x')")
	if n := exec(t, pg, "postgres", "SELECT count(*) FROM t")[0][0]; n != "1" {
		t.Errorf("%s rows", n)
	}
}
