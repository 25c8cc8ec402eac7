package forward

import (
	"errors"
	"fmt"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
)

// errDuplicate ends one of two links between the same pair.
var errDuplicate = errors.New("there is another link between the two nodes")

// choice is what to do with a second link to a node.
type choice int

const (
	keepOld choice = iota
	takeNew
	probeOld // the older one is right if it still works
)

// choose compares a new link with the older one to the same node. Both ends come to the same result for two links that
// both work, in whatever order they see them: the one that the smaller node id dialed stays.
func choose(me journal.NodeID, newer, older *link, n, o *hello) choice {
	switch {
	case n.boot != o.boot:
		return probeOld // a restart, or a copy of the node
	case newer.dialed == older.dialed:
		return takeNew // who dials again has given up the older one
	}
	smaller := me
	if string(n.node[:]) < string(me[:]) {
		smaller = n.node
	}
	dialer := n.node
	if newer.dialed {
		dialer = me
	}
	if dialer == smaller {
		return takeNew
	}
	return probeOld
}

// register makes l the link to the node of h, or says why it must not be.
func (f *Forwarder) register(l *link, h *hello) error {
	me := f.j.Identity().Node
	for {
		f.mu.Lock()
		old := f.links[h.node]
		if old == nil || old == l || old.closing() {
			f.links[h.node] = l
			f.mu.Unlock()
			f.changed.fire()
			return nil
		}
		old.mu.Lock()
		o := old.remote
		old.mu.Unlock()
		pick := choose(me, l, old, h, o)
		if pick == takeNew {
			f.links[h.node] = l
		}
		f.mu.Unlock()
		if pick == probeOld && old.probe() {
			if h.boot != o.boot {
				return &refusal{peerpb.Goodbye_REFUSED, fmt.Errorf("two processes run as node %s (node id %s), from copies of one data folder: stop one of them and give it an empty data folder", h.name, h.node)}
			}
			return &refusal{peerpb.Goodbye_DUPLICATE, errDuplicate}
		}
		old.end(peerpb.Goodbye_DUPLICATE, errDuplicate)
		f.changed.fire()
	}
}

// refusal is an error that is told to the other end before the link is closed.
type refusal struct {
	reason peerpb.Goodbye_Reason
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// forget takes an ended link out of the lists.
func (f *Forwarder) forget(l *link) {
	node := l.peerNode()
	f.mu.Lock()
	if f.links[node] == l {
		delete(f.links, node)
	}
	delete(f.open, l)
	f.mu.Unlock()
	f.member.leave(l)
	f.changed.fire()
}

// linkTo gives the working link to the node of that name, if there is one.
func (f *Forwarder) linkTo(name string) *link {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.links {
		if l.peerName() == name && !l.closing() {
			return l
		}
	}
	return nil
}

// settledLinks lists the links over which records flow.
func (f *Forwarder) settledLinks() []*link {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*link
	for _, l := range f.links {
		if l.isSettled() && !l.closing() {
			out = append(out, l)
		}
	}
	return out
}

// admitLink counts an open link, configured or not; false if there are too many.
func (f *Forwarder) admitLink(l *link) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.open) >= f.o.Limits.Links {
		return false
	}
	f.open[l] = struct{}{}
	return true
}
