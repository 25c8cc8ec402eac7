package forward

import (
	"pgproxy/forward/peerpb"
)

// hostileSelections are questions that must not reach the database as they are, by the words of their refusal.
func hostileSelections() map[string]*peerpb.Ask {
	sums := func(s *peerpb.Selection) *peerpb.Ask {
		s.Database = "shop"
		return &peerpb.Ask{Question: &peerpb.Ask_Sums{Sums: &peerpb.AskSums{Selection: s, Digits: 2}}}
	}
	return map[string]*peerpb.Ask{
		"is not here":        sums(&peerpb.Selection{Schema: "pg_catalog", Table: "pg_authid", Columns: []string{"rolpassword"}}),
		"has no column":      sums(&peerpb.Selection{Schema: "public", Table: "big", Columns: []string{`v") FROM big; DROP TABLE big; --`}}),
		"malformed prefix":   sums(&peerpb.Selection{Schema: "public", Table: "big", Columns: []string{"v"}, Prefixes: []string{"a'; DROP TABLE big; --"}}),
		"without a schema":   sums(&peerpb.Selection{Table: "big", Columns: []string{"v"}}),
		"over the limits":    sums(&peerpb.Selection{Schema: "public", Table: "big", Columns: make([]string, maxColumns+1)}),
		"connect to databas": {Question: &peerpb.Ask_Tables{Tables: &peerpb.AskTables{Database: "no such database"}}},
		"unknown question":   {},
	}
}
