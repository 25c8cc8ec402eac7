package parser

import (
	"strings"
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// treeDepth counts the nodes above each other in what libpg_query makes of a text; 0 if it cannot be read.
func treeDepth(text string) int {
	tree, err := pg.Parse(text)
	if err != nil {
		return 0
	}
	deepest := 0
	var visit func(m protoreflect.Message, depth int)
	visit = func(m protoreflect.Message, depth int) {
		if _, wrapper := m.Interface().(*pg.Node); !wrapper {
			depth++
		}
		deepest = max(deepest, depth)
		eachMessage(m, func(m protoreflect.Message) { visit(m, depth) })
	}
	visit(tree.ProtoReflect(), 0)
	return deepest
}

// checkDepth fails where a text's tree is deeper than its tokens let us fear.
func checkDepth(t *testing.T, text string) (read bool) {
	t.Helper()
	real, bound := treeDepth(text), depthOf(t, text)
	if real > 2*bound+12 {
		t.Errorf("%.200q: %d nodes deep, counted as %d", text, real, bound)
	}
	return real > 0
}

func TestDepthIsABound(t *testing.T) {
	for _, text := range append(corpus(t), shapes...) {
		checkDepth(t, text)
	}
	for name, nest := range nests {
		for _, n := range []int{3, 30, 300} {
			if !checkDepth(t, nest(n)) && n == 3 {
				t.Logf("%s is not SQL", name)
			}
		}
	}
}

// words are what a statement may repeat.
var words = strings.Fields(`a 1 'x' $1 , . ( ) [ ] + - * / < = <> || :: -> @ ~ : AND OR NOT IS NULL NOTNULL ISNULL TRUE IN
	BETWEEN LIKE ESCAPE SIMILAR TO COLLATE AT TIME ZONE LOCAL CASE WHEN THEN ELSE END AS SELECT FROM WHERE UNION ALL EXCEPT
	INTERSECT JOIN LEFT CROSS NATURAL ON USING WITH ORDER BY GROUP LIMIT VALUES TABLE ROW ARRAY EXISTS ANY CAST int OVER DISTINCT
	JSON FOR UPDATE OPERATOR SET INTO LATERAL ; INTERVAL UNIQUE`)

// TestNothingElseNests repeats every sequence of up to three words, in the places where an expression, a relation or a
// clause may stand, in search of a nesting that the bound does not see.
func TestNothingElseNests(t *testing.T) {
	frames := [][2]string{{"SELECT ", " a"}, {"SELECT a ", ""}, {"SELECT * FROM ", " a"}, {"SELECT * FROM a ", ""}, {"SELECT 1 WHERE a ", " b"}}
	const times = 40
	read := 0
	try := func(seq string, frames [][2]string) {
		for _, f := range frames {
			if pg2(f[0] + seq + seq + f[1]) {
				read++
				checkDepth(t, f[0]+strings.Repeat(seq, times)+f[1])
			}
		}
	}
	for _, a := range words {
		try(a+" ", frames)
		for _, b := range words {
			try(a+" "+b+" ", frames)
			if testing.Short() {
				continue
			}
			for _, c := range words {
				try(a+" "+b+" "+c+" ", frames[1:2])
			}
		}
	}
	if read < 100 {
		t.Errorf("only %d sequences were SQL", read)
	}
	t.Logf("%d sequences were SQL", read)
}

// pg2 reports whether libpg_query reads a text.
func pg2(text string) bool {
	_, err := pg.ParseToJSON(text)
	return err == nil
}

// FuzzDepth looks for texts that the limits let pass and whose tree is deeper than they say, and for any that kill the
// process.
func FuzzDepth(f *testing.F) {
	for _, text := range append(append(corpus(f), shapes...), nasty...) {
		f.Add(text, 3)
	}
	for _, nest := range nests {
		f.Add(nest(20), 2)
	}
	p := New(Options{})
	f.Fuzz(func(t *testing.T, text string, times int) {
		if times < 1 || times > 3000 || len(text) > 5000 {
			return
		}
		long := text + strings.Repeat(text, min(times, 200_000/(len(text)+1)))
		if p.Parse(long).Unread == nil && depthOf(t, long) < 5000 {
			checkDepth(t, long)
		}
	})
}
