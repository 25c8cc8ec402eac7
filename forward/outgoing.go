package forward

import (
	"errors"
	"fmt"
	"math"
	"time"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
)

// outgoing is what a link knows about the other end's journal, and what is on its way there. Guarded by link.mu.
type outgoing struct {
	has      journal.Vector            // durable there, as it said, or because the record came from there
	sent     journal.Vector            // has, and what was sent over this link
	inflight []flight                  // sent and not acknowledged, oldest first
	bytes    int                       // of inflight
	unwanted map[journal.NodeID]string // origins that the other end refuses over this link, and why
	direct   map[journal.NodeID]bool   // origins that the other end has a link to
	held     map[journal.NodeID]time.Time
	epoch    uint64
	applied  journal.Vector // what its database holds, as it said last
}

// flight is one batch under way.
type flight struct {
	upto  journal.Vector
	bytes int
}

func (o *outgoing) init() {
	o.has, o.sent, o.applied = journal.Vector{}, journal.Vector{}, journal.Vector{}
	o.unwanted, o.held = map[journal.NodeID]string{}, map[journal.NodeID]time.Time{}
}

// start begins at what the other end has.
func (o *outgoing) start(has journal.Vector) {
	o.has, o.sent = has.Clone(), has.Clone()
	o.inflight, o.bytes = nil, 0
}

// learn takes in what the other end has for certain.
func (o *outgoing) learn(v journal.Vector, now time.Time) {
	for n, seq := range v {
		if seq > o.has[n] {
			o.has[n] = seq
			if _, ok := o.held[n]; ok {
				o.held[n] = now
			}
		}
		o.sent[n] = max(o.sent[n], seq)
	}
	for len(o.inflight) > 0 && o.arrived(o.inflight[0]) {
		o.bytes -= o.inflight[0].bytes
		o.inflight[0] = flight{}
		o.inflight = o.inflight[1:]
	}
}

func (o *outgoing) arrived(f flight) bool {
	for n, seq := range f.upto {
		if _, refused := o.unwanted[n]; !refused && o.has[n] < seq {
			return false
		}
	}
	return true
}

// cursor gives the place to read on from: origins that the other end refuses, or is about to get from their own node,
// are passed over.
func (o *outgoing) cursor(stored journal.Vector, now time.Time, patience time.Duration) journal.Vector {
	v := o.sent.Clone()
	for n := range o.unwanted {
		v[n] = math.MaxUint64
	}
	for n := range o.direct {
		if stored[n] <= o.sent[n] {
			delete(o.held, n)
			continue
		}
		since, ok := o.held[n]
		if !ok {
			since = now
			o.held[n] = now
		}
		if now.Sub(since) < patience {
			v[n] = math.MaxUint64
		}
	}
	return v
}

// onState takes in what the other end has.
func (l *link) onState(s *peerpb.State) error {
	stored, err := peerpb.ToVector(s.GetStored())
	if err != nil {
		return err
	}
	applied, err := peerpb.ToVector(s.GetApplied())
	if err != nil {
		return err
	}
	if len(s.GetDirect()) > peerpb.MaxOrigins {
		return errors.New("peer names too many links")
	}
	direct := map[journal.NodeID]bool{}
	me := l.f.j.Identity().Node
	for _, b := range s.GetDirect() {
		n, err := peerpb.ToNode(b)
		if err != nil {
			return err
		}
		direct[n] = n != me
	}
	delete(direct, me)
	l.mu.Lock()
	l.out.learn(stored, l.f.o.Now())
	l.out.direct, l.out.applied = direct, applied
	acked := l.out.has.Clone()
	node, name := l.remote.node, l.remote.name
	l.mu.Unlock()
	l.f.j.SetAcked(node.String(), acked)
	l.f.setBehind(me, stored[me], name)
	l.f.changed.fire()
	l.wake.ring()
	return nil
}

// onResend starts again from what is stored there.
func (l *link) onResend(r *peerpb.Resend) error {
	stored, err := peerpb.ToVector(r.GetStored())
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.out.start(stored)
	l.out.epoch = r.GetEpoch()
	l.mu.Unlock()
	l.wake.ring()
	return nil
}

// onRefuse stops sending an origin over this link.
func (l *link) onRefuse(r *peerpb.Refuse) error {
	origin, err := peerpb.ToNode(r.GetOrigin())
	if err != nil {
		return err
	}
	l.mu.Lock()
	full := len(l.out.unwanted) >= peerpb.MaxOrigins
	if !full {
		l.out.unwanted[origin] = r.GetMessage()
	}
	l.out.learn(nil, l.f.o.Now())
	l.mu.Unlock()
	if full {
		return errors.New("peer refuses too many origins")
	}
	why := fmt.Errorf("node %s refuses the records of %s: %s", l.peerName(), l.f.nameOf(origin), r.GetMessage())
	if r.GetFork() {
		why = fmt.Errorf("%w: %w", journal.ErrFork, why)
	}
	l.f.quarantined(l, origin, why)
	l.wake.ring()
	return nil
}
