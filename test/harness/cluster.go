package harness

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"pgproxy/test/faultnet"
)

// Topology says which nodes are configured as peers of which.
type Topology int

// The shapes of a cluster of nodes a, b, c...
const (
	Mesh Topology = iota // everybody knows everybody
	Line                 // a - b - c: each knows its neighbours
	Star                 // a is the hub, the others know only it
)

func (s Topology) linked(i, j int) bool {
	switch s {
	case Line:
		return i-j == 1 || j-i == 1
	case Star:
		return (i == 0 || j == 0) && i != j
	default:
		return i != j
	}
}

// ClusterOptions says what a cluster is made of.
type ClusterOptions struct {
	Nodes    int // 3 if 0
	Topology Topology
	Majors   []int // version of each node's PostgreSQL, repeated as needed; the distribution's if empty
	Binary   string
	Args     []string // more arguments of serve
	Postgres []PostgresOption
	Relayed  bool // a relay stands between each proxy and its database too (Node.Wire)
}

// Node is a member of a cluster.
type Node struct {
	*Proxy
	Server *Server
	Wire   *faultnet.Relay // between proxy and database, if asked for
}

// Cluster is some nodes and the links between them.
type Cluster struct {
	Nodes []*Node
	t     T
	links map[[2]int]*faultnet.Relay // by (who dials, who is dialled)
}

// NewCluster starts databases, proxies and relays, and waits until all are ready and every link is up.
func NewCluster(t T, o ClusterOptions) *Cluster {
	t.Helper()
	c := PrepareCluster(t, o)
	for _, n := range c.Nodes {
		n.Start()
	}
	c.AwaitConnected(time.Minute)
	return c
}

// PrepareCluster starts databases and relays, and no proxy.
func PrepareCluster(t T, o ClusterOptions) *Cluster {
	t.Helper()
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if len(o.Majors) == 0 {
		o.Majors = []int{0}
	}
	if o.Binary == "" {
		o.Binary = Build(t)
	}
	c := &Cluster{t: t, links: map[[2]int]*faultnet.Relay{}}
	for i := range o.Nodes {
		c.Nodes = append(c.Nodes, newNode(t, o, i))
	}
	for i := range o.Nodes {
		for j := range o.Nodes {
			if o.Topology.linked(i, j) {
				c.Link(i, j)
			}
		}
	}
	return c
}

func newNode(t T, o ClusterOptions, i int) *Node {
	t.Helper()
	name := string(rune('a' + i))
	options := append([]PostgresOption{Named("pg-" + name), Major(o.Majors[i%len(o.Majors)])}, o.Postgres...)
	n := &Node{Server: Postgres(t, options...)}
	po := ProxyOptions{Name: name, Binary: o.Binary, Upstream: n.Server, Args: o.Args}
	if o.Relayed {
		n.Wire = NewRelay(t, n.Server.Port, true)
		po.UpstreamString = fmt.Sprintf("host=127.0.0.1 port=%d user=postgres", n.Wire.Port())
	}
	n.Proxy = PrepareProxy(t, po)
	return n
}

// NewRelay puts a relay before a loopback port; it is closed when t ends.
func NewRelay(t T, port int, frames bool) *faultnet.Relay {
	t.Helper()
	r, err := faultnet.Listen(Local(FreePort(t)), Local(port), frames)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// Link configures j as a peer of i, through a relay of its own. It counts from i's next start on.
func (c *Cluster) Link(i, j int) {
	c.t.Helper()
	r := NewRelay(c.t, c.Nodes[j].PeerPort, false)
	c.links[[2]int{i, j}] = r
	c.Nodes[i].Peers = append(c.Nodes[i].Peers, c.Nodes[j].Name+"="+r.Addr())
}

// Between lists the relays between two nodes.
func (c *Cluster) Between(i, j int) []*faultnet.Relay {
	var out []*faultnet.Relay
	for _, k := range [][2]int{{i, j}, {j, i}} {
		if r := c.links[k]; r != nil {
			out = append(out, r)
		}
	}
	return out
}

// Of lists the relays of a node.
func (c *Cluster) Of(i int) []*faultnet.Relay {
	var out []*faultnet.Relay
	for _, k := range slices.SortedFunc(maps.Keys(c.links), func(a, b [2]int) int { return slices.Compare(a[:], b[:]) }) {
		if k[0] == i || k[1] == i {
			out = append(out, c.links[k])
		}
	}
	return out
}

// Isolate cuts all links of a node, or of all nodes.
func (c *Cluster) Isolate(nodes ...int) {
	for _, i := range nodes {
		for _, r := range c.Of(i) {
			r.Cut()
		}
	}
}

// Heal mends all links.
func (c *Cluster) Heal() {
	for _, r := range c.links {
		r.Heal()
	}
}

// AwaitConnected waits until every running node is connected to each of its configured peers that runs.
func (c *Cluster) AwaitConnected(deadline time.Duration) {
	c.t.Helper()
	WaitFor(c.t, deadline, "the nodes to be connected", func() (bool, string) {
		for _, n := range c.Running() {
			s, err := n.Status()
			if err != nil {
				return false, errNote(err)
			}
			if !s.Ready {
				return false, n.Name + " is not ready"
			}
			for _, p := range s.Peers {
				if !p.Connected && c.runs(p.Name) {
					return false, fmt.Sprintf("%s is not connected to %s: %s", n.Name, p.Name, p.LastError)
				}
			}
		}
		return true, ""
	})
}

// Running lists the nodes whose process runs.
func (c *Cluster) Running() []*Node {
	return slices.DeleteFunc(slices.Clone(c.Nodes), func(n *Node) bool { return n.proc == nil || !n.proc.Running() })
}

func (c *Cluster) runs(name string) bool {
	return slices.ContainsFunc(c.Running(), func(n *Node) bool { return n.Name == name })
}

// Drain drains every running node.
func (c *Cluster) Drain(timeout time.Duration) {
	c.t.Helper()
	for _, n := range c.Running() {
		n.Drain(timeout)
	}
}

// Settle drains every running node, and waits until all of them have applied the same of every origin: a drain speaks of
// direct peers, and of what they hold, not of what they have applied.
func (c *Cluster) Settle(timeout time.Duration) {
	c.t.Helper()
	for _, n := range c.Running() {
		if !c.alone(n) {
			n.Drain(timeout)
		}
	}
	note, ok := Wait(timeout, func() (bool, string) {
		first := ""
		for i, n := range c.Running() {
			s, err := n.Status()
			if err != nil {
				return false, errNote(err)
			}
			applied := fmt.Sprint(s.Applied) // maps print in order
			if i == 0 {
				first = applied
			} else if applied != first {
				return false, fmt.Sprintf("%s has applied %s, %s has applied %s\n%s", c.Running()[0].Name, first, n.Name, applied, c.statuses())
			}
		}
		return true, ""
	})
	if !ok {
		for _, n := range c.Running() {
			n.proc.stop(syscall.SIGQUIT, proxyStop) // its goroutines stand in its log then
		}
		c.t.Fatalf("waited %v for all nodes to have applied the same: %s", timeout, note)
	}
}

// statuses is every running node's status, as a person sees it.
func (c *Cluster) statuses() string {
	var all strings.Builder
	for _, n := range c.Running() {
		fmt.Fprintf(&all, "-- status of %s\n%s", n.Name, n.Run("status").Stdout)
	}
	return all.String()
}

// alone reports whether a peer of n does not run, so that n cannot be drained.
func (c *Cluster) alone(n *Node) bool {
	return slices.ContainsFunc(n.Peers, func(peer string) bool {
		name, _, _ := strings.Cut(peer, "=")
		return !c.runs(name)
	})
}

// Verify runs `pgproxy verify` on every running node and fails the test unless all say equal.
func (c *Cluster) Verify() {
	c.t.Helper()
	for _, n := range c.Running() {
		if r := n.Run("verify"); r.Code != 0 {
			c.t.Errorf("node %s: %s", n.Name, r)
		}
	}
}

// Query gives the rows of a query at one node's database, not through its proxy, as text: columns joined by |.
func (n *Node) Query(t T, database, sql string) []string {
	t.Helper()
	return Query(t, n.Server.DSN(database), sql)
}

// Query gives the rows of a query as text: columns joined by |.
func Query(t T, dsn, sql string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatalf("connect to %s: %v", dsn, err)
	}
	defer c.Close(ctx)
	results, err := c.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var lines []string
	for _, r := range results {
		for _, row := range r.Rows {
			cols := make([]string, len(row))
			for i, v := range row {
				cols[i] = string(v)
				if v == nil {
					cols[i] = "NULL"
				}
			}
			lines = append(lines, strings.Join(cols, "|"))
		}
	}
	return lines
}

// Equal fails the test unless the query gives the same at every running node's database; it returns the common answer.
func (c *Cluster) Equal(t T, database, sql string) []string {
	t.Helper()
	var first []string
	for i, n := range c.Running() {
		got := n.Query(t, database, sql)
		if i == 0 {
			first = got
		} else if !slices.Equal(first, got) {
			t.Errorf("%s\n%s", sql, difference(c.Running()[0].Name, first, n.Name, got))
		}
	}
	return first
}

// shownDifferences is how many differing lines are printed.
const shownDifferences = 20

func difference(an string, a []string, bn string, b []string) string {
	count := map[string]int{}
	for _, s := range a {
		count[s]++
	}
	for _, s := range b {
		count[s]--
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s has %d rows, %s has %d\n", an, len(a), bn, len(b))
	shown := 0
	for _, s := range slices.Sorted(maps.Keys(count)) {
		if n := count[s]; n != 0 && shown < shownDifferences {
			shown++
			who := an
			if n < 0 {
				who, n = bn, -n
			}
			fmt.Fprintf(&out, "  only %s (%dx): %s\n", who, n, s)
		}
	}
	return out.String()
}
