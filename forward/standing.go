package forward

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// readyPatience is added to the time that founding may take, before Ready says that it has to wait.
const readyPatience = 3 * time.Second

// ErrNotMember is returned while this node may not write because it belongs to no cluster yet.
var ErrNotMember = errors.New("node is not a member of a cluster yet")

// ErrBehind is returned while this node's journal lacks records that it wrote itself once.
var ErrBehind = errors.New("journal went back in time")

// Member reports whether this node belongs to a cluster.
func (f *Forwarder) Member() bool { return !f.j.Identity().Cluster.IsZero() }

// Ready waits until this node is a member, or until it is clear that it has to wait for others; then the error says for
// whom. Run has to be under way.
func (f *Forwarder) Ready(ctx context.Context) error {
	late := time.NewTimer(f.o.Limits.FoundAfter + readyPatience)
	defer late.Stop()
	for {
		changed := f.changed.wait()
		if f.Member() {
			return nil
		}
		select {
		case <-changed:
		case <-late.C:
			return f.WritableErr()
		case <-ctx.Done():
			return ctx.Err()
		case <-f.ctx.Done():
			return errGoing
		}
	}
}

// WritableErr says why clients' writes have to be refused now (SQLSTATE 25006), and what to do; nil if they need not be.
func (f *Forwarder) WritableErr() error {
	if !f.Member() {
		return fmt.Errorf("%w: %s", ErrNotMember, f.hint())
	}
	if f.member.isLeaving() {
		return fmt.Errorf("%w: it is joining another one at this moment", ErrNotMember)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.forked != nil {
		return f.forked
	}
	if f.behind > 0 {
		return fmt.Errorf("%w: node %s has this node's records up to number %d, which are missing here and come back now; "+
			"if that does not end, keep both nodes connected", ErrBehind, f.behindPeer, f.behind)
	}
	return nil
}

// hint says what a node that is no member waits for.
func (f *Forwarder) hint() string {
	names := make([]string, 0, len(f.o.Peers))
	first := f.o.Node
	for _, p := range f.o.Peers {
		names = append(names, p.Name)
		first = min(first, p.Name)
	}
	if len(names) == 0 || first == f.o.Node {
		return "it is founding one; this takes some seconds"
	}
	return fmt.Sprintf("it waits for a member among %s to admit it; a new cluster is founded by node %s: is it running and reachable?",
		strings.Join(names, ", "), first)
}

// setBehind takes in how far a peer knows this node's own records.
func (f *Forwarder) setBehind(me [16]byte, seq uint64, peer string) {
	if seq <= f.j.Stored()[me] {
		return
	}
	if seq <= f.j.Applied()[me] {
		return // sealed here, and only not counted as published yet
	}
	f.mu.Lock()
	news := seq > f.behind
	if news {
		f.behind, f.behindPeer = seq, peer
	}
	f.mu.Unlock()
	if !news {
		return
	}
	f.log.Error("this node's journal lacks own records that a peer has: it was put back from an older copy; writes are refused until they have come back",
		"peer", peer, "known_there", seq, "here", f.j.Stored()[me])
	if f.o.Behind != nil {
		f.o.Behind(seq)
	}
}

// behindCheck ends the refusal of writes once this node's own records are back.
func (f *Forwarder) behindCheck() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.behind > 0 && f.j.Stored()[f.j.Identity().Node] >= f.behind {
		f.log.Info("own records are back", "upto", f.behind)
		f.behind = 0
	}
}
