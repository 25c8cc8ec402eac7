package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pgproxy/test/faultnet"
	"pgproxy/test/harness"
)

// Rounds of TestCrash for each PostgreSQL version, and how many of them end with a check of the journals too (the tables are
// checked in each).
const (
	crashRounds   = 55
	journalRounds = 28
)

// hitTime is how long a fault point may take to be reached under load; after that the process is killed where it is.
const hitTime = 20 * time.Second

// TestCrash: rounds of concurrent load on three nodes, in each of which something dies at a chosen moment: a proxy at a
// fault point of commit, recovery, receive or apply, or anywhere; a backend; a postmaster; the wire to the database in the
// middle of COMMIT. After each round everybody comes back and nothing may be lost, invented, or recorded wrong.
func TestCrash(t *testing.T) {
	rounds := harness.Number(t, "PGPROXY_ROUNDS", crashRounds)
	for _, major := range harness.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel() // most of a round is waiting
			s := newScene(t, harness.ClusterOptions{Majors: []int{major}, Relayed: true,
				Binary: harness.Build(t, harness.Faults), Args: []string{"--journal-segment", "256KB"}})
			c := &crash{scene: s, rand: harness.Rand(s.seed, 1<<62), hits: map[string]int{}, points: faultPoints(t)}
			c.exec(0, "CREATE TABLE crash_large (id bigint PRIMARY KEY, body text)")
			c.Settle(drainTime)
			for round := range rounds {
				c.round(round)
			}
			c.check(true)
			c.Verify()
			c.summary()
		})
	}
}

// crash is the state of the rounds.
type crash struct {
	*scene
	rand   *rand.Rand
	points []string
	plan   []string       // what is still to be done before the list is shuffled anew
	hits   map[string]int // how often what was done
	cycles int            // how often the plan was gone through
}

var faultCall = regexp.MustCompile(`(?i)fault\w*\("([a-z]+\.[a-z_.-]+)"\)`)

// faultPoints finds the fault points in the source, so that a new one is tested from the day it stands there. Three have tests of
// their own: the birth of a journal (TestCrashAtBirth), the middle of a large record, which is applied whole under a load
// like this one (TestMemory), and a purge, after which the journals do not hold everything any more (in journal).
func faultPoints(t *testing.T) []string {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, room := range []string{"journal", "proxy", "forward"} {
		err := filepath.WalkDir(filepath.Join(root, room), func(path string, _ os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range faultCall.FindAllSubmatch(text, -1) {
				found = append(found, string(m[1]))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(found)
	found = slices.DeleteFunc(slices.Compact(found), func(p string) bool { return slices.Contains([]string{bornAt, "apply.block", "journal.purge"}, p) })
	for _, step := range []string{"commit.", "recover.", "receive.", "apply."} {
		if !slices.ContainsFunc(found, func(p string) bool { return strings.HasPrefix(p, step) }) {
			t.Errorf("no fault point of %q in the source: %v", step, found)
		}
	}
	t.Logf("fault points: %v", found)
	return found
}

// bornAt is the one fault point that only a new journal passes: TestCrashAtBirth has it.
const bornAt = "journal.created"

// TestCrashAtBirth kills a node while it makes its journal, again and again, and lets it live.
func TestCrashAtBirth(t *testing.T) {
	server := harness.Postgres(t)
	p := harness.PrepareProxy(t, harness.ProxyOptions{Upstream: server, Binary: harness.Build(t, harness.Faults)})
	for hit := 1; hit <= 2; hit++ {
		p.Env = []string{fmt.Sprintf("PGPROXY_FAULT=%s:1", bornAt)}
		p.Launch()
		select {
		case <-p.Process().Done():
		case <-time.After(hitTime):
			p.Kill9()
			if hit == 1 {
				t.Errorf("fault point %s was never reached", bornAt)
			}
		}
	}
	p.Env = nil
	p.Start()
	harness.Query(t, p.DSN("postgres"), "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)")
	if got := p.Journal("--table", "t", "--outcome", "committed"); len(got) == 0 {
		t.Error("the journal holds nothing")
	}
}

// next draws what happens in a round: each thing once before any comes again.
func (c *crash) next() string {
	if len(c.plan) == 0 {
		if c.hits["kill proxy"] > 0 {
			c.cycles++
		}
		c.plan = append(slices.Clone(c.points), "kill proxy", "kill two proxies", "pause proxy", "kill backend", "kill postmaster",
			"kill postmaster and proxy", "cut COMMIT", "cut Sync", "cut the answer", "hold COMMIT")
		c.rand.Shuffle(len(c.plan), func(i, j int) { c.plan[i], c.plan[j] = c.plan[j], c.plan[i] })
	}
	what := c.plan[0]
	c.plan = c.plan[1:]
	return what
}

func (c *crash) round(number int) {
	c.t.Helper()
	what, victim := c.next(), c.rand.IntN(len(c.Nodes))
	n := c.Nodes[victim]
	defer func() {
		if c.t.Failed() {
			c.t.Logf("it was in round %d: %s at %s", number, what, n.Name)
		}
	}()
	begin := time.Now()
	everywhere, here := c.load(1), c.load(2, victim)
	c.progress(2)
	loaded := time.Since(begin)
	switch {
	case strings.HasPrefix(what, "recover."):
		c.diesRecovering(n, what)
	case strings.Contains(what, "."):
		c.diesAt(n, what)
	default:
		c.happen(n, what)
	}
	happened := time.Since(begin)
	c.progress(2)
	everywhere()
	here()
	stopped := time.Since(begin)
	c.check(number%journalRounds == journalRounds-1)
	c.t.Logf("round %d: %s at %s (loaded %.1f s, happened %.1f s, went on %.1f s, checked %.1f s)", number, what, n.Name,
		loaded.Seconds(), happened.Seconds(), stopped.Seconds(), time.Since(begin).Seconds())
}

// diesAt restarts a proxy so that it kills itself at a fault point, and then in good health.
func (c *crash) diesAt(n *harness.Node, point string) {
	c.t.Helper()
	n.Kill9()
	hit := 1 + c.rand.IntN(12)
	switch point {
	case "journal.roll", "journal.seal", "journal.sign", "journal.images": // rare
		hit = 1
	case "apply.ran": // only a statement that refuses a transaction block passes it
		hit = 1
		other := c.Nodes[(slices.Index(c.Nodes, n)+1)%len(c.Nodes)]
		harness.Query(c.t, other.DSN("postgres"), fmt.Sprintf("CREATE INDEX CONCURRENTLY crash_%d ON w_gone (id)", c.rand.IntN(1<<30)))
	}
	if c.launchToDie(n, point, hit) {
		c.hits[point]++
	}
	n.Start()
}

// launchToDie starts a proxy with a fault and waits for its end; it is killed if it does not reach the point.
func (c *crash) launchToDie(n *harness.Node, point string, hit int) (reached bool) {
	c.t.Helper()
	n.Env = []string{fmt.Sprintf("PGPROXY_FAULT=%s:%d", point, hit)}
	from := n.Launch()
	n.Env = nil
	switch point {
	case "journal.sign": // a checkpoint is signed when the node is stopped
		n.AwaitReady(from)
		c.progress(2)
		_ = n.Process().Signal(syscall.SIGTERM)
	case "journal.images":
		n.AwaitReady(from)
		c.writeLarge(n)
	}
	select {
	case <-n.Process().Done():
		if code := n.Process().ExitCode(); code != -1 {
			c.t.Errorf("proxy %s ended by itself, with code %d", n.Name, code)
		}
		return true
	case <-time.After(hitTime):
		n.Kill9()
		return false
	}
}

// writeLarge writes more than a transaction holds in memory; that the proxy dies of it is its error.
func (c *crash) writeLarge(n *harness.Node) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hitTime)
	defer cancel()
	conn, err := pgx.Connect(ctx, n.DSN("postgres"))
	if err != nil {
		return
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "INSERT INTO crash_large SELECT $1 + i, repeat('x', 1000) FROM generate_series(1, 10000) i", c.rand.IntN(1<<30))
	c.t.Logf("a large transaction: %v", err)
}

// diesRecovering makes records in doubt, and kills the proxy while it resolves them.
func (c *crash) diesRecovering(n *harness.Node, point string) {
	c.t.Helper()
	n.Kill9()
	doubts := slices.DeleteFunc(slices.Clone(c.points), func(p string) bool { return !strings.HasPrefix(p, "commit.") })
	for range 3 {
		c.launchToDie(n, doubts[c.rand.IntN(len(doubts))], 1+c.rand.IntN(6))
		if c.launchToDie(n, point, 1) {
			c.hits[point]++
			break
		}
	}
	n.Start()
}

func (c *crash) happen(n *harness.Node, what string) {
	c.t.Helper()
	c.hits[what]++
	switch what {
	case "kill proxy":
		n.Restart()
	case "kill two proxies":
		other := c.Nodes[c.rand.IntN(len(c.Nodes))]
		n.Kill9()
		other.Kill9()
		n.Start()
		if other != n {
			other.Start()
		}
	case "pause proxy":
		n.Pause()
		for i := range c.Nodes {
			if c.Nodes[i] != n {
				c.progress(3, i)
			}
		}
		if c.rand.IntN(2) == 0 {
			n.Restart()
		} else {
			n.Resume()
		}
	case "kill backend":
		c.killBackend(n)
	case "kill postmaster":
		n.Server.Restart()
	case "kill postmaster and proxy":
		n.Server.Kill9()
		n.Kill9()
		n.Server.Start()
		n.Start()
	default:
		c.cutWire(n, what)
	}
}

// killBackend kills one of the workload's backends; PostgreSQL then restarts all of them.
func (c *crash) killBackend(n *harness.Node) {
	c.t.Helper()
	var pid int
	pids := n.Query(c.t, "postgres", "SELECT pid FROM pg_stat_activity WHERE application_name IN ('workload', 'pgproxy') ORDER BY pid")
	if len(pids) == 0 {
		c.t.Fatalf("no backend to kill")
	}
	if _, err := fmt.Sscan(pids[c.rand.IntN(len(pids))], &pid); err != nil {
		c.t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		c.t.Logf("backend %d: %v", pid, err) // it went by itself
	}
}

// cutWire breaks the link to the database in the middle of a commit.
func (c *crash) cutWire(n *harness.Node, what string) {
	c.t.Helper()
	after := c.rand.IntN(12)
	rules := map[string]faultnet.Rule{
		"cut COMMIT":     {Direction: faultnet.ToTarget, Match: faultnet.Query("COMMIT", "END"), After: after},
		"cut Sync":       {Direction: faultnet.ToTarget, Match: faultnet.Type('S'), After: after % 6, Skip: c.rand.IntN(20)},
		"cut the answer": {Direction: faultnet.FromTarget, Match: faultnet.Type('C'), After: after, Skip: c.rand.IntN(20)},
		"hold COMMIT":    {Direction: faultnet.ToTarget, Match: faultnet.Query("COMMIT", "END"), After: after, Hold: true},
	}
	rule, ok := rules[what]
	if !ok {
		c.t.Fatalf("no such thing as %q", what)
	}
	fired := n.Wire.Arm(rule)
	select {
	case <-fired:
	case <-time.After(hitTime):
		c.hits[what]--
	}
	if rule.Hold {
		c.progress(2)
		n.Wire.Drop()
	}
	n.Wire.Heal()
}

// summary says what was hit, and complains of a fault point that never was, if there were rounds enough.
func (c *crash) summary() {
	c.t.Helper()
	c.t.Logf("%v", c.ledger.Count())
	for _, what := range c.points {
		if c.hits[what] == 0 && c.cycles > 0 {
			c.t.Errorf("fault point %s was never reached", what)
		}
	}
	c.t.Logf("what happened: %v", c.hits)
}
