package cluster

import (
	"encoding/json"
	"strings"
	"testing"

	"pgproxy/test/harness"
)

// TestExplain: what the node says it would do with statements, without doing it.
func TestExplain(t *testing.T) {
	pg := harness.Postgres(t)
	p := harness.NewProxy(t, harness.ProxyOptions{Upstream: pg, NoPeers: true, Args: []string{"--unreplicable", "refuse"}})
	conn := p.Connect(t, "postgres")
	for _, sql := range []string{"CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE UNLOGGED TABLE u (id int)", "CREATE ROLE writer LOGIN",
		"GRANT INSERT ON t TO writer", "CREATE SCHEMA own AUTHORIZATION writer", "CREATE TABLE own.t (id int)", "GRANT ALL ON own.t TO writer",
		"ALTER ROLE writer SET search_path = own", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (9) RETURNING 1'"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for _, c := range []struct{ user, sql, capture, says string }{
		{"", "SELECT * FROM t", "none", "nothing in it writes"},
		{"", "SELECT f()", "hidden", "locks"},
		{"", "INSERT INTO t VALUES (1, 'x')", "exact", `"sent":"INSERT INTO t VALUES (1, 'x') RETURNING`},
		{"", "UPDATE t SET v = 'y' WHERE id = 1", "exact", "public.t"},
		{"", "INSERT INTO u VALUES (1)", "local", "unlogged"},
		{"", "COPY t FROM STDIN", "copy", "stream"},
		{"", "ALTER TABLE t ADD COLUMN w int", "statement", "text"},
		{"", "CREATE INDEX CONCURRENTLY i ON t (v)", "statement", "refuses a transaction block"},
		{"", "BEGIN", "none", "Transaction control"},
		{"", "SELEC 1", "hidden", "could not be read"},
		{"writer", "INSERT INTO public.t VALUES (2, 'x')", "hidden", "run again at the peers"},
		{"writer", "INSERT INTO t VALUES (2)", "exact", "own.t"},
		{"", "TRUNCATE t, u", "missing", `"refused":"the statement cannot be replicated`},
	} {
		args := []string{"explain", c.sql, "--database", "postgres", "-o", "json"}
		if c.user != "" {
			args = append(args, "--user", c.user)
		}
		r := p.Run(args...)
		var e struct{ Capture string }
		if r.Code != 0 || json.Unmarshal([]byte(r.Stdout), &e) != nil || e.Capture != c.capture || !strings.Contains(r.Stdout, c.says) {
			t.Errorf("%s as %q: code %d, %s%s; want %s, %q", c.sql, c.user, r.Code, r.Stdout, r.Stderr, c.capture, c.says)
		}
	}
	if r := p.Run("explain", "DELETE FROM t; SELECT 1"); r.Code != 0 || !strings.Contains(r.Stdout, "capture  exact") || !strings.Contains(r.Stdout, "capture  none") {
		t.Errorf("two statements for people: %+v", r)
	}
	if r := p.Run("explain", "SELECT 1", "--user", "nobody at all"); r.Code == 0 || !strings.Contains(r.Stderr, "nobody at all") {
		t.Errorf("unknown role: %+v", r)
	}
	if n := harness.Query(t, pg.DSN("postgres"), "SELECT count(*) FROM t")[0]; n != "0" {
		t.Errorf("explain has run something: %s rows", n)
	}
}

// TestDoctor: each thing that does not replicate exactly is found, of a running node and of a server alone.
func TestDoctor(t *testing.T) {
	for _, major := range harness.Majors(t) {
		pg := harness.Postgres(t, harness.Major(major))
		conn := harness.Connect(t, pg.DSN("postgres"))
		p := harness.NewProxy(t, harness.ProxyOptions{Upstream: pg, NoPeers: true})
		if r := p.Run("doctor"); r.Code != 0 || !strings.Contains(r.Stdout, "(0 findings)") {
			t.Errorf("doctor of an empty database: %+v", r)
		}
		for _, sql := range []string{"CREATE TABLE nokey (a int)", `CREATE TABLE "a Table" (id int PRIMARY KEY)`,
			"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'", `CREATE TRIGGER always BEFORE INSERT ON "a Table" FOR EACH ROW EXECUTE FUNCTION f()`,
			`ALTER TABLE "a Table" ENABLE ALWAYS TRIGGER always`, `CREATE RULE r AS ON DELETE TO "a Table" DO ALSO NOTIFY x`, "CREATE UNLOGGED TABLE u (id int PRIMARY KEY)",
			"SELECT lo_create(0)", "CREATE ROLE writer", `GRANT INSERT ON "a Table" TO writer`, "CREATE TABLE secured (id int PRIMARY KEY)",
			"ALTER TABLE secured ENABLE ROW LEVEL SECURITY", "CREATE PUBLICATION everything FOR ALL TABLES", "CREATE ROLE plain LOGIN", "ALTER DATABASE postgres SET transform_null_equals = off"} {
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		for _, r := range []harness.Result{p.Run("doctor", "-o", "json"), harness.RunBinary(t, p.Binary, "doctor", "--upstream", pg.Upstream(), "--database", "postgres", "-o", "json")} {
			kinds := map[string]string{}
			for line := range strings.Lines(r.Stdout) {
				var f struct{ Database, Kind, Object, Problem, Remedy string }
				if err := json.Unmarshal([]byte(line), &f); err != nil || f.Problem == "" || f.Remedy == "" {
					t.Fatalf("%q: %v", line, err)
				}
				kinds[f.Kind] += f.Object + ";"
			}
			for kind, object := range map[string]string{"no key": "public.nokey;", "trigger, runs on both sides": `always on public."a Table";`, "rule": `r on public."a Table";`,
				"unlogged table": "public.u;", "large objects": "1 large objects;", "role that may not read": `writer on public."a Table";`, "row security": "public.secured;", "publication": "everything;"} {
				if kinds[kind] != object {
					t.Errorf("%s on %d: %q, want %q", kind, major, kinds[kind], object)
				}
			}
			if r.Code != 3 {
				t.Errorf("code %d: %s", r.Code, r.Stderr)
			}
		}
		plain := harness.RunBinary(t, p.Binary, "doctor", "--upstream", strings.Replace(pg.Upstream(), "user=postgres", "user=plain", 1), "--database", "postgres")
		if plain.Code != 3 || !strings.Contains(plain.Stdout, "session_replication_role") || !strings.Contains(plain.Stdout, "BYPASSRLS") {
			t.Errorf("as a role without rights: %+v", plain)
		}
	}
	if r := harness.RunBinary(t, harness.Build(t), "doctor", "--upstream", "host=127.0.0.1 port=1 user=x"); r.Code != 4 {
		t.Errorf("unreachable: %+v", r)
	}
}
