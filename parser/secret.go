package parser

import (
	"slices"
	"strings"
)

// What makes a literal a secret:
//
//   - its place: PASSWORD '..' of a role, CONNECTION '..' of a subscription, the options of servers and user mappings
//     (all but those known to be harmless), the value of a setting whose name sounds like a secret, the arguments of a
//     function whose name does;
//   - its content: a connection string with a password in it, a URL with one, SQL that sets one. SQL that sets a
//     password makes every literal of its statement a secret: it may be put together from them.
//
// Bodies of functions and DO are searched the same way, one level down.

// grade is what the content of a literal says about it.
type grade uint8

const (
	gradeNone      grade = iota
	gradeSelf            // the literal is a secret
	gradeStatement       // every literal of its statement may be one
)

// sounds are the parts of names that stand for something secret, lower case.
var sounds = []string{"passw", "passphr", "passfile", "pwd", "secret", "credential", "api_key", "apikey", "private_key", "crypt", "hmac", "token"}

// soundsSecret reports whether a name, or a text, mentions something secret.
func soundsSecret(name string) bool {
	for _, s := range sounds {
		if containsFold(name, s) {
			return true
		}
	}
	return false
}

// secretLiteral reports whether the content of a literal makes it a secret, or others beside it.
func secretLiteral(literal string) bool { return gradeOf(literal) != gradeNone }

// gradeOf judges a literal as it is written.
func gradeOf(literal string) grade {
	if len(literal) < 8 {
		return gradeNone
	}
	if containsFold(literal, "password") && mentionsAccount(literal) {
		return gradeStatement
	}
	switch {
	case strings.IndexByte(literal, '=') >= 0 && assignsPassword(literal), urlWithPassword(literal):
		return gradeSelf
	case (literal[0]|0x20 == 'e' || literal[0]|0x20 == 'u') && strings.IndexByte(literal, '\\') >= 0 && hidesLetters(literal):
		return gradeSelf
	}
	return gradeNone
}

// mentionsAccount reports whether a text that mentions a password also mentions whose.
func mentionsAccount(s string) bool {
	for _, w := range []string{"role", "user", "group", "server", "mapping", "subscription", "alter", "create"} {
		if containsFold(s, w) {
			return true
		}
	}
	return false
}

// assignsPassword recognizes password=.., passwd = .., pwd=..
func assignsPassword(s string) bool {
	for _, name := range []string{"password", "passwd", "passfile", "pwd", "secret", "token"} {
		for rest := s; ; {
			i := indexFold(rest, name)
			if i < 0 {
				break
			}
			rest = rest[i+len(name):]
			if strings.HasPrefix(strings.TrimLeft(rest, " \t\r\n\"'"), "=") {
				return true
			}
		}
	}
	return false
}

// urlWithPassword recognizes scheme://user:password@host.
func urlWithPassword(s string) bool {
	for {
		i := strings.Index(s, "://")
		if i < 0 {
			return false
		}
		s = s[i+3:]
		authority := s
		if j := strings.IndexAny(s, "/ \t\r\n'\""); j >= 0 {
			authority = s[:j]
		}
		if at := strings.LastIndexByte(authority, '@'); at >= 0 && strings.IndexByte(authority[:at], ':') >= 0 {
			return true
		}
	}
}

// hidesLetters reports whether a literal writes ordinary letters as escapes, as only somebody who hides a word would.
func hidesLetters(literal string) bool {
	for i := 0; i+1 < len(literal); i++ {
		if literal[i] != '\\' {
			continue
		}
		switch c := literal[i+1]; {
		case c == 'x', c == 'u', c == 'U', c == '+', isHex(c) && c != 'b' && c != 'f':
			return true
		}
		i++
	}
	return false
}

// callsSecret reports whether a text calls a function that sounds secret.
func callsSecret(text string, tokens []token) bool {
	for i := range tokens {
		if secretCall(text, tokens, i) {
			return true
		}
	}
	return false
}

// secretCall reports whether the token at i is the name of such a function.
func secretCall(text string, tokens []token, i int) bool {
	t := tokens[i]
	return (t.kind == kindWord || t.kind == kindQuoted) && i+1 < len(tokens) && tokens[i+1].is(text, '(') && soundsSecret(t.text(text))
}

// secretComment reports whether a comment may hold a secret.
func secretComment(c string) bool { return soundsSecret(c) || urlWithPassword(c) }

// secrets finds the secret literals of a statement that was read, by its tokens.
func (s *Statement) secrets() {
	f := finder{text: s.Text}
	sc := scanner{text: s.Text, comments: true}
	for t, ok := sc.next(); ok; t, ok = sc.next() {
		f.tokens = append(f.tokens, t)
	}
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
		if j == len(f.tokens) || !soundsSecret(f.text[t.to:f.tokens[j].from]) && !containsFold(f.text[t.to:f.tokens[j].from], "conninfo") {
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

// containsFold reports whether s contains the lower-case ASCII word, whatever the case.
func containsFold(s, word string) bool { return indexFold(s, word) >= 0 }

func indexFold(s, word string) int {
	lower, upper := word[0], word[0]
	if lower >= 'a' && lower <= 'z' {
		upper -= 'a' - 'A'
	}
	for i := 0; i+len(word) <= len(s); i++ {
		if c := s[i]; (c == lower || c == upper) && strings.EqualFold(s[i:i+len(word)], word) {
			return i
		}
	}
	return -1
}
