package audit

import (
	"iter"
	"time"

	"pgproxy/journal"
)

// Reader is a journal with its verdicts: *journal.Journal of a running node, *journal.ReadOnly of a stopped one.
type Reader interface {
	journal.Reader
	// Conflicts gives all verdicts, the newest first.
	Conflicts() iter.Seq2[journal.Conflict, error]
}

var (
	_ Reader = (*journal.Journal)(nil)
	_ Reader = (*journal.ReadOnly)(nil)
)

// Conflict is a verdict as this node derived it, with what both sides did.
type Conflict struct {
	Kind     string            `json:"kind"`
	Time     time.Time         `json:"time"`
	Database string            `json:"database"`
	Schema   string            `json:"schema"`
	Table    string            `json:"table"`
	Key      map[string]string `json:"key"`
	Columns  []string          `json:"columns,omitempty"`
	Rule     string            `json:"rule"` // why the winner won
	Winner   Side              `json:"winner"`
	Loser    Side              `json:"loser"`
	LoserSQL string            `json:"loser_sql,omitempty"` // would bring the loser's effect back
}

// Side is one of the two transactions of a conflict: who, and what it did to the row.
type Side struct {
	Origin  string     `json:"origin"`
	Seq     uint64     `json:"seq"`
	Time    *time.Time `json:"time,omitempty"`
	User    string     `json:"user,omitempty"`
	Client  string     `json:"client,omitempty"`
	Queries []string   `json:"queries,omitempty"` // the statements that touched the row
	Rows    []Row      `json:"rows,omitempty"`    // what they did to it
	Missing string     `json:"missing,omitempty"` // why nothing more can be said
}

// Conflicts gives the verdicts that r holds, newest first; limit 0 is all.
func Conflicts(r Reader, limit int) iter.Seq2[Conflict, error] {
	return func(yield func(Conflict, error) bool) {
		names := r.Names()
		n := 0
		for k, err := range r.Conflicts() {
			if err != nil {
				yield(Conflict{}, err)
				return
			}
			c := Conflict{Kind: k.Kind, Time: k.Time.UTC(), Database: k.Database, Schema: k.Schema, Table: k.Table, Key: k.Key, Columns: k.Columns,
				Rule: k.Rule, LoserSQL: k.LoserSQL, Winner: newSide(r, &k, k.Winner, names), Loser: newSide(r, &k, k.Loser, names)}
			if n++; !yield(c, nil) || n == limit {
				return
			}
		}
	}
}

// newSide tells what transaction id did to the row of k.
func newSide(r journal.Reader, k *journal.Conflict, id journal.ID, names map[journal.NodeID]string) Side {
	s := Side{Origin: name(names, id.Origin), Seq: id.Seq}
	it, err := r.Get(id)
	if err != nil {
		s.Missing = err.Error()
		return s
	}
	t := NewTransaction(it, names)
	s.User, s.Client, s.Time = t.User, t.Client, &t.Time
	for i := range t.Statements {
		st := &t.Statements[i]
		touched := false
		if st.RowsOmitted > 0 {
			st.Rows = storedRows(it.Record.Tx, &it.Record.Tx.Statements[i], k)
		}
		for _, row := range st.Rows {
			if row.Schema == k.Schema && row.Table == k.Table && sameKey(row, k.Key) {
				s.Rows = append(s.Rows, row)
				touched = true
			}
		}
		if touched {
			s.Queries = append(s.Queries, st.Summary())
		}
	}
	return s
}

// storedRows reads those of a large statement's rows that a conflict is about.
func storedRows(tx *journal.Tx, st *journal.Statement, k *journal.Conflict) (rows []Row) {
	for _, n := range st.Stored.Relations {
		rel := &tx.Relations[n]
		if rel.Schema != k.Schema || rel.Name != k.Table || len(rel.Key) == 0 {
			continue
		}
		key := make([]journal.Value, len(rel.Columns))
		for _, c := range rel.Key {
			key[c] = journal.Text(k.Key[rel.Columns[c].Name])
		}
		_ = tx.EachOf(st, tx.RowKey(rel, key), func(_ int64, c *journal.Change) error { // rows that cannot be read are not shown
			if c.Relation == n {
				rows = append(rows, newRow(tx, c))
			}
			return nil
		})
	}
	return rows
}

// sameKey reports whether a row is the one with that key. Where key is unknown every row of the table is taken.
func sameKey(row Row, key map[string]string) bool {
	for _, c := range row.Key {
		if v, ok := key[c.Name]; ok && v != c.Value.Data {
			return false
		}
	}
	return true
}
