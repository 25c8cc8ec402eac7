package forward

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
)

// Two linked nodes keep each other's newest checkpoint. A newer one is taken only with the proof that the journal which it
// speaks of still begins with the one that was kept: so nobody can change or cut the past of a node, its owner included,
// without every node that was linked with it noticing.
//
//	settled:  Witness  what is kept here of the other end's journal      -->
//	          <--  Checkpoint  its newest one, with the proof that it goes on from there
//	checked, kept durably:  Witness  -->

// witnessing is what a link knows about the checkpoint of this node that the other end keeps. Guarded by link.mu.
type witnessing struct {
	known bool               // the other end has said what it keeps
	kept  journal.Checkpoint // that; zero if it has none
	told  uint64             // size of the one that was sent last
	wrong string             // why what it keeps is not what is here
}

// maxProof bounds a proof: a tree of 2^63 leaves has no longer one.
const maxProof = 128

// errPast is returned for a node whose journal does not go on from what it signed before.
var errPast = errors.New("journal contradicts a checkpoint that its node has signed")

// trustHint is the way out for an operator.
func trustHint(name string) string {
	return fmt.Sprintf("find out why (a data folder put back from a backup, a copy, somebody who changed it); if that is all right, "+
		"\"pgproxy audit trust %s\" here begins anew with what it has now", name)
}

// distrust says why no link to a node is accepted: what was found before, or a key that is not the pinned one.
func (f *Forwarder) distrust(h *hello) error {
	w := f.j.Witness(h.node)
	switch {
	case w.Refused != "":
		return fmt.Errorf("records of node %s are refused since %s: %s; %s", h.name, w.Since.UTC().Format(time.RFC3339), w.Refused, trustHint(h.name))
	case w.Key != "" && h.key != w.Key:
		return fmt.Errorf("node %s shows another key for its checkpoints than when it was met first: its data folder is not the one that it was; %s",
			h.name, trustHint(h.name))
	}
	return nil
}

// beginWitness pins the other end's key and says what is kept here of its journal.
func (l *link) beginWitness(h *hello) error {
	if h.key == "" {
		return nil
	}
	w := l.f.j.Witness(h.node)
	if w.Key == "" {
		if err := l.f.j.ChangeWitness(h.node, func(w *journal.Witness) { w.Key = h.key }); err != nil {
			return err
		}
	}
	l.post(&peerpb.Frame{Body: &peerpb.Frame_Witness{Witness: &peerpb.Witness{Note: w.Note}}})
	return nil
}

// onWitness takes in which checkpoint of this node's journal the other end keeps, and holds it against the journal.
func (l *link) onWitness(p *peerpb.Witness) error {
	var kept journal.Checkpoint
	wrong := ""
	if len(p.GetNote()) > 0 {
		var err error
		if kept, err = journal.ParseCheckpoint(p.GetNote(), l.f.j.Identity().Key); err != nil {
			return fmt.Errorf("checkpoint that peer keeps of this node: %w", err)
		}
		if err := l.f.ownPast(&kept); err != nil {
			wrong = err.Error()
		}
	}
	l.mu.Lock()
	l.witness = witnessing{known: true, kept: kept, wrong: wrong} // what was sent meanwhile may have been passed over
	l.mu.Unlock()
	if wrong != "" {
		l.log.Error("this node's journal is not what it was when it signed a checkpoint", "peer", l.peerName(), "error", wrong)
	} else if l.f.j.Witness(l.peerNode()).Holds != kept.Size {
		if err := l.f.j.ChangeWitness(l.peerNode(), func(w *journal.Witness) { w.Holds = kept.Size }); err != nil {
			return err
		}
	}
	l.f.changed.fire()
	l.wake.ring()
	return nil
}

// ownPast holds a checkpoint that this node has signed once against its journal.
func (f *Forwarder) ownPast(c *journal.Checkpoint) error {
	root, err := f.j.Root(c.Size)
	switch {
	case errors.Is(err, journal.ErrPruned):
		return nil
	case errors.Is(err, journal.ErrNotFound):
		return fmt.Errorf("it had %d entries at %s and has fewer now: it was put back from an older copy, or its end was cut off", c.Size, c.Time.UTC().Format(time.RFC3339))
	case err != nil:
		return err
	case root != c.Root:
		return fmt.Errorf("its first %d entries are not those of %s: they were changed, or it was put back from an older copy and went on", c.Size, c.Time.UTC().Format(time.RFC3339))
	}
	return nil
}

// sendCheckpoint sends this node's newest checkpoint if the other end does not keep it yet.
func (l *link) sendCheckpoint() error {
	newest := l.f.j.Checkpoint()
	l.mu.Lock()
	known, kept, told := l.witness.known, l.witness.kept, l.witness.told
	due := known && len(newest.Note) > 0 && newest.Size != told && newest.Size != kept.Size
	if due {
		l.witness.told = newest.Size
	}
	l.mu.Unlock()
	if !due {
		return nil
	}
	c := &peerpb.Checkpoint{Note: newest.Note, From: kept.Size}
	if kept.Size > 0 {
		proof, err := l.f.j.ProveGrowth(kept.Size, newest.Size)
		if err != nil {
			c.Missing = err.Error()
		}
		for i := range proof {
			c.Proof = append(c.Proof, proof[i][:])
		}
	}
	return l.sendFrame(&peerpb.Frame{Body: &peerpb.Frame_Checkpoint{Checkpoint: c}})
}

// onCheckpoint checks the other end's newest checkpoint against the one that is kept here, and keeps it instead.
func (l *link) onCheckpoint(p *peerpb.Checkpoint) error {
	node, name := l.peerNode(), l.peerName()
	w := l.f.j.Witness(node)
	if w.Key == "" {
		return errOrder
	}
	c, err := journal.ParseCheckpoint(p.GetNote(), w.Key)
	if err != nil {
		return fmt.Errorf("peer's checkpoint: %w", err)
	}
	if c.Node != node {
		return fmt.Errorf("peer's checkpoint is of node %s: %w", c.Node, errOrder)
	}
	var kept journal.Checkpoint
	if len(w.Note) > 0 {
		if kept, err = journal.ParseCheckpoint(w.Note, w.Key); err != nil {
			return fmt.Errorf("checkpoint that is kept of the peer: %w", err)
		}
	}
	if p.GetFrom() != kept.Size {
		return nil // it was sent before the other end heard of a newer one
	}
	if c.Size < kept.Size {
		l.f.noteError(l, fmt.Errorf("node %s: its journal has %d entries and had %d at %s: it was put back from an older copy, or its end was cut off; "+
			"what it lost comes back from its peers, but %s", name, c.Size, kept.Size, kept.Time.UTC().Format(time.RFC3339), trustHint(name)))
		return nil
	}
	if err := goesOn(&kept, &c, p); err != nil {
		change := func(w *journal.Witness) { w.Refused, w.Against, w.Since = err.Error(), p.GetNote(), l.f.o.Now() }
		if err := l.f.j.ChangeWitness(node, change); err != nil {
			return err
		}
		refusal := fmt.Errorf("records of node %s are refused: %w; %s", name, err, trustHint(name))
		l.f.log.Error("journal of a peer was changed", "peer", name, "error", err)
		l.f.refused(name, refusal)
		l.end(peerpb.Goodbye_REFUSED, refusal)
		return nil
	}
	change := func(w *journal.Witness) {
		if w.Refused == "" && bytes.Equal(w.Note, kept.Note) { // else another link to the same node was faster
			w.Note = p.GetNote()
		}
	}
	if err := l.f.j.ChangeWitness(node, change); err != nil {
		return err
	}
	l.post(&peerpb.Frame{Body: &peerpb.Frame_Witness{Witness: &peerpb.Witness{Note: l.f.j.Witness(node).Note}}})
	return nil
}

// goesOn checks that a newer checkpoint is of a journal that begins with that of the kept one.
func goesOn(kept, c *journal.Checkpoint, p *peerpb.Checkpoint) error {
	if kept.Size == 0 {
		return nil
	}
	if p.GetMissing() != "" {
		return fmt.Errorf("%w: of %d entries it cannot show that they are still those of %s: %.200s",
			errPast, kept.Size, kept.Time.UTC().Format(time.RFC3339), p.GetMissing())
	}
	if len(p.GetProof()) > maxProof {
		return fmt.Errorf("%w: proof of %d hashes", errPast, len(p.GetProof()))
	}
	var proof tlog.TreeProof
	for _, b := range p.GetProof() {
		if len(b) != tlog.HashSize {
			return fmt.Errorf("%w: hash of %d bytes", errPast, len(b))
		}
		proof = append(proof, tlog.Hash(b))
	}
	if err := tlog.CheckTree(proof, int64(c.Size), c.Root, int64(kept.Size), kept.Root); err != nil {
		return fmt.Errorf("%w: its first %d entries are not those of %s any more", errPast, kept.Size, kept.Time.UTC().Format(time.RFC3339))
	}
	return nil
}

// ErrUnknownNode is returned for a node of which nothing is known.
var ErrUnknownNode = errors.New("no such node")

// Trust forgets what is kept of a node's journal, so that it begins anew with what the node has when it is met next: the
// operator has found out why it contradicts what it signed.
func (f *Forwarder) Trust(name string) error {
	for node := range f.j.Witnesses() {
		if f.nameOf(node) != name && node.String() != name {
			continue
		}
		if err := f.j.ChangeWitness(node, func(w *journal.Witness) { *w = journal.Witness{} }); err != nil {
			return err
		}
		f.note(name, nil)
		if l := f.linkTo(name); l != nil {
			l.end(peerpb.Goodbye_RETRY, errors.New("checkpoints begin anew"))
		}
		f.Kick()
		return nil
	}
	return fmt.Errorf("%w: %s", ErrUnknownNode, name)
}

// Kept is what peers keep of this node's journal, as they said last.
type Kept struct {
	Peer       string
	Connected  bool
	Checkpoint journal.Checkpoint // zero: none
	Wrong      string             // why it is not what is here; empty: it is
}

// Kept lists the configured and connected peers with what they keep of this node's journal.
func (f *Forwarder) Kept() []Kept {
	var out []Kept
	for _, p := range f.Status() {
		k := Kept{Peer: p.Name}
		if l := f.linkTo(p.Name); l != nil {
			l.mu.Lock()
			k.Connected, k.Checkpoint, k.Wrong = l.witness.known, l.witness.kept, l.witness.wrong
			l.mu.Unlock()
		}
		if p.Configured || k.Connected {
			out = append(out, k)
		}
	}
	return out
}
