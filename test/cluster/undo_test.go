package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pgproxy/test/harness"
)

// undoSchema has what an undo can stumble over: a foreign key that deletes along, a unique key, a table without key, types whose
// equality is not that of their texts, generated and identity columns.
const undoSchema = `CREATE TABLE u_shop (id int PRIMARY KEY, name text UNIQUE, qty int NOT NULL, note text, doc json, at timestamptz, tags text[],
	twice int GENERATED ALWAYS AS (qty * 2) STORED);
CREATE TABLE u_line (id int PRIMARY KEY, shop int REFERENCES u_shop ON DELETE CASCADE ON UPDATE CASCADE, n numeric(8,2));
CREATE TABLE u_log (what text, n int)`

const undoDump = `SELECT 'shop', to_jsonb(s)::text FROM u_shop s UNION ALL SELECT 'line', to_jsonb(l)::text FROM u_line l
	UNION ALL SELECT 'log', to_jsonb(g)::text FROM u_log g ORDER BY 1, 2`

// TestUndoOfUndo takes random transactions of random histories of three nodes back, and then the undo: the tables are what they
// were. Undone, the history of each row says so.
func TestUndoOfUndo(t *testing.T) {
	seed := harness.Seed(t)
	rnd := harness.Rand(seed, 0)
	c := harness.NewCluster(t, harness.ClusterOptions{Majors: harness.Majors(t)})
	for sql := range strings.SplitSeq(undoSchema, ";") {
		harness.Query(t, c.Nodes[0].DSN("postgres"), sql)
	}
	c.Settle(drainTime)
	var conns []*pgx.Conn
	for _, n := range c.Nodes {
		conns = append(conns, n.Connect(t, "postgres"))
	}
	rounds := harness.Number(t, "PGPROXY_ROUNDS", 2)
	done := map[string]int{}
	for range rounds {
		for range 12 {
			randomWrite(t, rnd, conns[rnd.IntN(len(conns))])
		}
		c.Settle(drainTime)
		for range 3 {
			undoBoth(t, c, rnd, done)
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("undone: %v", done)
	if done["undone"] == 0 {
		t.Error("nothing was ever undone")
	}
}

// undoBoth undoes something random at a random node, and the undo at another.
func undoBoth(t *testing.T, c *harness.Cluster, rnd *rand.Rand, done map[string]int) {
	t.Helper()
	node := c.Nodes[rnd.IntN(len(c.Nodes))]
	before := c.Equal(t, "postgres", undoDump)
	target := randomTarget(t, rnd, node)
	mode := []string{"refuse", "cascade", "force", "nonconflict"}[rnd.IntN(4)]
	r := node.Run("audit", "undo", target, "--mode", mode, "--apply", "--connect", "user=postgres")
	undone := regexp.MustCompile(`undone by (\S+):`).FindStringSubmatch(r.Stderr)
	if r.Code != 0 || undone == nil {
		done[fmt.Sprintf("%s: code %d", mode, r.Code)]++
		if r.Code == 1 {
			t.Errorf("undo %s --mode %s: %s", target, mode, r)
		}
		c.Settle(drainTime)
		if after := c.Equal(t, "postgres", undoDump); !slices.Equal(before, after) {
			t.Errorf("undo %s --mode %s says that it did nothing, but the tables changed: %s\nbefore\n%s\nafter\n%s", target, mode, r, strings.Join(before, "\n"), strings.Join(after, "\n"))
		}
		return
	}
	done["undone"]++
	c.Settle(drainTime)
	middle := c.Equal(t, "postgres", undoDump)
	if slices.Equal(before, middle) {
		done["without effect"]++
	}
	other := c.Nodes[rnd.IntN(len(c.Nodes))]
	back := other.Run("audit", "undo", undone[1], "--apply", "--connect", "user=postgres")
	if back.Code != 0 {
		t.Fatalf("undo of the undo %s of %s --mode %s: %s\n%s", undone[1], target, mode, back, r)
	}
	c.Settle(drainTime)
	if after := c.Equal(t, "postgres", undoDump); !slices.Equal(before, after) {
		t.Errorf("undo %s --mode %s and back: the tables are not what they were\nbefore\n%s\nundone\n%s\nafter\n%s\n%s\n%s", target, mode,
			strings.Join(before, "\n"), strings.Join(middle, "\n"), strings.Join(after, "\n"), r.Stdout, back.Stdout)
	}
	if shown := node.Run("audit", "show", undone[1]); !strings.Contains(shown.Stdout, "undo of") {
		t.Errorf("%s is not shown as an undo: %s", undone[1], shown)
	}
}

// randomTarget picks one of the last transactions that wrote to the tables, or a few of one node that follow on each other.
func randomTarget(t *testing.T, rnd *rand.Rand, n *harness.Node) string {
	t.Helper()
	var ids []harness.Transaction
	for _, x := range n.Journal("--outcome", "committed", "--limit", "14") {
		if x.Seq > 0 && len(x.Statements) > 0 && !strings.Contains(x.Statements[0].Query, "CREATE TABLE") {
			ids = append(ids, x)
		}
	}
	if len(ids) == 0 {
		t.Fatal("nothing to undo")
	}
	x := ids[rnd.IntN(len(ids))]
	if rnd.IntN(3) == 0 && x.Seq > 3 {
		if from := n.Run("audit", "show", fmt.Sprintf("%s/%d", x.Origin, x.Seq-1)); from.Code == 0 && !strings.Contains(from.Stdout, "CREATE TABLE") {
			return fmt.Sprintf("%s/%d..%d", x.Origin, x.Seq-1, x.Seq)
		}
	}
	return x.ID()
}

// randomWrite is a transaction of one to three statements; those that the database refuses are refused.
func randomWrite(t *testing.T, rnd *rand.Rand, c *pgx.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tx, err := c.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	for range 1 + rnd.IntN(3) {
		id := rnd.IntN(8)
		sql := []string{
			fmt.Sprintf("INSERT INTO u_shop VALUES (%d, 'n%d', %d, NULL, '{\"a\": %d}', now(), '{x,NULL,\"\"}') ON CONFLICT DO NOTHING", id, rnd.IntN(100000), rnd.IntN(50), id),
			fmt.Sprintf("UPDATE u_shop SET qty = qty - %d WHERE id = %d", rnd.IntN(5), id),
			fmt.Sprintf("UPDATE u_shop SET note = %s, doc = '{\"b\":  %d}' WHERE id = %d", []string{"NULL", "''", "'NULL'", `E'it''s \\ "x"'`}[rnd.IntN(4)], rnd.IntN(9), id),
			fmt.Sprintf("INSERT INTO u_line VALUES (%d, (SELECT max(id) FROM u_shop), %d.50)", rnd.IntN(1000000), id),
			fmt.Sprintf("UPDATE u_line SET n = n + 1.25 WHERE shop = %d", id),
			fmt.Sprintf("DELETE FROM u_line WHERE shop = %d AND n < 5", id),
			fmt.Sprintf("INSERT INTO u_log VALUES ('w%d', %d), (NULL, NULL)", rnd.IntN(3), rnd.IntN(3)),
			fmt.Sprintf("DELETE FROM u_shop WHERE id = %d", id),
		}[rnd.IntN(8)]
		if _, err := tx.Exec(ctx, sql); err != nil {
			return
		}
	}
	_ = tx.Commit(ctx)
}
