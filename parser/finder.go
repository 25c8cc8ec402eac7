package parser

import (
	"slices"
	"strings"
)

// secrets finds the secret literals of a statement that was read, by its tokens.
func (s *Statement) secrets() {
	f := finder{text: s.Text}
	sc := scanner{text: s.Text, comments: true}
	for t, ok := sc.next(); ok; t, ok = sc.next() {
		f.tokens = append(f.tokens, t)
	}
	s.SecretCall = s.SecretCall || callsSecret(s.Text, f.tokens)
	f.contents()
	f.calls()
	switch s.Command {
	case "CREATE ROLE", "ALTER ROLE":
		f.behind("PASSWORD")
	case "CREATE SUBSCRIPTION", "ALTER SUBSCRIPTION":
		f.behind("CONNECTION")
	case "DO", "CREATE FUNCTION", "CREATE PROCEDURE":
		f.bodies()
	case "COPY":
		f.program()
	}
	if s.Class == ClassDDL {
		f.options()
	}
	if s.Class == ClassDDL || s.Class == ClassSession || s.Class == ClassMaintenance {
		f.settings()
	}
	s.Secrets = f.sorted()
}

// finder collects the secret ranges of a text.
type finder struct {
	text   string
	tokens []token // comments included
	spans  []Span
}

// add marks a token, with the UESCAPE that belongs to it.
func (f *finder) add(i int) {
	s := Span{int(f.tokens[i].from), int(f.tokens[i].to)}
	if j := escapeClause(f.text, f.tokens, i); j > i {
		s.To = int(f.tokens[j].to)
	}
	f.spans = append(f.spans, s)
}

// escapeClause gives the last token of the literal at i, which is another one if UESCAPE '..' follows.
func escapeClause(text string, tokens []token, i int) int {
	j := i
	for _, wanted := range []func(token) bool{
		func(t token) bool { return t.word(text, "UESCAPE") },
		token.literal,
	} {
		for j++; j < len(tokens) && tokens[j].kind == kindComment; j++ {
		}
		if tokens[i].kind != kindEscape || j >= len(tokens) || !wanted(tokens[j]) {
			return i
		}
	}
	return j
}

// sorted gives the ranges in order, overlapping ones joined; nil for none.
func (f *finder) sorted() []Span {
	slices.SortFunc(f.spans, func(a, b Span) int { return a.From - b.From })
	var all []Span
	for _, s := range f.spans {
		if n := len(all); n > 0 && s.From < all[n-1].To {
			all[n-1].To = max(all[n-1].To, s.To)
			continue
		}
		all = append(all, s)
	}
	return all
}

// contents judges every literal and comment by what it says.
func (f *finder) contents() {
	worst := gradeNone
	for i, t := range f.tokens {
		switch {
		case t.kind == kindComment:
			if secretComment(t.text(f.text)) {
				f.add(i)
			}
		case t.literal():
			g := gradeOf(t.text(f.text))
			if t.kind == kindDollar && g == gradeStatement {
				continue // a body: searched one level down where it is one, else by itself
			}
			if escapeClause(f.text, f.tokens, i) > i {
				g = max(g, gradeSelf) // with an escape character of its own it may spell anything
			}
			if worst = max(worst, g); g != gradeNone {
				f.add(i)
			}
		}
	}
	if worst == gradeStatement {
		f.literals(0, len(f.tokens))
	}
}

// literals marks all literals of a range of tokens.
func (f *finder) literals(from, to int) {
	for i := from; i < to; i++ {
		if f.tokens[i].literal() {
			f.add(i)
		}
	}
}

// calls marks the literals in the arguments of functions that sound secret.
func (f *finder) calls() {
	for i := range f.tokens {
		if secretCall(f.text, f.tokens, i) {
			f.literals(i+1, f.closing(i+1))
		}
	}
}

// closing gives the index behind the bracket that closes the one at i.
func (f *finder) closing(i int) int {
	depth := 0
	for ; i < len(f.tokens); i++ {
		switch {
		case f.tokens[i].is(f.text, '('):
			depth++
		case f.tokens[i].is(f.text, ')'):
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(f.tokens)
}

// behind marks the literals right behind a keyword.
func (f *finder) behind(keyword string) {
	for i, t := range f.tokens {
		if !t.word(f.text, keyword) {
			continue
		}
		for j := i + 1; j < len(f.tokens); j++ {
			if f.tokens[j].kind == kindComment {
				continue
			}
			if f.tokens[j].literal() {
				f.add(j)
			}
			break
		}
	}
}

// harmlessOptions are the options of servers, user mappings and foreign tables that are shown; all others are secrets.
var harmlessOptions = []string{"host", "hostaddr", "port", "dbname", "user", "username", "schema", "schema_name", "table",
	"table_name", "column_name", "fetch_size", "use_remote_estimate", "fdw_startup_cost", "fdw_tuple_cost", "extensions",
	"updatable", "truncatable", "async_capable", "batch_size", "analyze_sampling", "parallel_commit", "parallel_abort",
	"keep_connections", "sslmode", "connect_timeout", "application_name", "filename", "format", "header", "delimiter",
	"quote", "escape", "null", "encoding", "import_default", "import_collate", "import_generated", "import_not_null",
	"target_session_attrs", "client_encoding", "restart_first", "restart_insert"}

// options marks the values in OPTIONS (name 'value', ...).
func (f *finder) options() {
	for i, t := range f.tokens {
		if !t.word(f.text, "OPTIONS") || i+1 == len(f.tokens) || !f.tokens[i+1].is(f.text, '(') {
			continue
		}
		for j := i + 2; j < f.closing(i+1); j++ {
			if !f.tokens[j].literal() {
				continue
			}
			name := strings.ToLower(strings.Trim(f.tokens[j-1].text(f.text), `"`))
			if !slices.Contains(harmlessOptions, name) {
				f.add(j)
			}
		}
	}
}

// settings marks the values of SET name = value, where the name sounds secret: there a bare word is a value too.
func (f *finder) settings() {
	for i, t := range f.tokens {
		if !t.word(f.text, "SET") {
			continue
		}
		j := i + 1
		for j < len(f.tokens) && f.tokens[j].kind != kindOperator && !f.tokens[j].word(f.text, "TO") {
			j++
		}
		if j == len(f.tokens) || !secretSetting(f.text[t.to:f.tokens[j].from]) {
			continue
		}
		for j++; j < len(f.tokens); j += 2 {
			f.add(j)
			if j+1 < len(f.tokens) && !f.tokens[j+1].is(f.text, ',') {
				break
			}
		}
	}
}

// secretSetting reports whether the value of a setting may be a secret.
func secretSetting(name string) bool {
	return (soundsSecret(name) || containsFold(name, "conninfo")) && !containsFold(name, "password_encryption")
}

// program marks the command of COPY .. PROGRAM where it sounds as if it held a secret.
func (f *finder) program() {
	for i, t := range f.tokens {
		if t.word(f.text, "PROGRAM") && i+1 < len(f.tokens) && f.tokens[i+1].literal() {
			c := f.tokens[i+1].text(f.text)
			if soundsSecret(c) || containsFold(c, "auth") || strings.Contains(c, " -u") || strings.Contains(c, "--user") {
				f.add(i + 1)
			}
		}
	}
}

// bodies searches literals that hold code. One whose inside cannot be searched as it stands is a secret whole if it
// sounds like one.
func (f *finder) bodies() {
	for i, t := range f.tokens {
		if !t.literal() || !suspicious(t.text(f.text)) {
			continue
		}
		from, inside, ok := insideOf(t, f.text)
		if !ok {
			f.add(i)
			continue
		}
		spans, ok := bodySecrets(inside)
		if !ok {
			f.add(i)
		}
		for _, s := range spans {
			f.spans = append(f.spans, Span{s.From + from, s.To + from})
		}
	}
}

// insideOf gives the inside of a literal, where it stands there letter for letter.
func insideOf(t token, text string) (from int, inside string, ok bool) {
	s := t.text(text)
	switch t.kind {
	case kindDollar:
		n := strings.IndexByte(s[1:], '$') + 2
		return int(t.from) + n, s[n : len(s)-n], true
	case kindString:
		inside = s[1 : len(s)-1]
		return int(t.from) + 1, inside, !strings.Contains(inside, "'")
	}
	return 0, "", false
}

// bodySecrets finds the secrets in code by the same rules as in a statement of its own; in code that puts a statement
// with a password together, every literal is one. It gives false for code that it cannot split into tokens.
func bodySecrets(code string) ([]Span, bool) {
	f := finder{text: code}
	sc := scanner{text: code, comments: true}
	dynamic := false
	for t, ok := sc.next(); ok; t, ok = sc.next() {
		if t.kind == kindBad {
			return nil, false
		}
		dynamic = dynamic || t.literal() && soundsSecret(t.text(code))
		f.tokens = append(f.tokens, t)
	}
	if dynamic {
		f.literals(0, len(f.tokens))
	}
	f.contents()
	f.calls()
	f.settings()
	f.options()
	f.behind("PASSWORD")
	f.behind("CONNECTION")
	f.variables()
	return f.sorted(), true
}

// variables marks the first value of a variable whose name sounds secret.
func (f *finder) variables() {
	for i, t := range f.tokens {
		if t.kind == kindComment || !soundsSecret(t.text(f.text)) {
			continue
		}
		for j := i + 1; j < len(f.tokens) && !f.tokens[j].is(f.text, ';'); j++ {
			if f.tokens[j].text(f.text) == ":=" || f.tokens[j].word(f.text, "DEFAULT") {
				end := j
				for end < len(f.tokens) && !f.tokens[end].is(f.text, ';') {
					end++
				}
				f.literals(j, end)
				break
			}
		}
	}
}
