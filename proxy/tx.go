package proxy

import (
	"errors"
	"io"
	"strings"
	"time"

	"pgproxy/journal"
	"pgproxy/parser"
	"pgproxy/proxy/capture"
	"pgproxy/proxy/wire"
)

// tx is the client's open transaction, from its first held statement on.
type tx struct {
	explicit bool // a block of the client's is open; else it ends with the segment or string
	block    bool // pgproxy's own BEGIN around a string of several statements
	start    time.Time
	marker   [16]byte
	marked   bool // the marker row is written already
	stmts    []journal.Statement
	steps    []int // how many steps state had noted after each of stmts
	state    capture.TxState
	images   *journal.ImageWriter // changes that are too many to be held in memory
	saves    []save
	bytes    int64 // of what is held in memory, about
	schema   bool  // it changed the schema
	xid      uint64
	ask      *run      // the question for it, while it is under way
	pending  []*portal // executed in part: drained before the commit
}

// save is a savepoint: what came before it.
type save struct {
	name string
	n    int
}

// begin makes the transaction that the next held statement belongs to.
func (s *session) begin() (*tx, error) {
	if s.tx != nil {
		return s.tx, nil
	}
	t := &tx{explicit: s.inBlock(), start: s.srv.o.Now()}
	if _, err := io.ReadFull(s.srv.o.Rand, t.marker[:]); err != nil {
		return nil, err
	}
	t.images = s.srv.o.Journal.NewImages(t.marker, s.database)
	t.state.Images = t.images
	s.tx = t
	s.q.observe(true)
	if !t.explicit {
		s.hold(true)
	}
	return t, nil
}

// inBlock reports whether a block of the client's is open where the next message goes.
func (s *session) inBlock() bool {
	if s.block != 0 {
		return s.block == 'T'
	}
	return s.q.state().status != 'I'
}

// inFailed reports whether the client's block has failed where the next message goes: the server will refuse it.
func (s *session) inFailed() bool { return s.block == 0 && s.q.state().status == 'E' }

// noteBlock notes what an executed transaction-control statement does to the client's block.
func (s *session) noteBlock(st *parser.Statement) {
	switch st.Transaction {
	case parser.Begin, parser.RollbackTo:
		s.block = 'T'
	case parser.Commit, parser.Rollback, parser.PrepareTransaction:
		s.block = 'I'
		if st.AndChain {
			s.block = 'T'
		}
	}
}

// hold keeps back what may wait: answers to the client and trailing messages to the server.
func (s *session) hold(on bool) {
	if s.holding != on {
		s.holding = on
		s.cw.setHold(on)
	}
}

// end forgets the transaction.
func (s *session) end(committed bool) {
	t := s.tx
	s.tx = nil
	s.q.observe(false)
	s.hold(false)
	clear(s.portals)
	s.cap.EndTransaction(committed)
	if s.altered {
		s.rewritten = s.rewritten || !committed
		s.cap.Altered()
		s.altered = false
	}
	s.context.end(committed)
	if t != nil && t.images != nil {
		t.images.Discard()
	}
	if t != nil && t.schema && committed {
		s.srv.o.Capturer.Invalidate(s.database)
	}
}

// add puts a statement that ran into the record.
func (s *session) add(t *tx, r *run, e capture.Effect) *journal.Statement {
	st := s.statementRecord(r)
	st.Tables, st.Capture, st.Note, st.Stored, st.Changes, st.Replay = e.Tables, e.Capture, e.Note, e.Stored, e.Changes, e.Replay
	if st.Replay != nil {
		replay := *st.Replay
		replay.Params = r.params
		st.Replay = &replay
	}
	st.RowsAffected = affected(r.tag)
	withholdReplay(&st)
	nameTables(&st, r.st)
	s.applyPolicy(&st, r.st)
	t.schema = t.schema || r.st.AltersSchema
	t.bytes += size(&st)
	return t.push(st)
}

func (t *tx) push(st journal.Statement) *journal.Statement {
	t.stmts, t.steps = append(t.stmts, st), append(t.steps, t.state.Steps())
	return &t.stmts[len(t.stmts)-1]
}

// heldBytes is how much of a transaction's images is held in memory.
const heldBytes = 2 << 20

// spill moves the changes that are held in memory to the images. They stay in the order of the statements: those before a
// statement that has gone there already stay in memory.
func (t *tx) spill() error {
	from := len(t.stmts)
	for from > 0 && t.stmts[from-1].Stored == nil {
		from--
	}
	for i := from; i < len(t.stmts); i++ {
		st := &t.stmts[i]
		if len(st.Changes) == 0 {
			continue
		}
		if err := t.images.Begin(); err != nil {
			return err
		}
		for k := range st.Changes {
			c := &st.Changes[k]
			if err := t.images.Append(&t.state.Relations[c.Relation], c); err != nil {
				return err
			}
		}
		var err error
		if st.Stored, err = t.images.End(); err != nil {
			return err
		}
		t.bytes -= size(st)
		st.Changes = nil
		t.bytes += size(st)
		before := 0
		if i > 0 {
			before = t.steps[i-1]
		}
		t.state.Moved(before, t.steps[i], st.Stored)
	}
	return nil
}

// addFailed puts a statement that failed into the record.
func (s *session) addFailed(t *tx, r *run, err error) {
	if r.ex != nil {
		r.ex.Close()
	}
	st := s.statementRecord(r)
	st.RowsAffected = -1
	st.SQLState, st.Message = describe(err)
	if st.Redacted&journal.RedactedSecret != 0 {
		st.Message = withheld(st.SQLState, st.Message)
	}
	nameTables(&st, r.st)
	s.applyPolicy(&st, r.st)
	t.push(st)
}

func describe(err error) (code, message string) {
	var f *failure
	if errors.As(err, &f) {
		return f.fields.Get(wire.FieldSQLState), strings.ToValidUTF8(f.fields.Get(wire.FieldMessage), "\uFFFD")
	}
	code, _ = sqlstate(err)
	return code, err.Error()
}

func (s *session) statementRecord(r *run) journal.Statement {
	r.noted = true
	st := journal.Statement{Params: r.params, Start: r.start, Duration: s.srv.o.Now().Sub(r.start), Copy: r.copied.data()}
	s.describeStatement(&st, r.st, r.origin)
	return st
}

// size estimates what a statement's images take.
func size(st *journal.Statement) int64 {
	n := int64(len(st.Query)) + 256
	for i := range st.Changes {
		c := &st.Changes[i]
		for _, row := range [2][]journal.Value{c.Before, c.After} {
			for j := range row {
				n += int64(len(row[j].Data)) + 24
			}
		}
	}
	return n
}

// wrote reports whether the transaction has an effect that the journal must have before the commit.
func (t *tx) wrote() bool {
	for i := range t.stmts {
		if effective(&t.stmts[i]) {
			return true
		}
	}
	return false
}

func effective(st *journal.Statement) bool {
	if st.RolledBack || st.SQLState != "" {
		return false
	}
	switch st.Capture {
	case journal.CaptureNone, journal.CaptureLocal:
		return st.Count() > 0
	case journal.CaptureExact, journal.CaptureCopy:
		return st.Count() > 0
	}
	return true
}

// worthAttempt reports whether a transaction that was not sealed should stand in the journal: it tried to write.
func (t *tx) worthAttempt() bool {
	for i := range t.stmts {
		st := &t.stmts[i]
		if st.SQLState != "" || st.NotExecuted || st.Capture != journal.CaptureNone || !readsOnly(st.Command) {
			return true
		}
	}
	return false
}

func readsOnly(command string) bool {
	switch command {
	case "SELECT", "SHOW", "EXPLAIN", "VALUES", "TABLE", "FETCH", "":
		return true
	}
	return false
}

// savepoint, release and rollbackTo mirror the client's savepoints.
func (t *tx) savepoint(name string) {
	t.saves = append(t.saves, save{name, len(t.stmts)})
	t.state.Savepoint(name)
}

func (t *tx) release(name string) {
	for i := len(t.saves) - 1; i >= 0; i-- {
		if t.saves[i].name == name {
			t.saves = t.saves[:i]
			t.state.Release(name)
			return
		}
	}
	// Set before the first held statement: it covers all of them, and nothing changes. The later ones went with it.
	t.saves = nil
}

func (t *tx) rollbackTo(name string) {
	from := 0 // a savepoint that is not known was set before the first held statement
	known := false
	for i := len(t.saves) - 1; i >= 0; i-- {
		if t.saves[i].name == name {
			from, known = t.saves[i].n, true
			t.saves = t.saves[:i+1]
			break
		}
	}
	if !known {
		t.saves = nil
	}
	for i := from; i < len(t.stmts); i++ {
		st := &t.stmts[i]
		st.RolledBack = st.SQLState == "" && !st.NotExecuted
		st.Replay = nil // the rows stay: what was tried is part of the record
	}
	if known {
		t.state.RollbackTo(name)
	} else {
		t.state = capture.TxState{Relations: t.state.Relations, Images: t.images}
	}
	for i := from; i < len(t.steps); i++ {
		t.steps[i] = t.state.Steps()
	}
	t.pending = nil
}

// journalTx makes the record's content.
func (s *session) journalTx(t *tx) *journal.Tx {
	jt := &journal.Tx{
		Marker: t.marker, Start: t.start, End: s.srv.o.Now(),
		User: s.user, Database: s.database, Application: s.applicationName(), Client: s.client, Session: s.id,
		Backend: s.backend, XID: t.xid, Relations: t.state.Relations, Statements: t.stmts,
	}
	if t.images != nil {
		jt.Collected(t.images)
	}
	return jt
}

// attempt records a transaction that was not sealed.
func (s *session) attempt(t *tx, o journal.Outcome) {
	if t == nil || !t.worthAttempt() {
		return
	}
	if o != journal.OutcomeCommitted {
		for i := range t.stmts {
			st := &t.stmts[i]
			st.RolledBack = st.SQLState == "" && !st.NotExecuted
		}
	}
	if t.images != nil && t.images.Err() != nil {
		t.dropStored(t.images.Err())
	}
	s.srv.trail.attempt(s.journalTx(t), o)
}

// dropStored leaves the changes that are in the images out of the record.
func (t *tx) dropStored(reason error) {
	for i := range t.stmts {
		if st := &t.stmts[i]; st.Stored != nil {
			st.Stored, st.Note = nil, joinNote(st.Note, "its rows were not kept: "+reason.Error())
		}
	}
	t.images.Discard()
	t.images = nil
}

// abandon is called when the session ends: what was open is rolled back by the server.
func (s *session) abandon() {
	if s.tx != nil {
		s.attempt(s.tx, journal.OutcomeAborted)
		s.end(false)
	}
}
