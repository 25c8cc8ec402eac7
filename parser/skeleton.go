package parser

import (
	"slices"
	"strings"
)

// skeleton is the shape of a statement: its tokens one space apart, with literals replaced by placeholders, comments
// dropped and long lists of constants folded to one. Two statements of one shape have the same parse tree but for
// literals' values and places, so they mean the same; what libpg_query gets to read is the skeleton itself.
//
// Only queries, writes, EXECUTE and transaction control have one: elsewhere values have a meaning. Numbers that PostgreSQL
// reads as integers and others get different placeholders; strings with a prefix stay as they are, parameters too but in
// lists, and so does everything whose value matters: FLOAT(n), set_config('x', ..). A
// statement with a literal that may be a secret has none.
type skeleton struct {
	sql    string
	tokens []token // of the statement
	key    []byte
	origin []int32 // by token of the skeleton: the token of the statement

	depth    int
	rows     []valueRows // open VALUES lists, innermost last
	raw      bool        // transaction control: its one literal is a name
	maxParam int         // highest $n; those in folded lists are not in the key
	oldAlias string      // of RETURNING WITH (OLD AS .., NEW AS ..)
	newAlias string
}

// valueRows is a list of VALUES rows: equal ones behind each other are kept once.
type valueRows struct {
	depth              int // of the row's parenthesis
	keyFrom, tokenFrom int // where the current row begins in key and in origin, its comma included
	last               []byte
	open               bool
}

// Placeholders, by the token class that libpg_query sees.
const (
	holdString  = "''"
	holdInteger = "1"
	holdNumber  = "1.0"
)

// build makes the skeleton; false if the statement has none.
func (k *skeleton) build(sql string, tokens []token) bool {
	k.sql, k.tokens = sql, tokens
	k.key, k.origin, k.rows, k.depth = k.key[:0], k.origin[:0], k.rows[:0], 0
	k.maxParam, k.oldAlias, k.newAlias = 0, "", ""
	i := opening(sql, tokens)
	if i == len(tokens) {
		return false
	}
	k.raw = startsWith(sql, tokens[i], "BEGIN", "COMMIT", "END", "ROLLBACK", "START", "ABORT", "SAVEPOINT", "RELEASE")
	if !k.raw && !startsWith(sql, tokens[i], "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "VALUES", "MERGE", "TABLE", "EXECUTE") {
		return false
	}
	for _, t := range tokens {
		if t.kind == kindParam {
			k.maxParam = max(k.maxParam, paramNumber(t.text(sql)))
		}
	}
	for i := 0; i < len(tokens); {
		n := k.step(i)
		if n == 0 {
			return false
		}
		i += n
	}
	return true
}

// paramNumber reads $n.
func paramNumber(param string) int {
	n := 0
	for _, c := range param[1:] {
		n = n*10 + int(c-'0')
	}
	return n
}

// opening gives the first token that is no parenthesis.
func opening(sql string, tokens []token) int {
	i := 0
	for i < len(tokens) && tokens[i].is(sql, '(') {
		i++
	}
	return i
}

func startsWith(sql string, t token, keywords ...string) bool {
	return slices.ContainsFunc(keywords, func(w string) bool { return t.word(sql, w) })
}

// step adds the next token, or the list that it opens, and gives how many tokens it took; 0 if the statement holds
// what must be read as it stands.
func (k *skeleton) step(i int) int {
	t := k.tokens[i]
	if t.literal() && secretLiteral(t.text(k.sql)) {
		return 0
	}
	if t.word(k.sql, "UESCAPE") {
		return 0
	}
	if t.kind == kindMark {
		switch k.sql[t.from] {
		case '(', '[':
			return k.opening(i)
		case ')', ']':
			k.closing(i)
			return 1
		case ',':
			k.comma(i)
			return 1
		}
	}
	if k.depth == 0 && t.word(k.sql, "WITH") && k.before(i, "RETURNING") {
		return k.returningWith(i)
	}
	if n := k.element(i); n > 0 && k.inRow() {
		k.emit(holdString, i+n-1)
		return n
	}
	k.plain(i)
	return 1
}

// plain adds one token, with a placeholder for a literal.
func (k *skeleton) plain(i int) {
	t := k.tokens[i]
	text := t.text(k.sql)
	switch {
	case k.raw:
	case t.kind == kindString || t.kind == kindDollar:
		if i < 2 || !k.tokens[i-2].word(k.sql, "SET_CONFIG") {
			text = holdString
		}
	case t.kind == kindInteger:
		if i < 2 || !k.tokens[i-2].word(k.sql, "FLOAT") {
			text = holdInteger
		}
	case t.kind == kindNumber:
		text = holdNumber
	}
	k.emit(text, i)
}

// returningWith leaves out WITH (OLD AS a, NEW AS b), which libpg_query does not know yet, and keeps the names.
func (k *skeleton) returningWith(i int) int {
	at := func(n int) token {
		if i+n < len(k.tokens) {
			return k.tokens[i+n]
		}
		return token{}
	}
	if !at(1).is(k.sql, '(') {
		return 0
	}
	n := 2
	for {
		name := &k.oldAlias
		if at(n).word(k.sql, "NEW") {
			name = &k.newAlias
		} else if !at(n).word(k.sql, "OLD") {
			return 0
		}
		if !at(n+1).word(k.sql, "AS") || at(n+2).kind != kindWord && at(n+2).kind != kindQuoted {
			return 0
		}
		*name = identifier(at(n + 2).text(k.sql))
		switch n += 3; {
		case at(n).is(k.sql, ')'):
			return n + 1
		case !at(n).is(k.sql, ','):
			return 0
		}
		n++
	}
}

// identifier gives the name that an identifier spells.
func identifier(s string) string {
	if s[0] == '"' {
		return strings.ReplaceAll(s[1:len(s)-1], `""`, `"`)
	}
	return strings.ToLower(s)
}

func (k *skeleton) emit(text string, origin int) {
	k.key = append(append(k.key, text...), ' ')
	k.origin = append(k.origin, int32(origin))
}

// before reports whether the token before i is a keyword.
func (k *skeleton) before(i int, keyword string) bool {
	return i > 0 && k.tokens[i-1].word(k.sql, keyword)
}

// opening handles an opening bracket: a list of constants behind IN or ARRAY becomes one constant.
func (k *skeleton) opening(i int) int {
	if k.before(i, "IN") || k.before(i, "ARRAY") {
		if end := k.constants(i + 1); end > 0 {
			k.emit(k.tokens[i].text(k.sql), i)
			k.emit(holdString, end-1)
			k.emit(k.tokens[end].text(k.sql), end)
			return end - i + 1
		}
	}
	k.depth++
	switch {
	case k.before(i, "VALUES"):
		k.rows = append(k.rows, valueRows{depth: k.depth, keyFrom: len(k.key), tokenFrom: len(k.origin), open: true})
	case k.rowFollows(i):
		k.rows[len(k.rows)-1].open = true
	}
	k.emit(k.tokens[i].text(k.sql), i)
	return 1
}

// rowFollows reports whether a parenthesis opens one more row of the innermost VALUES list.
func (k *skeleton) rowFollows(i int) bool {
	n := len(k.rows)
	return n > 0 && !k.rows[n-1].open && k.rows[n-1].depth == k.depth && i > 0 && k.tokens[i-1].is(k.sql, ',')
}

// comma adds a comma; one between two rows belongs to the second.
func (k *skeleton) comma(i int) {
	if n := len(k.rows); n > 0 && !k.rows[n-1].open && k.rows[n-1].depth == k.depth+1 {
		if k.tokens[i-1].is(k.sql, ')') {
			k.rows[n-1].keyFrom, k.rows[n-1].tokenFrom = len(k.key), len(k.origin)
		} else {
			k.rows = k.rows[:n-1]
		}
	}
	k.emit(",", i)
}

// closing adds a closing bracket; one that ends a row equal to the row before drops the row.
func (k *skeleton) closing(i int) {
	k.emit(k.tokens[i].text(k.sql), i)
	for n := len(k.rows); n > 0 && k.rows[n-1].depth > k.depth; n = len(k.rows) {
		k.rows = k.rows[:n-1] // lists inside what ends here
	}
	if n := len(k.rows); n > 0 && k.rows[n-1].depth == k.depth && k.rows[n-1].open {
		r := &k.rows[n-1]
		r.open = false
		row := k.key[r.keyFrom:]
		if row[0] == ',' {
			row = row[2:]
		}
		if r.last != nil && string(row) == string(r.last) {
			// The kept row's closing parenthesis now stands for this one.
			k.key, k.origin = k.key[:r.keyFrom], k.origin[:r.tokenFrom]
			k.origin[len(k.origin)-1] = int32(i)
		} else {
			r.last = append([]byte(nil), row...)
		}
	}
	k.depth--
}

// inRow reports whether the next token stands directly in a row of VALUES.
func (k *skeleton) inRow() bool {
	n := len(k.rows)
	return n > 0 && k.rows[n-1].open && k.rows[n-1].depth == k.depth
}

// element gives the number of tokens of the list element that starts at i, if it is a constant; else 0.
func (k *skeleton) element(i int) int {
	if i == 0 || i+1 >= len(k.tokens) || !k.startsElement(i-1) {
		return 0
	}
	n := 1
	switch t := k.tokens[i]; t.kind {
	case kindString, kindDollar, kindInteger, kindNumber, kindParam:
	case kindWord:
		if !t.word(k.sql, "NULL") && !t.word(k.sql, "TRUE") && !t.word(k.sql, "FALSE") {
			return 0
		}
	case kindOperator:
		sign := t.text(k.sql)
		if sign != "-" && sign != "+" || k.tokens[i+1].kind != kindInteger && k.tokens[i+1].kind != kindNumber {
			return 0
		}
		n = 2
	default:
		return 0
	}
	if i+n < len(k.tokens) && k.endsElement(i+n) {
		return n
	}
	return 0
}

func (k *skeleton) startsElement(i int) bool {
	t := k.tokens[i]
	return t.is(k.sql, '(') || t.is(k.sql, ',') || t.is(k.sql, '[')
}

func (k *skeleton) endsElement(i int) bool {
	t := k.tokens[i]
	return t.is(k.sql, ')') || t.is(k.sql, ',') || t.is(k.sql, ']')
}

// constants gives the index of the bracket that closes a list of constants starting at i; 0 if it holds anything else.
func (k *skeleton) constants(i int) int {
	for {
		n := k.element(i)
		if n == 0 || k.tokens[i].literal() && secretLiteral(k.tokens[i].text(k.sql)) {
			return 0
		}
		i += n
		if !k.tokens[i].is(k.sql, ',') {
			return i
		}
		i++
	}
}
