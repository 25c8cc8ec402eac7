package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgproxy/test/harness"
)

// TestConflicts: two nodes write one row while they do not see each other. What does not touch merges, what is a delta adds
// up, and of a clash the later stands and the earlier is kept.
func TestConflicts(t *testing.T) {
	for _, major := range harness.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) { conflicts(t, major) })
	}
}

func conflicts(t *testing.T, major int) {
	c := harness.NewCluster(t, harness.ClusterOptions{Majors: []int{major}})
	run := func(node int, sql string) {
		t.Helper()
		harness.Query(t, c.Nodes[node].DSN("postgres"), sql)
	}
	run(0, `CREATE TABLE item (id int PRIMARY KEY, name text, place text, stock int NOT NULL, price numeric(10,2));
		INSERT INTO item VALUES (1, 'bolt', 'shelf 1', 100, 1.50), (2, 'nut', 'shelf 2', 50, 0.50), (3, 'washer', 'shelf 3', 10, 0.10),
			(4, 'screw', 'shelf 4', 5, 0.20)`)
	c.Settle(drainTime)
	c.Isolate(0, 1, 2)
	// Disjoint columns of one row.
	run(0, "UPDATE item SET name = 'hex bolt' WHERE id = 1")
	run(1, "UPDATE item SET place = 'shelf 9' WHERE id = 1")
	// Deltas, in both forms and of two types.
	run(0, "UPDATE item SET stock = stock - 3 WHERE id = 2")
	run(1, "UPDATE item SET stock = stock - 4 WHERE id = 2")
	run(2, "UPDATE item SET stock = stock + 10, price = price * 1 WHERE id = 2")
	// A clash: c is later than a, whatever the clocks say, because it is asked later on the same machine.
	run(0, "UPDATE item SET name = 'loser' WHERE id = 3")
	run(2, "UPDATE item SET name = 'winner' WHERE id = 3")
	// A delete against an unaware update: the row is still needed.
	run(1, "DELETE FROM item WHERE id = 4")
	run(0, "UPDATE item SET place = 'here' WHERE id = 4")
	c.Heal()
	c.Settle(drainTime)
	got := c.Equal(t, "postgres", "SELECT id, name, place, stock, price FROM item ORDER BY id")
	want := []string{"1|hex bolt|shelf 9|100|1.50", "2|nut|shelf 2|53|0.50", "3|winner|shelf 3|10|0.10", "4|screw|here|5|0.20"}
	if !slices.Equal(got, want) {
		t.Errorf("merged:\n%s\nexpected:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	c.Verify()
	for _, n := range c.Nodes {
		s, err := n.Status()
		if err != nil {
			t.Fatal(err)
		}
		if s.Conflicts < 2 { // the clash and the lost delete
			t.Errorf("node %s tells of %d conflicts", n.Name, s.Conflicts)
		}
	}
}
