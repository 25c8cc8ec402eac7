package parser

import "strings"

// kind is what a token is; finer only where the room needs it.
type kind uint8

const (
	kindWord     kind = iota // unquoted identifier or keyword
	kindQuoted               // "x", U&"x"
	kindString               // 'x' with its continuations
	kindEscape               // E'x', U&'x', N'x', B'x', X'x': its prefix is part of its meaning
	kindDollar               // $$x$$
	kindInteger              // decimal digits that fit 31 bits
	kindNumber               // any other number
	kindParam                // $1
	kindOperator             // +, <=, ::, => ...
	kindMark                 // one of , ( ) [ ] . ; :
	kindComment              // only given by a scanner that is asked for comments
	kindBad                  // what PostgreSQL would refuse: unterminated, junk after a number...
)

// token is one token of a text, by byte range.
type token struct {
	from, to uint32
	kind     kind
}

func (t token) text(s string) string { return s[t.from:t.to] }

// literal reports whether the token is a string constant of any form.
func (t token) literal() bool {
	return t.kind == kindString || t.kind == kindEscape || t.kind == kindDollar
}

// is reports whether the token is the one-byte mark c.
func (t token) is(s string, c byte) bool { return t.kind == kindMark && s[t.from] == c }

// word reports whether the token is the given keyword (upper case), unquoted.
func (t token) word(s, keyword string) bool {
	return t.kind == kindWord && int(t.to-t.from) == len(keyword) && strings.EqualFold(s[t.from:t.to], keyword)
}

// scanner takes a text apart as PostgreSQL's own lexer does (scan.l of 17, standard_conforming_strings on). It never
// fails: what the lexer would refuse is a kindBad token, and scanning goes on behind it.
type scanner struct {
	text     string
	pos      int
	comments bool // give comments as tokens
	escapes  bool // a backslash escapes in plain strings: standard_conforming_strings off
}

// next gives the next token; false at the end of the text.
func (s *scanner) next() (token, bool) {
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		switch {
		case isSpace(c):
			s.pos++
			continue
		case c == '-' && s.at(1) == '-', c == '/' && s.at(1) == '*':
			t := s.comment()
			if s.comments || t.kind == kindBad {
				return t, true
			}
			continue
		}
		return s.token(c), true
	}
	return token{}, false
}

// token scans one token that is not a comment.
func (s *scanner) token(c byte) token {
	switch {
	case c == '\'':
		return s.quote(s.pos, 0, s.plain(), kindString)
	case c == '"':
		return s.ident(s.pos, 0)
	case isIdentStart(c):
		return s.wordOrPrefix(c)
	case isDigit(c), c == '.' && isDigit(s.at(1)):
		return s.number()
	case c == '$':
		return s.dollar()
	case c == ':' && (s.at(1) == ':' || s.at(1) == '='), c == '.' && s.at(1) == '.':
		return s.take(2, kindOperator)
	case strings.IndexByte(",()[].;:", c) >= 0:
		return s.take(1, kindMark)
	case isOperator(c):
		return s.take(operatorLen(s.text[s.pos:]), kindOperator)
	}
	return s.take(1, kindBad)
}

// plain is how a quote is written in a string without prefix.
func (s *scanner) plain() quoting {
	if s.escapes {
		return quoteEscapes
	}
	return quotePlain
}

// at gives the byte n places ahead, 0 past the end.
func (s *scanner) at(n int) byte {
	if s.pos+n < len(s.text) {
		return s.text[s.pos+n]
	}
	return 0
}

func (s *scanner) take(n int, k kind) token {
	t := token{uint32(s.pos), uint32(s.pos + n), k}
	s.pos += n
	return t
}

// comment scans a line comment, or a block comment, which nests.
func (s *scanner) comment() token {
	from := s.pos
	if s.text[s.pos] == '-' {
		n := strings.IndexAny(s.text[s.pos:], "\n\r")
		if n < 0 {
			n = len(s.text) - s.pos
		}
		return s.take(n, kindComment)
	}
	depth := 0
	for i := s.pos; i+1 < len(s.text); i++ {
		switch {
		case s.text[i] == '/' && s.text[i+1] == '*':
			depth++
			i++
		case s.text[i] == '*' && s.text[i+1] == '/':
			depth--
			i++
			if depth == 0 {
				return s.take(i+1-from, kindComment)
			}
		}
	}
	return s.take(len(s.text)-from, kindBad)
}

// wordOrPrefix scans an identifier, or a string whose prefix looks like one.
func (s *scanner) wordOrPrefix(c byte) token {
	switch next := s.at(1); c {
	case 'e', 'E':
		if next == '\'' {
			return s.quote(s.pos, 1, quoteEscapes, kindEscape)
		}
	case 'n', 'N':
		if next == '\'' {
			return s.quote(s.pos, 1, s.plain(), kindEscape)
		}
	case 'b', 'B', 'x', 'X':
		if next == '\'' {
			return s.quote(s.pos, 1, quoteBits, kindEscape)
		}
	case 'u', 'U':
		if next == '&' && s.at(2) == '\'' {
			return s.quote(s.pos, 2, quotePlain, kindEscape)
		}
		if next == '&' && s.at(2) == '"' {
			return s.ident(s.pos, 2)
		}
	}
	n := 1
	for s.pos+n < len(s.text) && isIdentPart(s.text[s.pos+n]) {
		n++
	}
	return s.take(n, kindWord)
}

// ident scans a quoted identifier whose quote stands prefix bytes behind from. An empty one is refused by PostgreSQL.
func (s *scanner) ident(from, prefix int) token {
	for i := from + prefix + 1; ; i++ {
		n := strings.IndexByte(s.text[i:], '"')
		if n < 0 {
			return s.take(len(s.text)-from, kindBad)
		}
		i += n
		if i+1 < len(s.text) && s.text[i+1] == '"' {
			i++
			continue
		}
		if i == from+prefix+1 {
			return s.take(i+1-from, kindBad)
		}
		return s.take(i+1-from, kindQuoted)
	}
}

// quote scans a string constant with its continuations: two constants that only white space with a line break
// separates are one.
func (s *scanner) quote(from, prefix int, q quoting, k kind) token {
	i := from + prefix
	for {
		i = endOfQuote(s.text, i+1, q)
		if i < 0 {
			return s.take(len(s.text)-from, kindBad)
		}
		next := continuation(s.text, i)
		if next < 0 {
			return s.take(i-from, k)
		}
		i = next
	}
}

// quoting is how a quote is written inside a string.
type quoting uint8

const (
	quotePlain   quoting = iota // doubled
	quoteEscapes                // doubled, or behind a backslash
	quoteBits                   // not at all
)

// endOfQuote gives the offset behind the closing quote of the string whose inside starts at i, -1 if there is none.
func endOfQuote(text string, i int, q quoting) int {
	for i < len(text) {
		if q != quoteEscapes {
			n := strings.IndexByte(text[i:], '\'')
			if n < 0 {
				return -1
			}
			i += n
		}
		switch {
		case text[i] == '\\' && q == quoteEscapes:
			i++
		case text[i] == '\'' && q != quoteBits && i+1 < len(text) && text[i+1] == '\'':
			i++
		case text[i] == '\'':
			return i + 1
		}
		i++
	}
	return -1
}

// continuation gives the offset of the quote that continues the string that ended at i, -1 if there is none.
func continuation(text string, i int) int {
	broken := false
	for i < len(text) {
		switch c := text[i]; {
		case c == '\n' || c == '\r':
			broken = true
			i++
		case isSpace(c):
			i++
		case c == '-' && i+1 < len(text) && text[i+1] == '-':
			n := strings.IndexAny(text[i:], "\n\r")
			if n < 0 {
				return -1
			}
			i += n
		case c == '\'' && broken:
			return i
		default:
			return -1
		}
	}
	return -1
}

// dollar scans a parameter or a dollar-quoted string.
func (s *scanner) dollar() token {
	n := 1
	if isDigit(s.at(1)) {
		value := 0
		for isDigit(s.at(n)) {
			value = min(value*10+int(s.at(n)-'0'), 1<<31)
			n++
		}
		if value >= 1<<31 || isIdentStart(s.at(n)) {
			return s.junk(n)
		}
		return s.take(n, kindParam)
	}
	for isIdentPart(s.at(n)) && s.at(n) != '$' && (n > 1 || !isDigit(s.at(n))) {
		n++
	}
	if s.at(n) != '$' {
		return s.take(1, kindBad)
	}
	tag := s.text[s.pos : s.pos+n+1]
	end := strings.Index(s.text[s.pos+len(tag):], tag)
	if end < 0 {
		return s.take(len(s.text)-s.pos, kindBad)
	}
	return s.take(end+2*len(tag), kindDollar)
}

// operatorLen gives the length of the operator at the start of text: a comment ends it, and a trailing sign belongs
// to it only if it holds one of the characters that no SQL operator has.
func operatorLen(text string) int {
	n := 1
	special := isSpecial(text[0])
	for n < len(text) && isOperator(text[n]) {
		if n+1 < len(text) && (text[n] == '-' && text[n+1] == '-' || text[n] == '/' && text[n+1] == '*') {
			break
		}
		special = special || isSpecial(text[n])
		n++
	}
	if n > 1 && (text[n-1] == '+' || text[n-1] == '-') {
		// the last character is not looked at: it is a sign
		if !special {
			for n > 1 && (text[n-1] == '+' || text[n-1] == '-') {
				n--
			}
		}
	}
	return n
}

func isSpace(c byte) bool   { return c == ' ' || c >= '\t' && c <= '\r' }
func isDigit(c byte) bool   { return c >= '0' && c <= '9' }
func isHex(c byte) bool     { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }
func isSpecial(c byte) bool { return strings.IndexByte("~!@#^&|`?%", c) >= 0 }

func isOperator(c byte) bool { return strings.IndexByte("~!@#^&|`?+-*/%<>=", c) >= 0 }

func isIdentStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func isIdentPart(c byte) bool { return isIdentStart(c) || isDigit(c) || c == '$' }
