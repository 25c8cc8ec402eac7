package journal

import (
	"context"
	"fmt"
	"time"

	"pgproxy/journal/hlc"
)

// Event is something that happened at this node and is no transaction: a session, a refused login, an act of an operator, a
// gap. Events are local: they have no sequence, no peer ever gets them, and their order is that of their positions.
//
// Exactly one of the payloads is set, the one that Kind names. Whatever is a text in an event is UTF-8 and free of secrets:
// who notes it has seen to that.
type Event struct {
	// Node, Incarnation and Time are filled in by Note: which node, which start of it, when it was noted.
	Node        NodeID
	Incarnation uint64
	Time        hlc.Time

	Kind EventKind
	// Who is who did it, or to whom it happened, as far as that was known then. For acts and for the node's own events only
	// User (the operator's account at the machine, "" if nobody can tell) and Client ("admin" for the admin socket) are set.
	Who Who

	SessionStart *SessionStart
	SessionEnd   *SessionEnd
	Refusal      *Refusal
	Act          *Act
	Gap          *Gap
	NodeState    *NodeState // EventNodeStart and EventNodeStop
}

// EventKind says what an event is about.
type EventKind uint8

// The kinds of events. Their numbers are part of the format.
const (
	EventSessionStart EventKind = 1 // a client has logged in
	EventSessionEnd   EventKind = 2 // that client's connection is over, whatever ended it
	EventRefused      EventKind = 3 // somebody was not let in: by the database or by pgproxy
	EventAct          EventKind = 4 // an operator did something to the node or to its journal
	EventGap          EventKind = 5 // something is missing in this journal
	EventNodeStart    EventKind = 6 // the node takes clients
	EventNodeStop     EventKind = 7 // the node ends in order; a crash leaves none
)

// String gives the name by which filters and exports know the kind.
func (k EventKind) String() string {
	switch k {
	case EventSessionStart:
		return "session_start"
	case EventSessionEnd:
		return "session_end"
	case EventRefused:
		return "auth_fail"
	case EventAct:
		return "admin"
	case EventGap:
		return "gap"
	case EventNodeStart:
		return "node_start"
	case EventNodeStop:
		return "node_stop"
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// EventKinds lists all kinds.
func EventKinds() []EventKind {
	return []EventKind{EventSessionStart, EventSessionEnd, EventRefused, EventAct, EventGap, EventNodeStart, EventNodeStop}
}

// Who is one client as a session knows it. Event.Session names the session for ever.
type Who struct {
	Session     uint64 // number of the client's connection at this node, since it started: as Tx.Session
	User        string // the login role that the client asked for; in EventRefused nobody has proven it
	Database    string
	Application string // application_name: claimed by the client
	Client      string // address and port; "local" for a unix socket; "admin" for the admin socket
	TLS         string // protocol and cipher between client and pgproxy; "" if it is not encrypted
	Auth        string // what the database asked for: "trust", "password", "md5", "scram-sha-256", "gss", "sspi", ...; "" if it was not seen
	Backend     uint32 // process id of the server's backend; 0 if it was not seen
}

// SessionStart is the payload of EventSessionStart. There is nothing to say beyond Who.
type SessionStart struct {
	Replication bool // a replication connection: what passes through it is not read
}

// SessionEnd is the payload of EventSessionEnd.
type SessionEnd struct {
	Start        time.Time
	Duration     time.Duration
	Reason       string // "client", "server", "shutdown", "protocol", "lost"
	Detail       string // the error in words; "" for an end in order
	Statements   uint64 // that the client has run, reads included, as far as pgproxy has read them
	Errors       uint64 // ErrorResponses that reached the client
	Transactions uint64 // committed ones that stand in the journal
	Changes      uint64 // row changes in these
}

// Refusal is the payload of EventRefused. Refused logins beyond the bound per time are not recorded one by one: an
// EventGap with GapRefusals says how many there were.
type Refusal struct {
	SQLState string
	Message  string // of the database, or of pgproxy; never what the client sent as its secret
	By       string // "database" or "pgproxy"
}

// Act is the payload of EventAct. Acts are durable before they are done; one that then failed is followed by another with
// the same Verb, Error set.
type Act struct {
	Verb      string   // "policy", "resolve", "export", "purge", "erase", "retire", "read", ...: one word, chosen by the command
	Arguments []string // as given, without secrets
	Error     string   // why it could not be done
}

// GapCause says why something is missing.
type GapCause string

// The causes of gaps.
const (
	GapRefusals GapCause = "refusals" // refused logins beyond the bound per time
	GapAttempts GapCause = "attempts" // transactions that did not commit, or reads, that the journal did not take
	GapEvents   GapCause = "events"   // events that the journal did not take
	// GapWrites are committed writes that the journal did not take, under the policy "continue". No peer gets them.
	GapWrites GapCause = "writes"
	// GapUnclean says that the node ended without an EventNodeStop before: attempts and events of its last moments may be missing.
	GapUnclean GapCause = "unclean"
)

// Gap is the payload of EventGap.
type Gap struct {
	Cause        GapCause
	Reason       string    // the error that stood in the way
	From, To     time.Time // the first and the last that is missing
	Transactions uint64
	Statements   uint64
	Events       uint64
	// Tables are those that the missing writes name or change, as "schema.table", sorted; at most a few hundred.
	Tables []string
}

// NodeState is the payload of EventNodeStart and EventNodeStop.
type NodeState struct {
	Version string // of the program
	Policy  string // start: the audit policy in force, in the form of the configuration file; a change shows as a difference
	Reason  string // stop: what ended it
}

// Note records an event: local, and not waited for. It fills in Node, Incarnation and Time. ErrFull says that it could not be
// kept. e must not be changed afterwards.
func (j *Journal) Note(e *Event) error {
	_, err := j.note(e, false)
	return err
}

// NoteDurable is Note that returns once the event is on the disk.
func (j *Journal) NoteDurable(ctx context.Context, e *Event) error {
	done, err := j.note(e, true)
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("note %s: %w", e.Kind, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("note %s: %w", e.Kind, context.Cause(ctx))
	}
}

func (j *Journal) note(e *Event, waiting bool) (chan error, error) {
	if err := j.usable(); err != nil {
		return nil, err
	}
	if err := e.validate(); err != nil {
		return nil, fmt.Errorf("note %s: %w", e.Kind, err)
	}
	if !waiting && j.queue.lazyFull() {
		return nil, fmt.Errorf("note %s: %w", e.Kind, ErrFull)
	}
	e.Node, e.Incarnation, e.Time = j.self, j.identity.get().Incarnation, j.clock.Now()
	en := eventEntry(e)
	if err := j.room(int64(en.bytes)); err != nil {
		return nil, fmt.Errorf("note %s: %w", e.Kind, err)
	}
	t := newTicket(waiting, en)
	if !j.queue.add(t) {
		return nil, ErrClosed
	}
	return t.done, nil
}

// validate checks that the event has the payload of its kind and no other.
func (e *Event) validate() error {
	has := [...]bool{e.SessionStart != nil, e.SessionEnd != nil, e.Refusal != nil, e.Act != nil, e.Gap != nil, e.NodeState != nil}
	n := 0
	for _, h := range has {
		if h {
			n++
		}
	}
	want := int(e.Kind) - 1
	if e.Kind == EventNodeStop {
		want = int(EventNodeStart) - 1
	}
	if n != 1 || want < 0 || want >= len(has) || !has[want] {
		return fmt.Errorf("%s with %d payloads: %w", e.Kind, n, errMalformed)
	}
	return nil
}

// eventEntry prepares an event for the journal.
func eventEntry(e *Event) *entry {
	enc := encoder{}
	enc.event(e)
	return describeEvent(e, enc.b, len(enc.b))
}

func describeEvent(e *Event, payload []byte, size int) *entry {
	terms := []string{termEvent, termEventKind + e.Kind.String(), originTerm(e.Node)}
	add := func(letter, name string) {
		if name != "" {
			terms = append(terms, term(letter, name))
		}
	}
	add(termUser, e.Who.User)
	add(termDatabase, e.Who.Database)
	add(termApplication, e.Who.Application)
	add(termClient, Host(e.Who.Client))
	if e.Who.Session != 0 {
		terms = append(terms, e.Session().term())
	}
	return &entry{kind: entryEvent, payload: payload, event: e, terms: terms, bytes: size}
}

// Session gives the connection that e is about; its Number is 0 if it is about none.
func (e *Event) Session() SessionID {
	return SessionID{Node: e.Node, Incarnation: e.Incarnation, Number: e.Who.Session}
}

func parseEvent(payload []byte) (*entry, error) {
	d := decoder{s: string(payload)}
	e := d.event()
	if err := d.end(); err != nil {
		return nil, err
	}
	return describeEvent(e, nil, len(payload)), nil
}
