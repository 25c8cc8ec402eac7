package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// Installation is a PostgreSQL that servers can be started from.
type Installation struct {
	Major int
	Bin   string // folder of initdb, postgres, pg_ctl
}

// Newest is the major version that is downloaded by test/setup.sh, beside the distribution's.
const Newest = 18

// oldest is the first major version that pgproxy supports.
const oldest = 14

var versionNumber = regexp.MustCompile(`\) (\d+)`)

// Installations lists what is there: the distribution's versions and the downloaded one, in order.
func Installations() ([]Installation, error) {
	candidates, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return nil, fmt.Errorf("list PostgreSQL installations: %w", err)
	}
	caches, err := cacheFolders()
	if err != nil {
		return nil, err
	}
	for _, dir := range caches {
		more, err := filepath.Glob(filepath.Join(dir, "pg[0-9]*", "bin"))
		if err != nil {
			return nil, fmt.Errorf("list downloaded PostgreSQL: %w", err)
		}
		candidates = append(candidates, more...)
	}
	var found []Installation
	for _, bin := range candidates {
		if _, err := os.Stat(filepath.Join(bin, "initdb")); err != nil || !reachable(bin) {
			continue
		}
		out, err := exec.Command(filepath.Join(bin, "postgres"), "--version").Output()
		if err != nil {
			return nil, fmt.Errorf("ask %s for its version: %w", bin, err)
		}
		m := versionNumber.FindSubmatch(out)
		if m == nil {
			continue
		}
		major, _ := strconv.Atoi(string(m[1]))
		known := slices.ContainsFunc(found, func(i Installation) bool { return i.Major == major })
		if major >= oldest && !known {
			found = append(found, Installation{Major: major, Bin: bin})
		}
	}
	slices.SortFunc(found, func(a, b Installation) int { return a.Major - b.Major })
	if len(found) == 0 {
		return nil, fmt.Errorf("no PostgreSQL from %d on found: run test/setup.sh", oldest)
	}
	return found, nil
}

// Majors lists the versions that tests run on: the distribution's oldest, and the newest. PGPROXY_TEST_PG=15 restricts
// it to one.
func Majors(t T) []int {
	t.Helper()
	all, err := Installations()
	if err != nil {
		t.Fatalf("%v", err)
	}
	if only := os.Getenv("PGPROXY_TEST_PG"); only != "" {
		major, err := strconv.Atoi(only)
		if err != nil {
			t.Fatalf("PGPROXY_TEST_PG=%s is not a major version", only)
		}
		return []int{major}
	}
	majors := []int{all[0].Major}
	if last := all[len(all)-1].Major; last != majors[0] {
		majors = append(majors, last)
	}
	return majors
}

// installation finds one major version; 0 is the distribution's oldest.
func installation(major int) (Installation, error) {
	all, err := Installations()
	if err != nil {
		return Installation{}, err
	}
	if major == 0 {
		return all[0], nil
	}
	for _, i := range all {
		if i.Major == major {
			return i, nil
		}
	}
	return Installation{}, fmt.Errorf("PostgreSQL %d is not installed: run test/setup.sh", major)
}

// Client gives the path of one of PostgreSQL's client programs (psql, pgbench, pg_dump), which come from the
// distribution only.
func Client(t T, program string) string {
	t.Helper()
	all, err := Installations()
	if err != nil {
		t.Fatalf("%v", err)
	}
	for _, i := range slices.Backward(all) {
		path := filepath.Join(i.Bin, program)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed: run test/setup.sh", program)
	return ""
}

// reachable reports whether other users may pass through every folder above path.
func reachable(path string) bool {
	if os.Getuid() != 0 {
		return true
	}
	for dir := path; dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
	}
	return true
}
