package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgproxy/test/harness"
)

// script is what a person may type into psql.
const script = `\set VERBOSITY verbose
\d
CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, born date);
\d person
INSERT INTO person VALUES (1, 'Ann', '1990-01-02'), (2, 'Bob', NULL) RETURNING *;
\copy person (id, name) FROM STDIN
3	Cid
4	Dora
\.
SELECT * FROM person ORDER BY id;
\x on
SELECT * FROM person WHERE name = 'Ann';
\x off
BEGIN;
UPDATE person SET name = upper(name) WHERE id < 3;
SAVEPOINT s;
DELETE FROM person;
ROLLBACK TO s;
COMMIT;
INSERT INTO person (id, name) VALUES (1, 'again');
INSERT INTO person (nothing) VALUES (1);
UPDATE person SET born = 'no date' WHERE id = 1;
SELECT 1 \; SELECT 2 \; UPDATE person SET name = name || '.' WHERE id = 3;
SELECT name FROM person WHERE id = 3 \gset
\echo :name
PREPARE p(int) AS SELECT name FROM person WHERE id = $1;
EXECUTE p(1);
\copy person TO STDOUT WITH CSV HEADER
\set AUTOCOMMIT off
INSERT INTO person VALUES (5, 'not kept');
ROLLBACK;
\set AUTOCOMMIT on
SELECT count(*), max(name COLLATE "C") FROM person;
\l+ nothing
\dn pub*
\df now
EXPLAIN (COSTS off) SELECT * FROM person WHERE id = 1;
SELECT id, name FROM person ORDER BY id \bind \g
DROP TABLE person;
`

// TestPsql runs a script through psql, directly and through the proxy, in several ways, and compares what it prints.
func TestPsql(t *testing.T) {
	for _, major := range harness.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			plain, behind := harness.Postgres(t, harness.Major(major)), harness.Postgres(t, harness.Major(major))
			p := harness.NewProxy(t, harness.ProxyOptions{Upstream: behind})
			file := filepath.Join(harness.Dir(t, "script"), "script.sql")
			if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
				t.Fatal(err)
			}
			for name, args := range map[string][]string{
				"script": {"-f", file}, "one transaction": {"-1", "-v", "ON_ERROR_STOP=0", "-f", file},
				"string":  {"-c", "CREATE TABLE a (b int); INSERT INTO a VALUES (1), (2); UPDATE a SET b = b + 1; SELECT sum(b) FROM a; DROP TABLE a"},
				"strings": {"-c", "CREATE TABLE a (b int)", "-c", "INSERT INTO a VALUES (1)", "-c", "TABLE a", "-c", "DROP TABLE a"},
				"list":    {"-l"},
			} {
				want, got := psql(t, plain.Port, args...), psql(t, p.Port, args...)
				if want != got {
					t.Errorf("%s: psql prints directly\n%s\nand through pgproxy\n%s", name, want, got)
				}
			}
		})
	}
}

// unequal is what psql prints that differs between any two servers.
var unequal = regexp.MustCompile(`LOCATION: .*\n`)

func psql(t *testing.T, port int, args ...string) string {
	t.Helper()
	args = append([]string{"-X", "-a", "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "postgres", "-d", "postgres"}, args...)
	out, _ := exec.Command(harness.Client(t, "psql"), args...).CombinedOutput() // the script fails here and there on purpose
	return unequal.ReplaceAllString(strings.ReplaceAll(string(out), strconv.Itoa(port), "PORT"), "")
}

// TestDumpAndRestore: a database with rows is dumped through the proxy and restored through it, under another name.
func TestDumpAndRestore(t *testing.T) {
	p := harness.NewProxy(t, harness.ProxyOptions{Upstream: harness.Postgres(t)})
	pgbench(t, p.Port, "-i", "-q")
	connection := []string{"-h", "127.0.0.1", "-p", strconv.Itoa(p.Port), "-U", "postgres"}
	dump, err := exec.Command(harness.Client(t, "pg_dump"), append(connection, "-N", "pgproxy", "postgres")...).Output()
	if err != nil {
		t.Fatalf("pg_dump: %v", err)
	}
	harness.Query(t, p.DSN("postgres"), "CREATE DATABASE copy")
	cmd := exec.Command(harness.Client(t, "psql"), append(connection, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "copy")...)
	cmd.Stdin = strings.NewReader(string(dump))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	sum := "SELECT count(*), sum(hashtext(a::text)::bigint) FROM pgbench_accounts a"
	if was, is := harness.Query(t, p.DSN("postgres"), sum), harness.Query(t, p.DSN("copy"), sum); was[0] != is[0] {
		t.Errorf("dumped %s, restored %s", was[0], is[0])
	}
}

// TestDatabaseDecidesWhoMayLogIn: passwords are asked for, relayed and judged by the database.
func TestDatabaseDecidesWhoMayLogIn(t *testing.T) {
	for _, method := range []string{"scram-sha-256", "md5", "password"} {
		t.Run(method, func(t *testing.T) {
			encryption := method
			if method == "password" {
				encryption = "scram-sha-256"
			}
			s := harness.Postgres(t, harness.Setting("password_encryption", encryption),
				harness.HBA("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 "+method+"\n"))
			harness.Query(t, s.DSN("postgres"), "CREATE ROLE clerk LOGIN PASSWORD 'right'; GRANT CREATE ON SCHEMA public TO clerk")
			p := harness.NewProxy(t, harness.ProxyOptions{Upstream: s})
			try := func(password string) string {
				cmd := exec.Command(harness.Client(t, "psql"), "-X", "-At", "-h", "127.0.0.1", "-p", strconv.Itoa(p.Port), "-U", "clerk", "-d", "postgres",
					"-c", "CREATE TABLE IF NOT EXISTS t (a int); INSERT INTO t VALUES (1); SELECT current_user")
				cmd.Env = append(os.Environ(), "PGPASSWORD="+password)
				out, _ := cmd.CombinedOutput()
				return string(out)
			}
			if out := try("right"); !strings.Contains(out, "clerk") {
				t.Errorf("the right password: %s", out)
			}
			if out := try("wrong"); !strings.Contains(out, "password authentication failed for user \"clerk\"") {
				t.Errorf("a wrong password: %s", out)
			}
			found := false
			for _, x := range p.Journal("--user", "clerk", "--outcome", "committed") {
				found = found || x.User == "clerk"
			}
			if !found {
				t.Error("the journal does not know who wrote")
			}
		})
	}
}
