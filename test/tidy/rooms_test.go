package tidy

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// law says which of the project's packages a room may import, beside itself; the longest matching path counts. _test.go files
// may also import test/.
func law() map[string][]string {
	return map[string][]string{
		"journal/hlc": {},
		"journal":     {"journal"},
		"parser":      {},
		"audit":       {"journal", "audit"},
		"proxy":       {"journal", "audit", "parser", "proxy"},
		"forward":     {"journal", "audit", "forward"},
		"cmd":         {"journal", "audit", "parser", "proxy", "forward", "cmd"},
		"test":        {"journal", "audit", "parser", "proxy", "forward", "cmd", "test"},
	}
}

// owners says which outside packages belong to which rooms.
func owners() map[string]string {
	return map[string]string{
		"go.etcd.io/bbolt":           "journal",
		"github.com/pganalyze/":      "parser",
		"google.golang.org/grpc":     "forward",
		"google.golang.org/protobuf": "forward parser",
		"github.com/spf13/":          "cmd",
		"go.yaml.in/":                "cmd",
	}
}

func TestImportsRunOneWay(t *testing.T) {
	for _, s := range sources(t) {
		for _, spec := range s.file.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			if inside, ok := strings.CutPrefix(path, "pgproxy/"); ok {
				if !mayImport(s, inside) {
					t.Errorf("%s: %s may not import %s", s.line(spec.Pos()), s.folder(), inside)
				}
			}
			for prefix, room := range owners() {
				if strings.HasPrefix(path, prefix) && !slices.Contains(strings.Fields(room), s.room()) && !s.test() {
					t.Errorf("%s: %s belongs to %s", s.line(spec.Pos()), path, room)
				}
			}
		}
	}
}

func mayImport(s source, inside string) bool {
	if s.test() && strings.HasPrefix(inside, "test/") {
		return true
	}
	best, allowed := "", []string(nil)
	for room, list := range law() {
		if under(s.folder(), room) && len(room) > len(best) {
			best, allowed = room, list
		}
	}
	if best == "" {
		return false
	}
	return slices.ContainsFunc(allowed, func(room string) bool { return under(inside, room) })
}

func under(path, room string) bool { return path == room || strings.HasPrefix(path, room+"/") }

// top is what may stand at the top of the tree.
func top() []string {
	return []string{".ci", ".gitignore", "LICENSE", "Makefile", "README.md", "audit", "cmd", "forward", "go.mod", "go.sum", "journal", "parser",
		"proxy", "test"}
}

func TestFolders(t *testing.T) {
	_, paths := tree(t)
	for _, path := range paths {
		first, _, _ := strings.Cut(path, "/")
		if !slices.Contains(top(), first) {
			t.Errorf("%s: the top of the tree is fixed", path)
		}
		parts := strings.Split(path, "/")
		for _, name := range parts[:len(parts)-1] {
			if slices.Contains([]string{"util", "utils", "common", "types", "models", "helpers", "internal", "pkg", "misc"}, name) {
				t.Errorf("%s: %s says nothing; a type lives in the room that owns its life", path, name)
			}
		}
	}
}

func TestEveryPackageHasDoc(t *testing.T) {
	folders := map[string]bool{}
	for _, s := range sources(t) {
		has := strings.HasSuffix(s.path, "/doc.go") && s.file.Doc != nil
		program := s.file.Name.Name == "main" && s.file.Doc != nil
		folders[s.folder()] = folders[s.folder()] || has || program || s.generated()
	}
	for folder, ok := range folders {
		if !ok {
			t.Errorf("%s has no doc.go", folder)
		}
	}
}
