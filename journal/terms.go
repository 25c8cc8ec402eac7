package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"slices"
	"strconv"
	"strings"
)

// A term is what the filter indexes know an entry by: a letter and a name. Each term has its list of positions.
const (
	termTable    = "t:" // schema.table
	termName     = "n:" // table, whatever its schema
	termUser     = "u:"
	termDatabase = "d:"
	termOrigin   = "o:"
	termConflict = "c:" // every conflict; it has those of its table and database too

	termSession     = "s:" // a client's connection: SessionID
	termApplication = "a:"
	termClient      = "h:" // the client's host
	termRole        = "r:" // effective role of a statement
	termState       = "e:" // SQLSTATE of a failure
	termAction      = "v:" // command of a statement
	termClass       = "k:" // of a statement
	termEvent       = "y:" // every event
	termEventKind   = "f:"
	termRow         = "x:" // a row that a statement without effect touched; the row index has the others
)

// longTerm is the length from which a term is replaced by its hash: a key of bbolt has a limit, names have none here.
const longTerm = 200

func term(letter, name string) string {
	if len(name) > longTerm || strings.IndexByte(name, 0) >= 0 {
		sum := sha256.Sum256([]byte(name))
		name = "#" + hex.EncodeToString(sum[:])
	}
	return letter + name
}

func originTerm(n NodeID) string { return termOrigin + n.String() }

// SessionID names a client's connection for ever: the number alone begins anew with every start of its node.
type SessionID struct {
	Node        NodeID
	Incarnation uint64
	Number      uint64
}

func (s SessionID) term() string {
	b := append(make([]byte, 0, len(termSession)+32), termSession...)
	b = hex.AppendEncode(b, s.Node[:])
	b = strconv.AppendUint(append(b, '.'), s.Incarnation, 10)
	return string(strconv.AppendUint(append(b, '.'), s.Number, 10))
}

// Session gives the connection that r's transaction was made on.
func (r *Record) Session() SessionID {
	s := SessionID{Node: r.Origin, Incarnation: r.Incarnation}
	if r.Tx != nil {
		s.Number = r.Tx.Session
	}
	return s
}

// terms lists a transaction's terms, each once.
func (tx *Tx) terms() []string {
	terms := []string{term(termUser, tx.User), term(termDatabase, tx.Database)}
	for t := range tx.tables() {
		terms = append(terms, term(termTable, t), term(termName, bareName(t)))
	}
	add := func(letter, name string) {
		if name != "" {
			terms = append(terms, term(letter, name))
		}
	}
	add(termApplication, tx.Application)
	add(termClient, Host(tx.Client))
	for i := range tx.Statements {
		st := &tx.Statements[i]
		add(termRole, st.Role)
		add(termState, st.SQLState)
		add(termAction, st.Command)
		add(termClass, st.Class.String())
	}
	slices.Sort(terms)
	return slices.Compact(terms)
}

// Host gives a client's address without its port.
func Host(client string) string {
	if host, _, err := net.SplitHostPort(client); err == nil {
		return host
	}
	return client
}

func rowTerm(h rowHash) string { return termRow + hex.EncodeToString(h[:]) }

// idleRows lists the terms of the rows that tx changed without effect and that are not among known: what was rolled back.
func (tx *Tx) idleRows(known []rowHash) []string {
	seen := make(map[rowHash]bool, len(known))
	for _, h := range known {
		seen[h] = true
	}
	var terms []string
	for i := range tx.Statements {
		for k := range tx.Statements[i].Changes {
			c := &tx.Statements[i].Changes[k]
			for _, row := range [][]Value{c.Before, c.After} {
				if row == nil {
					continue
				}
				if h := tx.RowKey(&tx.Relations[c.Relation], row).hash(); !seen[h] {
					seen[h] = true
					terms = append(terms, rowTerm(h))
				}
			}
		}
	}
	return terms
}

// rollsBack reports whether a statement of tx was rolled back on its own.
func (tx *Tx) rollsBack() bool {
	return slices.ContainsFunc(tx.Statements, func(s Statement) bool { return s.RolledBack })
}

// tables gives the tables that any statement of tx names or changes, as "schema.table".
func (tx *Tx) tables() map[string]bool {
	set := map[string]bool{}
	for i := range tx.Statements {
		st := &tx.Statements[i]
		for _, t := range st.Tables {
			set[t] = true
		}
		for k := range st.Changes {
			rel := &tx.Relations[st.Changes[k].Relation]
			set[rel.Schema+"."+rel.Name] = true
		}
		if st.Stored != nil {
			for _, k := range st.Stored.Relations {
				rel := &tx.Relations[k]
				set[rel.Schema+"."+rel.Name] = true
			}
		}
		if st.Replay != nil {
			for _, t := range st.Replay.Tables {
				set[t] = true
			}
		}
	}
	return set
}

// bareName gives the table's name without its schema.
func bareName(table string) string { return table[strings.IndexByte(table, '.')+1:] }
