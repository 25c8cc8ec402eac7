package parser

import (
	"strconv"
	"strings"
)

// ContextSetting is the setting by which a client says on whose behalf it works; see Statement.Claim.
const ContextSetting = "pgproxy.context"

// Claim is what a statement sets pgproxy.context to.
type Claim struct {
	Value string
	Param int  // n where the value is $n; then Value is ""
	Local bool // until the end of the transaction
}

// claimOf looks for SET [SESSION | LOCAL] pgproxy.context {= | TO} 'x' and set_config('pgproxy.context', 'x', true | false);
// nil if there is neither. Its tokens say it: the parse tree of a query does not have its literals.
func claimOf(text string) *Claim {
	if !containsFold(text, ContextSetting) {
		return nil
	}
	var tokens []token
	sc := scanner{text: text}
	for t, ok := sc.next(); ok; t, ok = sc.next() {
		tokens = append(tokens, t)
	}
	at := func(i int) token {
		if i < len(tokens) {
			return tokens[i]
		}
		return token{kind: kindBad}
	}
	if at(0).word(text, "SET") {
		i := 1
		c := &Claim{Local: at(1).word(text, "LOCAL")}
		if c.Local || at(1).word(text, "SESSION") {
			i = 2
		}
		if at(i).word(text, "PGPROXY") && at(i+1).is(text, '.') && at(i+2).word(text, "CONTEXT") && c.value(text, at(i+4)) {
			return c
		}
		return nil
	}
	for i, t := range tokens {
		if t.word(text, "SET_CONFIG") && at(i+1).is(text, '(') && at(i+2).kind == kindString && literalValue(at(i+2).text(text)) == ContextSetting {
			c := &Claim{Local: at(i+6).word(text, "TRUE")}
			if at(i+3).is(text, ',') && at(i+5).is(text, ',') && c.value(text, at(i+4)) {
				return c
			}
		}
	}
	return nil
}

// value takes the value from its token.
func (c *Claim) value(text string, t token) bool {
	switch t.kind {
	case kindParam:
		n, err := strconv.Atoi(t.text(text)[1:])
		c.Param = n
		return err == nil
	case kindString:
		c.Value = literalValue(t.text(text))
	case kindWord, kindInteger, kindNumber:
		c.Value = t.text(text)
	case kindDollar:
		s := t.text(text)
		n := strings.IndexByte(s[1:], '$') + 2
		c.Value = s[n : len(s)-n]
	default:
		return false
	}
	return true
}

// literalValue gives what a plain literal means.
func literalValue(s string) string { return strings.ReplaceAll(s[1:len(s)-1], "''", "'") }

// commentBehind gives the block comment that stands last behind a statement's last token; "" if there is none, or if it may
// hold a secret.
func commentBehind(text string) string {
	found := ""
	sc := scanner{text: text, comments: true}
	for t, ok := sc.next(); ok && t.kind == kindComment; t, ok = sc.next() {
		if c := t.text(text); strings.HasPrefix(c, "/*") {
			found = c
		}
	}
	if secretComment(found) {
		return ""
	}
	return found
}

// RedactLiterals gives the statement's text with every constant replaced by '***', and without comments.
func (s *Statement) RedactLiterals() string {
	var b strings.Builder
	sc := scanner{text: s.Text, comments: true}
	at := 0
	for t, ok := sc.next(); ok; t, ok = sc.next() {
		switch {
		case t.kind == kindComment:
			b.WriteString(s.Text[at:t.from])
			b.WriteByte(' ')
		case t.literal(), t.kind == kindInteger, t.kind == kindNumber, t.kind == kindBad:
			b.WriteString(s.Text[at:t.from])
			b.WriteString(hidden)
		default:
			continue
		}
		at = int(t.to)
	}
	b.WriteString(s.Text[at:])
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}
