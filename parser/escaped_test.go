package parser

import (
	"strings"
	"testing"
)

// TestEscapedSessions: where a backslash escapes in plain strings, statements are where the server sees them.
func TestEscapedSessions(t *testing.T) {
	p := New(Options{})
	for text, want := range map[string]string{
		"SELECT 'a'":                     "SELECT",
		`SELECT E'a\'b'`:                 "SELECT",
		`SELECT $$a\b$$`:                 "SELECT",
		`SELECT "a\b"`:                   "SELECT",
		"INSERT INTO t VALUES ('it''s')": "INSERT",
		`SELECT 'a\'b'`:                  "SELECT",
		`INSERT INTO t VALUES ('it\'s; DELETE FROM t')`:            "INSERT",
		`SELECT 'a\\'; DELETE FROM t; --'`:                         "SELECT,DELETE",
		`UPDATE t SET a = N'\'', b = '\\' WHERE c = 'é\é'; COMMIT`: "UPDATE,COMMIT",
		`SELECT 'a\'; DELETE FROM t; --`:                           "-",
		"SELECT U&'a'":                                             "-",
		"SELECT 'a":                                                "-",
		`SELECT 'a\`:                                               "-",
		`SELECT '\x41'`:                                            "-",
		`CREATE ROLE x PASSWORD 'a\'b'`:                            "-",
		`COPY t FROM STDIN (DELIMITER '\\')`:                       "-",
		`CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT \'x\''`: "CREATE FUNCTION",
	} {
		var got []string
		s := p.ParseEscaped(text)
		for _, st := range s.Statements {
			got = append(got, st.Command)
			if text[st.Offset:st.Offset+len(st.Text)] != st.Text {
				t.Errorf("%q: %q is not at %d", text, st.Text, st.Offset)
			}
		}
		if s.Unread != nil {
			got = []string{"-"}
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%q: %v %v, want %s", text, got, s.Unread, want)
		}
		if again := p.ParseEscaped(text); (again.Unread == nil) != (s.Unread == nil) || len(again.Statements) != len(s.Statements) {
			t.Errorf("%q is read differently the second time", text)
		}
	}
}

// FuzzEscaped: what is masked moves nothing, and the texts are the client's own.
func FuzzEscaped(f *testing.F) {
	for _, s := range []string{`SELECT 'a\'b'; DELETE FROM t`, `SELECT N'\\' 'x'`, "SELECT 'a'\n'\\''", `\`, `'\`, `E'\''`} {
		f.Add(s)
	}
	p := New(Options{})
	f.Fuzz(func(t *testing.T, text string) {
		masked, err := maskEscapes(text)
		if err == nil && len(masked) != len(text) {
			t.Fatalf("%q became %q", text, masked)
		}
		s := p.ParseEscaped(text)
		if s.Text != text {
			t.Fatalf("%q is kept as %q", text, s.Text)
		}
		for _, st := range s.Statements {
			if text[st.Offset:st.Offset+len(st.Text)] != st.Text {
				t.Fatalf("%q: %q is not at %d", text, st.Text, st.Offset)
			}
		}
	})
}
