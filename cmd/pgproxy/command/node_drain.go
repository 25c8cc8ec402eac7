package command

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/forward"
	"pgproxy/journal"
)

// Pace of a drain.
const (
	drainReport = time.Second // how often the counts are reported while nothing changes
	// drainApplied is how long a drain waits, after everything is acknowledged, for a peer that applies nothing of what is left:
	// its stream may stand still, and what it has acknowledged is safe there.
	drainApplied = 5 * time.Second
)

// Drain implements admin.Node.
func (n *node) Drain(ctx context.Context, peer string, timeout time.Duration, report func(admin.DrainProgress) error) error {
	if err := n.starting(); err != nil {
		return err
	}
	begin := n.c.Now()
	target, err := n.forwarder.Target(ctx)
	if err != nil && !errors.Is(err, journal.ErrFull) { // a full journal is drained of what is in it
		return err
	}
	n.forwarder.Kick()
	late := time.NewTimer(timeout)
	defer late.Stop()
	tick := time.NewTicker(drainReport)
	defer tick.Stop()
	applying := patience{now: n.c.Now}
	for end := false; ; {
		changed := n.forwarder.Changed()
		p, err := n.drainProgress(target, peer)
		if err != nil {
			return err
		}
		p.Elapsed = n.c.Now().Sub(begin).Seconds()
		p.Done = p.left() == 0 && (end || p.unapplied() == 0 || applying.over(p.unapplied()))
		if err := report(p.DrainProgress); err != nil || p.Done {
			return err
		}
		if end {
			return admin.Fail(admin.ExitDifference, "pgproxy status --data-dir "+n.set.DataDir+" shows the links", "not drained after %s: %s", timeout, drainText(p.DrainProgress))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			end = true
		case <-changed:
		case <-tick.C:
			n.forwarder.Kick()
		}
	}
}

// patience ends once a count has not moved for drainApplied.
type patience struct {
	now   func() time.Time
	count int64
	since time.Time
}

func (p *patience) over(count int64) bool {
	if p.since.IsZero() || count != p.count {
		p.count, p.since = count, p.now()
	}
	return p.now().Sub(p.since) >= drainApplied
}

// drained is a report with its sums.
type drained struct{ admin.DrainProgress }

func (d drained) left() (sum int64) {
	for _, p := range d.Peers {
		sum += p.Left
	}
	return sum
}

func (d drained) unapplied() (sum int64) {
	for _, p := range d.Peers {
		sum += p.Unapplied
	}
	return sum
}

// drainProgress counts what the peers lack of target.
func (n *node) drainProgress(target journal.Vector, peer string) (drained, error) {
	pending, err := n.forwarder.Pending(target, peer)
	if errors.Is(err, forward.ErrUnknownPeer) {
		return drained{}, n.unknownPeer(peer)
	}
	if err != nil {
		return drained{}, err
	}
	p := drained{admin.DrainProgress{Peers: []admin.DrainCount{}}}
	for _, s := range n.forwarder.Status() {
		left, wanted := pending[s.Name]
		if !wanted {
			continue
		}
		c := admin.DrainCount{Peer: s.Name, Connected: s.Connected, Left: int64(left), LastError: s.LastError}
		if s.Connected { // else nobody says what it has applied
			c.Unapplied = int64(forward.Lacks(s.Applied, target))
		}
		p.Peers = append(p.Peers, c)
	}
	return p, nil
}

func (n *node) unknownPeer(peer string) error {
	var names []string
	for _, s := range n.forwarder.Status() {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return admin.Fail(admin.ExitUsage, "", "node %s has no peer %q (it has: %s)", n.set.Node, peer, strings.Join(names, ", "))
}
