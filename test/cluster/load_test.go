package cluster

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgproxy/test/harness"
)

// TestLoad: pgbench on all nodes at once, in all modes, while node c is cut off in the middle; then everybody must agree,
// balances must be the sums of the deltas, and every journal must hold every transaction exactly once.
// PGPROXY_LOAD_SECONDS says how long each mode runs (30 in `make load`).
func TestLoad(t *testing.T) {
	seconds := harness.Number(t, "PGPROXY_LOAD_SECONDS", 4)
	c := harness.NewCluster(t, harness.ClusterOptions{})
	pgbench(t, c.Nodes[0].Port, "-i", "-s", "1", "-q")
	c.Settle(drainTime)
	want := c.Equal(t, "postgres", "SELECT count(*) FROM pgbench_accounts")
	if len(want) != 1 || want[0] != "100000" {
		t.Fatalf("after pgbench -i: %v accounts", want)
	}
	counts := map[string]int{}
	for _, script := range []string{"tpcb-like", "simple-update"} {
		for _, mode := range []string{"simple", "extended", "prepared"} {
			for node, n := range bench(t, c, script, mode, seconds) {
				counts[node] += n
			}
		}
		for _, n := range c.Nodes {
			begin := time.Now()
			n.Drain(10 * time.Minute)
			t.Logf("%s: drain of %s took %v", script, n.Name, time.Since(begin).Round(time.Millisecond))
		}
		c.Settle(10 * time.Minute)
		sums(t, c, script)
	}
	t.Logf("transactions by node: %v", counts)
	c.Equal(t, "postgres", "SELECT aid, abalance FROM pgbench_accounts ORDER BY aid")
	c.Equal(t, "postgres", "SELECT * FROM pgbench_history ORDER BY tid, bid, aid, delta, mtime")
	c.Verify()
	for _, n := range c.Nodes {
		journalHolds(t, n, counts)
	}
}

// bench runs one script in one mode on all nodes at once and gives the number of transactions by node.
func bench(t *testing.T, c *harness.Cluster, script, mode string, seconds int) map[string]int {
	t.Helper()
	var mu sync.Mutex
	counts := map[string]int{}
	var all sync.WaitGroup
	for _, n := range c.Nodes {
		all.Go(func() {
			out := pgbench(t, n.Port, "-n", "-c", "4", "-j", "1", "-T", strconv.Itoa(seconds), "-M", mode, "-b", script)
			mu.Lock()
			defer mu.Unlock()
			counts[n.Name] = processed(t, out)
		})
	}
	third := time.Duration(seconds) * time.Second / 3
	<-time.After(third)
	c.Isolate(2)
	<-time.After(third)
	c.Heal()
	all.Wait()
	t.Logf("%s, %s: %v in %d s", script, mode, counts, seconds)
	return counts
}

func pgbench(t *testing.T, port int, args ...string) string {
	t.Helper()
	args = append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "postgres"}, append(args, "postgres")...)
	out, err := exec.Command(harness.Client(t, "pgbench"), args...).CombinedOutput()
	if err != nil {
		t.Errorf("pgbench %v: %v\n%s", args, err, out)
	}
	return string(out)
}

var transactionCount = regexp.MustCompile(`number of transactions actually processed: (\d+)`)

func processed(t *testing.T, out string) int {
	t.Helper()
	m := transactionCount.FindStringSubmatch(out)
	if m == nil {
		t.Errorf("pgbench says: %s", out)
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// sums checks at every node that the balances are the sums of the deltas in the history.
func sums(t *testing.T, c *harness.Cluster, script string) {
	t.Helper()
	tables := [][2]string{{"accounts", "a"}}
	if script == "tpcb-like" { // simple-update writes history for branches and tellers that it does not change
		tables = append(tables, [2]string{"tellers", "t"}, [2]string{"branches", "b"})
	}
	for _, x := range tables {
		sql := fmt.Sprintf(`SELECT count(*) FROM pgbench_%[1]s x LEFT JOIN (SELECT %[2]sid, sum(delta) AS s FROM pgbench_history GROUP BY 1) h
			USING (%[2]sid) WHERE x.%[2]sbalance <> coalesce(h.s, 0)`, x[0], x[1])
		for _, n := range c.Nodes {
			if got := n.Query(t, "postgres", sql); got[0] != "0" {
				t.Errorf("node %s, %s: the balances of %s %s are not the sums of their deltas", n.Name, script, got[0], x[0])
			}
		}
	}
}

// journalHolds checks that a node's journal holds every transaction of every node exactly once.
func journalHolds(t *testing.T, n *harness.Node, counts map[string]int) {
	t.Helper()
	found := map[string]int{}
	seen := map[string]bool{}
	n.EachTransaction(func(x harness.Transaction) {
		if seen[x.ID()] && x.Seq != 0 {
			t.Errorf("journal of %s: %s stands there twice", n.Name, x.ID())
		}
		seen[x.ID()] = true
		for _, s := range x.Statements {
			if s.RolledBack {
				continue
			}
			for _, row := range s.Rows {
				if row.Table == "pgbench_history" && row.Op == "I" && x.Outcome == "committed" {
					found[x.Origin]++
				}
			}
		}
	})
	for node, want := range counts {
		if found[node] != want {
			t.Errorf("journal of %s: %d transactions of node %s; pgbench counted %d", n.Name, found[node], node, want)
		}
	}
	total := 0
	for _, want := range counts {
		total += want
	}
	if got := n.Query(t, "postgres", "SELECT count(*) FROM pgbench_history"); got[0] != strconv.Itoa(total) {
		t.Errorf("node %s: %s rows of history; pgbench counted %d", n.Name, got[0], total)
	}
}
