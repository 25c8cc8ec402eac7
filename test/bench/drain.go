package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"pgproxy/test/harness"
)

// drainLimit is how long a peer may take to catch up.
const drainLimit = 20 * time.Minute

// oneRow is the load of the drain test: one inserted row and one changed row in each transaction.
const oneRow = `\set id random(1, 100000)
\set v random(-5000, 5000)
BEGIN;
UPDATE account SET balance = balance + :v WHERE id = :id;
INSERT INTO entry (account, v) VALUES (:id, :v);
COMMIT;
`

// schema is made on both sides; entry's key comes from a sequence, as an application's would.
const schema = `CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE entry (id bigserial PRIMARY KEY, account int NOT NULL, v int NOT NULL);
INSERT INTO account SELECT i, 0 FROM generate_series(1, 100000) i`

// drainAim is the least part of logical replication's rate that is aimed at.
const drainAim = 0.5

// drain prints how fast a peer catches up with queued transactions, next to logical replication.
func drain(r *run, o options) {
	file := filepath.Join(harness.Dir(r, "load"), "load.sql")
	if err := os.WriteFile(file, []byte(oneRow), 0o644); err != nil {
		r.Fatalf("%v", err)
	}
	each := o.queued / 8
	load := func(port int) float64 {
		begin := time.Now()
		pgbench(r, port, "-n", "-f", file, "-M", "prepared", "-c", "8", "-j", "1", "-t", strconv.Itoa(each))
		return float64(8*each) / took(begin)
	}
	fmt.Printf("\ncatching up with %d transactions of two rows each\n\n", 8*each)
	logical, rate := logicalReplication(r, load, 8*each)
	fmt.Printf("%-22s written at %6.0f a second, drained at %6.0f a second\n", "logical replication", rate, logical)
	ours, rate, memory := ourReplication(r, load, 8*each)
	fmt.Printf("%-22s written at %6.0f a second, drained at %6.0f a second\n", "pgproxy", rate, ours)
	aim("drain, of logical replication's rate", []float64{ours / logical}, drainAim)
	fmt.Printf("memory of the two proxies then: %.1f and %.1f MiB\n", memory[0], memory[1])
}

// logicalReplication writes while the subscription is off, and times how long it takes after it is on.
func logicalReplication(r *run, load func(int) float64, n int) (drained, written float64) {
	from, to := harness.Postgres(r, synced()...), harness.Postgres(r, synced()...)
	sql(r, from.DSN("postgres"), schema)
	sql(r, to.DSN("postgres"), "CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL)")
	sql(r, to.DSN("postgres"), "CREATE TABLE entry (id bigserial PRIMARY KEY, account int NOT NULL, v int NOT NULL)")
	sql(r, from.DSN("postgres"), "CREATE PUBLICATION p FOR ALL TABLES")
	sql(r, to.DSN("postgres"), fmt.Sprintf("CREATE SUBSCRIPTION s CONNECTION '%s' PUBLICATION p", from.DSN("postgres")))
	awaitRows(r, to, "account", 100000)
	sql(r, to.DSN("postgres"), "ALTER SUBSCRIPTION s DISABLE")
	written = load(from.Port)
	begin := time.Now()
	sql(r, to.DSN("postgres"), "ALTER SUBSCRIPTION s ENABLE")
	awaitRows(r, to, "entry", n)
	drained = float64(n) / took(begin)
	sql(r, to.DSN("postgres"), "DROP SUBSCRIPTION s")
	return drained, written
}

// ourReplication does the same with two proxies and a link that is cut.
func ourReplication(r *run, load func(int) float64, n int) (drained, written float64, memory [2]float64) {
	c := harness.NewCluster(r, harness.ClusterOptions{Nodes: 2, Postgres: synced()})
	a, b := c.Nodes[0], c.Nodes[1]
	sql(r, a.DSN("postgres"), schema)
	c.Settle(drainLimit)
	c.Isolate(0)
	written = load(a.Port)
	begin := time.Now()
	c.Heal()
	a.Drain(drainLimit)
	awaitRows(r, b.Server, "entry", n)
	drained = float64(n) / took(begin)
	for i, node := range c.Nodes {
		memory[i] = resident(node.Process().PID())
	}
	return drained, written, memory
}

func sql(r *run, dsn, text string) {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		r.Fatalf("connect: %v", err)
	}
	defer c.Close(ctx)
	if _, err := c.PgConn().Exec(ctx, text).ReadAll(); err != nil {
		r.Fatalf("%s: %v", text, err)
	}
}

func awaitRows(r *run, s *harness.Server, table string, n int) {
	want := strconv.Itoa(n)
	harness.WaitFor(r, drainLimit, "rows in "+table, func() (bool, string) {
		got := harness.Query(r, s.DSN("postgres"), "SELECT count(*) FROM "+table)
		return len(got) == 1 && got[0] == want, fmt.Sprint(got)
	})
}
