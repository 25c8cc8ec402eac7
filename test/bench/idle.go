package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"pgproxy/test/harness"
)

// idle prints what a connection costs in memory that has done a little and does nothing now.
func idle(r *run, o options) {
	fmt.Printf("\nmemory of %d idle connections, each with a server session of its own, after one read and one write\n\n", o.idle)
	var systems []system
	if s, ok := bouncer(r); ok {
		systems = append(systems, s)
	}
	for _, s := range append(systems, proxied(r, "pgproxy")) {
		sql(r, harness.DSN(s.port, "postgres"), "CREATE TABLE t (id int PRIMARY KEY)")
		before := resident(s.pid)
		hold(r, s, o.idle, func() {
			after := resident(s.pid)
			fmt.Printf("%-12s %6.1f MiB without, %6.1f MiB with them: %.1f MiB for 1000\n", s.name, before, after, (after-before)*1000/float64(o.idle))
		})
	}
}

// hold opens n connections, uses each once, and calls f.
func hold(r *run, s system, n int, f func()) {
	ctx := context.Background()
	for i := range n {
		c, err := pgx.Connect(ctx, harness.DSN(s.port, "postgres"))
		if err != nil {
			r.Fatalf("connection %d through %s: %v", i, s.name, err)
		}
		defer c.Close(ctx)
		if _, err := c.PgConn().Exec(ctx, fmt.Sprintf("SELECT 1; INSERT INTO t VALUES (%d)", i)).ReadAll(); err != nil {
			r.Fatalf("connection %d through %s: %v", i, s.name, err)
		}
	}
	f()
}
