package forward

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"pgproxy/journal"
)

// numbers is how many node numbers a cluster has: the stride of sequences.
const numbers = 256

// membership is how this node became, or will become, a member of a cluster. Its goroutine founds one where that is this
// node's part; being admitted happens on a link.
type membership struct {
	f *Forwarder

	admit sync.Mutex // one admission, founding or joining step at a time

	mu      sync.Mutex
	joiner  *link // the link over which admission is asked for
	leaving bool  // this node is about to give up a cluster of its own: nothing may be written meanwhile
}

func newMembership(f *Forwarder) *membership { return &membership{f: f} }

// run founds the cluster, if that is this node's part and nobody else is found in time. It returns when that is decided.
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

// setLeaving refuses writes, or allows them again.
func (m *membership) setLeaving(on bool) {
	m.mu.Lock()
	m.leaving = on
	m.mu.Unlock()
	m.f.changed.fire()
}

func (m *membership) isLeaving() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leaving
}

// enter lets one link at a time ask for admission, if this node still is what it said on that link: it may have been
// admitted over another one since. (Who asks as a member would break the order of frames, or be given a second number.)
// An admission sets the cluster before it lets go of its link, so that either is seen here.
func (m *membership) enter(l *link, said journal.NodeID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.joiner != nil || m.f.j.Identity().Cluster != said {
		return false
	}
	m.joiner = l
	return true
}

// leave is called when a link has ended, or has been answered: others that wait may ask now.
func (m *membership) leave(l *link) {
	m.mu.Lock()
	if m.joiner == l {
		m.joiner = nil
	}
	m.mu.Unlock()
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
		l.introduce()
	}
	f.changed.fire()
}
