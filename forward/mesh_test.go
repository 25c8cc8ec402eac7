package forward

import (
	"testing"
)

func TestMesh(t *testing.T) {
	noLeaks(t)
	a, b, c := newNode(t, "a"), newNode(t, "b"), newNode(t, "c")
	mesh(a, b, c)
	for _, n := range []*node{a, b, c} {
		n.start()
	}
	equal(t, a, b, c)
	for _, n := range []*node{a, b, c} {
		n.write(50)
	}
	equal(t, a, b, c)
	for _, n := range []*node{a, b, c} {
		acked(t, n)
		connected(t, n, others(n, a, b, c)...)
		if err := n.f.WritableErr(); err != nil {
			t.Errorf("%s: %v", n.name, err)
		}
	}
	sameBytes(t, a, b)
	sameBytes(t, a, c)
	numbers := map[uint32]string{}
	for _, n := range []*node{a, b, c} {
		id := n.j.Identity()
		if id.Cluster != a.j.Identity().Cluster {
			t.Errorf("%s is in another cluster", n.name)
		}
		if other, ok := numbers[id.Number]; ok {
			t.Errorf("%s and %s have number %d", n.name, other, id.Number)
		}
		numbers[id.Number] = n.name
	}
}

func others(n *node, all ...*node) []*node {
	var out []*node
	for _, o := range all {
		if o != n {
			out = append(out, o)
		}
	}
	return out
}

// TestLine shows that a, which never sees c, gets its records, and that c's admission by b reaches a.
func TestLine(t *testing.T) {
	noLeaks(t)
	a, b, c := newNode(t, "a"), newNode(t, "b"), newNode(t, "c")
	a.dials(b).start()
	b.dials(a).start()
	c.dials(b).start() // b does not know c
	equal(t, a, b, c)
	a.write(20)
	c.write(20)
	b.write(20)
	equal(t, a, b, c)
	sameBytes(t, a, c)
	if s := statusOf(b, "c"); s.Configured || !s.Connected {
		t.Errorf("b sees c as %+v", s)
	}
}

// TestDeadMiddle shows that what b passed on before it died for good reaches everybody through the others.
func TestDeadMiddle(t *testing.T) {
	noLeaks(t)
	a, b, c := newNode(t, "a"), newNode(t, "b"), newNode(t, "c")
	a.dials(b).start()
	b.dials(a).start()
	c.dials(b).start()
	equal(t, a, b, c)
	c.stop()
	b.write(10)
	a.write(10)
	equal(t, a, b)
	b.kill()
	c.peers = nil
	a.stop()
	a.peers = nil
	a.start()
	c.dials(a).start()
	c.write(10)
	equal(t, a, c)
	sameBytes(t, a, c)
}

// TestStar has a hub that knows nobody, and whose name sorts last.
func TestStar(t *testing.T) {
	noLeaks(t)
	hub := newNode(t, "z").start()
	a, b, c := newNode(t, "a"), newNode(t, "b"), newNode(t, "c")
	for _, n := range []*node{a, b, c} {
		n.dials(hub).start()
	}
	equal(t, hub, a, b, c)
	for _, n := range []*node{hub, a, b, c} {
		n.write(10)
	}
	equal(t, hub, a, b, c)
	sameBytes(t, a, c)
}

// TestStarOfFounders starts the leaves while the hub is away, so that each founds its own cluster, with nothing in it.
func TestStarOfFounders(t *testing.T) {
	noLeaks(t)
	hub := newNode(t, "z")
	a, b, c := newNode(t, "a"), newNode(t, "b"), newNode(t, "c")
	for _, n := range []*node{a, b, c} {
		n.dials(hub).start()
	}
	for _, n := range []*node{a, b, c} {
		if err := n.f.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	hub.start()
	equal(t, hub, a, b, c)
	hub.write(5)
	c.write(5)
	equal(t, hub, a, b, c)
}
