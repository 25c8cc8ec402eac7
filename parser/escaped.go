package parser

import (
	"fmt"
	"slices"
	"strings"
)

// ParseEscaped is Parse for a session with standard_conforming_strings off, where a backslash escapes in '..' too. The text is
// read with a letter in the place of each such escape, which leaves every token where it stands; the statements' texts are
// the client's own. What an escape may spell and this room must read is Unread: passwords, options of COPY.
func (p *Parser) ParseEscaped(sql string) *Script {
	key := "\x00" + sql // no text holds a NUL
	if s, ok := p.texts.get(key); ok {
		return s
	}
	masked, err := maskEscapes(sql)
	if err != nil {
		return &Script{Text: sql, Unread: err}
	}
	if masked == sql {
		return p.Parse(sql)
	}
	s := unmask(sql, p.Parse(masked))
	p.texts.put(key, s, s.size(), false)
	return s
}

// maskEscapes puts letters in the place of what a backslash escapes in plain strings.
func maskEscapes(sql string) (string, error) {
	if len(sql) > 1<<31-1 {
		return "", ErrTooLong
	}
	var masked []byte
	spelt := false // a letter is written as an escape
	s := scanner{text: sql, escapes: true}
	for t, ok := s.next(); ok; t, ok = s.next() {
		text := t.text(sql)
		switch {
		case t.kind == kindBad:
			return "", fmt.Errorf("%w: at byte %d", ErrLexical, t.from)
		case t.kind == kindEscape && (text[0] == 'u' || text[0] == 'U'): // refused by PostgreSQL
			return "", fmt.Errorf("%w: U&'..' with standard_conforming_strings off", ErrLexical)
		case t.kind != kindString && !(t.kind == kindEscape && (text[0] == 'n' || text[0] == 'N')):
			continue
		}
		for i := int(t.from); i < int(t.to); i++ {
			if sql[i] != '\\' {
				continue
			}
			if masked == nil {
				masked = []byte(sql)
			}
			masked[i] = 'x'
			i++ // there is one: the closing quote is behind it
			if sql[i] == '\\' || sql[i] == '\'' {
				masked[i] = 'x'
			}
			spelt = spelt || isDigit(sql[i]) || strings.IndexByte("xuU", sql[i]) >= 0
		}
	}
	if masked == nil {
		return sql, nil
	}
	if spelt || suspiciousWords(sql) { // what is masked may be part of a secret, or of the word that tells it
		return "", fmt.Errorf("%w: backslash with standard_conforming_strings off", ErrLexical)
	}
	return string(masked), nil
}

// unmask gives a script's statements the texts that they have in sql, which is as long as the script's own.
func unmask(sql string, read *Script) *Script {
	s := &Script{Text: sql, Statements: slices.Clone(read.Statements), Unread: read.Unread}
	if read.Guess != nil {
		s.Guess = unmaskStatement(sql, read.Guess, 0)
	}
	for i, st := range s.Statements {
		if s.Statements[i] = unmaskStatement(sql, st, 0); s.Statements[i].dependsOnStrings() {
			return &Script{Text: sql, Unread: fmt.Errorf("%w: backslash with standard_conforming_strings off", ErrLexical)}
		}
	}
	return s
}

func unmaskStatement(sql string, st *Statement, from int) *Statement {
	own := *st
	from += st.Offset
	own.Text = sql[from : from+len(st.Text)]
	if st.Inner != nil {
		own.Inner = unmaskStatement(sql, st.Inner, from)
	}
	return &own
}

// dependsOnStrings reports whether what was read of a statement holds the value of a string.
func (s *Statement) dependsOnStrings() bool {
	return s.Password != nil || len(s.CopyOptions) > 0 || s.Class == ClassTransaction && s.Transaction >= PrepareTransaction ||
		s.Inner != nil && s.Inner.dependsOnStrings()
}
