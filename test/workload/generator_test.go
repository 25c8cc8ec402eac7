package workload_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgproxy/test/harness"
	"pgproxy/test/workload"
)

// TestGeneratorOnPlainPostgres runs the workload where nothing can go wrong: the checkers must agree, also after the
// server was killed in the middle.
func TestGeneratorOnPlainPostgres(t *testing.T) {
	s := harness.Postgres(t)
	harness.Query(t, s.DSN("postgres"), workload.Schema)
	seed := harness.Seed(t)
	l := workload.NewLedger()
	g := workload.Generator{
		Targets: []workload.Target{{Name: "a", DSN: s.DSN("postgres")}}, Clients: 4, Ledger: l,
		Rand: func(client uint64) *rand.Rand { return harness.Rand(seed, client) },
	}
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() { g.Run(stop); close(ended) }()
	harness.WaitFor(t, time.Minute, "100 acknowledged operations", func() (bool, string) { return l.Acked() > 100, "" })
	s.Restart()
	before := l.Acked()
	harness.WaitFor(t, time.Minute, "the clients to come back", func() (bool, string) { return l.Acked() > before+100, "" })
	close(stop)
	<-ended
	tables, err := workload.ReadTables("a", harness.Query(t, s.DSN("postgres"), workload.Dump))
	if err != nil {
		t.Fatal(err)
	}
	if wrong := workload.CheckTables(l, tables); len(wrong) > 0 {
		t.Errorf("%s", strings.Join(wrong, "\n"))
	}
	kinds := map[string]int{}
	for _, op := range l.Operations() {
		if op.Outcome == workload.Acked {
			kinds[op.Kind]++
		}
	}
	t.Logf("%v; acknowledged: %v", l.Count(), kinds)
	if len(kinds) < 14 {
		t.Errorf("some kinds of operation never succeeded: %v", kinds)
	}
}
