package parser

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// password looks for PASSWORD '..' among a role's options.
func (w *walker) password(options []*pg.Node, role string) {
	d := option(options, "password")
	value := d.GetArg().GetString_()
	if value == nil || isVerifier(value.Sval) {
		return
	}
	for i := w.src.tokenAt(int(d.Location)); i <= w.marks.last; i++ {
		if w.src.tokens[i].literal() {
			w.marks.password = [2]int{i, escapeClause(w.src.text, w.src.tokens, i)}
			w.st.Password = &Secret{Value: value.Sval, Role: role}
			return
		}
	}
}

// isVerifier reports whether PostgreSQL takes a password for one that is already hashed, and stores it as it is.
func isVerifier(s string) bool {
	if strings.HasPrefix(s, "md5") && len(s) == 35 {
		for i := 3; i < len(s); i++ {
			if !isDigit(s[i]) && (s[i] < 'a' || s[i] > 'f') {
				return false
			}
		}
		return true
	}
	return strings.HasPrefix(s, "SCRAM-SHA-256$") && strings.Count(s, "$") == 2 && strings.Count(s, ":") == 2
}
