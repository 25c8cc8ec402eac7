package parser

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestSQLFiles holds every promise of the room against all SQL files below PGPROXY_SQL_FILES, such as src/test/regress/sql
// of PostgreSQL's source: the same tokens as libpg_query, the same meaning with and without skeleton, a tree within its bound.
func TestSQLFiles(t *testing.T) {
	root := os.Getenv("PGPROXY_SQL_FILES")
	if root == "" {
		t.Skip("PGPROXY_SQL_FILES is not set")
	}
	p := New(Options{})
	texts, read, classes := 0, 0, map[string]int{}
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".sql") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, text := range splitFile(string(b)) {
			texts++
			compareTokens(t, text)
			compareShape(t, p, text)
			checkDepth(t, text)
			RedactUnread(text)
			s := p.Parse(text)
			if s.Unread == nil {
				read++
			} else if pg2(text) && utf8.ValidString(text) && !knownDifference.MatchString(text) {
				t.Errorf("%.300q: %v", text, s.Unread)
			}
			for _, st := range s.Statements {
				classes[classNames[st.Class]]++
				if r := st.Redact(); r != st.Text {
					t.Logf("redacted: %.400s", r)
				}
				checkSplices(t, p, st)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d texts, %d read, %v", texts, read, classes)
}

// splitFile gives the statements of a file for psql, its own commands and COPY data left out as well as can be.
func splitFile(file string) []string {
	var lines []string
	for _, l := range strings.Split(file, "\n") {
		if !strings.HasPrefix(l, "\\") {
			lines = append(lines, l)
		}
	}
	file = strings.Join(lines, "\n")
	var all []string
	d := newDepth(1 << 30)
	from := 0
	var before token
	sc := scanner{text: file}
	for tok, ok := sc.next(); ok; tok, ok = sc.next() {
		if tok.is(file, ';') && !d.nested() {
			all = append(all, file[from:tok.to])
			from = int(tok.to)
			d.reset()
			continue
		}
		d.add(file, tok, before)
		before = tok
	}
	return append(all, file[from:])
}
