package audit

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pgproxy/journal"
)

// Find gives one transaction by a name that people have at hand: ORIGIN/SEQ, the position in this journal (@POSITION, which
// attempts have too), or the id of its row in pgproxy.marker.
func Find(r Reader, name string) (Transaction, error) {
	if strings.Contains(name, "/") {
		if _, err := ParseID(name, r.Names()); err != nil {
			return Transaction{}, wrong("%w", err)
		}
		return Get(r, name)
	}
	var f journal.Filter
	if at, ok := strings.CutPrefix(name, "@"); ok {
		p, err := strconv.ParseUint(at, 10, 63)
		if err != nil || p == 0 {
			return Transaction{}, wrong("%q is no position; write @123", name)
		}
		f = journal.Filter{After: p - 1, Forward: true, Limit: 1, Kinds: []journal.Kind{journal.KindTx, journal.KindVoid, journal.KindMember, journal.KindBeat}, Events: journal.EventKinds(),
			Match: func(it *journal.Item) bool { return it.Position == p }}
	} else {
		is, err := transactionIs(name, r.Names())
		if err != nil || !strings.Contains(name, "-") {
			return Transaction{}, wrong("%q is no transaction; write ORIGIN/SEQ such as a/12, @POSITION, or the id of its marker", name)
		}
		f = journal.Filter{Match: is, Limit: 1}
	}
	names := r.Names()
	for it, err := range r.Scan(f) {
		if err != nil {
			return Transaction{}, err
		}
		return NewTransaction(it, names), nil
	}
	return Transaction{}, fmt.Errorf("transaction %s: %w", name, journal.ErrNotFound)
}

// SessionName is how a session is written: NODE.START.NUMBER.
func SessionName(s journal.SessionID, names map[journal.NodeID]string) string {
	if s.Number == 0 {
		return ""
	}
	return fmt.Sprintf("%s.%d.%d", name(names, s.Node), s.Incarnation, s.Number)
}

// ParseSession reads what SessionName writes. A node's name may hold dots.
func ParseSession(s string, names map[journal.NodeID]string) (journal.SessionID, error) {
	bad := fmt.Errorf("%q is no session; write NODE.START.NUMBER, such as a.3.17, as the journal shows it", s)
	number := strings.LastIndexByte(s, '.')
	if number < 0 {
		return journal.SessionID{}, bad
	}
	start := strings.LastIndexByte(s[:number], '.')
	if start < 0 {
		return journal.SessionID{}, bad
	}
	id, err := ParseID(s[:start]+"/1", names)
	if err != nil {
		return journal.SessionID{}, err
	}
	out := journal.SessionID{Node: id.Origin}
	if out.Incarnation, err = strconv.ParseUint(s[start+1:number], 10, 64); err != nil {
		return out, bad
	}
	if out.Number, err = strconv.ParseUint(s[number+1:], 10, 64); err != nil {
		return out, bad
	}
	return out, nil
}

// rowOf is a row that was asked for: where it is, and its keys in the row index.
type rowOf struct {
	database string
	relation *journal.Relation
	keys     []journal.RowKey // the same key in the forms in which a record may hold it
}

// rows gives the keys of the row that the question names, in every database in question.
func (q *Question) rows(r Reader) ([]journal.RowKey, error) {
	found, err := q.findRows(r)
	if err != nil {
		return nil, err
	}
	var keys []journal.RowKey
	for _, f := range found {
		keys = append(keys, f.keys...)
	}
	return keys, nil
}

// findRow is findRows for a question about one row.
func (q *Question) findRow(r Reader) (rowOf, error) {
	found, err := q.findRows(r)
	if err != nil {
		return rowOf{}, err
	}
	if len(found) > 1 {
		var names []string
		for _, f := range found {
			names = append(names, f.database)
		}
		return rowOf{}, wrong("table %s is in several databases (%s): name one", q.Table, sorted(names))
	}
	return found[0], nil
}

// findRows looks in each database in question for the table, as its newest change describes it, and makes the row's keys.
func (q *Question) findRows(r Reader) ([]rowOf, error) {
	if q.Table == "" || q.Key == "" {
		return nil, wrong("a key needs its table")
	}
	databases := []string{q.Database}
	if q.Database == "" {
		var err error
		if databases, err = r.Databases(); err != nil {
			return nil, err
		}
	}
	var found []rowOf
	for _, db := range databases {
		tx, rel, err := newestRelation(r, db, q.Table)
		if err != nil {
			return nil, err
		}
		if rel == nil {
			continue
		}
		rows, err := parseKey(rel, q.Key)
		if err != nil {
			return nil, wrong("%w", err)
		}
		f := rowOf{database: db, relation: rel}
		for _, row := range rows {
			f.keys = append(f.keys, tx.RowKey(rel, row))
		}
		found = append(found, f)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no row of a table %s is in this journal: %w", q.Table, journal.ErrNotFound)
	}
	return found, nil
}

// newestRelation gives a table as the newest transaction that changed rows of it describes it; nil if there is none.
func newestRelation(r Reader, database, table string) (*journal.Tx, *journal.Relation, error) {
	for it, err := range r.Scan(journal.Filter{Database: database, Table: table}) {
		if err != nil {
			return nil, nil, err
		}
		tx := it.Record.Tx
		for i := range tx.Relations {
			if rel := &tx.Relations[i]; isTable(rel, table) {
				return tx, rel, nil
			}
		}
	}
	return nil, nil, nil
}

func isTable(rel *journal.Relation, table string) bool {
	return rel.Name == table || rel.Schema+"."+rel.Name == table
}

// parseKey reads a row's key: the value, for a key of one column; or COLUMN=VALUE, several of them with commas between; or a JSON
// object. It gives rows that hold nothing but the key: a value that begins with \x may be kept as text or as binary.
func parseKey(rel *journal.Relation, text string) ([][]journal.Value, error) {
	values, err := keyValues(rel, text)
	if err != nil {
		return nil, err
	}
	columns := rel.Key
	if len(columns) == 0 {
		return nil, fmt.Errorf("table %s.%s has no key", rel.Schema, rel.Name)
	}
	plain := make([]journal.Value, len(rel.Columns))
	binary := make([]journal.Value, len(rel.Columns))
	differ := false
	for _, c := range columns {
		v, ok := values[rel.Columns[c].Name]
		if !ok {
			return nil, fmt.Errorf("the key of %s.%s is (%s): %s is missing", rel.Schema, rel.Name, strings.Join(keyColumns(rel), ", "), rel.Columns[c].Name)
		}
		plain[c], binary[c] = v, v
		if b, ok := fromHex(v); ok {
			binary[c], differ = b, true
		}
		delete(values, rel.Columns[c].Name)
	}
	for extra := range values {
		return nil, fmt.Errorf("the key of %s.%s is (%s): %q is not in it", rel.Schema, rel.Name, strings.Join(keyColumns(rel), ", "), extra)
	}
	if differ {
		return [][]journal.Value{plain, binary}, nil
	}
	return [][]journal.Value{plain}, nil
}

func keyColumns(rel *journal.Relation) []string {
	var names []string
	for _, c := range rel.Key {
		names = append(names, rel.Columns[c].Name)
	}
	return names
}

func keyValues(rel *journal.Relation, text string) (map[string]journal.Value, error) {
	out := map[string]journal.Value{}
	if strings.HasPrefix(text, "{") {
		var c Columns
		if err := c.UnmarshalJSON([]byte(text)); err != nil {
			return nil, fmt.Errorf("key %s: %w", text, err)
		}
		for _, col := range c {
			out[col.Name] = journal.Value(col.Value)
		}
		return out, nil
	}
	names := keyColumns(rel)
	if len(names) == 1 {
		if v, ok := strings.CutPrefix(text, names[0]+"="); ok {
			text = v
		}
		out[names[0]] = journal.Text(text)
		return out, nil
	}
	last := ""
	for part := range strings.SplitSeq(text, ",") {
		column, v, ok := strings.Cut(part, "=")
		column = strings.TrimSpace(column)
		switch {
		case ok && slices.Contains(names, column):
			last = column
			out[column] = journal.Text(v)
		case last != "": // a comma inside a value
			out[last] = journal.Text(out[last].Data + "," + part)
		default:
			return nil, fmt.Errorf("the key of %s.%s is (%s): write COLUMN=VALUE,COLUMN=VALUE, or a JSON object", rel.Schema, rel.Name, strings.Join(names, ", "))
		}
	}
	return out, nil
}

// fromHex gives the binary value that a text of the form \x00ff may stand for.
func fromHex(v journal.Value) (journal.Value, bool) {
	digits, ok := strings.CutPrefix(v.Data, `\x`)
	if !ok || v.Kind != journal.ValueText {
		return v, false
	}
	b, err := hex.DecodeString(digits)
	return journal.Value{Kind: journal.ValueBinary, Data: string(b)}, err == nil
}
