package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// numbers is how many node numbers a cluster has: the stride of sequences.
const numbers = 256

// aloneRecords is the most records that a node may have written and still count as one without clients' transactions:
// it has to look at each.
const aloneRecords = 64

// membership is how this node became, or will become, a member of a cluster. Its goroutine founds one where that is this
// node's part; being admitted happens on a link.
type membership struct {
	f *Forwarder

	admit sync.Mutex // one admission, founding or joining step at a time

	mu      sync.Mutex
	joiner  *link // the link over which admission is asked for
	joining bool
}

func newMembership(f *Forwarder) *membership { return &membership{f: f} }

// errTooLate is returned to a node that asks for admission while this one is leaving its cluster.
var errTooLate = errors.New("it is joining a cluster itself: try again")

// run founds the cluster, if that is this node's part and nobody else is found in time.
func (m *membership) run(ctx context.Context) error {
	f := m.f
	if id := f.j.Identity(); !id.Cluster.IsZero() {
		return m.finishFounding(ctx)
	}
	if !m.first() {
		return nil // admitted by whoever is reached
	}
	late := time.NewTimer(f.o.Limits.FoundAfter)
	defer late.Stop()
	patient := true
	for {
		changed := f.changed.wait()
		if !f.j.Identity().Cluster.IsZero() {
			return nil
		}
		if (!patient || f.allAsked()) && !m.busy() {
			return m.found(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-late.C:
			patient = false
		case <-changed:
		}
	}
}

// first reports whether this node's name comes first among itself and its configured peers.
func (m *membership) first() bool {
	for _, p := range m.f.o.Peers {
		if p.Name < m.f.o.Node {
			return false
		}
	}
	return true
}

func (m *membership) busy() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.joiner != nil
}

// found makes this node the first member of a new cluster.
func (m *membership) found(ctx context.Context) error {
	m.admit.Lock()
	defer m.admit.Unlock()
	if !m.f.j.Identity().Cluster.IsZero() || m.busy() {
		return nil
	}
	var cluster journal.NodeID
	if _, err := io.ReadFull(m.f.o.Rand, cluster[:]); err != nil {
		return fmt.Errorf("read randomness: %w", err)
	}
	if err := m.f.j.SetCluster(cluster, 0); err != nil {
		return fmt.Errorf("set cluster: %w", err)
	}
	if err := m.sealSelf(ctx, journal.Member{Cluster: cluster, FreeFrom: 1, FreeTo: numbers}); err != nil {
		return err
	}
	m.f.log.Info("cluster founded", "cluster", cluster.String())
	m.f.becameMember()
	return nil
}

// finishFounding writes what a founder that died in the middle had still to write.
func (m *membership) finishFounding(ctx context.Context) error {
	id := m.f.j.Identity()
	if id.Number != 0 {
		return nil
	}
	if _, ok := m.f.own(); ok {
		return nil
	}
	return m.sealSelf(ctx, journal.Member{Cluster: id.Cluster, FreeFrom: 1, FreeTo: numbers})
}

// sealSelf states this node's own membership in its own stream.
func (m *membership) sealSelf(ctx context.Context, member journal.Member) error {
	id := m.f.j.Identity()
	member.Node, member.Name = id.Node, id.Name
	if _, err := m.f.j.SealMember(ctx, member); err != nil {
		return fmt.Errorf("write own membership: %w", err)
	}
	return nil
}

// enter lets one link at a time ask for admission.
func (m *membership) enter(l *link) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.joiner != nil {
		return false
	}
	m.joiner = l
	return true
}

// leave is called when a link has ended, or has been answered: others that wait may ask now.
func (m *membership) leave(l *link) {
	m.mu.Lock()
	mine := m.joiner == l
	if mine {
		m.joiner = nil
	}
	m.mu.Unlock()
	if mine && !l.isSettled() {
		m.f.endWaiting(errors.New("admission over another link failed: asking again"))
	}
}

// endWaiting closes the links on which nothing has been settled, so that they start again from what is true now.
func (f *Forwarder) endWaiting(why error) {
	f.mu.Lock()
	var waiting []*link
	for l := range f.open {
		if !l.isSettled() && !l.peerNode().IsZero() {
			waiting = append(waiting, l)
		}
	}
	f.mu.Unlock()
	for _, l := range waiting {
		l.end(peerpb.Goodbye_RETRY, why)
	}
}

// becameMember tells links on which both sides waited.
func (f *Forwarder) becameMember() {
	f.mu.Lock()
	var waiting []*link
	for l := range f.open {
		if !l.isSettled() && !l.peerNode().IsZero() {
			waiting = append(waiting, l)
		}
	}
	f.mu.Unlock()
	for _, l := range waiting {
		l.post(&peerpb.Frame{Body: &peerpb.Frame_Hello{Hello: f.hello(l.expect)}})
	}
	f.changed.fire()
}

// own gives this node's entry among the members of its cluster.
func (f *Forwarder) own() (journal.Member, bool) {
	me := f.j.Identity()
	for _, m := range f.members() {
		if m.Node == me.Node {
			return m, true
		}
	}
	return journal.Member{}, false
}

// alone reports whether this node could give up its cluster: no other member, and nothing that a client wrote.
func (f *Forwarder) alone() bool {
	id := f.j.Identity()
	if id.Cluster.IsZero() {
		return false
	}
	for _, m := range f.members() {
		if m.Node != id.Node {
			return false
		}
	}
	if len(f.j.InDoubt()) > 0 {
		return false
	}
	stored := f.j.Stored()
	for n, seq := range stored {
		if n != id.Node && seq > 0 {
			return false
		}
	}
	if stored[id.Node] > aloneRecords || f.j.Applied()[id.Node] > stored[id.Node] {
		return false
	}
	for seq := uint64(1); seq <= stored[id.Node]; seq++ {
		r, err := f.j.Record(journal.ID{Origin: id.Node, Seq: seq})
		if err != nil || r.Kind == journal.KindTx {
			return false
		}
	}
	return true
}

// admit makes the node of h a member: it gets half of this node's free numbers. Asked again, it gives the same answer.
func (f *Forwarder) admit(ctx context.Context, h *hello, cluster []byte) (journal.Member, hlc.Time, error) {
	f.member.admit.Lock()
	defer f.member.admit.Unlock()
	id := f.j.Identity()
	if id.Cluster.IsZero() || f.member.busy() {
		return journal.Member{}, 0, errTooLate
	}
	if string(cluster) != string(id.Cluster[:]) {
		return journal.Member{}, 0, errors.New("it has joined another cluster meanwhile: try again")
	}
	for _, m := range f.members() {
		if m.Node == h.node {
			return m, f.j.Clock().Now(), nil
		}
		if m.Name == h.name && !m.Retired {
			return m, 0, fmt.Errorf("the cluster knows node %s by id %s, this one has id %s", h.name, m.Node, h.node)
		}
	}
	me, ok := f.own()
	if !ok {
		return me, 0, errors.New("it has not received its own membership yet: try again")
	}
	if me.FreeFrom >= me.FreeTo {
		return me, 0, errors.New("it has no free node number left: dial another member first")
	}
	middle := me.FreeFrom + (me.FreeTo-me.FreeFrom)/2
	given := journal.Member{Cluster: id.Cluster, Node: h.node, Name: h.name, Number: middle, FreeFrom: middle + 1, FreeTo: me.FreeTo}
	me.FreeTo = middle
	// First this node's own loss: if it dies in between, numbers are lost, which is better than given twice.
	if err := f.member.sealSelf(ctx, me); err != nil {
		return given, 0, err
	}
	r, err := f.j.SealMember(ctx, given)
	if err != nil {
		return given, 0, fmt.Errorf("write admission: %w", err)
	}
	f.log.Info("node admitted", "node", h.name, "number", given.Number)
	return given, r.HLC, nil
}

// admitted makes this node a member, as the other end of l has said.
func (f *Forwarder) admitted(ctx context.Context, l *link, m journal.Member, at uint64) error {
	f.member.admit.Lock()
	defer f.member.admit.Unlock()
	if id := f.j.Identity(); !id.Cluster.IsZero() && !f.alone() {
		return errors.New("a client has written meanwhile: this node keeps its own cluster")
	}
	if m.Number >= numbers || m.FreeFrom > m.FreeTo || m.FreeTo > numbers {
		return fmt.Errorf("peer gave the impossible node number %d", m.Number)
	}
	if err := f.j.Clock().Observe(hlc.Time(at)); err != nil {
		return fmt.Errorf("peer's clock: %w", err)
	}
	if err := f.j.SetCluster(m.Cluster, m.Number); err != nil {
		return fmt.Errorf("set cluster: %w", err)
	}
	if err := f.member.sealSelf(ctx, m); err != nil {
		return err
	}
	f.log.Info("admitted to cluster", "cluster", m.Cluster.String(), "number", m.Number, "by", l.peerName())
	f.member.mu.Lock()
	f.member.joiner = nil
	f.member.mu.Unlock()
	f.becameMember()
	return nil
}
