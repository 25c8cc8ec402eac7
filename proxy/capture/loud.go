package capture

import (
	"context"
	"slices"
	"strings"
)

// loud reports whether a trigger of the table may write elsewhere when one of the events happens. Most triggers only
// stamp the row that they are called for, and that row is returned to us anyway; looking for hidden writes after each of
// them would make every statement slow.
func (s *Session) loud(ctx context.Context, rel *relation, events int) (bool, error) {
	for _, t := range rel.Triggers {
		if t.Bits&events == 0 {
			continue
		}
		quiet, err := s.quiet(ctx, t)
		if err != nil || !quiet {
			return true, err
		}
	}
	return false, nil
}

// quiet reports whether a trigger's function certainly writes nothing: a built-in one, or PL/pgSQL without any statement that
// writes, and without calls of volatile functions of the user's.
func (s *Session) quiet(ctx context.Context, t triggerData) (bool, error) {
	if t.Schema == "pg_catalog" {
		return true, nil
	}
	if t.Language != "plpgsql" || strings.Contains(t.Source, `\`) { // a backslash may hide where a literal ends
		return false, nil
	}
	words, calls := wordsOf(t.Source)
	if slices.ContainsFunc(writingWords, func(w string) bool { return words[w] }) {
		return false, nil
	}
	cat, q := s.catalog()
	for _, name := range calls {
		found, err := cat.overloads(ctx, q, name)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(found, func(f function) bool { return f.Volatile }) {
			return false, nil
		}
	}
	return true, nil
}

// writingWords are the words without which PL/pgSQL cannot change anything itself.
var writingWords = []string{"insert", "update", "delete", "merge", "execute", "call", "copy", "truncate", "create", "drop", "alter", "refresh", "do",
	"import", "grant", "revoke", "reindex", "cluster", "from"}

// wordsOf gives the words of a piece of code outside of literals and comments, and the names that are called.
func wordsOf(source string) (words map[string]bool, calls []string) {
	words = map[string]bool{}
	s := strings.ToLower(source)
	s = strings.ReplaceAll(s, "distinct from", "distinct") // is no FROM clause
	for len(s) > 0 {
		switch {
		case strings.HasPrefix(s, "--"):
			_, s, _ = strings.Cut(s, "\n")
		case strings.HasPrefix(s, "/*"):
			_, s, _ = strings.Cut(s[2:], "*/")
		case s[0] == '\'':
			_, s, _ = strings.Cut(s[1:], "'")
		case s[0] == '"':
			name, rest, _ := strings.Cut(s[1:], `"`)
			s = rest
			calls = append(calls, name) // it may be a call; a name that is none of a function costs a look
		case wordByte(s[0]):
			n := 1
			for n < len(s) && wordByte(s[n]) {
				n++
			}
			word := s[:n]
			s = s[n:]
			words[word] = true
			if strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "(") {
				calls = append(calls, word)
			}
		default:
			s = s[1:]
		}
	}
	return words, calls
}

func wordByte(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 0x80
}
