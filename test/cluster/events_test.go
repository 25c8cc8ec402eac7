package cluster

import (
	"strings"
	"testing"

	"pgproxy/journal"
	"pgproxy/test/harness"
)

// TestNodeEvents: the node's starts with their policy, its ends, an end that was none, a change of policy and the questions of
// auditors stand in the journal, in order.
func TestNodeEvents(t *testing.T) {
	s := harness.Postgres(t)
	p := harness.NewProxy(t, harness.ProxyOptions{Upstream: s, NoPeers: true})
	p.Run("audit", "ls", "--user", "nobody")
	p.Stop()
	p.Start()
	p.Kill9()
	p.Args = []string{"--audit-class", "ALL", "--audit-failure", "continue"}
	p.Start()
	p.Stop()
	r, err := journal.OpenReadOnly(p.Data)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	for it, err := range r.Scan(journal.Filter{Forward: true, OnlyEvents: true, Events: []journal.EventKind{journal.EventNodeStart, journal.EventNodeStop, journal.EventGap, journal.EventAct}}) {
		if err != nil {
			t.Fatal(err)
		}
		e := it.Event
		what := e.Kind.String()
		switch {
		case e.Kind == journal.EventNodeStart && strings.Contains(e.NodeState.Policy, "audit-class: ALL\n"):
			what += " all"
		case e.Gap != nil:
			what += " " + string(e.Gap.Cause)
		case e.Act != nil && strings.Contains(e.Act.Arguments[0], "nobody"):
			what += " " + e.Act.Verb
		}
		got = append(got, what)
	}
	want := "node_start, admin audit ls, node_stop, node_start, gap unclean, node_start all, node_stop"
	if strings.Join(got, ", ") != want {
		t.Errorf("%s\nwant %s", strings.Join(got, ", "), want)
	}
}
