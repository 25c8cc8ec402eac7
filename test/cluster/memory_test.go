package cluster

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pgproxy/test/harness"
)

// memoryBound is the most that a proxy may have had resident, in MiB, however large a transaction is.
const memoryBound = 256

// memoryTime is how long a large transaction may take to be everywhere.
const memoryTime = 15 * time.Minute

// TestMemory sends a COPY and an UPDATE of many rows (PGPROXY_MEMORY_ROWS; a million in make memory) through the end of a
// line of three nodes, kills the writer in the middle of the COPY and the last node while it applies, and looks at the most
// that each proxy has had resident: where the rows were written, where they were passed on, where they were applied.
func TestMemory(t *testing.T) {
	rows := harness.Number(t, "PGPROXY_MEMORY_ROWS", 15_000)
	s := &scene{t: t, Cluster: harness.NewCluster(t, harness.ClusterOptions{Topology: harness.Line})}
	s.exec(0, "CREATE TABLE big (id bigint PRIMARY KEY, name text NOT NULL, n int NOT NULL DEFAULT 0, at timestamptz NOT NULL DEFAULT now())")
	s.Settle(memoryTime)

	copyRows := func(stop int) error {
		conn, err := pgx.Connect(context.Background(), s.Nodes[0].DSN("postgres"))
		if err != nil {
			return err
		}
		defer conn.Close(context.Background())
		i := 0
		_, err = conn.CopyFrom(context.Background(), pgx.Identifier{"big"}, []string{"id", "name"}, pgx.CopyFromFunc(func() ([]any, error) {
			if i++; i == stop {
				s.Nodes[0].Kill9()
			}
			if i > rows {
				return nil, nil
			}
			return []any{int64(i), fmt.Sprintf("the row of number %d", i)}, nil
		}))
		return err
	}
	if err := copyRows(rows / 2); err == nil {
		t.Error("the COPY ended although its proxy was killed")
	}
	s.Nodes[0].Start()
	s.AwaitConnected(time.Minute)
	s.resident("COPY cut off")
	start := time.Now()
	if err := copyRows(0); err != nil {
		t.Fatalf("COPY: %v", err)
	}
	t.Logf("COPY of %d rows: %v", rows, time.Since(start).Round(time.Millisecond))
	s.resident("COPY")
	s.applying(2)
	s.Nodes[2].Kill9()
	s.Nodes[2].Start()
	s.Settle(memoryTime)
	t.Logf("everywhere after %v", time.Since(start).Round(time.Millisecond))
	s.resident("COPY applied")

	start = time.Now()
	s.exec(0, "UPDATE big SET n = n + 1, name = name || '!'")
	t.Logf("UPDATE: %v", time.Since(start).Round(time.Millisecond))
	s.Settle(memoryTime)
	t.Logf("everywhere after %v", time.Since(start).Round(time.Millisecond))
	s.resident("UPDATE applied")
	if got := s.Equal(t, "postgres", "SELECT count(*) || ' ' || sum(n) || ' ' || count(*) FILTER (WHERE name LIKE '%!') FROM big"); got[0] != fmt.Sprintf("%d %d %d", rows, rows, rows) {
		t.Errorf("%v", got)
	}
	if out := s.Nodes[1].Run("journal", "ls", "--limit", "3"); out.Code != 0 {
		t.Errorf("journal ls: %v", out)
	}
	s.Verify()
	s.resident("verified")
}

// applying waits until a node's database has locks of an apply that is under way.
func (s *scene) applying(node int) {
	s.t.Helper()
	harness.WaitFor(s.t, progressTime, "the rows are being applied", func() (bool, string) {
		got := harness.Query(s.t, s.Nodes[node].Server.DSN("postgres"),
			"SELECT count(*) FROM pg_locks WHERE relation = to_regclass('big') AND mode = 'RowExclusiveLock'")
		return got[0] != "0", got[0]
	})
}

// resident tells the most memory that each proxy has had resident since it started, and holds it against the bound.
func (s *scene) resident(when string) {
	s.t.Helper()
	var all []string
	for _, n := range s.Nodes {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.Process().PID()))
		if err != nil {
			s.t.Fatal(err)
		}
		kib := 0
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				fmt.Sscan(rest, &kib)
			}
		}
		all = append(all, fmt.Sprintf("%s %d MiB", n.Name, kib>>10))
		if kib == 0 || kib>>10 >= memoryBound {
			s.t.Errorf("%s: %s has had %d KiB resident", when, n.Name, kib)
		}
	}
	s.t.Logf("%s: %s", when, strings.Join(all, ", "))
}
