package forward

import (
	"fmt"
	"testing"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// applyAll counts everything that is stored as applied, and safe.
func (n *node) applyAll() {
	n.t.Helper()
	own, stored := n.j.Identity().Node, n.j.Stored()
	err := n.j.Gate(func(g *journal.Gate) error {
		applied := g.Applied()
		for origin, seq := range stored {
			for at := applied[origin] + 1; origin != own && at <= seq; at++ {
				g.MarkApplied(journal.ID{Origin: origin, Seq: at})
			}
		}
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.j.SetSafe(stored); err != nil {
		n.t.Fatal(err)
	}
}

// lineMoves waits until everything that was written is below the line of every node, and final.
func lineMoves(t *testing.T, nodes ...*node) {
	t.Helper()
	eventually(t, func() string {
		for _, n := range nodes {
			n.applyAll()
		}
		for _, n := range nodes {
			for _, m := range n.j.Marks() {
				if m.Behind {
					return fmt.Sprintf("%s: %s is at %s", n.name, m.Name, m.Mark)
				}
			}
			if at, err := n.j.After(nil, 1<<20); err != nil || len(at) == 0 || n.j.Final() < lastWrite(t, at) {
				return fmt.Sprintf("%s: final up to %s, %v", n.name, n.j.Final(), err)
			}
		}
		return ""
	})
}

func lastWrite(t *testing.T, recs []journal.Raw) (last hlc.Time) {
	t.Helper()
	for _, raw := range recs {
		r, err := journal.DecodeRaw(raw.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind == journal.KindTx {
			last = max(last, r.HLC)
		}
	}
	return last
}

// TestBeatsMoveTheLine: after writes on one node the line passes them on all, by beats; then the cluster is silent. While
// a node is away the line stands, and nobody talks on; when it is back it moves.
func TestBeatsMoveTheLine(t *testing.T) {
	noLeaks(t)
	a, b, c := newNode(t, "a"), newNode(t, "b"), newNode(t, "c")
	mesh(a, b, c)
	all := []*node{a, b, c}
	for _, n := range all {
		n.tune = func(o *Options) { o.Limits.Beat = 20 * time.Millisecond }
		n.start()
	}
	equal(t, all...)
	a.write(3)
	lineMoves(t, all...)
	silent(t, all...)

	c.stop()
	b.write(1)
	equal(t, a, b)
	silent(t, a, b)
	if last := a.j.Line(); last >= lastWrite(t, after(t, a)) {
		t.Errorf("the line of a is %s while c is away", last)
	}
	c.start()
	lineMoves(t, all...)
	silent(t, all...)
}

// silent waits until all have the same, and nobody has a beat to say.
func silent(t *testing.T, nodes ...*node) {
	t.Helper()
	eventually(t, func() string {
		for _, n := range nodes {
			n.applyAll()
		}
		for _, n := range nodes {
			if beat, err := n.j.KeepLine(t.Context()); beat || err != nil {
				return fmt.Sprintf("%s beats: %v", n.name, err)
			}
			if other := nodes[0].j.Stored(); !n.j.Stored().Includes(other) || !other.Includes(n.j.Stored()) {
				return "not all have the same"
			}
		}
		return ""
	})
}

func after(t *testing.T, n *node) []journal.Raw {
	t.Helper()
	recs, err := n.j.After(nil, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return recs
}
