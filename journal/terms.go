package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// A term is what the filter indexes know an entry by: a letter and a name. Each term has its list of positions.
const (
	termTable    = "t:" // schema.table
	termName     = "n:" // table, whatever its schema
	termUser     = "u:"
	termDatabase = "d:"
	termOrigin   = "o:"
	termConflict = "c:" // every conflict
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

// terms lists a transaction's terms, each once.
func (tx *Tx) terms() []string {
	terms := []string{term(termUser, tx.User), term(termDatabase, tx.Database)}
	for t := range tx.tables() {
		terms = append(terms, term(termTable, t), term(termName, bareName(t)))
	}
	slices.Sort(terms)
	return slices.Compact(terms)
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
