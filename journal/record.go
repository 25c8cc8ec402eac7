package journal

import (
	"time"

	"pgproxy/journal/hlc"
)

// Kind says what a record is about.
type Kind uint8

// The kinds of records. Their numbers are part of the format.
const (
	KindTx     Kind = 1 // a transaction of a client
	KindVoid   Kind = 2 // an intent that did not commit: it holds the sequence's place, and nothing else
	KindMember Kind = 3 // a node was founded, admitted or retired
	KindBeat   Kind = 4 // an idle node's mark
)

// Record is one place in a node's stream: what peers exchange, byte for byte, and what every journal keeps.
type Record struct {
	ID
	Incarnation uint64   // which start of the origin wrote it
	HLC         hlc.Time // taken at the gate
	Prev        [32]byte // hash of the origin's record before this one; zero for the first
	Knew        Vector   // what the author's database held: its applied vector at the gate, own sequence-1 included
	Mark        hlc.Time // up to here the author had applied everything from every member
	Kind        Kind
	Tx          *Tx      // KindTx
	Member      *Member  // KindMember
	Want        hlc.Time // KindBeat: the author waits for the line to pass this; zero: for nothing but its transactions
}

// Aware reports whether the author of r knew the record id when it wrote r.
func (r *Record) Aware(id ID) bool { return r.Knew.Covers(id) }

// Member is a node of the cluster as the journal knows it.
type Member struct {
	Cluster NodeID // the cluster's id, chosen by the founder
	Node    NodeID
	Name    string
	Number  uint32 // the residue of its sequences' values; never used again
	// FreeFrom..FreeTo is the half-open range of node numbers that the member may give away.
	FreeFrom, FreeTo uint32
	Retired          bool
}

// Tx is one transaction of a client with everything that is known about it. Its slices are read-only once it is sealed.
type Tx struct {
	Marker      [16]byte // random key of its row in pgproxy.marker
	Start       time.Time
	End         time.Time // when COMMIT (or ROLLBACK) was asked for; the journal's clock, UTC
	User        string    // who logged in
	Database    string
	Application string // application_name, as claimed by the client
	Client      string // address and port, or "local" for a unix socket
	Session     uint64 // number of the client's connection at this node, since it started
	Backend     uint32 // process id of the server's backend; 0 if it was not seen
	XID         uint64 // the database's transaction id, where known; information, never a judge
	Relations   []Relation
	Statements  []Statement
	Images      *Images // the changes that are not in Statements; nil: there are none. Seal and Attempt set it

	shelf  *imageStore  // where Images are found; nil until the transaction is known to a journal
	writer *ImageWriter // until it is sealed
}

// Collected makes what w has collected the images of t, before t is sealed. w must not be written to any more.
func (t *Tx) Collected(w *ImageWriter) { t.writer = w }

// Capture says how the effect of a statement was captured (design, section 5).
type Capture uint8

// The ways of capture. Their numbers are part of the format.
const (
	CaptureNone      Capture = 0 // no effect to capture: it failed, or it changed no row
	CaptureExact     Capture = 1
	CaptureCopy      Capture = 2
	CaptureHidden    Capture = 3
	CaptureStatement Capture = 4
	CaptureLocal     Capture = 5
	// CaptureMissing is a write whose effect could not be captured: it is recorded, counted in status, not replicated.
	CaptureMissing Capture = 6
)

// Statement is one statement of a transaction, also when it failed or was rolled back.
type Statement struct {
	Query        string // as the client wrote it, secrets redacted; UTF-8
	Params       []Param
	Command      string // INSERT, UPDATE, CREATE TABLE...
	Class        Class
	Role         string // effective role, which current_user named when it was sent; Tx.User is who logged in
	RoleSource   RoleSource
	Tables       []string // it writes to, or asks, as "schema.table"
	Objects      []Object // it names otherwise: what DDL creates, alters or drops, what it calls; each once
	Protocol     Protocol
	Prepared     string // extended: name of the prepared statement; "" is the unnamed one
	Portal       string // extended: name of the portal; "" is the unnamed one
	Part, Parts  uint32 // it is statement Part (from 1) of the Parts in one Query string; 0, 0: it came alone
	Context      string // what the client says of its own end user (setting pgproxy.context, or SQL comment): claimed, never checked
	Redacted     Redaction
	Copy         *CopyData // COPY FROM STDIN
	Capture      Capture
	Note         string // why capture is missing, or what it may not show
	Changes      []Change
	Stored       *Span // changes that are in the transaction's images, before Changes: Tx.Each gives all; nil: there are none
	RowsAffected int64 // as the command tag said; -1 where it says nothing
	Start        time.Time
	Duration     time.Duration
	SQLState     string // of its failure; "" if it succeeded
	Message      string
	RolledBack   bool    // by ROLLBACK TO a savepoint, or by an error caught by one: it has no effect
	NotExecuted  bool    // it was sent behind one that failed, and the server skipped it
	Replay       *Replay // CaptureStatement
}

// Param is a bound parameter. Text is its canonical text form where Format says ValueText, else raw binary.
type Param struct {
	Type  string // type name; "" where the server was left to infer it
	Value Value
}

// Replay is what a peer needs to run a statement again with the same meaning.
type Replay struct {
	Text     string            // the text to run; a password in it is a SCRAM verifier
	Params   []Param           // typed
	Settings map[string]string // set locally before it runs: search_path, TimeZone, ...
	Role     string            // SET LOCAL ROLE; "" leaves the applier's own
	Tables   []string          // what it is known to touch ("schema.table"), for ordering
	NoBlock  bool              // it refuses a transaction block
}

// Relation describes a table as it was when a change was captured, so that a record can be understood alone.
type Relation struct {
	Schema, Name string
	Columns      []Column
	Key          []int       // columns of the key that identifies a row (primary key, else a unique key of NOT NULL columns); none for a table without key
	Groups       [][]int     // columns that stand together in one unique key, foreign key, check or exclusion constraint (two or more): they fold as one
	Uniques      []Unique    // every unique key but Key
	References   []Reference // its foreign keys
}

// Column is one column of a Relation.
type Column struct {
	Name      string
	Type      string // as format_type gives it, schema-qualified where it is not in pg_catalog
	NotNull   bool
	Generated bool // GENERATED ALWAYS AS (..) STORED: shown, never written
	Identity  byte // 'a' ALWAYS, 'd' BY DEFAULT, 0 none
}

// Unique is a unique or exclusion constraint, or a unique index.
type Unique struct {
	Name             string
	Columns          []int  // empty for expressions
	Definition       string // pg_get_indexdef, for what columns alone do not say (expressions, predicate, collation)
	NullsNotDistinct bool
}

// Reference is a foreign key.
type Reference struct {
	Name                       string
	Columns                    []int
	Schema, Table              string
	Foreign                    []string // referenced columns
	OnDelete, OnUpdate         byte     // as pg_constraint says: a, r, c, n, d
	Deferrable, InitiallyDefer bool
}

// Op is what a change does to its row.
type Op byte

// The operations. Their letters are part of the format and of the JSON output.
const (
	OpInsert Op = 'I'
	OpUpdate Op = 'U'
	OpDelete Op = 'D'
)

// Change is the effect of a statement on one row.
type Change struct {
	Relation int // index in Tx.Relations
	Op       Op
	Before   []Value // by column of the relation; nil for an insert, and where it is unknown
	After    []Value // by column of the relation; nil for a delete
	Set      []int   // update: the columns it sets: changed ones, with their groups
	Delta    []int   // update: those of Set that fold as after minus before
	Upsert   []int   // insert .. ON CONFLICT DO UPDATE: the columns its DO UPDATE assigns; nil if it has none
	Cascade  bool    // done by a foreign key's action, not by the statement itself
}

// ValueKind keeps apart what must never mix: NULL, ”, not captured, unchanged and redacted.
type ValueKind uint8

// The kinds of values. Their numbers are part of the format.
const (
	ValueAbsent    ValueKind = 0 // not captured, or the column did not exist
	ValueNull      ValueKind = 1
	ValueText      ValueKind = 2 // canonical text, independent of any session setting; UTF-8
	ValueBinary    ValueKind = 3 // the type's own binary form (types whose text pgproxy cannot make itself)
	ValueUnchanged ValueKind = 4
	ValueRedacted  ValueKind = 5
)

// Value is one column's or parameter's value. Values compare with ==.
type Value struct {
	Kind ValueKind
	Data string
}

// Text makes a value from canonical text.
func Text(s string) Value { return Value{ValueText, s} }

// Null is SQL NULL.
func Null() Value { return Value{Kind: ValueNull} }

// Outcome is what became of a transaction.
type Outcome uint8

// The outcomes. Their numbers are part of the format.
const (
	OutcomeUnknown   Outcome = 0 // in doubt: sealed, and the database has not been heard of yet
	OutcomeCommitted Outcome = 1
	OutcomeAborted   Outcome = 2
)

// RowKey identifies a row for the row index: the database, table and key values, or all values of a row of a table
// without key. It is opaque; Tx.RowKey and Tx.RowKeys make it.
type RowKey string
