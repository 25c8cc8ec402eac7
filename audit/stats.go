package audit

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
)

// Count is how much one user, table, command... did.
type Count struct {
	By           string `json:"by"`   // all, user, database, table, class, origin, application, outcome, sqlstate
	Name         string `json:"name"` // "" for all
	Transactions int64  `json:"transactions"`
	Committed    int64  `json:"committed"`
	Aborted      int64  `json:"aborted"`
	Unknown      int64  `json:"unknown"`
	Statements   int64  `json:"statements"`
	Failed       int64  `json:"failed"` // statements with an error
	Inserted     int64  `json:"inserted"`
	Updated      int64  `json:"updated"`
	Deleted      int64  `json:"deleted"`
	DurationUS   int64  `json:"duration_us"` // of the statements, in the database and on the way
}

// answerStats counts what passes the question's filters. Its memory grows with the number of names, not of transactions.
func answerStats(ctx context.Context, r Reader, q Question, give func(any) error) error {
	query, err := q.query(r)
	if err != nil {
		return err
	}
	query.Limit, query.After = 0, 0
	counts := map[[2]string]*Count{}
	if err := each(ctx, r, query, func(t *Transaction) error { countTransaction(counts, t); return nil }); err != nil {
		return err
	}
	order := []string{"all", "user", "database", "table", "class", "origin", "application", "outcome", "sqlstate"}
	list := slices.SortedFunc(maps.Values(counts), func(a, b *Count) int {
		if o := cmp.Compare(slices.Index(order, a.By), slices.Index(order, b.By)); o != 0 {
			return o
		}
		if o := cmp.Compare(b.Statements, a.Statements); o != 0 {
			return o
		}
		return strings.Compare(a.Name, b.Name)
	})
	for _, c := range list {
		if err := give(*c); err != nil {
			return err
		}
	}
	return nil
}

func countTransaction(counts map[[2]string]*Count, t *Transaction) {
	touched := map[*Count]bool{}
	at := func(by, name string) *Count {
		k := [2]string{by, name}
		if counts[k] == nil {
			counts[k] = &Count{By: by, Name: name}
		}
		touched[counts[k]] = true
		return counts[k]
	}
	whole := []*Count{at("all", ""), at("user", t.User), at("database", t.Database), at("origin", t.Origin), at("application", t.Application), at("outcome", t.Outcome)}
	for i := range t.Statements {
		s := &t.Statements[i]
		all := append(slices.Clone(whole), at("class", s.Class))
		if s.SQLState != "" {
			all = append(all, at("sqlstate", s.SQLState))
		}
		for _, c := range all {
			c.statement(s, "")
		}
		for _, table := range statementTables(s) {
			at("table", table).statement(s, table)
		}
	}
	for c := range touched {
		c.Transactions++
		switch t.Outcome {
		case "committed":
			c.Committed++
		case "aborted":
			c.Aborted++
		default:
			c.Unknown++
		}
	}
}

// statement counts a statement; with a table, only its rows there.
func (c *Count) statement(s *Statement, table string) {
	c.Statements++
	c.DurationUS += s.DurationUS
	if s.SQLState != "" {
		c.Failed++
	}
	if table == "" || table == s.omittedTable {
		c.Inserted += s.omitted.Inserted
		c.Updated += s.omitted.Updated
		c.Deleted += s.omitted.Deleted
	}
	for _, r := range s.Rows {
		if table != "" && r.Schema+"."+r.Table != table {
			continue
		}
		switch r.Op {
		case "I":
			c.Inserted++
		case "U":
			c.Updated++
		case "D":
			c.Deleted++
		}
	}
}

// statementTables lists the tables that a statement names or changes, each once.
func statementTables(s *Statement) []string {
	tables := slices.Clone(s.Tables)
	for _, r := range s.Rows {
		tables = append(tables, r.Schema+"."+r.Table)
	}
	slices.Sort(tables)
	return slices.Compact(tables)
}
