package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
)

// Ports are taken from below the range that the kernel gives to outgoing connections, so that nobody gets one by chance
// between the moment it is picked and the moment it is used.
const (
	firstPort = 12000
	lastPort  = 32000
)

type portBook struct {
	mu    sync.Mutex
	taken map[int]bool
}

var ports = portBook{taken: map[int]bool{}} // what this process has picked

// FreePort picks a TCP port on the loopback address that nobody uses, and that this process will not pick again.
func FreePort(t T) int {
	t.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if ports.taken[port] {
			continue
		}
		l, err := net.Listen("tcp", Local(port))
		if err != nil {
			continue
		}
		_ = l.Close()
		ports.taken[port] = true
		return port
	}
	t.Fatalf("no free port between %d and %d", firstPort, lastPort)
	return 0
}

// Local gives the loopback address of a port.
func Local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

var unsafeName = regexp.MustCompile(`[^a-zA-Z0-9]+`)

// Dir makes a folder for t that any user can reach (t.TempDir cannot be used: it is closed to the user that PostgreSQL
// runs as), short enough for unix sockets, removed at cleanup. With PGPROXY_TEST_KEEP set it stays.
func Dir(t T, name string) string {
	t.Helper()
	label := unsafeName.ReplaceAllString(name, "")
	dir, err := os.MkdirTemp("", "pgp-"+label+"-")
	if err != nil {
		t.Fatalf("make folder: %v", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatalf("open folder: %v", err)
	}
	t.Cleanup(func() {
		if os.Getenv("PGPROXY_TEST_KEEP") != "" {
			t.Logf("kept: %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Logf("remove folder: %v", err)
		}
	})
	return dir
}

// cacheFolders are the places where test/setup.sh may have put downloads, in the order of preference.
func cacheFolders() ([]string, error) {
	if dir := os.Getenv("PGPROXY_TEST_CACHE"); dir != "" {
		return []string{dir}, nil
	}
	root, err := Root()
	if err != nil {
		return nil, err
	}
	return []string{filepath.Join(root, ".cache"), "/var/tmp/pgproxy-test-cache"}, nil
}

// Root is the top folder of the source tree that the test runs in.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find working folder: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod above the working folder")
		}
		dir = up
	}
}
