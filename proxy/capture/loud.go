package capture

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// reach is what a statement may write besides its target: the zero value nothing, all anything; else the tables of these
// names (in any schema).
type reach struct {
	all   bool
	names map[string]bool
}

func (r reach) none() bool { return !r.all && len(r.names) == 0 }

// includes reports whether the table may be written.
func (r reach) includes(rel *relation) bool { return r.all || r.names[strings.ToLower(rel.Name)] }

func (r reach) join(o reach) reach {
	if o.none() {
		return r
	}
	names := maps.Clone(r.names)
	if names == nil {
		names = map[string]bool{}
	}
	maps.Copy(names, o.names)
	return reach{r.all || o.all, names}
}

// everything is the reach of what nothing is known of.
func everything() reach { return reach{all: true} }

// loud tells what the triggers of the table may write elsewhere when one of the events happens. Most triggers only stamp the
// row that they are called for, and that row is returned to us anyway; looking for hidden writes after each of them would
// make every statement slow. Of those that do write, most name the tables.
func (s *Session) loud(ctx context.Context, rel *relation, events int) (reach, error) {
	var total reach
	for _, t := range rel.Triggers {
		if t.Bits&events == 0 {
			continue
		}
		r, err := s.loudness(ctx, t)
		if err != nil {
			return reach{}, err
		}
		total = total.join(r)
	}
	if total.all {
		return everything(), nil
	}
	return total, nil
}

// loudness tells what one trigger's function may write. Certain is only a built-in one, and PL/pgSQL that neither runs text
// that it makes up nor calls volatile functions of the user's: it writes nothing, or the tables whose names stand in it,
// if they set off nothing themselves.
func (s *Session) loudness(ctx context.Context, t triggerData) (reach, error) {
	if t.Schema == "pg_catalog" {
		return reach{}, nil
	}
	if t.Language != "plpgsql" || strings.Contains(t.Source, `\`) { // a backslash may hide where a literal ends
		return everything(), nil
	}
	words, calls := wordsOf(t.Source)
	if slices.ContainsFunc(schemaWords, func(w string) bool { return words[w] }) {
		return everything(), nil
	}
	cat, q := s.catalog()
	for _, name := range calls {
		words[name] = true
		found, err := cat.overloads(ctx, q, name)
		if err != nil {
			return reach{}, err
		}
		if slices.ContainsFunc(found, func(f function) bool { return f.Volatile }) {
			return everything(), nil
		}
	}
	if !slices.ContainsFunc(writingWords, func(w string) bool { return words[w] }) {
		return reach{}, nil
	}
	return s.named(ctx, words)
}

// named gives the tables among the words, or everything if one of them sets off more.
func (s *Session) named(ctx context.Context, words map[string]bool) (reach, error) {
	cat, q := s.catalog()
	r := reach{names: map[string]bool{}}
	for word := range words {
		if sqlWords[word] {
			continue
		}
		found, err := cat.named(ctx, q, word)
		if err != nil {
			return reach{}, err
		}
		for _, f := range found {
			if f.Schema == "pg_catalog" || f.Schema == "information_schema" || f.Kind == "S" {
				continue
			}
			rel, err := cat.relation(ctx, q, f.OID)
			if err != nil {
				return reach{}, err
			}
			refers := slices.ContainsFunc(rel.Referenced, func(k constraintData) bool { return acts(k.OnDelete) || acts(k.OnUpdate) })
			if f.Kind != "r" || refers || len(rel.Triggers) > 0 || len(rel.Rules) > 0 || rel.Root != 0 || rel.Children {
				return everything(), nil
			}
			r.names[word] = true
		}
	}
	return r, nil
}

// sqlWords are words of nearly every trigger; a table of such a name is looked up only where it is quoted.
var sqlWords = map[string]bool{"begin": true, "end": true, "if": true, "then": true, "else": true, "elsif": true, "insert": true, "into": true, "values": true, "update": true,
	"set": true, "delete": true, "from": true, "where": true, "and": true, "or": true, "not": true, "null": true, "is": true, "return": true, "declare": true, "select": true}

// schemaWords make PL/pgSQL do what its text does not tell, or change the schema.
var schemaWords = []string{"execute", "call", "copy", "truncate", "create", "drop", "alter", "refresh", "do", "import", "grant", "revoke", "reindex", "cluster"}

// writingWords are the words without which such PL/pgSQL cannot write; FROM may name a view that does.
var writingWords = []string{"insert", "update", "delete", "merge", "from"}

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
