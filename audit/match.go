package audit

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"pgproxy/journal"
)

// match adds what the journal's indexes cannot tell to the filter: text, transaction, and that everything asked of a statement
// is true of one and the same.
func (q *Question) match(r Reader, f *journal.Filter) error {
	s := statementFilter{role: q.Role, state: q.SQLState, command: f.Command, text: strings.ToLower(q.Text)}
	if q.Class != "" {
		c, err := parseClass(q.Class)
		if err != nil {
			return wrong("%w", err)
		}
		f.Class, s.class = &c, &c
	}
	is := func(*journal.Item) bool { return true }
	if q.Transaction != "" {
		var err error
		if is, err = transactionIs(q.Transaction, r.Names()); err != nil {
			return wrong("%w", err)
		}
	}
	if q.Transaction == "" && s.text == "" && s.asks() < 2 {
		return nil // the journal's own look is enough
	}
	f.Match = func(it *journal.Item) bool {
		return is(it) && (s.asks() == 0 || it.Record != nil && s.any(it.Record.Tx))
	}
	return nil
}

// statementFilter is what is asked of one statement.
type statementFilter struct {
	role, state, command, text string
	class                      *journal.Class
}

func (s *statementFilter) asks() (n int) {
	for _, t := range []string{s.role, s.state, s.command, s.text} {
		if t != "" {
			n++
		}
	}
	if s.class != nil {
		n++
	}
	return n
}

func (s *statementFilter) any(tx *journal.Tx) bool {
	if tx == nil {
		return false
	}
	for i := range tx.Statements {
		st := &tx.Statements[i]
		if (s.role == "" || st.Role == s.role) && (s.state == "" || st.SQLState == s.state) && (s.command == "" || st.Command == s.command) &&
			(s.class == nil || st.Class == *s.class) && (s.text == "" || says(st, s.text)) {
			return true
		}
	}
	return false
}

// says reports whether a text, lower case, is part of what the statement says.
func says(st *journal.Statement, text string) bool {
	if strings.Contains(strings.ToLower(st.Query), text) || strings.Contains(strings.ToLower(st.Message), text) {
		return true
	}
	for _, p := range st.Params {
		if p.Value.Kind == journal.ValueText && strings.Contains(strings.ToLower(p.Value.Data), text) {
			return true
		}
	}
	return false
}

// transactionIs reads the name of a transaction: ORIGIN/SEQ, the marker's id, or the database's transaction number.
func transactionIs(name string, names map[journal.NodeID]string) (func(*journal.Item) bool, error) {
	if strings.Contains(name, "/") {
		id, err := ParseID(name, names)
		return func(it *journal.Item) bool { return it.Record != nil && it.Record.ID == id }, err
	}
	if m, err := hex.DecodeString(strings.ReplaceAll(name, "-", "")); err == nil && len(m) == 16 {
		return func(it *journal.Item) bool {
			return it.Record != nil && it.Record.Tx != nil && it.Record.Tx.Marker == [16]byte(m)
		}, nil
	}
	xid, err := strconv.ParseUint(name, 10, 64)
	return func(it *journal.Item) bool { return it.Record != nil && it.Record.Tx != nil && it.Record.Tx.XID == xid }, err
}

// parseClass reads the name of a class of statements, in any case.
func parseClass(s string) (journal.Class, error) {
	var names []string
	for _, c := range journal.Classes() {
		if strings.EqualFold(s, c.String()) {
			return c, nil
		}
		names = append(names, c.String())
	}
	return 0, fmt.Errorf("class %q is none of %s", s, strings.Join(names, ", "))
}
