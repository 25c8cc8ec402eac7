package tidy

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	pathInText   = regexp.MustCompile("`((?:cmd|proxy|parser|journal|forward|audit|test)/[A-Za-z0-9_./-]*[A-Za-z0-9_])`")
	makeTarget   = regexp.MustCompile("`make ([a-z-]+)[ `]")
)

// TestLinksResolve checks that documents name only files, folders and make targets that are there.
func TestLinksResolve(t *testing.T) {
	root, paths := tree(t)
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	there := func(p string) bool { _, err := os.Stat(filepath.Join(root, p)); return err == nil }
	for _, file := range paths {
		if !strings.HasSuffix(file, ".md") && !strings.HasSuffix(file, "doc.go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".md") {
			for _, m := range markdownLink.FindAllStringSubmatch(string(text), -1) {
				target, _, _ := strings.Cut(m[1], "#")
				if target != "" && !strings.Contains(target, "://") && !there(path.Join(path.Dir(file), target)) {
					t.Errorf("%s links to %s, which is not there", file, m[1])
				}
			}
		}
		for _, m := range pathInText.FindAllStringSubmatch(string(text), -1) {
			if !there(m[1]) && !there(path.Join(path.Dir(file), m[1])) {
				t.Errorf("%s names %s, which is not there", file, m[1])
			}
		}
		for _, m := range makeTarget.FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s names `make %s`, which the Makefile does not know", file, m[1])
			}
		}
	}
}
