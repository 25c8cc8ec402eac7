package forward

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
)

// Versions of the protocol between nodes that this program speaks.
const (
	protocolVersion = 2
	oldestVersion   = 1
)

// maxKeyBytes bounds a public key as text: the name of a log and an Ed25519 key.
const maxKeyBytes = 512

// boot is random for each process: it tells a second link from a restart, and both from a copy of a node.
type boot [16]byte

// hello is what the other end said about itself, checked for form.
type hello struct {
	version, oldest uint32
	software        string
	node            journal.NodeID
	name            string
	incarnation     uint64
	boot            boot
	cluster         journal.NodeID
	alone           bool
	expect          string
	heads           journal.Vector
	hashes          map[journal.NodeID][32]byte
	key             string // of its checkpoints; "" before version 2
}

// self is what a judge must know of this node.
type self struct {
	id      journal.Identity
	boot    boot
	members []journal.Member // of this node's cluster
}

// parseHello checks lengths and counts before anything is believed.
func parseHello(p *peerpb.Hello) (*hello, error) {
	h := &hello{version: p.GetVersion(), oldest: p.GetOldest(), software: p.GetSoftware(), name: p.GetName(),
		incarnation: p.GetIncarnation(), alone: p.GetAlone(), expect: p.GetExpect(), key: p.GetKey()}
	if h.version < oldestVersion || h.oldest > protocolVersion {
		return nil, fmt.Errorf("protocol versions do not meet: one side speaks %d to %d, the other (%.40q) %d to %d: upgrade the older pgproxy",
			oldestVersion, protocolVersion, h.software, h.oldest, h.version)
	}
	if err := checkName(h.name); err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	var err error
	if h.node, err = peerpb.ToNode(p.GetNode()); err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	if len(p.GetBoot()) != len(h.boot) || h.node.IsZero() {
		return nil, errors.New("hello: node id or boot id is missing")
	}
	copy(h.boot[:], p.GetBoot())
	if h.key != "" {
		if _, err := note.NewVerifier(h.key); err != nil || len(h.key) > maxKeyBytes {
			return nil, fmt.Errorf("hello: key of checkpoints: %w", err)
		}
	}
	if len(p.GetCluster()) > 0 {
		if h.cluster, err = peerpb.ToNode(p.GetCluster()); err != nil {
			return nil, fmt.Errorf("hello: cluster: %w", err)
		}
	}
	if len(p.GetHeads()) > peerpb.MaxOrigins {
		return nil, fmt.Errorf("hello: %d origins are over the limit of %d", len(p.GetHeads()), peerpb.MaxOrigins)
	}
	h.heads, h.hashes = journal.Vector{}, map[journal.NodeID][32]byte{}
	for _, head := range p.GetHeads() {
		origin, err := peerpb.ToNode(head.GetOrigin())
		if err != nil {
			return nil, fmt.Errorf("hello: %w", err)
		}
		h.heads[origin] = head.GetSeq()
		if len(head.GetHash()) == 32 {
			h.hashes[origin] = [32]byte(head.GetHash())
		}
	}
	return h, nil
}

// hello says who this node is now. expect is the configured name of the other end, where this side dialed.
func (f *Forwarder) hello(expect string) *peerpb.Hello {
	id := f.j.Identity()
	p := &peerpb.Hello{Version: protocolVersion, Oldest: oldestVersion, Software: "pgproxy", Node: id.Node[:], Name: id.Name,
		Incarnation: id.Incarnation, Boot: f.boot[:], Expect: expect, Alone: f.alone(), Key: id.Key}
	if !id.Cluster.IsZero() {
		p.Cluster = id.Cluster[:]
	}
	for _, e := range peerpb.FromVector(f.j.Stored()) {
		head := &peerpb.Head{Origin: e.Origin, Seq: e.Seq}
		if hash, ok := f.j.Hash(journal.ID{Origin: journal.NodeID(e.Origin), Seq: e.Seq}); ok {
			head.Hash = hash[:]
		}
		p.Heads = append(p.Heads, head)
	}
	return p
}

// judge decides whether the other end is who it should be. expect is its configured name, where this side dialed;
// certified are the names in its certificate, nil without TLS. The error is written for both nodes' operators.
func judge(me self, h *hello, expect string, certified []string) error {
	switch {
	case h.node == me.id.Node && h.boot == me.boot:
		return fmt.Errorf("node %s dialed itself: remove its own address from its list of peers", h.name)
	case h.node == me.id.Node && h.name != me.id.Name:
		return fmt.Errorf("node %s is a copy of node %s (same node id %s): give one of them an empty data folder", h.name, me.id.Name, h.node)
	case h.node == me.id.Node:
		return fmt.Errorf("two processes run as node %s (node id %s), from copies of one data folder: stop one of them and give it an empty data folder", h.name, h.node)
	case h.name == me.id.Name:
		return fmt.Errorf("two nodes are named %s: choose another --node name, with an empty data folder, for the newer one", h.name)
	case certified != nil && !slices.Contains(certified, h.name):
		return fmt.Errorf("node %s showed a certificate for %q: issue one whose DNS name (or common name) is %s", h.name, certified, h.name)
	case expect != "" && expect != h.name:
		return fmt.Errorf("node %s expected %s there, but the node that answers is %s: correct --peer %s=ADDRESS", me.id.Name, expect, h.name, expect)
	case h.expect != "" && h.expect != me.id.Name:
		return fmt.Errorf("node %s expected %s there, but the node that answers is %s: correct --peer %s=ADDRESS", h.name, h.expect, me.id.Name, h.expect)
	}
	for _, m := range me.members {
		switch {
		case m.Node == h.node && m.Retired:
			return fmt.Errorf("node %s was retired: start it with an empty data folder to join as a new node", h.name)
		case m.Node == h.node && m.Name != h.name:
			return fmt.Errorf("node id %s belongs to node %s, now it calls itself %s: a copied data folder? give it an empty one, or its old name back", h.node, m.Name, h.name)
		case m.Name == h.name && m.Node != h.node && !m.Retired:
			return fmt.Errorf("the cluster knows node %s by id %s, this one has id %s: bring back its data folder, or choose another --node name, or retire the old one", h.name, m.Node, h.node)
		}
	}
	return nil
}

// clustersError is the refusal of a member of another cluster.
func clustersError(me journal.Identity, h *hello) error {
	return fmt.Errorf("node %s is a member of cluster %s, node %s of cluster %s: they have separate histories; "+
		"to join one of them, give the other node an empty data folder", me.Name, me.Cluster, h.name, h.cluster)
}

// joins decides, from what both ends said, which of the two has to ask the other for admission: -1 this node, 1 the other
// one, 0 neither. Both ends come to opposite results. ok is false where two clusters refuse each other.
func joins(me journal.Identity, meAlone bool, h *hello) (side int, ok bool) {
	switch mine, theirs := !me.Cluster.IsZero(), !h.cluster.IsZero(); {
	case !mine && !theirs, me.Cluster == h.cluster:
		return 0, true
	case !mine:
		return -1, true
	case !theirs:
		return 1, true
	}
	switch {
	case meAlone && h.alone:
		// Both may give up their cluster: the one whose name comes first stays.
		if me.Name < h.name || me.Name == h.name && bytes.Compare(me.Node[:], h.node[:]) < 0 {
			return 1, true
		}
		return -1, true
	case meAlone:
		return -1, true
	case h.alone:
		return 1, true
	}
	return 0, false
}

// forks compares what the other end has of each origin with what this journal has, and names the origins whose histories
// differ at the place that can be compared here. The other end compares the rest.
func forks(j Journal, h *hello) []journal.ID {
	var out []journal.ID
	stored := j.Stored()
	for origin, seq := range h.heads {
		theirs, told := h.hashes[origin]
		if !told || seq == 0 || stored[origin] < seq {
			continue
		}
		id := journal.ID{Origin: origin, Seq: seq}
		if ours, ok := j.Hash(id); ok && ours != theirs {
			out = append(out, id)
		}
	}
	return out
}
