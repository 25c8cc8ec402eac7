package command

import (
	"encoding/json"
	"fmt"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/config"
	"pgproxy/journal"
	"pgproxy/proxy"
)

// auditFailure gives the policy for records that the journal does not take.
func (n *node) auditFailure() proxy.Failure {
	switch n.set.AuditFailure {
	case config.FailContinue:
		return proxy.FailContinue
	case config.FailShutdown:
		return proxy.FailShutdown
	}
	return proxy.FailOperation
}

// broken ends the node: the journal did not take a record, and the policy is shutdown.
func (n *node) broken(err error) {
	select {
	case n.failed <- fmt.Errorf("audit-failure is %s: %w", config.FailShutdown, err):
	default:
	}
}

// noteStart records that the node takes clients, under which policy, and whether its last end was in order.
func (n *node) noteStart() {
	for it, err := range n.journal.Scan(journal.Filter{OnlyEvents: true, Origin: n.journal.Identity().Node.String(), Limit: 1,
		Events: []journal.EventKind{journal.EventNodeStart, journal.EventNodeStop}}) {
		if err != nil {
			n.log.Error("look for the node's last end", "error", err)
		} else if it.Event.Kind == journal.EventNodeStart {
			n.note(&journal.Event{Kind: journal.EventGap, Gap: &journal.Gap{Cause: journal.GapUnclean,
				Reason: "the node did not stop in order", From: it.Event.Time.Wall(), To: n.started}})
		}
	}
	policy, err := n.set.AuditPolicy()
	if err != nil {
		n.log.Error("audit policy", "error", err) // Validate has found it right
		return
	}
	n.note(&journal.Event{Kind: journal.EventNodeStart, NodeState: &journal.NodeState{Version: Version(),
		Policy: policy.String() + "audit-failure: " + n.set.AuditFailure + "\n"}})
}

// noteStop records that the node ends in order.
func (n *node) noteStop() {
	if n.noted {
		n.note(&journal.Event{Kind: journal.EventNodeStop, NodeState: &journal.NodeState{Version: Version(), Reason: "told to stop"}})
	}
}

// note records an event of the node itself.
func (n *node) note(e *journal.Event) {
	n.noted = true
	if err := n.journal.Note(e); err != nil {
		n.log.Error("cannot record", "event", e.Kind.String(), "error", err)
		if n.set.AuditFailure == config.FailShutdown {
			n.broken(err)
		}
	}
}

// operator is who acts over the admin socket: whoever may open it. Its account is not known.
const operator = "admin"

// Asked implements admin.Node. A question is answered even if it cannot be recorded, as any read.
func (n *node) Asked(q audit.Question) {
	text, err := json.Marshal(q)
	if err != nil {
		text = []byte(err.Error())
	}
	e := &journal.Event{Kind: journal.EventAct, Who: journal.Who{Client: operator},
		Act: &journal.Act{Verb: "audit " + q.Verb, Arguments: []string{string(text)}}}
	if err := n.journal.Note(e); err != nil {
		n.log.Error("cannot record", "event", e.Act.Verb, "error", err)
	}
}
