package forward

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
)

// PeerStatus is one peer as seen from here.
type PeerStatus struct {
	Name        string
	NodeID      string // "" while unknown
	Addr        string // configured, or where it dialed from
	Configured  bool
	Connected   bool           // records can flow
	Queued      uint64         // records stored here that it has not acknowledged
	Acked       journal.Vector // what it has acknowledged, by origin
	Applied     journal.Vector // what its database held, when it last said so
	LagSeconds  float64        // age of the oldest record that it has not acknowledged
	LastError   string         // "" while all is well
	LastErrorAt time.Time
	Refused     map[string]string // origins whose records do not pass, by name, and why
	// Checkpoint is the newest one of its journal that is kept here, Holds the size of that of this node's journal that it keeps.
	Checkpoint  journal.Checkpoint
	Holds       uint64
	Distrusted  string // its journal contradicts what it signed: why its records are refused; "" if they are not
	Contradicts string // what it keeps of this node's journal is not what is here
}

// Status lists the peers: the configured ones by name, then others that have been here.
func (f *Forwarder) Status() []PeerStatus {
	f.mu.Lock()
	list := slices.Collect(maps.Values(f.neighbours))
	f.mu.Unlock()
	slices.SortFunc(list, func(a, b *neighbour) int {
		if a.configured != b.configured {
			if a.configured {
				return -1
			}
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	out := make([]PeerStatus, 0, len(list))
	for _, n := range list {
		out = append(out, f.statusOf(n))
	}
	return out
}

func (f *Forwarder) statusOf(n *neighbour) PeerStatus {
	s := PeerStatus{Name: n.name, Addr: n.addr, Configured: n.configured}
	l := f.linkTo(n.name)
	f.mu.Lock()
	if n.lastError != nil {
		s.LastError, s.LastErrorAt = n.lastError.Error(), n.errorAt
	}
	if s.Addr == "" {
		s.Addr = n.from
	}
	node := n.node
	for _, origin := range sortedOrigins(n.refusedTexts()) {
		if s.Refused == nil {
			s.Refused = map[string]string{}
		}
		s.Refused[f.nameOf(origin)] = n.quarantined[origin]
	}
	f.mu.Unlock()
	if node.IsZero() {
		node = f.nodeOf(n.name)
	}
	if !node.IsZero() {
		s.NodeID = node.String()
		s.Acked = f.j.Acked(s.NodeID)
		w := f.j.Witness(node)
		s.Holds, s.Distrusted = w.Holds, w.Refused
		if c, err := journal.ParseCheckpoint(w.Note, ""); err == nil {
			s.Checkpoint = c
		}
	}
	if l != nil {
		s.Connected = l.isSettled()
		l.mu.Lock()
		s.Applied = l.out.applied.Clone()
		s.Contradicts = l.witness.wrong
		l.mu.Unlock()
	}
	s.Queued, s.LagSeconds = f.lag(s.Acked)
	return s
}

func (n *neighbour) refusedTexts() map[journal.NodeID]string { return n.quarantined }

// lag counts what somebody at acked lacks, and gives the age of the oldest of it in seconds.
func (f *Forwarder) lag(acked journal.Vector) (queued uint64, seconds float64) {
	if queued = Lacks(acked, f.j.Stored()); queued == 0 {
		return 0, 0
	}
	if acked == nil {
		acked = journal.Vector{}
	}
	recs, err := f.j.After(acked, 1)
	if err != nil || len(recs) == 0 {
		return queued, 0
	}
	return queued, max(0, f.o.Now().Sub(time.UnixMilli(int64(recs[0].HLC>>16))).Seconds())
}

// nodeOf gives the id of the member of that name.
func (f *Forwarder) nodeOf(name string) journal.NodeID {
	for _, m := range f.members() {
		if m.Name == name && !m.Retired {
			return m.Node
		}
	}
	return journal.NodeID{}
}

// Target is what Pending measures against: everything that is stored or sealed here now, own records and others'. A beat
// is written as a barrier: own records are published in order, so what was committed before stands before it, even if it
// still waits behind one that is in doubt.
func (f *Forwarder) Target(ctx context.Context) (journal.Vector, error) {
	target := f.j.Stored().Clone()
	beat, err := f.j.Beat(ctx)
	if err != nil {
		return target, fmt.Errorf("mark the end of what was committed: %w", err)
	}
	target[beat.Origin] = beat.Seq
	return target, nil
}

// ErrUnknownPeer is returned for a name that is neither configured nor connected.
var ErrUnknownPeer = errors.New("no such peer")

// Pending counts, by peer, the records of target that the configured peers (or the named one alone) have not
// acknowledged. Peers with nothing pending are in the result with 0.
func (f *Forwarder) Pending(target journal.Vector, peer string) (map[string]uint64, error) {
	out := map[string]uint64{}
	for _, s := range f.Status() {
		if peer == "" && !s.Configured || peer != "" && s.Name != peer {
			continue
		}
		out[s.Name] = Lacks(s.Acked, target)
	}
	if peer != "" && len(out) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrUnknownPeer, peer)
	}
	return out, nil
}

// Lacks counts the records of target that somebody at v does not have.
func Lacks(v, target journal.Vector) (n uint64) {
	for origin, seq := range target {
		if seq > v[origin] {
			n += seq - v[origin]
		}
	}
	return n
}

// Changed gives a channel that is closed when a link, an acknowledgement or the membership has moved.
func (f *Forwarder) Changed() <-chan struct{} { return f.changed.wait() }

// maxGuests bounds the peers that are remembered without being configured.
const maxGuests = 256

// met notes a node that has introduced itself and was accepted.
func (f *Forwarder) met(l *link, h *hello) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.neighbours[h.name]
	if n == nil {
		if len(f.neighbours) >= maxGuests {
			for name, old := range f.neighbours {
				if !old.configured {
					delete(f.neighbours, name)
					break
				}
			}
		}
		n = &neighbour{f: f, name: h.name, kick: newBell()}
		f.neighbours[h.name] = n
	}
	n.node, n.from = h.node, l.addr
	n.asked = true
}

// linked notes that records flow.
func (f *Forwarder) linked(l *link, h *hello) {
	f.mu.Lock()
	if n := f.neighbours[h.name]; n != nil {
		if len(l.refusedNow()) == 0 {
			n.lastError, n.quarantined = nil, nil
		}
	}
	f.mu.Unlock()
	l.log.Info("peer connected", "addr", l.addr, "dialed", l.dialed)
	f.changed.fire()
}

func (l *link) refusedNow() map[journal.NodeID]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.in.refused)
}

// failed notes why there is no link to a peer.
func (f *Forwarder) failed(name string, err error) {
	var bye *goodbyeError
	duplicate := errors.Is(err, errDuplicate) || errors.As(err, &bye) && bye.reason == peerpb.Goodbye_DUPLICATE
	if err == nil || duplicate || errors.Is(err, errGoing) {
		return
	}
	f.note(name, err)
	f.logRarely(name, "peer not connected", err)
}

// noteError notes what holds up a link that stands.
func (f *Forwarder) noteError(l *link, err error) {
	f.note(l.peerName(), err)
	f.logRarely(l.peerName(), "peer's records wait", err)
}

func (f *Forwarder) note(name string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.neighbours[name]; n != nil {
		n.lastError, n.errorAt = err, f.o.Now()
	}
}

// refused tells about somebody who was not let in.
func (f *Forwarder) refused(who string, err error) {
	f.note(who, err)
	f.logRarely(who, "peer refused", err)
}

// quarantined tells, loudly and once a link, that an origin's records do not pass.
func (f *Forwarder) quarantined(l *link, origin journal.NodeID, why error) {
	name := l.peerName()
	f.mu.Lock()
	if n := f.neighbours[name]; n != nil {
		if n.quarantined == nil {
			n.quarantined = map[journal.NodeID]string{}
		}
		n.quarantined[origin] = why.Error()
		n.lastError, n.errorAt = why, f.o.Now()
	}
	if origin == f.j.Identity().Node && errors.Is(why, journal.ErrFork) {
		f.forked = why
	}
	f.mu.Unlock()
	f.log.Error("records of an origin are refused", "peer", name, "origin", f.nameOf(origin), "error", why)
	f.changed.fire()
}

// logEvery is how often the same trouble is logged.
const logEvery = time.Minute

// maxLogged bounds how many different troubles are remembered.
const maxLogged = 1024

func (f *Forwarder) logRarely(who, what string, err error) {
	key := who + ": " + err.Error()
	now := f.o.Now()
	f.mu.Lock()
	last, seen := f.logged[key]
	quiet := seen && now.Sub(last) < logEvery
	if !quiet {
		if len(f.logged) >= maxLogged {
			clear(f.logged)
		}
		f.logged[key] = now
	}
	f.mu.Unlock()
	if !quiet {
		f.log.Warn(what, "peer", who, "error", err)
	}
}

// allAsked reports whether every configured peer has introduced itself, so that an existing cluster would be known.
func (f *Forwarder) allAsked() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.neighbours {
		if n.configured && !n.asked {
			return false
		}
	}
	return true
}
