package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// BuildOption changes the binary that Build makes.
type BuildOption string

// The ways to build.
const (
	Raced  BuildOption = "-race"        // with the race detector
	Faults BuildOption = "-tags=faults" // with fault points (PGPROXY_FAULT)
)

type buildBook struct {
	mu    sync.Mutex
	paths map[string]string
}

var builds = buildBook{paths: map[string]string{}} // binaries that this process has built, by options

// Build makes the pgproxy binary, once in the life of the test process for each set of options, and gives its path.
// PGPROXY_TEST_RACE=1 adds the race detector everywhere.
func Build(t T, options ...BuildOption) string {
	t.Helper()
	args := []string{"build"}
	for _, o := range options {
		args = append(args, string(o))
	}
	if os.Getenv("PGPROXY_TEST_RACE") != "" {
		args = append(args, string(Raced))
	}
	builds.mu.Lock()
	defer builds.mu.Unlock()
	key := strings.Join(args, " ")
	if path := builds.paths[key]; path != "" {
		return path
	}
	root, err := Root()
	if err != nil {
		t.Fatalf("%v", err)
	}
	// The name depends on the options only, so that the folder does not fill with copies; go build writes it anew, and
	// a process that runs the old one keeps its file.
	dir := filepath.Join(root, "bin")
	path := filepath.Join(dir, "pgproxy-test"+unsafeName.ReplaceAllString(key, "-"))
	next := fmt.Sprintf("%s.%d", path, os.Getpid())
	cmd := exec.Command("go", append(args, "-o", next, "./cmd/pgproxy")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build pgproxy: %v\n%s", err, out)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatalf("keep binary: %v", err)
	}
	builds.paths[key] = path
	return path
}

var _ T = (*testing.T)(nil)
