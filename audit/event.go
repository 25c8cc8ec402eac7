package audit

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"pgproxy/journal"
)

// Event is what is recorded beside transactions: sessions, refused logins, acts of operators, gaps, starts and stops of the node.
// Which fields are there depends on the Kind of the Transaction that it stands in.
type Event struct {
	TLS         string `json:"tls,omitempty"`  // between client and pgproxy
	Auth        string `json:"auth,omitempty"` // what the database asked for
	Replication bool   `json:"replication,omitempty"`

	Reason       string  `json:"reason,omitempty"` // session_end, node_stop, gap
	Detail       string  `json:"detail,omitempty"`
	DurationUS   *int64  `json:"duration_us,omitempty"`  // session_end
	Statements   *uint64 `json:"statements,omitempty"`   // session_end: run; gap: missing
	Transactions *uint64 `json:"transactions,omitempty"` // session_end: committed; gap: missing
	Errors       *uint64 `json:"errors,omitempty"`
	Changes      *uint64 `json:"changes,omitempty"`

	SQLState string `json:"sqlstate,omitempty"` // auth_fail
	Message  string `json:"message,omitempty"`
	By       string `json:"by,omitempty"` // database or pgproxy

	Verb      string   `json:"verb,omitempty"` // admin
	Arguments []string `json:"arguments,omitempty"`
	Error     string   `json:"error,omitempty"`

	Cause  string     `json:"cause,omitempty"` // gap
	From   *time.Time `json:"from,omitempty"`
	To     *time.Time `json:"to,omitempty"`
	Events *uint64    `json:"events,omitempty"`
	Tables []string   `json:"tables,omitempty"`

	Version string `json:"version,omitempty"` // node_start, node_stop
	Policy  string `json:"policy,omitempty"`
}

// fromEvent gives the outside form of an event.
func fromEvent(it journal.Item, names map[journal.NodeID]string) Transaction {
	e := it.Event
	t := Transaction{
		Origin: name(names, e.Node), OriginID: e.Node.String(), HLC: formatHLC(e.Time), Time: e.Time.Wall(), Kind: e.Kind.String(),
		Incarnation: e.Incarnation, Position: it.Position, User: e.Who.User, Database: e.Who.Database, Application: e.Who.Application,
		Client: e.Who.Client, Session: e.Who.Session, SessionID: SessionName(e.Session(), names), Backend: e.Who.Backend, Statements: []Statement{},
		Event: &Event{TLS: e.Who.TLS, Auth: e.Who.Auth},
	}
	out := t.Event
	switch {
	case e.SessionStart != nil:
		out.Replication = e.SessionStart.Replication
	case e.SessionEnd != nil:
		s := e.SessionEnd
		us := s.Duration.Microseconds()
		out.Reason, out.Detail, out.DurationUS = s.Reason, s.Detail, &us
		out.Statements, out.Errors, out.Transactions, out.Changes = &s.Statements, &s.Errors, &s.Transactions, &s.Changes
		if !s.Start.IsZero() {
			start := s.Start.UTC()
			t.Started = &start
		}
	case e.Refusal != nil:
		out.SQLState, out.Message, out.By = e.Refusal.SQLState, e.Refusal.Message, e.Refusal.By
	case e.Act != nil:
		out.Verb, out.Arguments, out.Error = e.Act.Verb, e.Act.Arguments, e.Act.Error
	case e.Gap != nil:
		g := e.Gap
		out.Cause, out.Reason, out.From, out.To = string(g.Cause), g.Reason, when(g.From), when(g.To)
		out.Transactions, out.Statements, out.Events, out.Tables = &g.Transactions, &g.Statements, &g.Events, g.Tables
	case e.NodeState != nil:
		out.Version, out.Policy, out.Reason = e.NodeState.Version, e.NodeState.Policy, e.NodeState.Reason
	}
	return t
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// eventSummary is the event in one line.
func (t *Transaction) eventSummary() string {
	e := t.Event
	parts := []string{"(" + t.Kind + ")"}
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch {
	case e.SQLState != "" || e.By != "":
		add("%s %s (by the %s)", e.SQLState, e.Message, e.By)
	case e.Verb != "":
		add("%s %s", e.Verb, strings.Join(e.Arguments, " "))
	case e.Cause != "":
		add("%s: %s; %d transactions, %d statements, %d events are missing", e.Cause, e.Reason, deref(e.Transactions), deref(e.Statements), deref(e.Events))
	case e.DurationUS != nil:
		add("ended by %s after %s: %d statements, %d errors, %d changes", e.Reason, time.Duration(*e.DurationUS)*time.Microsecond, deref(e.Statements),
			deref(e.Errors), deref(e.Changes))
	case e.Version != "":
		add("version %s %s", e.Version, e.Reason)
	default:
		if t.Application != "" {
			add("application %s", t.Application)
		}
		if e.Auth != "" {
			add("by %s", e.Auth)
		}
		if e.TLS != "" {
			add("over %s", e.TLS)
		}
	}
	if e.Detail != "" {
		add("(%s)", e.Detail)
	}
	if e.Error != "" {
		add("FAILED: %s", e.Error)
	}
	return Line(strings.Join(parts, " "))
}

func deref(n *uint64) uint64 {
	if n == nil {
		return 0
	}
	return *n
}

// Object is something that a statement names and that is not a row.
type Object struct {
	Type string `json:"type,omitempty"`
	Name string `json:"name"`
}

// CopyData is what a COPY FROM STDIN was given.
type CopyData struct {
	Bytes    int64  `json:"bytes"`
	Messages int64  `json:"messages"`
	SHA256   string `json:"sha256"`
}

// more fills what a statement's record says beside its text and rows.
func (s *Statement) more(st *journal.Statement) {
	s.Class, s.NotExecuted, s.Context = st.Class.String(), st.NotExecuted, st.Context
	s.UndoOf = undoOf(st.Query)
	if st.RoleSource != journal.RoleUnknown {
		s.RoleSource = st.RoleSource.String()
	}
	if st.Protocol != journal.ProtocolUnknown {
		s.Protocol = st.Protocol.String()
	}
	s.Prepared, s.Portal, s.Part, s.Parts = st.Prepared, st.Portal, st.Part, st.Parts
	for _, o := range st.Objects {
		s.Objects = append(s.Objects, Object(o))
	}
	for _, r := range []struct {
		bit  journal.Redaction
		name string
	}{{journal.RedactedSecret, "secret"}, {journal.RedactedMask, "mask"}, {journal.RedactedPolicy, "policy"}} {
		if st.Redacted&r.bit != 0 {
			s.Redacted = append(s.Redacted, r.name)
		}
	}
	if c := st.Copy; c != nil {
		s.Copy = &CopyData{c.Bytes, c.Messages, hex.EncodeToString(c.SHA256[:])}
	}
}
