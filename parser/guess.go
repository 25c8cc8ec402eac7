package parser

import "strings"

// guess says what a statement that libpg_query cannot read is likely to be, by its first words alone: DDL of a newer
// server. It gives nil for anything else.
func guess(sql string, tokens []token) *Statement {
	if len(tokens) < 2 || !startsWith(sql, tokens[0], "CREATE", "ALTER", "DROP", "COMMENT", "GRANT", "REVOKE", "SECURITY", "IMPORT", "REASSIGN") {
		return nil
	}
	from, to := int(tokens[0].from), int(tokens[len(tokens)-1].to)
	st := &Statement{Text: sql[from:to], Offset: from, Class: ClassDDL, SpliceAt: -1, MainAt: -1, AltersSchema: true, AltersSession: true}
	st.Command = strings.ToUpper(tokens[0].text(sql))
	if !startsWith(sql, tokens[0], "COMMENT", "GRANT", "REVOKE") {
		i := 1
		for i+1 < len(tokens) && startsWith(sql, tokens[i], "OR", "REPLACE", "TEMP", "TEMPORARY", "LOCAL", "UNLOGGED", "UNIQUE") {
			i++
		}
		st.Command += " " + strings.ToUpper(tokens[i].text(sql))
	}
	for i, t := range tokens {
		switch {
		case i < 4 && startsWith(sql, t, "TEMP", "TEMPORARY"):
			st.Temporary = true
		case i < 4 && startsWith(sql, t, "UNLOGGED"):
			st.Unlogged = true
		case t.word(sql, "CONCURRENTLY"), i == 1 && startsWith(sql, t, "DATABASE", "TABLESPACE", "SUBSCRIPTION"):
			st.RefusesBlock = true
		case i == 1 && startsWith(sql, t, "SYSTEM"):
			st.Class, st.RefusesBlock = ClassMaintenance, true
		}
	}
	if r := RedactUnread(st.Text); r != st.Text {
		st.Secrets = []Span{{0, len(st.Text)}} // somewhere in it
	}
	return st
}
