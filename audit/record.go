package audit

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// Transaction is one record or event of the journal in the form in which it leaves pgproxy.
type Transaction struct {
	Origin      string            `json:"origin"` // name of the node that wrote it
	Seq         uint64            `json:"seq"`    // place in that node's stream; 0 for an attempt, which has none
	HLC         string            `json:"hlc"`    // its place in the global order; sorts as text
	Time        time.Time         `json:"time"`   // when COMMIT or ROLLBACK was asked for; UTC
	User        string            `json:"user"`   // who logged in
	Database    string            `json:"database"`
	Application string            `json:"application"`
	Client      string            `json:"client"` // address and port, or "local"
	XID         uint64            `json:"xid"`    // 0 where not known
	Outcome     string            `json:"outcome"`
	Kind        string            `json:"kind"` // transaction, attempt, void, member, beat, or the kind of event
	Statements  []Statement       `json:"statements"`
	Started     *time.Time        `json:"started,omitempty"`
	Session     uint64            `json:"session,omitempty"` // number of the client's connection at its node
	OriginID    string            `json:"origin_id"`
	Incarnation uint64            `json:"incarnation,omitempty"`
	Knew        map[string]uint64 `json:"knew,omitempty"` // what its author's database held, by node name
	Marker      string            `json:"marker,omitempty"`
	Reason      string            `json:"reason,omitempty"` // why an own transaction aborted, where one record is asked for
	Member      *Member           `json:"member,omitempty"`
	Position    uint64            `json:"position"`             // place in this node's journal, to page on from; differs between nodes
	SessionID   string            `json:"session_id,omitempty"` // NODE.START.NUMBER, which names the connection for ever
	Backend     uint32            `json:"backend,omitempty"`    // process id of the server's backend
	UndoOf      []string          `json:"undo_of,omitempty"`    // the transactions that its statements say they take back: a claim
	Event       *Event            `json:"event,omitempty"`      // then there are no statements, and Kind says what it is
}

// Member is the body of a member record.
type Member struct {
	Node    string `json:"node"`
	Name    string `json:"name"`
	Cluster string `json:"cluster"`
	Number  uint32 `json:"number"`
	Retired bool   `json:"retired,omitempty"`
}

// Statement is one statement of a transaction, also when it failed or was rolled back.
type Statement struct {
	Query        string    `json:"query"` // as the client wrote it, secrets redacted
	Params       []Value   `json:"params"`
	ParamTypes   []string  `json:"param_types,omitempty"` // "" where the server inferred it
	Command      string    `json:"command"`
	Role         string    `json:"role,omitempty"` // effective role (SET ROLE)
	Tables       []string  `json:"tables"`
	Capture      string    `json:"capture"` // none, exact, copy, hidden, statement, local, missing
	Note         string    `json:"note,omitempty"`
	Rows         []Row     `json:"rows"`
	RowsOmitted  int64     `json:"rows_omitted,omitempty"` // changes that are not in rows: of a large statement only the first are
	RowsAffected *int64    `json:"rows_affected"`          // null where the command tag says nothing
	Started      time.Time `json:"started"`
	DurationUS   int64     `json:"duration_us"`
	SQLState     string    `json:"sqlstate,omitempty"` // of its failure
	Message      string    `json:"message,omitempty"`
	RolledBack   bool      `json:"rolled_back,omitempty"`  // by ROLLBACK TO a savepoint: it has no effect
	NotExecuted  bool      `json:"not_executed,omitempty"` // it was sent behind one that failed, and skipped
	Class        string    `json:"class,omitempty"`        // READ, WRITE, FUNCTION, ROLE, DDL, MISC, MISC_SET, UNKNOWN
	RoleSource   string    `json:"role_source,omitempty"`  // how Role is known
	Objects      []Object  `json:"objects,omitempty"`
	Protocol     string    `json:"protocol,omitempty"` // simple, extended, function_call
	Prepared     string    `json:"prepared,omitempty"`
	Portal       string    `json:"portal,omitempty"`
	Part         uint32    `json:"part,omitempty"` // it is the Part-th of the Parts statements of one string
	Parts        uint32    `json:"parts,omitempty"`
	Context      string    `json:"context,omitempty"`     // of the client's own end user: a claim
	Redacted     []string  `json:"redacted_by,omitempty"` // why its text or parameters lack something: secret, mask, context
	Copy         *CopyData `json:"copy,omitempty"`
	UndoOf       []string  `json:"undo_of,omitempty"`

	omitted      journal.Span // counts of what is not in Rows
	omittedTable string       // its table, if it is of one alone
}

// ID gives the name by which people ask for a record: origin/seq, or "-" for what has no place in a stream.
func (t *Transaction) ID() string {
	if t.Seq == 0 {
		return t.Origin + "/-"
	}
	return fmt.Sprintf("%s/%d", t.Origin, t.Seq)
}

// NewTransaction gives the outside form of a journal item. Names are those of the reader the item came from; a node that
// they lack is shown by its id.
func NewTransaction(it journal.Item, names map[journal.NodeID]string) Transaction {
	if it.Event != nil {
		return fromEvent(it, names)
	}
	r := it.Record
	t := Transaction{
		Origin: name(names, r.Origin), OriginID: r.Origin.String(), Seq: r.Seq, HLC: formatHLC(r.HLC),
		Time: r.HLC.Wall(), Outcome: OutcomeName(it.Outcome), Kind: kindName(r), Incarnation: r.Incarnation,
		Position: it.Position, Reason: it.Reason, Statements: []Statement{},
	}
	if len(r.Knew) > 0 {
		t.Knew = make(map[string]uint64, len(r.Knew))
		for n, s := range r.Knew {
			t.Knew[name(names, n)] = s
		}
	}
	if m := r.Member; m != nil {
		t.Member = &Member{Node: m.Node.String(), Name: m.Name, Cluster: m.Cluster.String(), Number: m.Number, Retired: m.Retired}
	}
	if tx := r.Tx; tx != nil {
		t.fill(tx)
		t.SessionID = SessionName(r.Session(), names)
	}
	return t
}

func (t *Transaction) fill(tx *journal.Tx) {
	if !tx.End.IsZero() {
		t.Time = tx.End.UTC()
	}
	if !tx.Start.IsZero() {
		start := tx.Start.UTC()
		t.Started = &start
	}
	t.User, t.Database, t.Application, t.Client = tx.User, tx.Database, tx.Application, tx.Client
	t.Session, t.XID, t.Backend = tx.Session, tx.XID, tx.Backend
	if tx.Marker != [16]byte{} {
		t.Marker = fmt.Sprintf("%x-%x-%x-%x-%x", tx.Marker[:4], tx.Marker[4:6], tx.Marker[6:8], tx.Marker[8:10], tx.Marker[10:])
	}
	for i := range tx.Statements {
		s := newStatement(tx, &tx.Statements[i])
		for _, u := range s.UndoOf {
			if !slices.Contains(t.UndoOf, u) {
				t.UndoOf = append(t.UndoOf, u)
			}
		}
		t.Statements = append(t.Statements, s)
	}
}

func newStatement(tx *journal.Tx, s *journal.Statement) Statement {
	out := Statement{
		Query: s.Query, Params: make([]Value, 0, len(s.Params)), Command: s.Command, Role: s.Role, Tables: s.Tables,
		Capture: CaptureName(s.Capture), Note: s.Note, Rows: make([]Row, 0, len(s.Changes)), Started: s.Start.UTC(),
		DurationUS: s.Duration.Microseconds(), SQLState: s.SQLState, Message: s.Message, RolledBack: s.RolledBack,
	}
	out.more(s)
	if out.Tables == nil {
		out.Tables = []string{}
	}
	if s.RowsAffected >= 0 {
		n := s.RowsAffected
		out.RowsAffected = &n
	}
	typed := false
	for _, p := range s.Params {
		out.Params = append(out.Params, Value(p.Value))
		out.ParamTypes = append(out.ParamTypes, p.Type)
		typed = typed || p.Type != ""
	}
	if !typed {
		out.ParamTypes = nil
	}
	if s.Stored != nil {
		out.stored(tx, s)
	}
	for i := range s.Changes {
		out.Rows = append(out.Rows, newRow(tx, &s.Changes[i]))
	}
	return out
}

// shownRows is how many of the changes that a statement has in its transaction's images are shown.
const shownRows = 100

// stored shows the first of the changes that are in images, and counts the others.
func (s *Statement) stored(tx *journal.Tx, of *journal.Statement) {
	s.omitted = *of.Stored
	for c, err := range tx.Each(of) {
		if err != nil {
			s.Note = strings.TrimPrefix(s.Note+"; its rows cannot be read: "+err.Error(), "; ")
			break
		}
		if len(s.Rows) == shownRows {
			break
		}
		row := newRow(tx, c)
		s.Rows = append(s.Rows, row)
		switch c.Op {
		case journal.OpInsert:
			s.omitted.Inserted--
		case journal.OpUpdate:
			s.omitted.Updated--
		case journal.OpDelete:
			s.omitted.Deleted--
		}
	}
	if s.RowsOmitted = s.omitted.Count(); len(of.Stored.Relations) == 1 {
		rel := &tx.Relations[of.Stored.Relations[0]]
		s.omittedTable = rel.Schema + "." + rel.Name
	}
}

// OutcomeName is how an outcome is written: committed, aborted or unknown.
func OutcomeName(o journal.Outcome) string {
	switch o {
	case journal.OutcomeCommitted:
		return "committed"
	case journal.OutcomeAborted:
		return "aborted"
	}
	return "unknown"
}

// ParseOutcome reads what OutcomeName writes.
func ParseOutcome(s string) (journal.Outcome, error) {
	for _, o := range []journal.Outcome{journal.OutcomeCommitted, journal.OutcomeAborted, journal.OutcomeUnknown} {
		if s == OutcomeName(o) {
			return o, nil
		}
	}
	return 0, fmt.Errorf("outcome %q is none of committed, aborted, unknown", s)
}

// CaptureName is the word for a way of capture in every form that people and programs read.
func CaptureName(c journal.Capture) string {
	switch c {
	case journal.CaptureNone:
		return "none"
	case journal.CaptureExact:
		return "exact"
	case journal.CaptureCopy:
		return "copy"
	case journal.CaptureHidden:
		return "hidden"
	case journal.CaptureStatement:
		return "statement"
	case journal.CaptureLocal:
		return "local"
	case journal.CaptureMissing:
		return "missing"
	}
	return fmt.Sprintf("capture-%d", c)
}

func kindName(r *journal.Record) string {
	switch r.Kind {
	case journal.KindTx:
		if r.Seq == 0 {
			return "attempt"
		}
		return "transaction"
	case journal.KindVoid:
		return "void"
	case journal.KindMember:
		return "member"
	case journal.KindBeat:
		return "beat"
	}
	return fmt.Sprintf("kind-%d", r.Kind)
}

func name(names map[journal.NodeID]string, n journal.NodeID) string {
	if s := names[n]; s != "" {
		return s
	}
	return n.String()
}

// formatHLC gives the time and the counter (hexadecimal), so that texts sort as the times do.
func formatHLC(t hlc.Time) string {
	if t == 0 {
		return ""
	}
	return fmt.Sprintf("%s/%04x", t.Wall().Format("2006-01-02T15:04:05.000Z"), t.Counter())
}
