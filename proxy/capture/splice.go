package capture

import (
	"fmt"
	"strings"

	"pgproxy/parser"
)

// image is what the appended column holds beside the new row and its tableoid.
type image uint8

const (
	imageRow   image = iota // nothing: the row is all there is (INSERT: the new one, DELETE: the old one)
	imageOld                // RETURNING's OLD row, of 18 and later
	imageProof              // (old row by key, its xmax) and the new row's xmin, xmax
	imageKey                // (old row by key, its xmax) alone: system columns cannot be had of partitioned targets
)

// fields is how many fields the appended record has.
func (im image) fields() int {
	switch im {
	case imageOld:
		return 4
	case imageProof:
		return 5
	case imageKey:
		return 3
	}
	return 2
}

// minOld and minOldTriggers are the server versions from which RETURNING OLD can be trusted: before 18.6 it is stale
// with BEFORE UPDATE triggers under concurrency.
const (
	minOld         = 180000
	minOldTriggers = 180006
)

// appended writes the SQL of the appended column: a record of (row, tableoid, ...) for the target that the statement
// calls alias; old and new are what RETURNING's rows are called (imageOld).
func appended(sh shape, alias string, im image, old, new string) string {
	a := quote(alias)
	switch im {
	case imageRow:
		return fmt.Sprintf("ROW(%s, %s.tableoid)", sh.sql(a), a)
	case imageOld:
		return fmt.Sprintf("ROW(%s, %s.tableoid, %s, %s.tableoid)", sh.sql(new), new, sh.sql(old), old)
	}
	o := unused(alias)
	var where []string
	for i, k := range sh.rel.key {
		name := quote(sh.rel.Columns[k].Name)
		where = append(where, fmt.Sprintf("%s.%s %s %s.%s", o, name, sh.rel.keyOps[i], a, name))
	}
	sub := fmt.Sprintf("(SELECT ROW(%s, %s.xmax) FROM %s %s WHERE %s)", sh.sql(o), o, sh.rel.rows(), o, strings.Join(where, " AND "))
	if im == imageKey {
		return fmt.Sprintf("ROW(%s, %s.tableoid, %s)", sh.sql(a), a, sub)
	}
	return fmt.Sprintf("ROW(%s, %s.tableoid, %s, %s.xmin, %s.xmax)", sh.sql(a), a, sub, a, a)
}

// unused is an alias that is not the target's.
func unused(alias string) string {
	if alias == "pgproxy_o" {
		return "pgproxy_p"
	}
	return "pgproxy_o"
}

// splice inserts the appended column into the text at the byte offset at: as a RETURNING of its own, or behind the
// client's. Where the client has none, OLD and NEW get names that nothing of the client's can shadow.
func splice(text string, at int, returning bool, sh shape, alias string, im image) string {
	if returning {
		expr := appended(sh, alias, im, "old", "new")
		return text[:at] + ", pg_catalog.encode(pg_catalog.record_send(" + expr + "), 'hex')" + text[at:]
	}
	verb := " RETURNING "
	if im == imageOld {
		verb += "WITH (OLD AS pgproxy_old, NEW AS pgproxy_new) "
	}
	return text[:at] + verb + appended(sh, alias, im, "pgproxy_old", "pgproxy_new") + text[at:]
}

// mentions reports whether the word stands anywhere in the text: then OLD or NEW may mean something of the client's.
func mentions(st *parser.Statement, word string) bool {
	return strings.Contains(strings.ToLower(st.Text), word)
}
