package cluster

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pgproxy/test/harness"
)

// TestBadCasesInTheTrail asks for what a real client did badly, by the commands of an auditor: each attempt is there once, with what
// became of it, its login beside its role, and no text of it breaks out of its place.
func TestBadCasesInTheTrail(t *testing.T) {
	pg := harness.Postgres(t)
	p := harness.NewProxy(t, harness.ProxyOptions{Upstream: pg, NoPeers: true})
	dsn := p.DSN("postgres")
	harness.Query(t, dsn, `CREATE TABLE trail (id int PRIMARY KEY, "Odd ""name""" text); CREATE ROLE clerk; GRANT ALL ON trail TO clerk`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := p.Connect(t, "postgres")
	exec := func(sql string) { _, _ = c.PgConn().Exec(ctx, sql).ReadAll() } // what fails shall fail
	exec("INSERT INTO trail VALUES (1, NULL); INSERT INTO trail VALUES (2, ''); INSERT INTO trail VALUES (1, 'third')")
	exec("BEGIN; INSERT INTO trail VALUES (3, 'NULL'); SAVEPOINT s; INSERT INTO trail VALUES (4, 'taken back'); ROLLBACK TO s; COMMIT")
	exec("BEGIN")
	exec("SET LOCAL ROLE clerk")
	exec("UPDATE trail SET \"Odd \"\"name\"\"\" = E'=1+1\\n2026 LOG:  AUDIT: SESSION' WHERE id = 3")
	exec("COMMIT")
	exec("BEGIN")
	exec("DELETE FROM trail WHERE id = 3")
	exec("ROLLBACK")
	if _, err := pgx.Connect(ctx, p.DSN("no_such_database")); err == nil {
		t.Error("a database that is not there let somebody in")
	}
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	harness.WaitFor(t, time.Minute, "the trail to be written", func() (bool, string) {
		r := p.Run("audit", "ls", "--all", "-o", "json")
		return strings.Contains(r.Stdout, `"kind":"session_end"`) && strings.Contains(r.Stdout, `"kind":"auth_fail"`), r.Stdout
	})
	says := func(want []string, args ...string) {
		t.Helper()
		r := p.Run(append([]string{"audit"}, args...)...)
		for _, w := range want {
			if r.Code != 0 || !strings.Contains(r.Stdout, w) {
				t.Errorf("audit %v does not say %q: %s", args, w, r)
			}
		}
	}
	// 4: each statement of the string is recorded, and the error in the third takes the first two back.
	says([]string{"ERROR 23505", "VALUES (1, NULL)", "VALUES (2, '')"}, "ls", "--outcome", "aborted", "--text", "third")
	says([]string{"VALUES (2, '')"}, "ls", "--table", "trail", "--key", "2")
	// 8: the login stays beside the role.
	says([]string{`"user":"postgres"`, `"role":"clerk"`}, "ls", "--role", "clerk", "-o", "json")
	// 10: ROLLBACK TO marks its own statement only.
	says([]string{"(rolled back) INSERT INTO trail VALUES (4", "INSERT INTO trail VALUES (3"}, "ls", "--text", "taken back")
	if r := p.Run("audit", "history", "trail", "4"); r.Code != 4 {
		t.Errorf("a row that was never there has a history: %s", r)
	}
	// 3, 20: the attempt to delete is found by the key, NULL, '' and 'NULL' are three things.
	says([]string{"DELETE FROM trail", `=1+1\n2026 LOG`, "'NULL'"}, "ls", "--table", "trail", "--key", "3", "-o", "table")
	says([]string{`Odd "name": (none) -> 'NULL'`, `Odd "name": 'NULL' -> =1+1\n2026`}, "history", "trail", "3")
	// 21: who was not let in.
	says([]string{"3D000"}, "logons", "--user", "postgres")
	for l := range strings.Lines(p.Run("audit", "export", "--format", "jsonl").Stdout) {
		if !json.Valid([]byte(l)) {
			t.Errorf("no JSON: %s", l)
		}
	}
	if _, err := csv.NewReader(strings.NewReader(p.Run("audit", "export", "--format", "logged_actions").Stdout)).ReadAll(); err != nil {
		t.Error(err)
	}
	// 19: what pgproxy asks for itself is nobody's work.
	if r := p.Run("audit", "ls", "--text", "pgproxy.marker"); r.Code != 4 {
		t.Errorf("pgproxy audits itself: %s", r)
	}
}
