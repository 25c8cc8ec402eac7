package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"pgproxy/test/harness"
)

// TestTies: while nodes do not see each other, two take one key, and one deletes a parent whose child another inserts. No
// stream stops, all end equal, and what lost is shown with its SQL at every node.
func TestTies(t *testing.T) {
	c := harness.NewCluster(t, harness.ClusterOptions{Majors: harness.Majors(t)})
	run := func(node int, sql string) {
		t.Helper()
		harness.Query(t, c.Nodes[node].DSN("postgres"), sql)
	}
	run(0, `CREATE TABLE customer (id int PRIMARY KEY, email text NOT NULL UNIQUE, code text UNIQUE);
		CREATE TABLE invoice (id int PRIMARY KEY, customer int NOT NULL REFERENCES customer ON DELETE CASCADE, total int);
		INSERT INTO customer VALUES (1, 'one@x', 'A'), (2, 'two@x', 'B'); INSERT INTO invoice VALUES (1, 1, 10)`)
	c.Settle(drainTime)
	c.Isolate(0, 1, 2)
	// One key, two rows: b's is later. It builds on it, not knowing.
	run(0, "INSERT INTO customer VALUES (10, 'new@x', 'C')")
	run(1, "INSERT INTO customer VALUES (11, 'new@x', 'D')")
	run(1, "INSERT INTO invoice VALUES (11, 11, 7)")
	// A key that may be NULL: the later row goes on without.
	run(0, "UPDATE customer SET code = 'Z' WHERE id = 1")
	run(2, "UPDATE customer SET code = 'Z' WHERE id = 2")
	// A parent deleted, with its cascade, under a new child.
	run(2, "DELETE FROM customer WHERE id = 1")
	run(1, "INSERT INTO invoice VALUES (2, 1, 20)")
	c.Heal()
	c.Settle(drainTime)
	got := append(c.Equal(t, "postgres", "SELECT id, email, code FROM customer ORDER BY id"),
		c.Equal(t, "postgres", "SELECT id, customer, total FROM invoice ORDER BY id")...)
	want := []string{"1|one@x|Z", "2|two@x|NULL", "10|new@x|C", "1|1|10", "2|1|20"}
	if !slices.Equal(got, want) {
		t.Errorf("merged:\n%s\nexpected:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	c.Verify()
	for _, n := range c.Nodes {
		r := n.Run("conflicts", "ls", "-o", "json")
		if r.Code != 0 {
			t.Fatal(r)
		}
		told := map[string]string{}
		for dec := json.NewDecoder(strings.NewReader(r.Stdout)); dec.More(); {
			var k struct {
				Kind     string `json:"kind"`
				LoserSQL string `json:"loser_sql"`
			}
			if err := dec.Decode(&k); err != nil {
				t.Fatal(err)
			}
			told[k.Kind] += k.LoserSQL + "\n"
		}
		for kind, sql := range map[string]string{"unique/unique": "'new@x'", "reference/loser": `INSERT INTO "public"."invoice"`,
			"delete/reference": `DELETE FROM "public"."invoice"`} {
			if !strings.Contains(told[kind], sql) {
				t.Errorf("node %s tells %s: %q", n.Name, kind, told[kind])
			}
		}
	}
	for i := range c.Nodes { // and all goes on
		run(i, fmt.Sprintf("INSERT INTO customer VALUES (%d, 'again%d@x', NULL)", 20+i, i))
	}
	c.Settle(drainTime)
	c.Verify()
}

// TestTiesUnderLoad lets clients of all nodes insert, change and delete parents and children with unique keys at random, while
// nodes are cut off and come back. Nothing stops, all end equal, and no child is without its parent.
func TestTiesUnderLoad(t *testing.T) {
	seed := harness.Seed(t)
	c := harness.NewCluster(t, harness.ClusterOptions{Majors: harness.Majors(t)})
	harness.Query(t, c.Nodes[0].DSN("postgres"), `CREATE TABLE parent (id int PRIMARY KEY, code text UNIQUE, n int NOT NULL DEFAULT 0);
		CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE, mail text NOT NULL UNIQUE, v text)`)
	c.Settle(drainTime)
	for round, away := range [][]int{{0, 1, 2}, {2}, nil} {
		c.Heal()
		c.Isolate(away...)
		var clients sync.WaitGroup
		for i, n := range c.Nodes {
			for client := range 2 {
				r := harness.Rand(seed, uint64(round*100+i*10+client))
				clients.Add(1)
				go func() {
					defer clients.Done()
					if err := tie(n.DSN("postgres"), r, 25); err != nil {
						t.Errorf("client of %s: %v", n.Name, err)
					}
				}()
			}
		}
		clients.Wait()
	}
	c.Heal()
	c.Settle(drainTime)
	c.Equal(t, "postgres", "SELECT * FROM parent ORDER BY id")
	c.Equal(t, "postgres", "SELECT * FROM child ORDER BY id")
	c.Verify()
	for _, n := range c.Nodes {
		if got := harness.Query(t, n.DSN("postgres"), "SELECT id FROM child WHERE parent IS NOT NULL AND NOT EXISTS (SELECT FROM parent p WHERE p.id = parent)"); len(got) > 0 {
			t.Errorf("%s: children without parent: %v", n.Name, got)
		}
	}
}

// tie is a client that makes transactions; what the database refuses is no error.
func tie(dsn string, r *rand.Rand, n int) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for range n {
		var sql []string
		for range 1 + r.IntN(3) {
			id, other := r.IntN(8), r.IntN(8)
			sql = append(sql, []string{
				fmt.Sprintf("INSERT INTO parent VALUES (%d, 'c%d') ON CONFLICT DO NOTHING", id, r.IntN(6)),
				fmt.Sprintf("INSERT INTO child VALUES (%d, %d, 'm%d', 'x')", id, other, r.IntN(10)),
				fmt.Sprintf("INSERT INTO child VALUES (%d, %d, 'm%d', 'x') ON CONFLICT (id) DO UPDATE SET v = 'y%d'", id, other, r.IntN(10), other),
				fmt.Sprintf("UPDATE parent SET n = n + 1 WHERE id = %d", id),
				fmt.Sprintf("UPDATE parent SET code = 'c%d' WHERE id = %d", r.IntN(6), id),
				fmt.Sprintf("UPDATE child SET parent = %d WHERE id = %d", other, id),
				fmt.Sprintf("UPDATE child SET mail = 'm%d' WHERE id = %d", r.IntN(10), id),
				fmt.Sprintf("DELETE FROM parent WHERE id = %d", id),
				fmt.Sprintf("DELETE FROM child WHERE id = %d", id),
			}[r.IntN(9)])
		}
		tx, err := conn.Begin(ctx)
		for i := 0; err == nil && i < len(sql); i++ {
			_, err = tx.Exec(ctx, sql[i])
		}
		if err == nil {
			err = tx.Commit(ctx)
		} else if tx != nil {
			_ = tx.Rollback(ctx)
		}
		if conn.IsClosed() {
			return fmt.Errorf("connection lost: %w", err)
		}
	}
	return nil
}
