package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"

	"pgproxy/parser"
	"pgproxy/proxy/capture"
	"pgproxy/proxy/wire"
)

// ownStatements are pgproxy's own prepared statements in the client's session, by text. Their names are not ones that
// clients use.
type ownStatements struct {
	names map[string]*ownStatement
	next  int
}

type ownStatement struct {
	name  string
	there bool // it is prepared; else it may or may not be
	fresh bool // it was never prepared
}

// maxOwnStatements bounds the cache; past it, it is started anew (under new names).
const maxOwnStatements = 256

// doubt notes that the statements may have been dropped.
func (o *ownStatements) doubt() {
	for _, st := range o.names {
		st.there = false
	}
}

func (o *ownStatements) get(sql string) *ownStatement {
	if st := o.names[sql]; st != nil {
		return st
	}
	if o.names == nil || len(o.names) >= maxOwnStatements {
		o.names = map[string]*ownStatement{}
	}
	o.next++
	st := &ownStatement{name: "pgproxy." + strconv.Itoa(o.next), fresh: true}
	o.names[sql] = st
	return st
}

// sendOwn sends an own statement's Bind and Execute (and Parse, where needed) without flushing. r collects the answer; the
// number of the last message is returned.
func (s *session) sendOwn(sql string, types []uint32, formats []int16, args [][]byte, r *run) uint64 {
	st := s.own.get(sql)
	if !st.there {
		if !st.fresh {
			s.q.push(owed{kind: 'C', mode: modeOwn})
			_ = s.bw.Target('C', 'S', st.name) // sticks, as all writes here
		}
		s.q.push(owed{kind: 'P', mode: modeOwn})
		_ = s.sendParse(wire.Parse{Name: st.name, Text: sql, Types: types})
		st.there, st.fresh = true, false
	}
	s.q.push(owed{kind: 'B', mode: modeOwn})
	_ = s.bw.Bind(wire.Bind{Portal: ownPortal, Statement: st.name, Formats: formats, Params: args, Results: []int16{1}})
	s.q.push(owed{kind: 'E', mode: modeOwn, run: r})
	_ = s.bw.Execute(ownPortal, 0)
	s.q.push(owed{kind: 'C', mode: modeOwn})
	_ = s.bw.Target('C', 'P', ownPortal)
	return s.q.state().pushed
}

// xidSQL asks for the transaction's id, which is information for people only.
const xidSQL = `SELECT pg_catalog.pg_current_xact_id_if_assigned()`

// askXID sends the question behind a statement that writes, in the same flight.
func (s *session) askXID(t *tx, st *parser.Statement) {
	if t == nil || t.xid != 0 || t.ask != nil || st.Class != parser.ClassWrite && st.Class != parser.ClassDDL {
		return
	}
	t.ask = &run{collect: true}
	s.sendOwn(xidSQL, nil, nil, nil, t.ask)
}

// takeXID takes the answer.
func (t *tx) takeXID() {
	if t.ask != nil && len(t.ask.rows) == 1 && len(t.ask.rows[0]) == 1 && len(t.ask.rows[0][0]) == 8 {
		t.xid = binary.BigEndian.Uint64(t.ask.rows[0][0])
	}
	t.ask = nil
}

// ownPortal is the portal of own statements. It is named, because the unnamed one may be the client's; it is closed after
// each use.
const ownPortal = "pgproxy.own"

// querier is the session as capture sees it.
type querier struct{ s *session }

var _ capture.Querier = querier{}

// Query runs one of pgproxy's own queries in the client's session. Called on the front goroutine only, where nothing
// else is owed. Inside a segment of the client's it leaves that open (an error fails it: untold); else it is a cycle of its
// own.
func (q querier) Query(_ context.Context, sql string, args ...[]byte) ([][][]byte, error) {
	s := q.s
	r := &run{collect: true}
	s.sendOwn(sql, nil, nil, args, r)
	open := s.segment || s.holding
	if open {
		_ = s.bw.Empty('H') // sticks
	} else {
		s.q.push(owed{kind: 'S', mode: modeOwn})
		_ = s.bw.Empty('S') // sticks
	}
	seq := s.q.state().pushed
	err := s.collect(seq, nil, false)
	var f *failure
	if errors.As(err, &f) || errors.Is(err, errServerFailed) {
		s.own.doubt()
		s.untold = open
		if !open {
			if e := s.collect(seq, nil, false); e != nil && !errors.Is(e, errServerFailed) {
				return nil, e
			}
		}
		if f != nil {
			f.own = true
			return nil, f
		}
	}
	if err != nil {
		return nil, err
	}
	return r.rows, nil
}
