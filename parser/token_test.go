package parser

import (
	"regexp"
	"strings"
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// nasty are texts on which a lexer may stumble.
var nasty = []string{
	"", " ", ";", ";;", "--", "/**/", "/* /* */ */ select 1", "select 'a' -- x\n'b'", "select 'a' 'b'", "select 'a'\n'b'",
	"select 'a' /* x */\n'b'", "select 'a'\n-- c\n  'b'", "select 'a'\r'b'", "select E'a\\'b'", "select e'\\\\'", "select U&'\\0061'",
	"select U&'d!0061' UESCAPE '!'", "select U&\"a\"", "select N'x'", "select n'x'\n'y'", "select B'01', X'1f', b'1'\n'0'",
	"select $$a$$, $x$ $$ $x$, $é$a$é$", "select $1, $12, a$1", "select $a", "select $1a", "select 1a", "select 1_000, 1__0, 1_",
	"select 0x1F, 0o17, 0b01, 0x, 0x_1, 0xg", "select 1.5, .5, 5., 1e5, 1.e5, 1e+5, 1e-5, .5e3, 1.5e, 1e+", "select 1..5", "select 1...5",
	"select a[1:2], a[:], a[1:]", "select a::int, b:=1, c=>1", "select -1, - 1, --1\n 2", "select 1+-1, 1*-1, 1@-1, 1<-1, 1@-+1, 1+-+1",
	"select a-- comment\n+b", "select a/* comment */+b", "select a+/* c */b, a*/*c*/b", "select a<=b, a<>b, a!=b, a>=b, a=>b, a||b, a->>b, a#>>b",
	"select \"a\"\"b\", \"A\"", "select \"\"", "select \"a", "select a.b.c.*, (a).b", "select é, ñandú, \"日本\"", "select 'é日本'",
	"select a?b, a?|b, a?&b, @a, !!a, |/ a", "select 1;select 2", "select \v1", "select\f1", "select 1\r\nfrom t", "select `a`", "select {a}",
	"select ~a, a#b, a^b, a%b, a&b, a|b", "select 'a\\'", "select 99999999999999999999, 2147483648, 2147483647", "select $2147483648",
	"select $$a", "select $a$ $b$", "select E'a", "select U&'a", "select 'a''b''", "x", "\\", "select 1 /", "select 1 -", "select a*-1, a*+1, a%-1",
	"select a-+-b", "select @-1, @+1, ?-1, ?- 1", "select 1.a", "select 1.5a", "select .a", "select a . b", "select $", "select $$", "select $$$$",
	"select $a1$ x $a1$", "select $1$ x $1$", "select a$$b$$", "SELECT 'x' \n 'y' \n\n 'z'", "select e'a'\n'\\''", "select x'a\nb'", "select x'a''b', b'0''1'", "select 1 \x7f",
}

// TestScannerIsPostgres compares the scanner with libpg_query's own, token by token.
func TestScannerIsPostgres(t *testing.T) {
	for _, text := range append(corpus(t), nasty...) {
		compareTokens(t, text)
	}
}

// knownDifference is where libpg_query's lexer is not PostgreSQL's, and the scanner follows PostgreSQL: a comment may
// stand between the parts of a string, and nothing may stick to a parameter, nor may its number be that large.
var knownDifference = regexp.MustCompile(`'\s*--|\$[0-9]+[A-Za-z_\x{80}-\x{10ffff}]|\$[0-9]{10}`)

// knownRefusal is what libpg_query's lexer finds wrong inside a literal; the scanner looks for its end alone.
var knownRefusal = regexp.MustCompile(`(?i)unicode|escape|encoding|surrogate|too long`)

// compareTokens fails where the scanner and libpg_query's disagree.
func compareTokens(t *testing.T, text string) {
	t.Helper()
	if checkText(text, 1<<20) != nil || knownDifference.MatchString(text) {
		return
	}
	want, err := pg.Scan(text)
	var got []token
	bad := false
	sc := scanner{text: text}
	for tok, ok := sc.next(); ok; tok, ok = sc.next() {
		bad = bad || tok.kind == kindBad
		got = append(got, tok)
	}
	if err != nil {
		if !bad && !knownRefusal.MatchString(err.Error()) {
			t.Errorf("%.300q: libpg_query says %v, the scanner finds nothing wrong", text, err)
		}
		return
	}
	if bad {
		// libpg_query gives a lone character that no rule takes as a token; the grammar refuses it
		if _, err := pg.Parse(text); err == nil {
			t.Errorf("%q: the scanner refuses what libpg_query reads", text)
		}
		return
	}
	i := 0
	for _, w := range want.Tokens {
		if w.Token == pg.Token_SQL_COMMENT || w.Token == pg.Token_C_COMMENT {
			continue
		}
		if w.Token == pg.Token_NCHAR && w.End == w.Start+1 {
			continue // N'x' is one token here
		}
		if i == len(got) {
			t.Errorf("%q: %d tokens, libpg_query has more", text, i)
			return
		}
		g := got[i]
		from := int(g.from)
		if text[from]|0x20 == 'n' && g.kind == kindEscape {
			from++
		}
		if from != int(w.Start) || int(g.to) != int(w.End) {
			t.Errorf("%q: token %d is %q, libpg_query's is %q (%v)", text, i, g.text(text), text[w.Start:w.End], w.Token)
			return
		}
		if wrong := kindMatches(g.kind, w.Token); wrong {
			t.Errorf("%q: token %q is of kind %d, libpg_query's is %v", text, g.text(text), g.kind, w.Token)
		}
		i++
	}
	if i != len(got) {
		t.Errorf("%q: %d tokens, libpg_query has %d", text, len(got), i)
	}
}

// kindMatches reports a contradiction between our kind and libpg_query's.
func kindMatches(k kind, w pg.Token) bool {
	switch w {
	case pg.Token_ICONST:
		return k != kindInteger && k != kindNumber
	case pg.Token_FCONST:
		return k != kindNumber
	case pg.Token_SCONST:
		return k != kindString && k != kindDollar && k != kindEscape
	case pg.Token_USCONST, pg.Token_BCONST, pg.Token_XCONST:
		return k != kindEscape
	case pg.Token_PARAM:
		return k != kindParam
	case pg.Token_UIDENT:
		return k != kindQuoted
	case pg.Token_IDENT:
		return k != kindWord && k != kindQuoted
	case pg.Token_Op, pg.Token_TYPECAST, pg.Token_DOT_DOT, pg.Token_COLON_EQUALS, pg.Token_EQUALS_GREATER,
		pg.Token_LESS_EQUALS, pg.Token_GREATER_EQUALS, pg.Token_NOT_EQUALS:
		return k != kindOperator
	}
	if len(w.String()) == len("ASCII_40") && strings.HasPrefix(w.String(), "ASCII_") {
		return k != kindMark && k != kindOperator
	}
	return k != kindWord
}

func FuzzScanner(f *testing.F) {
	for _, text := range append(corpus(f), nasty...) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { compareTokens(t, text) })
}
