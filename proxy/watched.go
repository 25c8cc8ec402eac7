package proxy

import (
	"fmt"
	"time"

	"pgproxy/journal"
	"pgproxy/parser"
	"pgproxy/proxy/capture"
	"pgproxy/proxy/wire"
)

// Statements that are not held (reads, SET, VACUUM...) pass as they came. Where the policy wants them recorded, the queue's
// entry has a watched beside it: the goroutine that reads the server's answers fills it in, and records it when the answer is
// complete. Each string, and each Execute, is a transaction of its own in the journal, an attempt: it wrote nothing.

// watched is a message whose statements are recorded.
type watched struct {
	sts    []watchedStatement
	at     int // the statement whose answer comes next
	start  time.Time
	params []journal.Param
	po     *portal // Execute: of what
}

type watchedStatement struct {
	st     *parser.Statement
	wanted bool
	origin origin
	record *journal.Statement // once it is known what became of it
}

// watches reports whether a statement that is not held is recorded.
func (s *session) watches(st *parser.Statement) bool {
	class := classOf(st)
	policy := s.srv.o.Audit
	if !policy.MayRecord(class) {
		return false
	}
	probe := journal.Statement{Class: class}
	probe.Role, _ = s.effectiveRole()
	return policy.Records(s.subject(&probe, readTables(st)))
}

// readTables gives what a statement reads or is about, as written.
func readTables(st *parser.Statement) []string {
	var tables []string
	for _, list := range [][]parser.Name{st.Reads, st.Objects} {
		for _, n := range list {
			if n.Schema != "" {
				tables = append(tables, n.Schema+"."+n.Name)
			} else {
				tables = append(tables, n.Name)
			}
		}
	}
	return tables
}

// watchString gives what watches a Query; nil if nothing in it is recorded.
func (s *session) watchString(script *parser.Script, refused bool) *watched {
	if script == nil {
		return nil
	}
	w := &watched{start: s.srv.o.Now()}
	any := false
	for i, st := range script.Statements {
		o := s.from(journal.ProtocolSimple)
		if n := len(script.Statements); n > 1 {
			o.part, o.parts = uint32(i+1), uint32(n)
		}
		wanted := s.watches(st) && !(refused && s.worthSkipped(st)) // those are recorded as skipped
		any = any || wanted
		w.sts = append(w.sts, watchedStatement{st: st, wanted: wanted, origin: o})
	}
	if !any {
		return nil
	}
	return w
}

// watchPortal gives what watches an Execute of a portal that is not held.
func (s *session) watchPortal(po *portal) *watched {
	if !s.watches(po.ps.st) || s.worthSkipped(po.ps.st) && (s.q.state().failed || s.inFailed()) { // recorded as skipped
		return nil
	}
	return &watched{start: s.srv.o.Now(), params: po.params, po: po, sts: []watchedStatement{{st: po.ps.st, wanted: true, origin: s.fromPortal(po)}}}
}

// noteParams keeps the parameters of a portal that may be watched. peek is its Bind, as far as it is here.
func (s *session) noteParams(po *portal, peek []byte) {
	if !s.watches(po.ps.st) {
		return
	}
	b, err := wire.DecodeBind(append([]byte(nil), peek...))
	if err != nil {
		return // longer than the buffer; the server judges a malformed one
	}
	po.params = make([]journal.Param, len(b.Params))
	for i, v := range b.Params {
		var oid uint32
		if i < len(po.ps.types) {
			oid = po.ps.types[i]
		}
		po.params[i] = capture.ParamValue(oid, b.Format(i), v, v == nil)
	}
}

// done notes the end of the statement whose answer came. Back goroutine.
func (s *session) watchedDone(w *watched, tag string, f *failure) {
	if w == nil || w.at >= len(w.sts) {
		return
	}
	x := &w.sts[w.at]
	w.at++
	st := s.watchedRecord(w, x)
	st.RowsAffected = affected(tag)
	if f != nil {
		st.SQLState, st.Message = describe(f)
		if st.Redacted&journal.RedactedSecret != 0 {
			st.Message = withheld(st.SQLState, st.Message)
		}
		st.NotExecuted = st.SQLState == "25P02"
	}
	x.record = &st
}

func (s *session) watchedRecord(w *watched, x *watchedStatement) journal.Statement {
	now := s.srv.o.Now()
	st := journal.Statement{Params: w.params, Start: w.start, Duration: now.Sub(w.start), RowsAffected: -1}
	w.start = now // of the next one in the string
	s.describeStatement(&st, x.st, x.origin)
	return st
}

// owns reports whether a failed message belongs to what is watched: its Execute, or the Bind or Parse before it.
func (w *watched) owns(o *owed) bool {
	return o.watch == w || w.po != nil && (o.kind == 'B' && o.po == w.po || o.kind == 'P' && o.ps == w.po.ps)
}

// recordPassed records a statement of a string that was played, and was not held itself.
func (s *session) recordPassed(r *run, err error) {
	st := s.statementRecord(r)
	st.RowsAffected = affected(r.tag)
	o := journal.OutcomeCommitted
	if err != nil {
		o = journal.OutcomeAborted
		if st.SQLState, st.Message = describe(err); st.Redacted&journal.RedactedSecret != 0 {
			st.Message = withheld(st.SQLState, st.Message)
		}
		st.NotExecuted = st.SQLState == "25P02"
	}
	s.applyPolicy(&st, r.st)
	if s.tx != nil {
		s.tx.stmts = append(s.tx.stmts, st)
		return
	}
	s.srv.trail.attempt(s.journalTx(&tx{start: r.start, stmts: []journal.Statement{st}}), o)
}

// report records what was watched. What had no answer was not executed. Back goroutine.
func (s *session) report(w *watched) {
	if w == nil {
		return
	}
	tx := s.journalTx(&tx{start: w.start})
	o := journal.OutcomeCommitted
	for i := range w.sts {
		x := &w.sts[i]
		if x.record == nil {
			st := s.watchedRecord(w, x)
			st.NotExecuted = true
			x.record = &st
			o = journal.OutcomeAborted
		}
		if x.record.SQLState != "" {
			o = journal.OutcomeAborted
		}
		if x.wanted {
			s.applyPolicy(x.record, x.st)
			tx.Statements = append(tx.Statements, *x.record)
		}
	}
	if len(tx.Statements) > 0 {
		s.srv.trail.attempt(tx, o)
	}
}

// onWatchedTag passes a CommandComplete of the client's own Query.
func (s *session) onWatchedTag() error {
	if o, ok := s.first(); ok && o.watch != nil {
		tag, err := s.readTag()
		if err != nil {
			return err
		}
		s.watchedDone(o.watch, tag, nil)
		return s.cw.w.Start('C').String(tag).End()
	}
	return s.br.Forward(s.cw.w)
}

// onPassingEnd passes what ends an Execute that is not held.
func (s *session) onPassingEnd(o *owed, typ byte) error {
	switch {
	case o.watch == nil:
		s.pass(o)
	case typ == 'C':
		tag, err := s.readTag()
		if err != nil {
			return err
		}
		s.watchedDone(o.watch, tag, nil)
		_ = s.cw.w.Start('C').String(tag).End() // sticks
	default:
		s.watchedDone(o.watch, "", nil)
		s.pass(o)
	}
	s.report(o.watch)
	s.pop()
	return nil
}

func (s *session) readTag() (string, error) {
	body, err := s.br.Body(wire.MaxStartup)
	if err != nil {
		return "", fmt.Errorf("read a command tag: %w", err)
	}
	tag, err := wire.Tag(body)
	if err != nil {
		return "", fmt.Errorf("read a command tag: %w", err)
	}
	return tag, nil
}
