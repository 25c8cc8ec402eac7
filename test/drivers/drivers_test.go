package drivers

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"pgproxy/test/harness"
)

// pqVersion is the lib/pq whose tests are run; it is no dependency of the project.
const pqVersion = "github.com/lib/pq@v1.12.3"

// TestPgx runs pgx's tests, of the version that the project uses.
func TestPgx(t *testing.T) {
	dir := output(t, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/jackc/pgx/v5")
	setup, err := os.ReadFile(filepath.Join(dir, "testsetup", "postgresql_setup.sql"))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, suite{dir: dir, database: "pgx_test", setup: string(setup), packages: []string{".", "./pgconn", "./pgtype", "./pgxpool", "./stdlib"},
		env: func(port int) []string {
			return []string{fmt.Sprintf("PGX_TEST_DATABASE=host=127.0.0.1 port=%d user=postgres dbname=pgx_test sslmode=disable", port)}
		}})
}

// TestLibPQ runs lib/pq's tests.
func TestLibPQ(t *testing.T) {
	var module struct{ Dir string }
	if err := json.Unmarshal([]byte(output(t, "go", "mod", "download", "-json", pqVersion)), &module); err != nil {
		t.Fatal(err)
	}
	compare(t, suite{dir: module.Dir, database: "pqgo", setup: "CREATE EXTENSION IF NOT EXISTS hstore", packages: []string{"."},
		env: func(port int) []string {
			return []string{"PGHOST=127.0.0.1", "PGPORT=" + strconv.Itoa(port), "PGUSER=postgres", "PGDATABASE=pqgo", "PGSSLMODE=disable", "PQGOSSLTESTS=0"}
		}})
}

// suite is a driver's tests.
type suite struct {
	dir, database, setup string
	packages             []string
	env                  func(port int) []string
}

// compare runs the suite directly and through a proxy, on each major version.
func compare(t *testing.T, s suite) {
	for _, major := range harness.Majors(t) {
		t.Run(strconv.Itoa(major), func(t *testing.T) { s.compare(t, major) })
	}
}

// compare does so on one version, on servers of their own.
func (s suite) compare(t *testing.T, major int) {
	plain := harness.Postgres(t, harness.Named("plain"), harness.Major(major))
	behind := harness.Postgres(t, harness.Named("behind"), harness.Major(major))
	for _, server := range []*harness.Server{plain, behind} {
		harness.Query(t, server.DSN("postgres"), "CREATE DATABASE "+s.database)
		psql(t, server.DSN(s.database), s.setup)
	}
	p := harness.NewProxy(t, harness.ProxyOptions{Upstream: behind, NoPeers: true})
	direct, _ := s.run(t, plain.Port)
	through, said := s.run(t, p.Port)
	passed, failed := 0, 0
	for _, name := range slices.Sorted(maps.Keys(direct)) {
		if direct[name] != "pass" {
			continue
		}
		passed++
		if through[name] != "pass" {
			failed++
			t.Errorf("%s passes directly, and not through the proxy (%s):\n%s", name, through[name], said[name])
		}
	}
	t.Logf("%d tests pass directly, %d of them through the proxy", passed, passed-failed)
	if passed == 0 {
		t.Error("no test passes directly: this proves nothing")
	}
}

func psql(t *testing.T, dsn, script string) {
	t.Helper()
	cmd := exec.Command(harness.Client(t, "psql"), "-X", "-q", dsn)
	cmd.Stdin = bytes.NewBufferString(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("setup: %v\n%s", err, out)
	}
}

// temporary is what the names of some subtests take from folders made for one run.
var temporary = regexp.MustCompile(`\d{6,}`)

// run gives the result of every test (pass, fail, skip) and what the failed ones said.
func (s suite) run(t *testing.T, port int) (results, said map[string]string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"test", "-json", "-count=1", "-p=1", "-parallel=2", "-timeout=8m"}, s.packages...)...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), s.env(port)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	results, said = map[string]string{}, map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e struct{ Action, Package, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Test == "" {
			continue
		}
		name := e.Package + " " + temporary.ReplaceAllString(e.Test, "N")
		switch e.Action {
		case "pass", "fail", "skip":
			results[name] = e.Action
		case "output":
			if len(said[name]) < 4000 {
				said[name] += e.Output
			}
		}
	}
	if len(results) == 0 {
		t.Fatalf("the suite did not run: %v\n%s%.2000s", err, errs.String(), out)
	}
	return results, said
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return string(bytes.TrimSpace(out))
}
