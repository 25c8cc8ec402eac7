package forward

import (
	"errors"
	"fmt"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
)

// onHello judges the other end, the first time it introduces itself; later hellos only say what became of its cluster.
func (l *link) onHello(p *peerpb.Hello) error {
	h, err := parseHello(p)
	if err != nil {
		l.end(peerpb.Goodbye_REFUSED, err)
		return nil
	}
	first := l.peerNode().IsZero()
	if !first {
		if h.node != l.peerNode() || h.name != l.peerName() {
			return errOrder
		}
		if l.isSettled() {
			// It crossed with what settled the link. A cluster that has changed since means that all starts again.
			if h.cluster != l.f.j.Identity().Cluster {
				l.end(peerpb.Goodbye_RETRY, errors.New("cluster has changed: starting again"))
			}
			return nil
		}
		l.setRemote(h)
		l.evaluate()
		return nil
	}
	me := self{id: l.f.j.Identity(), boot: l.f.boot, members: l.f.members()}
	if err := errors.Join(judge(me, h, l.expect, l.certified), l.f.distrust(h)); err != nil {
		l.f.refused(h.name, err)
		l.end(peerpb.Goodbye_REFUSED, err)
		return nil
	}
	l.setRemote(h)
	if err := l.f.register(l, h); err != nil {
		var r *refusal
		if !errors.As(err, &r) {
			return err
		}
		l.end(r.reason, err)
		return nil
	}
	l.log = l.f.log.With("peer", h.name)
	l.f.met(l, h)
	if !l.dialed {
		l.introduce()
	}
	l.evaluate()
	return nil
}

func (l *link) setRemote(h *hello) {
	l.mu.Lock()
	l.remote = h
	l.mu.Unlock()
}

// saying is the part of a hello that decides who joins whom.
type saying struct {
	cluster journal.NodeID
	alone   bool
}

// introduce sends a hello.
func (l *link) introduce() {
	l.intro.Lock()
	defer l.intro.Unlock()
	l.introduceLocked()
}

func (l *link) introduceLocked() {
	h := l.f.hello(l.expect)
	l.said = saying{alone: h.Alone}
	copy(l.said.cluster[:], h.Cluster)
	l.post(&peerpb.Frame{Body: &peerpb.Frame_Hello{Hello: h}})
}

// current says again who this node is if that has changed, and gives what was said last. Both ends decide by what both
// have said, not by what they know of themselves: so they come to one result.
func (l *link) current() saying {
	l.intro.Lock()
	defer l.intro.Unlock()
	if now := (saying{l.f.j.Identity().Cluster, l.f.alone()}); now != l.said {
		l.introduceLocked()
	}
	return l.said
}

// evaluate looks at what both ends are and goes on if it can. Called by the reader.
func (l *link) evaluate() {
	l.mu.Lock()
	h := l.remote
	l.mu.Unlock()
	me := l.f.j.Identity()
	said := l.current()
	me.Cluster = said.cluster
	side, ok := joins(me, said.alone, h)
	switch {
	case !ok:
		err := clustersError(me, h)
		l.f.refused(h.name, err)
		l.end(peerpb.Goodbye_REFUSED, err)
	case side < 0:
		l.join(h, said.cluster)
	case side == 0 && !me.Cluster.IsZero():
		l.settle(h)
	}
}

// join asks for admission, unless another link does so already.
func (l *link) join(h *hello, said journal.NodeID) {
	if !l.f.member.enter(l, said) {
		return
	}
	l.mu.Lock()
	l.joining = true
	l.mu.Unlock()
	l.post(&peerpb.Frame{Body: &peerpb.Frame_Join{Join: &peerpb.Join{Cluster: h.cluster[:]}}})
}

// onJoin admits the other end.
func (l *link) onJoin(p *peerpb.Join) error {
	l.mu.Lock()
	h := l.remote
	l.mu.Unlock()
	if l.isSettled() {
		return errOrder
	}
	m, at, err := l.f.admit(l.ctx, h, p.GetCluster())
	if err != nil {
		l.end(peerpb.Goodbye_RETRY, fmt.Errorf("node %s cannot admit node %s: %w", l.f.o.Node, h.name, err))
		return nil
	}
	admitted := *h
	admitted.cluster = m.Cluster
	l.setRemote(&admitted)
	l.post(&peerpb.Frame{Body: &peerpb.Frame_Admit{Admit: &peerpb.Admit{Cluster: m.Cluster[:], Number: m.Number,
		FreeFrom: m.FreeFrom, FreeTo: m.FreeTo, Hlc: uint64(at)}}})
	l.settle(&admitted)
	return nil
}

// onAdmit makes this node a member.
func (l *link) onAdmit(p *peerpb.Admit) error {
	l.mu.Lock()
	asked, h := l.joining, l.remote
	l.joining = false
	l.mu.Unlock()
	if !asked || l.isSettled() {
		return errOrder
	}
	cluster, err := peerpb.ToNode(p.GetCluster())
	if err != nil || cluster != h.cluster {
		return errors.New("peer admitted this node to a cluster that it is no member of itself")
	}
	m := journal.Member{Cluster: cluster, Number: p.GetNumber(), FreeFrom: p.GetFreeFrom(), FreeTo: p.GetFreeTo()}
	if err := l.f.admitted(l.ctx, l, m, p.GetHlc()); err != nil {
		l.end(peerpb.Goodbye_RETRY, err)
		return nil
	}
	l.settle(h)
	return nil
}

// settle lets records flow: from what the other end said it has, without the origins whose histories differ.
func (l *link) settle(h *hello) {
	if l.isSettled() {
		return
	}
	me := l.f.j.Identity()
	l.mu.Lock()
	l.out.start(h.heads)
	l.mu.Unlock()
	for _, id := range forks(l.f.j, h) {
		l.refuseOrigin(id.Origin, fmt.Errorf("%w: the records of %s differ from number %d at the latest: "+
			"one of the nodes was started from an old copy, and has to be given an empty data folder", journal.ErrFork, l.f.nameOf(id.Origin), id.Seq))
	}
	l.f.setBehind(me.Node, h.heads[me.Node], h.name)
	if err := l.beginWitness(h); err != nil {
		l.log.Error("checkpoints of the peer cannot be kept", "error", err)
	}
	close(l.settled)
	l.f.linked(l, h)
	l.wake.ring()
}
