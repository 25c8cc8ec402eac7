package parser

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// nests are the ways to nest a statement n levels deep, with brackets and without.
var nests = map[string]func(n int) string{
	"sum":      func(n int) string { return "SELECT 1" + strings.Repeat("+1", n) },
	"concat":   func(n int) string { return "SELECT 'a'" + strings.Repeat("||x", n) },
	"power":    func(n int) string { return "SELECT 1" + strings.Repeat("^a", n) },
	"custom":   func(n int) string { return "SELECT 1" + strings.Repeat(" OPERATOR(s.+) a", n) },
	"not":      func(n int) string { return "SELECT " + strings.Repeat("NOT ", n) + "a" },
	"minus":    func(n int) string { return "SELECT " + strings.Repeat("- ", n) + "a" },
	"prefix":   func(n int) string { return "SELECT " + strings.Repeat("@ ", n) + "a" },
	"cast":     func(n int) string { return "SELECT a" + strings.Repeat("::int", n) },
	"collate":  func(n int) string { return "SELECT a" + strings.Repeat(" COLLATE c", n) },
	"zone":     func(n int) string { return "SELECT a" + strings.Repeat(" AT TIME ZONE 'x'", n) },
	"local":    func(n int) string { return "SELECT a" + strings.Repeat(" AT LOCAL", n) },
	"isnull":   func(n int) string { return "SELECT a" + strings.Repeat(" IS NULL", n) },
	"isnull2":  func(n int) string { return "SELECT a" + strings.Repeat(" ISNULL", n) },
	"istrue":   func(n int) string { return "SELECT a" + strings.Repeat(" IS NOT TRUE", n) },
	"isjson":   func(n int) string { return "SELECT a" + strings.Repeat(" IS JSON", n) },
	"parens":   func(n int) string { return "SELECT " + strings.Repeat("(", n) + "1" + strings.Repeat(")", n) },
	"parensum": func(n int) string { return "SELECT " + strings.Repeat("(1+", n) + "1" + strings.Repeat(")", n) },
	"sumparen": func(n int) string { return "SELECT " + strings.Repeat("(", n) + "1" + strings.Repeat("+1)", n) },
	"row":      func(n int) string { return "SELECT " + strings.Repeat("ROW(", n) + "1" + strings.Repeat(")", n) },
	"row2":     func(n int) string { return "SELECT " + strings.Repeat("(1,", n) + "1" + strings.Repeat(")", n) },
	"func":     func(n int) string { return "SELECT " + strings.Repeat("f(", n) + "1" + strings.Repeat(")", n) },
	"coalesce": func(n int) string { return "SELECT " + strings.Repeat("coalesce(", n) + "1" + strings.Repeat(")", n) },
	"castfunc": func(n int) string {
		return "SELECT " + strings.Repeat("cast(", n) + "1" + strings.Repeat(" AS int)", n)
	},
	"json": func(n int) string {
		return "SELECT " + strings.Repeat("json_object('a':", n) + "1" + strings.Repeat(")", n)
	},
	"jsonarray": func(n int) string { return "SELECT " + strings.Repeat("json_array(", n) + "1" + strings.Repeat(")", n) },
	"xml": func(n int) string {
		return "SELECT " + strings.Repeat("xmlelement(name a,", n) + "1" + strings.Repeat(")", n)
	},
	"array":      func(n int) string { return "SELECT ARRAY" + strings.Repeat("[", n) + "1" + strings.Repeat("]", n) },
	"subscript":  func(n int) string { return "SELECT " + strings.Repeat("a[", n) + "1" + strings.Repeat("]", n) },
	"subscripts": func(n int) string { return "SELECT a" + strings.Repeat("[1]", n) },
	"fields":     func(n int) string { return "SELECT a" + strings.Repeat(".b", n) },
	"fields2":    func(n int) string { return "SELECT " + strings.Repeat("(", n) + "a" + strings.Repeat(").b", n) },
	"case": func(n int) string {
		return "SELECT " + strings.Repeat("CASE WHEN a THEN ", n) + "1" + strings.Repeat(" END", n)
	},
	"caseelse": func(n int) string {
		return "SELECT " + strings.Repeat("CASE WHEN a THEN 1, ELSE ", 0) + strings.Repeat("CASE WHEN a AND b THEN 1 ELSE ", n) + "1" + strings.Repeat(" END", n)
	},
	"casearg": func(n int) string {
		return "SELECT " + strings.Repeat("CASE ", n) + "a" + strings.Repeat(" WHEN 1 THEN 1 END", n)
	},
	"sublink": func(n int) string { return strings.Repeat("SELECT (", n) + "SELECT 1" + strings.Repeat(")", n) },
	"exists": func(n int) string {
		return "SELECT 1 WHERE " + strings.Repeat("EXISTS (SELECT 1 WHERE ", n) + "a" + strings.Repeat(")", n)
	},
	"in": func(n int) string {
		return "SELECT 1 WHERE " + strings.Repeat("a IN (SELECT 1 WHERE ", n) + "a" + strings.Repeat(")", n)
	},
	"from": func(n int) string {
		return strings.Repeat("SELECT * FROM (", n) + "SELECT 1" + strings.Repeat(") x", n)
	},
	"with": func(n int) string {
		return strings.Repeat("WITH a AS (", n) + "SELECT 1" + strings.Repeat(") SELECT 1", n)
	},
	"union":       func(n int) string { return "SELECT 1" + strings.Repeat(" UNION SELECT 1", n) },
	"unioncommas": func(n int) string { return "SELECT 1,2" + strings.Repeat(" UNION ALL SELECT 1,2", n) },
	"except":      func(n int) string { return "SELECT a AND b" + strings.Repeat(" EXCEPT SELECT a AND b", n) },
	"intersect":   func(n int) string { return "VALUES (1,2)" + strings.Repeat(" INTERSECT VALUES (1,2)", n) },
	"join":        func(n int) string { return "SELECT * FROM a" + strings.Repeat(" JOIN b ON c AND d", n) },
	"crossjoin":   func(n int) string { return "SELECT * FROM a" + strings.Repeat(" CROSS JOIN b", n) },
	"naturaljoin": func(n int) string { return "SELECT * FROM a" + strings.Repeat(" NATURAL JOIN b", n) },
	"rightjoin": func(n int) string {
		return "SELECT * FROM " + strings.Repeat("a JOIN ", n) + "b" + strings.Repeat(" ON x", n)
	},
	"parenjoin": func(n int) string {
		return "SELECT * FROM " + strings.Repeat("(", n) + "a" + strings.Repeat(" JOIN b ON c)", n)
	},
	"parenselect": func(n int) string { return strings.Repeat("(", n) + "SELECT 1" + strings.Repeat(")", n) },
	"atomic": func(n int) string {
		return strings.Repeat("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC ", n) + "SELECT 1;" + strings.Repeat(" END;", n)
	},
	"qualified": func(n int) string { return "SELECT a" + strings.Repeat(" = ANY (SELECT b", n) + strings.Repeat(")", n) },
	"andnot": func(n int) string {
		return "SELECT a" + strings.Repeat(" AND NOT (b OR c", n) + "" + strings.Repeat(")", n)
	},
	"filter": func(n int) string {
		return "SELECT " + strings.Repeat("f() FILTER (WHERE ", n) + "a" + strings.Repeat(")", n)
	},
	"over": func(n int) string {
		return "SELECT " + strings.Repeat("f() OVER (ORDER BY ", n) + "a" + strings.Repeat(")", n)
	},
	"and":        func(n int) string { return "SELECT a" + strings.Repeat(" AND b", n) },
	"or":         func(n int) string { return "SELECT a" + strings.Repeat(" OR b AND c", n) },
	"inlist":     func(n int) string { return "SELECT a IN (1" + strings.Repeat(",b", n) + ")" },
	"values":     func(n int) string { return "INSERT INTO t VALUES (1)" + strings.Repeat(",(a)", n) },
	"statements": func(n int) string { return strings.Repeat("SELECT 1;", n) },
	"setof":      func(n int) string { return "SELECT a::int" + strings.Repeat("[]", n) },
	"graph":      func(n int) string { return "SELECT " + strings.Repeat("a.b.c(", n) + "1" + strings.Repeat(")", n) },
	"jsontable": func(n int) string {
		return "SELECT * FROM json_table(a, '$' COLUMNS (" + strings.Repeat("NESTED '$' COLUMNS (", n) + "a int" + strings.Repeat(")", n) + "))"
	},
	"partition": func(n int) string {
		return "SELECT 1 GROUP BY " + strings.Repeat("GROUPING SETS (", n) + "a" + strings.Repeat(")", n)
	},
	"rows": func(n int) string {
		return "SELECT " + strings.Repeat("ARRAY(SELECT ", n) + "1" + strings.Repeat(")", n)
	},
	"backtoback": func(n int) string { return "SELECT " + strings.Repeat("a -> ", n) + "1" },
	"between": func(n int) string {
		return "SELECT " + strings.Repeat("a BETWEEN ", n) + "1" + strings.Repeat(" AND 2", n)
	},
	"like": func(n int) string { return "SELECT a" + strings.Repeat(" LIKE a ESCAPE 'x'", n) },
	"semijoin": func(n int) string {
		return "SELECT * FROM a" + strings.Repeat(", LATERAL (SELECT * FROM b", n) + strings.Repeat(") x", n)
	},
}

// TestNestingNeverReachesTheStack: however deep and in whatever way, a text is read or refused, and the process lives.
func TestNestingNeverReachesTheStack(t *testing.T) {
	p := New(Options{})
	for name, nest := range nests {
		for _, n := range []int{10, 100, 500, 999, 2000, 5000, 30_000, 300_000} {
			s := p.Parse(nest(n))
			if s.Unread == nil && n == 300_000 && !strings.Contains("statements and or inlist values setof subscripts fields", name) {
				t.Errorf("%s: 300,000 levels were read", name)
			}
		}
	}
}

// TestStackEdge measures, in child processes, how many levels of each nesting kill libpg_query, and that what the limit
// lets pass is far below: the deepest text that is let pass must survive with a tenth of the stack, and one ten times
// deeper must survive, or be refused by the grammar. Looking for the edge is slow; PGPROXY_STACK_EDGE=1 does it.
func TestStackEdge(t *testing.T) {
	if name := os.Getenv("PGPROXY_STACK_NEST"); name != "" {
		n, _ := strconv.Atoi(os.Getenv("PGPROXY_STACK_LEVELS"))
		for _, one := range strings.Split(name, " ") {
			levels := n
			if n < 0 { // -m: what counts m times the limit
				levels = levelsFor(t, nests[one], -n*DefaultMaxDepth)
			}
			pg.Parse(nests[one](levels))
		}
		return
	}
	var names []string
	for name := range nests {
		names = append(names, name)
	}
	for kib, times := range map[int]int{8 << 10: 10, 800: 1} {
		for m := 1; m <= times; m += 3 {
			if err := parseInChild(kib, strings.Join(names, " "), -m); err != nil {
				t.Errorf("stack of %d KiB, %d times the limit: %v", kib, m, err)
			}
		}
	}
	if os.Getenv("PGPROXY_STACK_EDGE") == "" {
		return
	}
	for name, nest := range nests {
		dies := func(n int) bool { return parseInChild(8<<10, name, n) != nil }
		lo, hi := 0, 1<<18
		if !dies(hi) {
			t.Logf("%-12s survives %d levels", name, hi)
			continue
		}
		for hi-lo > max(20, lo/20) {
			if mid := (lo + hi) / 2; dies(mid) {
				hi = mid
			} else {
				lo = mid
			}
		}
		d := depthOf(t, nest(hi))
		t.Logf("%-12s dies at about %d levels, which count %d; %d bytes of stack for 1", name, hi, d, (8<<20)/d)
	}
}

// parseInChild lets a child process with a limited C stack parse nests.
func parseInChild(kib int, names string, levels int) error {
	c := exec.Command("sh", "-c", "ulimit -s "+strconv.Itoa(kib)+`; exec "$0" -test.run=TestStackEdge`, os.Args[0])
	c.Env = append(os.Environ(), "PGPROXY_STACK_NEST="+names, "PGPROXY_STACK_LEVELS="+strconv.Itoa(levels))
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %.300s", err, out)
	}
	return nil
}

// levelsFor gives how many levels of a nest count as much as depth.
func levelsFor(t *testing.T, nest func(int) string, depth int) int {
	lo, hi := 1, depth
	for lo < hi {
		mid := (lo + hi + 1) / 2
		if depthOf(t, nest(mid)) <= depth {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return lo
}

// depthOf measures a text without a limit.
func depthOf(t testing.TB, sql string) int {
	t.Helper()
	d := newDepth(1 << 30)
	sc := scanner{text: sql}
	var before token
	for tok, ok := sc.next(); ok; tok, ok = sc.next() {
		d.add(sql, tok, before)
		before = tok
	}
	return d.sum()
}

func TestLimits(t *testing.T) {
	p := New(Options{MaxText: 100})
	for text, want := range map[string]error{
		"SELECT '" + strings.Repeat("x", 100) + "'": ErrTooLong,
		"SELECT '\xff'":   ErrEncoding,
		"SELECT 'a\x00b'": ErrEncoding,
		"SELECT 'a":       ErrLexical,
		"SELECT /* a":     ErrLexical,
		"SELECT $$ a":     ErrLexical,
		"SELECT 1a":       ErrLexical,
	} {
		if got := p.Parse(text).Unread; !errors.Is(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
