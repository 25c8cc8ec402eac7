package tidy

import (
	"go/ast"
	"go/format"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// Limits of size. Past argued, a file's name must stand in longFiles with its reason.
const (
	hardLines     = 600
	arguedLines   = 400
	functionLines = 100
)

// longFiles are files of more than 400 lines, tests aside, that are one thing all the same.
func longFiles() map[string]string {
	return map[string]string{
		"proxy/extended.go": "one function for each message of the extended protocol, in the order in which they come; apart they hide it",
	}
}

func TestFileLength(t *testing.T) {
	argued := longFiles()
	for _, s := range sources(t) {
		if s.generated() {
			continue
		}
		switch reason := argued[s.path]; {
		case s.lines > hardLines:
			t.Errorf("%s has %d lines, more than %d", s.path, s.lines, hardLines)
		case s.lines > arguedLines && reason == "" && !s.test():
			t.Errorf("%s has %d lines, more than %d, and no reason in longFiles", s.path, s.lines, arguedLines)
		case s.lines <= arguedLines && reason != "":
			t.Errorf("%s is short by now: take it from longFiles", s.path)
		}
		delete(argued, s.path)
	}
	for path := range argued {
		t.Errorf("longFiles names %s, which is not there", path)
	}
}

func TestFunctionLength(t *testing.T) {
	for _, s := range sources(t) {
		if s.generated() {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			if n := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line; n > functionLines {
				t.Errorf("%s: %s has %d lines, more than %d", s.line(f.Pos()), f.Name.Name, n, functionLines)
			}
		}
	}
}

// banned says which calls may stand only where. A place is a path or a folder.
func banned() map[string][]string {
	return map[string][]string{
		// The clock is injected; cmd puts the real one in, and tests measure deadlines with it.
		"time.Now":   {"cmd", "test"},
		"time.Since": {"cmd", "test"},
		"time.Until": {"cmd", "test"},
		// Nothing sleeps: what waits, waits for something.
		"time.Sleep":  {"test/harness/wait.go"},
		"fmt.Print":   {"test/bench"},
		"fmt.Println": {"test/bench"},
		"fmt.Printf":  {"test/bench"},
		"os.Exit":     {"cmd", "test/bench"},
		"log.Print":   {}, "log.Printf": {}, "log.Println": {}, "log.Fatal": {}, "log.Fatalf": {},
	}
}

// tolerated are calls that stand where banned says they may not, with the reason.
func tolerated() map[string]string {
	return map[string]string{}
}

func TestBannedCalls(t *testing.T) {
	for _, s := range sources(t) {
		if s.generated() {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name := callee(call)
			places, known := banned()[name]
			if !known || name != "time.Sleep" && s.test() || tolerated()[s.path+" "+name] != "" {
				return true
			}
			if !slices.ContainsFunc(places, func(p string) bool { return under(s.path, p) }) {
				t.Errorf("%s: %s may be called in %v only", s.line(call.Pos()), name, places)
			}
			return true
		})
	}
}

func callee(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
	}
	return ""
}

func TestNoInit(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "init" && f.Recv == nil && !s.generated() {
				t.Errorf("%s: init runs before anybody asked for it", s.line(f.Pos()))
			}
		}
	}
}

// processWide are the package variables that change, and why they may: what they hold belongs to the process.
func processWide() map[string]string {
	return map[string]string{
		"test/harness.ports":   "a port is taken in the whole process",
		"test/harness.builds":  "a binary is built once in the whole process",
		"test/harness.threads": "one thread must outlive every test",
	}
}

// TestNoMutableGlobals finds package variables that are assigned to, or that hold locks, channels or counters.
func TestNoMutableGlobals(t *testing.T) {
	globals := map[string]map[string]token.Pos{} // folder -> name
	all := sources(t)
	for _, s := range all {
		if s.generated() {
			continue
		}
		for name, spec := range packageVars(s) {
			if globals[s.folder()] == nil {
				globals[s.folder()] = map[string]token.Pos{}
			}
			globals[s.folder()][name] = spec.Pos()
			if stateful(spec) && processWide()[s.folder()+"."+name] == "" {
				t.Errorf("%s: %s holds state for the whole process", s.line(spec.Pos()), name)
			}
		}
	}
	for _, s := range all {
		for name, pos := range assigned(s) {
			if _, is := globals[s.folder()][name]; is && processWide()[s.folder()+"."+name] == "" {
				t.Errorf("%s: package variable %s is changed", s.line(pos), name)
			}
		}
	}
}

func packageVars(s source) map[string]*ast.ValueSpec {
	out := map[string]*ast.ValueSpec{}
	for _, d := range s.file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			for _, name := range v.Names {
				if name.Name != "_" {
					out[name.Name] = v
				}
			}
		}
	}
	return out
}

// stateful reports whether a variable's type or value is made to change.
func stateful(v *ast.ValueSpec) bool {
	found := false
	look := func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.ChanType:
			found = true
		case *ast.FuncLit:
			return false
		case *ast.SelectorExpr:
			if p, ok := x.X.(*ast.Ident); ok && (p.Name == "sync" || p.Name == "atomic") {
				found = true
			}
		}
		return true
	}
	if v.Type != nil {
		ast.Inspect(v.Type, look)
	}
	for _, x := range v.Values {
		ast.Inspect(x, look)
	}
	return found
}

// assigned finds the names that a file's functions assign to and that are not local to them.
func assigned(s source) map[string]token.Pos {
	out := map[string]token.Pos{}
	note := func(x ast.Expr) {
		for {
			switch y := x.(type) {
			case *ast.IndexExpr:
				x = y.X
				continue
			case *ast.SelectorExpr:
				x = y.X
				continue
			case *ast.Ident:
				// The parser resolves names within a file: a local one has an object declared inside a function.
				if y.Obj == nil || s.file.Scope.Lookup(y.Name) == y.Obj { //nolint:staticcheck // good enough within a file
					out[y.Name] = y.Pos()
				}
			}
			return
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.AssignStmt:
			if x.Tok != token.DEFINE {
				for _, l := range x.Lhs {
					note(l)
				}
			}
		case *ast.IncDecStmt:
			note(x.X)
		}
		return true
	})
	return out
}

func TestBannedWords(t *testing.T) {
	words := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "SCAFF" + "OLDING", "not imple" + "mented"}
	for _, s := range sources(t) {
		if s.generated() {
			continue
		}
		for i, line := range strings.Split(s.text, "\n") {
			for _, w := range words {
				if strings.Contains(line, w) {
					t.Errorf("%s:%d: %q is a promise; keep it or leave it", s.path, i+1, w)
				}
			}
		}
	}
}

func TestFormatted(t *testing.T) {
	for _, s := range sources(t) {
		want, err := format.Source([]byte(s.text))
		if err != nil || string(want) != s.text {
			t.Errorf("%s is not as gofmt would have it", s.path)
		}
	}
}
