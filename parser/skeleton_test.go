package parser

import (
	"strings"
	"testing"
)

// readWhole reads a text without its skeleton.
func readWhole(p *Parser, sql string) *Script {
	s := &Script{Text: sql}
	if err := checkText(sql, p.maxText); err != nil {
		s.Unread = err
		return s
	}
	r := p.pool.Get().(*reader)
	defer p.release(r)
	if err := r.scan(sql); err != nil {
		s.Unread = err
		return s
	}
	if err := p.whole(s, r.tokens); err != nil {
		return &Script{Text: sql, Unread: err}
	}
	return s
}

// compareShape fails where the skeleton and the text itself mean something else.
func compareShape(t *testing.T, p *Parser, text string) {
	t.Helper()
	whole := readWhole(p, text)
	for range 2 { // the second time from the caches
		got := p.Parse(text)
		if whole.Unread != nil && got.Unread == nil && !strings.Contains(text, "'") {
			// A string with a comment inside, RETURNING WITH, and rows that only the fold made equal, may be read by the
			// skeleton alone.
			upper := strings.ToUpper(text)
			if !strings.Contains(upper, "VALUES") && !(strings.Contains(upper, "RETURNING") && strings.Contains(upper, "WITH")) {
				t.Errorf("%q: read by its skeleton alone; whole: %v", text, whole.Unread)
			}
			return
		}
		if whole.Unread != nil {
			return
		}
		if a, b := describe(got), describe(whole); a != b {
			t.Errorf("%q: by skeleton\n%swhole\n%s", text, a, b)
		}
		for i, st := range got.Statements {
			if st.Text != whole.Statements[i].Text {
				t.Errorf("%q: text %q, whole %q", text, st.Text, whole.Statements[i].Text)
			}
		}
	}
}

// TestSkeletonMeansTheSame compares what texts mean by their skeletons and as they stand, and with other literals.
func TestSkeletonMeansTheSame(t *testing.T) {
	p := New(Options{})
	for _, text := range append(corpus(t), shapes...) {
		compareShape(t, p, text)
		for _, other := range variants(text) {
			compareShape(t, p, other)
		}
	}
}

// shapes are texts whose literals and lists a skeleton folds.
var shapes = []string{
	"INSERT INTO t VALUES (1), (2), (3)", "INSERT INTO t (a,b) VALUES (1,'x'),(NULL,'y'),(-3,NULL),(+4,TRUE) RETURNING a",
	"INSERT INTO t VALUES (1,f(2)),(1,f(3)),(2,g(2)),(3,(SELECT 1)),(3,(SELECT 2)) ON CONFLICT DO NOTHING",
	"INSERT INTO t VALUES (DEFAULT,1),(DEFAULT,2),(3,DEFAULT)", "INSERT INTO t VALUES ($1,$2),($3,$4),(1,2),(3,4)",
	"INSERT INTO t VALUES ((1),(2)),((1),(3))", "VALUES (1),(2) ORDER BY 1", "(VALUES (1),(2)) UNION (VALUES (3),(4),(5))",
	"SELECT * FROM (VALUES (1,2),(3,4)) x(a,b) WHERE a IN (1,2,3) AND b IN (SELECT 1) AND c IN ('a') AND d IN ()",
	"SELECT * FROM t WHERE a IN (1,2,-3,NULL,TRUE,'x') AND b NOT IN (1.5, $1) AND c = ANY (ARRAY[1,2,3])",
	"SELECT ARRAY[[1,2],[3,4]], ARRAY[]::int[], a[1], a[1:2]", "SELECT f(1,2,3), substring('abc' from 1 for 2), position('a' in 'b')",
	"SELECT 'a'::float(10), float '1.5', interval '1' day, interval(3) '1', date '2020-01-01', U&'d!0061' UESCAPE '!', E'\\n', N'x', B'01', X'ff'",
	"SELECT 1 AS a LIMIT 10 OFFSET 5", "SELECT count(*) FILTER (WHERE a > 1) OVER (ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING) FROM t FETCH FIRST 3 ROWS ONLY",
	"UPDATE t SET a = a + 1, b = 'it''s', c = $$x$$ WHERE id = 5 -- it's", "/* c */ UPDATE t /* x */ SET a = 'x' /* y */ WHERE /* z */ id = 1 /* w */ ; -- end",
	"UPDATE t SET a = 1 WHERE b = 'x'\r\n  'y' AND c = 2", "DELETE FROM t WHERE id IN (1,2,3) AND é = 'ü'", "EXECUTE p(1,'x')", "SELECT -1, - 1, +1, a-1, a - -1",
	"WITH a AS (INSERT INTO t VALUES (1),(2) RETURNING *), b AS (UPDATE u SET x = 'a' WHERE id = 3) SELECT * FROM a, b WHERE a.x IN (1,2)",
	"INSERT INTO t SELECT * FROM (VALUES (1),(2)) v; UPDATE t SET a = 2; DELETE FROM t WHERE a = 1;", "SELECT 1.5, 1e5, 0x1f, 1_000, 99999999999",
	"MERGE INTO t USING (VALUES (1,2),(3,4)) s(a,b) ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = t.b + 1 WHEN NOT MATCHED THEN INSERT VALUES (1, 2)",
	"SELECT x FROM json_table('[1]', '$[*]' COLUMNS (a int PATH '$.a'))", "SELECT json_object('a': 1, 'b': 2), json_array(1,2)", "SELECT xmlelement(name a, 'x')",
	"INSERT INTO t VALUES ('a', ARRAY[1,2]), ('b', ARRAY[3]), ('c', ARRAY['x'])", "INSERT INTO t VALUES (1, (VALUES (1),(2))), (2, (VALUES (1),(2),(3)))",
	"SELECT * FROM t TABLESAMPLE system (10) REPEATABLE (5)", "SELECT CASE 1 WHEN 2 THEN 'x' ELSE 'y' END", "SELECT a FROM t WHERE b BETWEEN 1 AND 2 AND c LIKE 'x' ESCAPE '!'",
	"SELECT 'a' AS values, (1), (2)", "SELECT values(1), (2), (2) FROM t", "SELECT a.values, (1), (2)", "SELECT ROW(1,2), (1,2), (1,2)", "TABLE t", "SELECT $1, $2 + 1",
	"SELECT x'1F'\n'ab', b'01'", "BEGIN; SELECT 1; COMMIT", "SELECT 'a' -- c\n 'b'", "INSERT INTO t VALUES (1,2),\n\n(3,4) -- x\n, (5,6)", "SELECT 1;;; SELECT 2;",
}

// variants gives the same text with other literals, of other lengths.
func variants(text string) []string {
	var all []string
	for _, with := range []struct{ s, n, f string }{{"''", "7", "0.5"}, {"'a longer ''one'' with ü'", "123456", "123.456e7"}, {"$q$it's$q$", "0", ".1"}} {
		var b strings.Builder
		at := 0
		sc := scanner{text: text}
		for t, ok := sc.next(); ok; t, ok = sc.next() {
			to := ""
			switch t.kind {
			case kindString:
				to = with.s
			case kindInteger:
				to = with.n
			case kindNumber:
				to = with.f
			default:
				continue
			}
			b.WriteString(text[at:t.from])
			b.WriteString(to)
			at = int(t.to)
		}
		b.WriteString(text[at:])
		all = append(all, b.String())
	}
	return all
}

// TestSkeletonFolds: a list a thousand times as long has the same skeleton, and places are right all the same.
func TestSkeletonFolds(t *testing.T) {
	p := New(Options{})
	rows := strings.Repeat("(1,'x',NULL),(-2,'it''s',TRUE),\n", 20_000)
	text := "INSERT INTO t VALUES " + rows + "(3,'y',1.5) ON CONFLICT DO NOTHING -- end"
	s := p.Parse(text)
	if s.Unread != nil {
		t.Fatal(s.Unread)
	}
	st := s.Statements[0]
	if want := len(text) - len(" -- end"); st.SpliceAt != want || st.Text != text[:want] || !st.Conflict {
		t.Errorf("splice at %d of %d, want %d", st.SpliceAt, len(st.Text), want)
	}
	if n := p.shapes.size(); n > 4000 {
		t.Errorf("the skeleton was not folded: %d bytes", n)
	}
	in := "SELECT * FROM t WHERE a IN (" + strings.Repeat("1, 22, 333, ", 100_000) + "4)"
	if s := p.Parse(in); s.Unread != nil {
		t.Error(s.Unread)
	}
}

func FuzzShape(f *testing.F) {
	for _, text := range append(append(corpus(f), shapes...), nasty...) {
		f.Add(text)
	}
	p := New(Options{})
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < 10_000 {
			compareShape(t, p, text)
		}
	})
}
