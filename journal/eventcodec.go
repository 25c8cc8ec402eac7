package journal

import (
	"time"

	"pgproxy/journal/hlc"
)

func (e *encoder) event(v *Event) {
	e.byte(byte(v.Kind))
	e.node(v.Node)
	e.uint(v.Incarnation)
	e.fixed(uint64(v.Time))
	e.who(&v.Who)
	switch {
	case v.SessionStart != nil:
		e.bool(v.SessionStart.Replication)
	case v.SessionEnd != nil:
		e.sessionEnd(v.SessionEnd)
	case v.Refusal != nil:
		e.string(v.Refusal.SQLState)
		e.string(v.Refusal.Message)
		e.string(v.Refusal.By)
	case v.Act != nil:
		e.string(v.Act.Verb)
		e.strings(v.Act.Arguments)
		e.string(v.Act.Error)
	case v.Gap != nil:
		e.gap(v.Gap)
	case v.NodeState != nil:
		e.string(v.NodeState.Version)
		e.string(v.NodeState.Policy)
		e.string(v.NodeState.Reason)
	}
}

func (e *encoder) who(w *Who) {
	e.uint(w.Session)
	e.string(w.User)
	e.string(w.Database)
	e.string(w.Application)
	e.string(w.Client)
	e.string(w.TLS)
	e.string(w.Auth)
	e.uint(uint64(w.Backend))
}

func (e *encoder) sessionEnd(s *SessionEnd) {
	e.time(s.Start)
	e.int(int64(s.Duration))
	e.string(s.Reason)
	e.string(s.Detail)
	e.uint(s.Statements)
	e.uint(s.Errors)
	e.uint(s.Transactions)
	e.uint(s.Changes)
}

func (e *encoder) gap(g *Gap) {
	e.string(string(g.Cause))
	e.string(g.Reason)
	e.time(g.From)
	e.time(g.To)
	e.uint(g.Transactions)
	e.uint(g.Statements)
	e.uint(g.Events)
	e.strings(g.Tables)
}

func (d *decoder) event() *Event {
	v := &Event{Kind: EventKind(d.byte()), Node: d.node(), Incarnation: d.uint(), Time: hlc.Time(d.fixed())}
	d.who(&v.Who)
	switch v.Kind {
	case EventSessionStart:
		v.SessionStart = &SessionStart{Replication: d.bool()}
	case EventSessionEnd:
		v.SessionEnd = &SessionEnd{
			Start: d.time(), Duration: time.Duration(d.int()), Reason: d.string(), Detail: d.string(),
			Statements: d.uint(), Errors: d.uint(), Transactions: d.uint(), Changes: d.uint(),
		}
	case EventRefused:
		v.Refusal = &Refusal{SQLState: d.string(), Message: d.string(), By: d.string()}
	case EventAct:
		v.Act = &Act{Verb: d.string(), Arguments: d.strings(), Error: d.string()}
	case EventGap:
		v.Gap = &Gap{
			Cause: GapCause(d.string()), Reason: d.string(), From: d.time(), To: d.time(),
			Transactions: d.uint(), Statements: d.uint(), Events: d.uint(), Tables: d.strings(),
		}
	case EventNodeStart, EventNodeStop:
		v.NodeState = &NodeState{Version: d.string(), Policy: d.string(), Reason: d.string()}
	default:
		d.fail()
	}
	return v
}

func (d *decoder) who(w *Who) {
	w.Session = d.uint()
	w.User = d.string()
	w.Database = d.string()
	w.Application = d.string()
	w.Client = d.string()
	w.TLS = d.string()
	w.Auth = d.string()
	w.Backend = d.uint32()
}
