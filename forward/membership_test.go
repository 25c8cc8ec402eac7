package forward

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
)

// TestManyJoin lets many nodes join at once, over different members: no node number may be given twice.
func TestManyJoin(t *testing.T) {
	noLeaks(t)
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	var all []*node
	for i, name := range names {
		n := newNode(t, name)
		if i > 0 {
			n.dials(all[(i-1)/2]) // a tree
		}
		all = append(all, n)
	}
	for i := range all {
		all[len(all)-1-i].start() // leaves first
	}
	equal(t, all...)
	numbers := map[uint32]string{}
	for _, n := range all {
		me := n.j.Identity()
		if other, ok := numbers[me.Number]; ok {
			t.Errorf("%s and %s have number %d", n.name, other, me.Number)
		}
		numbers[me.Number] = n.name
		taken := map[uint32]string{}
		for _, m := range n.f.members() {
			for free := m.FreeFrom; free < m.FreeTo; free++ {
				if other, ok := taken[free]; ok {
					t.Fatalf("%s sees number %d free at %s and %s", n.name, free, m.Name, other)
				}
				taken[free] = m.Name
			}
		}
		for number, name := range numbers {
			if other, ok := taken[number]; ok {
				t.Errorf("%s sees number %d of %s free at %s", n.name, number, name, other)
			}
		}
	}
}

// TestAsksOnlyAsWhatItSaid: a node that was admitted while it was about to ask over another link does not ask any more.
func TestAsksOnlyAsWhatItSaid(t *testing.T) {
	n, none := newNode(t, "b"), journal.NodeID{}
	m := newMembership(&Forwarder{j: n.j})
	first, second := &link{f: m.f}, &link{f: m.f}
	if !m.enter(first, none) || m.enter(second, none) {
		t.Error("not one link at a time")
	}
	if err := n.j.SetCluster(journal.NodeID{1}, 3); err != nil { // as the admission over the first does
		t.Fatal(err)
	}
	m.leave(first)
	if m.enter(second, none) {
		t.Error("asks for admission as a member")
	}
}

// TestAdmittedIsNotAlone: a node that was just admitted does not offer to give up its cluster, though it has received
// nothing yet: another node would admit it too, and be left with a member that never comes.
func TestAdmittedIsNotAlone(t *testing.T) {
	n := newNode(t, "b")
	f := &Forwarder{j: n.j}
	for number, want := range []bool{true, false} {
		if err := n.j.SetCluster(journal.NodeID{1}, uint32(number)); err != nil {
			t.Fatal(err)
		}
		if f.alone() != want {
			t.Errorf("number %d: alone is %v", number, !want)
		}
	}
}

// TestWaitsForMember has a node that may not found: it refuses writes and says for whom it waits.
func TestWaitsForMember(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b")
	b.dials(a)
	b.tune = func(o *Options) { o.Limits.FoundAfter = time.Millisecond }
	b.start()
	err := b.f.Ready(t.Context())
	if !errors.Is(err, ErrNotMember) || !strings.Contains(err.Error(), "founded by node a") {
		t.Fatalf("ready: %v", err)
	}
	a.start()
	eventually(t, func() string {
		if err := b.f.WritableErr(); err != nil {
			return err.Error()
		}
		return ""
	})
	if err := b.f.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAdmittedTwice asks for admission again, as a node does that died before it kept the answer.
func TestAdmittedTwice(t *testing.T) {
	noLeaks(t)
	a := newNode(t, "a").start()
	if err := a.f.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	var numbers []uint32
	for range 3 {
		s := newStranger(t, a)
		h := s.hello("n", [16]byte{})
		h.Cluster = nil
		s.send(&peerpb.Frame{Body: &peerpb.Frame_Hello{Hello: h}})
		cluster := s.until(func(f *peerpb.Frame) bool { return f.GetHello() != nil }).GetHello().GetCluster()
		s.send(&peerpb.Frame{Body: &peerpb.Frame_Join{Join: &peerpb.Join{Cluster: cluster}}})
		numbers = append(numbers, s.until(func(f *peerpb.Frame) bool { return f.GetAdmit() != nil }).GetAdmit().GetNumber())
		s.conn.Close()
	}
	if numbers[0] == 0 || numbers[0] != numbers[1] || numbers[1] != numbers[2] {
		t.Errorf("numbers given: %v", numbers)
	}
	s := newStranger(t, a)
	s.id = id(201)
	s.send(&peerpb.Frame{Body: &peerpb.Frame_Hello{Hello: s.hello("n", a.j.Identity().Cluster)}})
	s.thrownOut("the cluster knows node n by id")
}

// TestRelayedInTime cuts nothing that anybody notices: a and c believe that they are linked, and what a writes has to
// reach c through b before that belief ends.
func TestRelayedInTime(t *testing.T) {
	noLeaks(t)
	a, b, c := newNode(t, "a"), newNode(t, "b"), newNode(t, "c")
	r := newRelay(t, c.addr)
	for _, n := range []*node{a, b, c} {
		n.tune = func(o *Options) { o.Limits.PeerTimeout = time.Hour }
	}
	a.peers = []Peer{{"c", r.addr()}}
	a.dials(b).start()
	b.dials(c).start()
	c.start()
	equal(t, a, b, c)
	connected(t, a, b, c)
	connected(t, b, a, c)
	r.hold(true)
	a.write(5)
	equal(t, a, b, c)
	r.cut(true)
	r.hold(false)
}

// overtaken is a journal that lets the first hello be made before this node founds its cluster and be sent after.
type overtaken struct {
	Journal
	once sync.Once
}

func (o *overtaken) Stored() journal.Vector {
	o.once.Do(func() {
		moved, stop := o.Watch()
		defer stop()
		for len(o.Members()) == 0 {
			<-moved
		}
	})
	return o.Journal.Stored()
}

// TestOvertakenHello has a found its cluster while its hello, which says that it is no member, is being made.
func TestOvertakenHello(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b")
	a.dials(b)
	a.tune = func(o *Options) { o.Journal = &overtaken{Journal: a.j} }
	b.tune = func(o *Options) { o.Peers = []Peer{{"a", "127.0.0.1:1"}} } // may not found, and cannot reach a itself
	b.start()
	a.start()
	equal(t, a, b)
}
