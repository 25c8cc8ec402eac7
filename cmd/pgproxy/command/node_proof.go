package command

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/forward"
	"pgproxy/journal"
)

// VerifyJournal implements admin.Prover.
func (n *node) VerifyJournal(ctx context.Context, outside []journal.Evidence, peers bool) (admin.Verified, error) {
	var kept []admin.PeerEvidence
	var incomplete []string
	if peers {
		if err := n.starting(); err != nil {
			return admin.Verified{}, err
		}
		for _, k := range n.forwarder.Kept() {
			kept = append(kept, admin.PeerEvidence{Peer: k.Peer, Connected: k.Connected, Size: k.Checkpoint.Size, Time: k.Checkpoint.Time})
			switch {
			case !k.Connected:
				incomplete = append(incomplete, fmt.Sprintf("peer %s is not connected: what it keeps of this journal was not looked at", k.Peer))
			case k.Checkpoint.Size == 0:
				incomplete = append(incomplete, fmt.Sprintf("peer %s keeps no checkpoint of this journal yet", k.Peer))
			default:
				outside = append(outside, journal.Evidence{From: "peer " + k.Peer, Note: k.Checkpoint.Note})
			}
		}
		if len(kept) == 0 {
			incomplete = append(incomplete, "this node has no peers that could keep a checkpoint of its journal")
		}
	}
	v, err := n.journal.Verify(ctx, outside)
	if err != nil {
		return admin.Verified{}, err
	}
	out := admin.NewVerified(&v, recordName(n.journal.Names()))
	out.Peers, out.Incomplete = kept, append(out.Incomplete, incomplete...)
	return out, nil
}

func recordName(names map[journal.NodeID]string) func(journal.ID) string {
	return func(id journal.ID) string { return fmt.Sprintf("%s/%d", originName(names, id.Origin), id.Seq) }
}

// Prove implements admin.Prover.
func (n *node) Prove(ctx context.Context, entry string) (string, error) {
	position, err := positionOf(n.journal, entry)
	if err != nil {
		return "", err
	}
	c := n.journal.Checkpoint()
	if position > c.Size {
		if c, err = n.journal.Sign(ctx); err != nil {
			return "", err
		}
	}
	b, err := n.journal.Prove(position, c)
	return string(b), proveError(err)
}

// positionOf finds the position that a person names: its number, or a record's name.
func positionOf(r audit.Reader, entry string) (uint64, error) {
	if !strings.Contains(entry, "/") {
		position, err := strconv.ParseUint(entry, 10, 62)
		if err != nil {
			return 0, auditFail(admin.AuditError, "give a position, as audit ls shows it, or ORIGIN/SEQ", "%q names no entry", entry)
		}
		return position, nil
	}
	t, err := audit.Get(r, entry)
	if err != nil {
		return 0, proveError(err)
	}
	return t.Position, nil
}

func proveError(err error) error {
	switch {
	case errors.Is(err, journal.ErrNotFound), errors.Is(err, journal.ErrPruned):
		return auditFail(admin.AuditNothing, "", "%w", err)
	case errors.Is(err, journal.ErrDamaged):
		return auditFail(admin.AuditTampered, "pgproxy audit verify", "%w", err)
	}
	return err
}

// Checkpoint implements admin.Prover.
func (n *node) Checkpoint(ctx context.Context, of string) (admin.SignedCheckpoint, error) {
	id := n.journal.Identity()
	if of == "" || of == id.Name {
		c, err := n.journal.Sign(ctx)
		return admin.SignedCheckpoint{Node: id.Name, Key: id.Key, Note: string(c.Note)}, err
	}
	names := n.journal.Names()
	for node, w := range n.journal.Witnesses() {
		if originName(names, node) == of && len(w.Note) > 0 {
			return admin.SignedCheckpoint{Node: of, Key: w.Key, Note: string(w.Note)}, nil
		}
	}
	return admin.SignedCheckpoint{}, auditFail(admin.AuditNothing, "", "no checkpoint of node %s is kept here", of)
}

// Trust implements admin.Prover.
func (n *node) Trust(ctx context.Context, name string) error {
	if err := n.starting(); err != nil {
		return err
	}
	act := &journal.Event{Kind: journal.EventAct, Who: journal.Who{Client: "admin"}, Act: &journal.Act{Verb: "trust", Arguments: []string{name}}}
	if err := n.journal.NoteDurable(ctx, act); err != nil {
		return err
	}
	err := n.forwarder.Trust(name)
	if err == nil {
		return nil
	}
	failed := &journal.Event{Kind: journal.EventAct, Who: journal.Who{Client: "admin"}, Act: &journal.Act{Verb: "trust", Arguments: []string{name}, Error: err.Error()}}
	if errors.Is(err, forward.ErrUnknownNode) {
		err = auditFail(admin.AuditNothing, "pgproxy status shows the peers", "nothing is known of node %q", name)
	}
	return errors.Join(err, n.journal.Note(failed))
}
