package forward

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// aloneRecords is the most records that a node may have written and still count as one without clients' transactions:
// it has to look at each.
const aloneRecords = 64

// dissolveTime bounds how long a node that gives up its cluster waits for what is being written at that moment.
const dissolveTime = 5 * time.Second

// errTooLate is returned to a node that asks for admission while this one is leaving its cluster.
var errTooLate = errors.New("it is joining a cluster itself: try again")

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

// alone reports whether this node could give up its cluster: no other member, and nothing that a client wrote. Only a
// founder, whose number is 0, can be: who was admitted has others, also before their records have come.
func (f *Forwarder) alone() bool {
	id := f.j.Identity()
	if id.Cluster.IsZero() || id.Number != 0 {
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
	if m.Number >= numbers || m.FreeFrom > m.FreeTo || m.FreeTo > numbers {
		return fmt.Errorf("peer gave the impossible node number %d", m.Number)
	}
	if err := f.j.Clock().Observe(hlc.Time(at)); err != nil {
		return fmt.Errorf("peer's clock: %w", err)
	}
	f.member.setLeaving(true)
	defer f.member.setLeaving(false)
	if err := f.dissolve(ctx); err != nil {
		return err
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

// dissolve makes sure that the cluster of which this node is the only member, if there is one, holds nothing that a
// client wrote, also nothing that is on its way into the journal: a beat is sealed behind it and has to be published.
// A transaction that is open in the database at this moment keeps the values that sequences gave it as node number 0.
func (f *Forwarder) dissolve(ctx context.Context) error {
	if f.j.Identity().Cluster.IsZero() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, dissolveTime)
	defer cancel()
	moved, stop := f.j.Watch()
	defer stop()
	beat, err := f.j.Beat(ctx)
	if err != nil {
		return fmt.Errorf("give up own cluster: %w", err)
	}
	for f.j.Stored()[beat.Origin] < beat.Seq {
		select {
		case <-moved:
		case <-ctx.Done():
			return errors.New("give up own cluster: a client is writing")
		}
	}
	if !f.alone() {
		return errors.New("a client has written meanwhile: this node keeps its own cluster")
	}
	return nil
}
