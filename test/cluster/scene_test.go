package cluster

import (
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgproxy/test/harness"
	"pgproxy/test/workload"
)

// Deadlines of the scenarios. They are for a machine of two cores that does other things too; what is right ends far
// earlier.
const (
	drainTime    = 60 * time.Second
	progressTime = 90 * time.Second
)

// scene is a cluster with a workload.
type scene struct {
	*harness.Cluster
	t      *testing.T
	ledger *workload.Ledger
	seed   uint64
	part   atomic.Uint64 // generators started, so that each draws numbers of its own
	kinds  []string
}

func newScene(t *testing.T, o harness.ClusterOptions) *scene {
	t.Helper()
	s := &scene{t: t, ledger: workload.NewLedger(), seed: harness.Seed(t)}
	s.Cluster = harness.NewCluster(t, o)
	for sql := range strings.SplitSeq(workload.Schema, ";") {
		s.exec(0, sql)
	}
	s.Settle(drainTime)
	return s
}

// exec runs SQL through a node's proxy.
func (s *scene) exec(node int, sql string) []string {
	s.t.Helper()
	return harness.Query(s.t, s.Nodes[node].DSN("postgres"), sql)
}

// load starts clients on the given nodes (all if none are given); the function it returns stops them.
func (s *scene) load(clients int, nodes ...int) (stop func()) {
	if len(nodes) == 0 {
		for i := range s.Nodes {
			nodes = append(nodes, i)
		}
	}
	part := s.part.Add(1)
	g := workload.Generator{Clients: clients, Ledger: s.ledger, Kinds: s.kinds,
		Rand: func(client uint64) *rand.Rand { return harness.Rand(s.seed, part<<32|client) }}
	for _, i := range nodes {
		g.Targets = append(g.Targets, workload.Target{Name: s.Nodes[i].Name, DSN: s.Nodes[i].DSN("postgres")})
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		g.Run(end)
	}()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			close(end)
			<-ended
		}
	}
	s.t.Cleanup(stop)
	return stop
}

// progress waits until each of the nodes has acknowledged n more operations than when it was called.
func (s *scene) progress(n int, nodes ...int) {
	s.t.Helper()
	if len(nodes) == 0 {
		for i := range s.Nodes {
			nodes = append(nodes, i)
		}
	}
	begin := s.ackedByNode()
	harness.WaitFor(s.t, progressTime, "writes to go on", func() (bool, string) {
		now := s.ackedByNode()
		for _, i := range nodes {
			if name := s.Nodes[i].Name; now[name] < begin[name]+n {
				return false, "node " + name + " stands; the last errors: " + s.lastErrors(name)
			}
		}
		return true, ""
	})
}

func (s *scene) ackedByNode() map[string]int {
	n := map[string]int{}
	for _, op := range s.ledger.Operations() {
		if op.Outcome == workload.Acked {
			n[op.Node]++
		}
	}
	return n
}

func (s *scene) lastErrors(node string) string {
	var last []string
	for _, op := range s.ledger.Operations() {
		if op.Node == node && op.Err != "" && op.Kind != "failure" && op.Kind != "rollback" {
			last = append(last, op.String())
		}
	}
	return strings.Join(last[max(0, len(last)-3):], "; ")
}

// check settles, and holds the running nodes' tables against each other and the ledger; with journals, those too.
func (s *scene) check(journals bool) {
	s.t.Helper()
	s.Settle(drainTime)
	s.Equal(s.t, "postgres", workload.Dump)
	for _, n := range s.Running() {
		s.checkNode(n, journals)
	}
	if s.t.Failed() {
		s.t.FailNow() // later checks would only repeat it
	}
}

func (s *scene) checkNode(n *harness.Node, journals bool) {
	s.t.Helper()
	tables, err := workload.ReadTables(n.Name, n.Query(s.t, "postgres", workload.Dump))
	if err != nil {
		s.t.Fatal(err)
	}
	wrong := workload.CheckTables(s.ledger, tables)
	if journals {
		wrong = append(wrong, workload.CheckJournal(s.ledger, tables, entries(s.t, n))...)
	}
	report(s.t, wrong)
}

// shown is how many complaints are printed.
const shown = 12

func report(t *testing.T, wrong []string) {
	t.Helper()
	if len(wrong) > shown {
		wrong = append(wrong[:shown:shown], "...")
	}
	if len(wrong) > 0 {
		t.Errorf("%s", strings.Join(wrong, "\n"))
	}
}

// entries reads a node's journal for the audit checker.
func entries(t *testing.T, n *harness.Node) []workload.Entry {
	t.Helper()
	var all []workload.Entry
	n.EachTransaction(func(x harness.Transaction) {
		e := workload.Entry{ID: x.ID(), Origin: x.Origin, Seq: x.Seq, User: x.User, Outcome: x.Outcome}
		for _, st := range x.Statements {
			if st.Capture == "missing" {
				e.Missing = st.Query + " -- " + st.Note
			}
			for _, row := range st.Rows {
				if row.Op != "I" || row.Table != "w_set" {
					continue
				}
				id, err := workload.ParseID(row.After["id"])
				if err != nil {
					t.Fatalf("%s: %v", x.ID(), err)
				}
				e.Inserted = append(e.Inserted, workload.Insert{ID: id, Query: st.Query, RolledBack: st.RolledBack})
			}
		}
		all = append(all, e)
	})
	return all
}
