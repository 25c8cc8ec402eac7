package forward

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
)

func id(b byte) journal.NodeID { return journal.NodeID{b} }

func TestJudge(t *testing.T) {
	me := self{id: journal.Identity{Node: id(1), Name: "a", Cluster: id(9)}, boot: boot{1}, members: []journal.Member{
		{Cluster: id(9), Node: id(1), Name: "a"}, {Cluster: id(9), Node: id(2), Name: "b"}, {Cluster: id(9), Node: id(4), Name: "d", Retired: true}}}
	good := hello{node: id(2), name: "b", boot: boot{2}, cluster: id(9)}
	for name, c := range map[string]struct {
		change    func(*hello)
		expect    string
		certified []string
		want      string
	}{
		"good":           {func(h *hello) {}, "b", []string{"x", "b"}, ""},
		"self":           {func(h *hello) { h.node, h.name, h.boot = id(1), "a", boot{1} }, "b", nil, "dialed itself"},
		"clone":          {func(h *hello) { h.node = id(1) }, "b", nil, "is a copy of node a"},
		"clone by name":  {func(h *hello) { h.node, h.name = id(1), "a" }, "", nil, "two processes run as node a"},
		"namesake":       {func(h *hello) { h.node, h.name = id(7), "a" }, "", nil, "two nodes are named a"},
		"certificate":    {func(h *hello) {}, "", []string{"c"}, `certificate for ["c"]`},
		"wrong address":  {func(h *hello) { h.name, h.node = "c", id(3) }, "b", nil, "node a expected b there, but the node that answers is c"},
		"wrong for them": {func(h *hello) { h.expect = "c" }, "", nil, "node b expected c there, but the node that answers is a"},
		"new name":       {func(h *hello) { h.name = "e" }, "", nil, "belongs to node b, now it calls itself e"},
		"new id":         {func(h *hello) { h.node = id(8) }, "", nil, "the cluster knows node b by id"},
		"retired":        {func(h *hello) { h.node, h.name = id(4), "d" }, "", nil, "was retired"},
		"stranger":       {func(h *hello) { h.node, h.name = id(5), "e" }, "", nil, ""},
	} {
		h := good
		c.change(&h)
		err := judge(me, &h, c.expect, c.certified)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: judged %v, want %q", name, err, c.want)
		}
	}
}

// TestJoins checks that both ends always come to opposite results, so that never both or none ask.
func TestJoins(t *testing.T) {
	clusters := []journal.NodeID{{}, id(8), id(9)}
	for _, mine := range clusters {
		for _, theirs := range clusters {
			for _, meAlone := range []bool{false, true} {
				for _, themAlone := range []bool{false, true} {
					me := journal.Identity{Node: id(1), Name: "a", Cluster: mine}
					them := journal.Identity{Node: id(2), Name: "b", Cluster: theirs}
					here, ok1 := joins(me, meAlone, &hello{node: them.Node, name: them.Name, cluster: theirs, alone: themAlone})
					there, ok2 := joins(them, themAlone, &hello{node: me.Node, name: me.Name, cluster: mine, alone: meAlone})
					if here != -there || ok1 != ok2 {
						t.Errorf("%v %v / %v %v: %d %v and %d %v", mine, meAlone, theirs, themAlone, here, ok1, there, ok2)
					}
					if separate := !mine.IsZero() && !theirs.IsZero() && mine != theirs && !meAlone && !themAlone; separate == ok1 {
						t.Errorf("two clusters with clients' records: ok is %v", ok1)
					}
				}
			}
		}
	}
}

// TestChoose checks that both ends keep the same one of two links that both work, in whatever order they see them.
func TestChoose(t *testing.T) {
	small, large := id(1), id(2)
	for _, smallFirst := range []bool{true, false} {
		// The link that the smaller id dialed, as each end sees it, and the other one.
		kept := func(me journal.NodeID, other hello) bool {
			bySmall, byLarge := &link{dialed: me == small}, &link{dialed: me == large}
			if smallFirst {
				return choose(me, byLarge, bySmall, &other, &other) == probeOld // the older one works
			}
			return choose(me, bySmall, byLarge, &other, &other) == takeNew
		}
		if !kept(small, hello{node: large}) || !kept(large, hello{node: small}) {
			t.Errorf("small first %v: the link dialed by the smaller id is not the one that stays", smallFirst)
		}
	}
	if choose(small, &link{}, &link{}, &hello{node: large, boot: boot{1}}, &hello{node: large, boot: boot{2}}) != probeOld {
		t.Error("a second process of a node replaces the first unseen")
	}
}

func TestParseHelloRefusals(t *testing.T) {
	good := func() *peerpb.Hello {
		n := id(1)
		return &peerpb.Hello{Version: 1, Oldest: 1, Node: n[:], Name: "a", Boot: make([]byte, 16)}
	}
	if _, err := parseHello(good()); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*peerpb.Hello){
		"upgrade the older":     func(h *peerpb.Hello) { h.Version, h.Oldest = protocolVersion+1, protocolVersion+1 },
		"protocol versions":     func(h *peerpb.Hello) { h.Version = 0 },
		"name":                  func(h *peerpb.Hello) { h.Name = "a/b" },
		"node id of 3 bytes":    func(h *peerpb.Hello) { h.Node = []byte("abc") },
		"boot id":               func(h *peerpb.Hello) { h.Boot = nil },
		"cluster":               func(h *peerpb.Hello) { h.Cluster = []byte("x") },
		"over the limit":        func(h *peerpb.Hello) { h.Heads = make([]*peerpb.Head, peerpb.MaxOrigins+1) },
		"1 to 63":               func(h *peerpb.Hello) { h.Name = strings.Repeat("a", 64) },
		"node id of 0 bytes":    func(h *peerpb.Hello) { h.Heads = []*peerpb.Head{{}} },
		"node id or boot id is": func(h *peerpb.Hello) { h.Node = make([]byte, 16) },
	} {
		h := good()
		change(h)
		if _, err := parseHello(h); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}

func FuzzParseHello(f *testing.F) {
	n := id(1)
	b, _ := proto.Marshal(&peerpb.Hello{Version: 1, Oldest: 1, Node: n[:], Name: "a", Boot: make([]byte, 16), Heads: []*peerpb.Head{{Origin: n[:], Seq: 4, Hash: make([]byte, 32)}}})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var p peerpb.Hello
		if proto.Unmarshal(b, &p) != nil {
			return
		}
		if h, err := parseHello(&p); err == nil && (h.node.IsZero() || h.name == "") {
			t.Fatal("accepted without identity")
		}
	})
}
