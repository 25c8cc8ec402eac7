package tidy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgproxy/test/harness"
)

// source is one Go file of the tree.
type source struct {
	path  string // from the top, with slashes
	text  string
	lines int
	set   *token.FileSet
	file  *ast.File
}

func (s source) test() bool      { return strings.HasSuffix(s.path, "_test.go") }
func (s source) generated() bool { return ast.IsGenerated(s.file) }
func (s source) folder() string  { return filepath.ToSlash(filepath.Dir(s.path)) }
func (s source) room() string    { r, _, _ := strings.Cut(s.path, "/"); return r }

// line gives path:line of a place.
func (s source) line(p token.Pos) string {
	return s.path + ":" + strings.TrimPrefix(s.set.Position(p).String(), s.set.Position(p).Filename+":")
}

// tree lists the paths of all files, from the top; downloads and hidden folders are left out.
func tree(t *testing.T) (root string, paths []string) {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".ci" || rel == "bin" || rel == "tmp") {
			return filepath.SkipDir
		}
		if !d.IsDir() {
			paths = append(paths, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return root, paths
}

// sources parses every Go file.
func sources(t *testing.T) []source {
	t.Helper()
	root, paths := tree(t)
	var all []source
	for _, path := range paths {
		if !strings.HasSuffix(path, ".go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		s := source{path: path, text: string(text), lines: strings.Count(string(text), "\n"), set: token.NewFileSet()}
		if s.file, err = parser.ParseFile(s.set, path, text, parser.ParseComments); err != nil {
			t.Errorf("%v", err)
			continue
		}
		all = append(all, s)
	}
	return all
}
