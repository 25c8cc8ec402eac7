package proxy_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"pgproxy/journal"
	"pgproxy/proxy/wire"
	"pgproxy/test/harness"
)

// recorded gives the journal's statements whose text contains the mark, oldest first, with their transaction.
func (r *rig) recorded(mark string) (found []journal.Statement, txs []*journal.Tx) {
	r.t.Helper()
	for _, it := range r.records() {
		if it.Record.Tx == nil {
			continue
		}
		for _, st := range it.Record.Tx.Statements {
			if strings.Contains(st.Query, mark) {
				found, txs = append(found, st), append(txs, it.Record.Tx)
			}
		}
	}
	return found, txs
}

// one waits for the one statement with the mark.
func (r *rig) one(mark string) journal.Statement {
	r.t.Helper()
	await(r.t, "statement "+mark, func() bool { f, _ := r.recorded(mark); return len(f) > 0 })
	f, _ := r.recorded(mark)
	if len(f) != 1 {
		r.t.Errorf("%s: %d times", mark, len(f))
	}
	return f[0]
}

// bothModes runs f once by the simple and once by the extended protocol. (pgx itself takes the simple one where there are no
// parameters.)
func bothModes(t *testing.T, r *rig, f func(name string, run func(sql string) error)) {
	t.Helper()
	c := r.client("postgres").PgConn()
	f("simple", func(sql string) error {
		_, err := c.Exec(context.Background(), sql).ReadAll()
		return err
	})
	e := r.client("postgres").PgConn()
	f("extended", func(sql string) error { return e.ExecParams(context.Background(), sql, nil, nil, nil, nil).Read().Err })
}

// TestBad08EffectiveRole: notes, bad case 8: SET ROLE, SET LOCAL ROLE taken back with its transaction, SESSION AUTHORIZATION,
// set_config, a definer's function: the login stays, the role is the one that PostgreSQL used, and it is said how it is known.
func TestBad08EffectiveRole(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, nil)
	c := r.client("postgres")
	must(t, c, "CREATE TABLE ro (v text)")
	must(t, c, "CREATE ROLE clerk")
	must(t, c, "GRANT INSERT, SELECT ON ro TO clerk")
	bothModes(t, r, func(name string, try func(string) error) {
		run := func(sql string) {
			t.Helper()
			if err := try(sql); err != nil {
				t.Fatal(err)
			}
		}
		insert := func(mark string) { t.Helper(); run(fmt.Sprintf("INSERT INTO ro VALUES ('%s-%s')", name, mark)) }
		insert("login")
		run("SET ROLE clerk")
		insert("set")
		run("RESET ROLE")
		insert("reset")
		run("BEGIN")
		run("SET LOCAL ROLE clerk")
		insert("local")
		run("ROLLBACK")
		insert("back")
		run("BEGIN")
		run("SAVEPOINT s")
		run("SET LOCAL ROLE clerk")
		run("ROLLBACK TO s")
		insert("savepoint")
		run("COMMIT")
		run("SELECT set_config('role', 'clerk', false)")
		insert("config")
		run("SET ROLE NONE")
		run("SET SESSION AUTHORIZATION clerk")
		insert("session")
		run("RESET SESSION AUTHORIZATION")
		for mark, want := range map[string]string{
			"login": "postgres login", "set": "clerk set_role", "reset": "postgres login", "local": "clerk set_role", "back": "postgres login",
			"savepoint": "postgres login", "config": "clerk set_role", "session": "clerk session_authorization",
		} {
			st := r.one(name + "-" + mark + "'")
			if got := st.Role + " " + st.RoleSource.String(); got != want {
				t.Errorf("%s, %s: %s, want %s", name, mark, got, want)
			}
			if st.Protocol.String() != name || st.Class != journal.ClassWrite {
				t.Errorf("%s, %s: %s %s", name, mark, st.Protocol, st.Class)
			}
		}
	})
	_, txs := r.recorded("simple-set")
	if txs[0].User != "postgres" || txs[0].Backend == 0 {
		t.Errorf("%+v", txs[0])
	}
}

// TestBad04MultiStatement: notes, bad case 4: each statement of a string has its own text and place; an error in the third takes
// the first two back, and the fourth was not executed.
func TestBad04MultiStatement(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, nil)
	c := r.client("postgres")
	must(t, c, "CREATE TABLE ms (id int PRIMARY KEY, v text)")
	if _, err := c.PgConn().Exec(context.Background(), "INSERT INTO ms VALUES (1, 'm1'); UPDATE ms SET v = 'm2 é' ; /* gap */ DELETE FROM ms WHERE v = 'm3'").ReadAll(); err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"INSERT INTO ms VALUES (1, 'm1')", "UPDATE ms SET v = 'm2 é'", "DELETE FROM ms WHERE v = 'm3'"} {
		st := r.one(fmt.Sprintf("'m%d", i+1))
		if st.Query != text || st.Part != uint32(i+1) || st.Parts != 3 {
			t.Errorf("%q is %d of %d", st.Query, st.Part, st.Parts)
		}
	}
	_, err := c.PgConn().Exec(context.Background(), "INSERT INTO ms VALUES (2, 'f1'); SELECT 1; INSERT INTO ms VALUES (1, 'f2'); INSERT INTO ms VALUES (3, 'f3'); SELECT 2").ReadAll()
	if sqlstate(err) != "23505" {
		t.Fatal(err)
	}
	first, failed, skipped := r.one("'f1"), r.one("'f2"), r.one("'f3")
	if !first.RolledBack || len(first.Changes) != 1 || failed.SQLState != "23505" || failed.RolledBack || !skipped.NotExecuted || skipped.Part != 4 {
		t.Errorf("first %+v\nfailed %+v\nskipped %+v", first, failed, skipped)
	}
	if got := r.outcomes("'f1"); got[0] != "attempt 2" {
		t.Errorf("%v", got)
	}
}

// TestBad05SkippedInPipelines: notes, bad case 5: what stands behind an error in a pipeline is recorded as not executed, whether the
// error was a write's or a read's, and so is what a failed block refuses; portals and statements keep their names.
func TestBad05SkippedInPipelines(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, nil)
	c := r.client("postgres")
	must(t, c, "CREATE TABLE pl (id int PRIMARY KEY, v text)")
	pipe := func(texts ...string) {
		t.Helper()
		p := c.PgConn().StartPipeline(context.Background())
		for _, s := range texts {
			p.SendQueryParams(s, nil, nil, nil, nil)
		}
		if err := p.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err == nil {
			t.Error("the pipeline did not fail")
		}
	}
	pipe("INSERT INTO pl VALUES (1, 'w1')", "SELECT 1/0", "INSERT INTO pl VALUES (2, 'w2')", "SELECT 2", "DELETE FROM pl WHERE v = 'w3'")
	pipe("INSERT INTO pl VALUES (1, 'x1')", "INSERT INTO pl VALUES (1, 'x2')", "INSERT INTO pl VALUES (2, 'x3')")
	for mark, want := range map[string]string{"'w1": "rolled back", "'w2": "not executed", "'w3": "not executed", "'x1": "rolled back", "'x2": "23505", "'x3": "not executed"} {
		st := r.one(mark)
		got := st.SQLState
		switch {
		case st.NotExecuted:
			got = "not executed"
		case st.RolledBack:
			got = "rolled back"
		}
		if got != want || st.Protocol != journal.ProtocolExtended {
			t.Errorf("%s: %s, want %s", mark, got, want)
		}
	}
	bothModes(t, r, func(name string, run func(string) error) {
		for _, x := range []struct{ sql, code string }{
			{"BEGIN", "<nil>"}, {"SELECT 1/0", "22012"}, {"INSERT INTO pl VALUES (7, '" + name + "-refused')", "25P02"}, {"ROLLBACK", "<nil>"},
			{"INSERT INTO pl VALUES (70, '" + name + "-after') ON CONFLICT DO NOTHING", "<nil>"},
		} {
			if err := run(x.sql); sqlstate(err) != x.code {
				t.Fatalf("%s: %v", x.sql, err)
			}
		}
		if st := r.one(name + "-refused"); !st.NotExecuted || st.SQLState != "25P02" {
			t.Errorf("%s: %+v", name, st)
		}
		r.one(name + "-after")
	})

	p := dialPeer(t, "tcp", r.addr, "postgres")
	defer p.close()
	_ = p.w.Parse(wire.Parse{Name: "s1", Text: "INSERT INTO pl VALUES (9, 'named') RETURNING id"})
	_ = p.w.Bind(wire.Bind{Portal: "p1", Statement: "s1"})
	_ = p.w.Execute("p1", 0)
	_ = p.w.Empty('S')
	if err := p.w.Flush(); err != nil {
		t.Fatal(err)
	}
	p.until('Z')
	if st := r.one("'named"); st.Prepared != "s1" || st.Portal != "p1" || st.Protocol != journal.ProtocolExtended {
		t.Errorf("%+v", st)
	}
}

// TestBad09CopyIsCounted: notes, bad case 9: the payload's hash and count stand there, whether its rows could be read or it failed.
func TestBad09CopyIsCounted(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, nil)
	c := r.client("postgres")
	must(t, c, "CREATE TABLE cp (id int PRIMARY KEY, v text)")
	data := "1\tone\n2\t\\N\n3\t\n"
	if _, err := c.PgConn().CopyFrom(context.Background(), strings.NewReader(data), "COPY cp FROM STDIN"); err != nil {
		t.Fatal(err)
	}
	st := r.one("COPY cp FROM STDIN")
	if st.Copy == nil || st.Copy.Bytes != int64(len(data)) || st.Copy.SHA256 != sha256.Sum256([]byte(data)) || st.Class != journal.ClassWrite || len(st.Changes) != 3 {
		t.Errorf("%+v", st)
	}
	bad := "4\tfour\n1\tagain\n"
	if _, err := c.PgConn().CopyFrom(context.Background(), strings.NewReader(bad), "COPY cp (id, v) FROM STDIN"); sqlstate(err) != "23505" {
		t.Fatal(err)
	}
	if st := r.one("COPY cp (id, v)"); st.Copy == nil || st.Copy.Bytes != int64(len(bad)) || st.SQLState != "23505" {
		t.Errorf("%+v", st)
	}
}

// TestContextIsClaimed: what a web application says of its end user stands with its statements, and is taken back with the
// transaction it was said in.
func TestContextIsClaimed(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, nil)
	c := r.client("postgres")
	must(t, c, "CREATE TABLE cx (v text)")
	bothModes(t, r, func(name string, try func(string) error) {
		run := func(sql string) {
			t.Helper()
			if err := try(sql); err != nil {
				t.Fatal(err)
			}
		}
		check := func(mark, want string, ends ...string) {
			t.Helper()
			run("INSERT INTO cx VALUES ('" + name + mark + "')")
			for _, sql := range ends {
				run(sql)
			}
			if st := r.one(name + mark + "'"); st.Context != want {
				t.Errorf("%s, %s: context %q, want %q", name, mark, st.Context, want)
			}
		}
		check("0", "")
		run("SET pgproxy.context = 'user=1'")
		check("1", "user=1")
		run("BEGIN")
		run("SET LOCAL pgproxy.context TO 'user=2'")
		check("2", "user=2", "COMMIT")
		check("3", "user=1")
		run("BEGIN")
		run("SELECT set_config('pgproxy.context', 'it''s 3', false)")
		check("4", "it's 3", "ROLLBACK")
		check("5", "user=1")
		run("RESET pgproxy.context")
		check("6", "")
		run("INSERT INTO cx VALUES ('" + name + "7') /*route='%2Fshop',action='buy%20it'*/")
		if st := r.one(name + "7'"); st.Context != "action=buy it,route=/shop" || strings.Contains(st.Query, "/*") {
			t.Errorf("%s: comment: %+v", name, st)
		}
	})
	must(t, c, "SELECT set_config('pgproxy.context', $1, false)", pgx.QueryExecModeExec, "bound")
	must(t, c, "INSERT INTO cx VALUES ('bound')")
	if st := r.one("'bound'"); st.Context != "bound" {
		t.Errorf("%+v", st)
	}
}

// TestClassesAndObjects: what pgAudit calls the statements, and what they are about.
func TestClassesAndObjects(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, nil)
	c := r.client("postgres")
	for _, x := range []struct{ sql, class, object string }{
		{"CREATE TABLE co (id int PRIMARY KEY)", "DDL", "table co"},
		{"CREATE INDEX co_i ON public.co (id)", "DDL", "co_i"},
		{"CREATE FUNCTION co_f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DDL", "function co_f"},
		{"CREATE PROCEDURE co_p() LANGUAGE plpgsql AS 'BEGIN INSERT INTO co VALUES (5); END'", "DDL", "procedure co_p"},
		{"CREATE ROLE co_r", "ROLE", "role co_r"},
		{"GRANT SELECT ON co TO co_r", "ROLE", " co"},
		{"REVOKE SELECT ON co FROM co_r", "ROLE", " co"},
		{"ALTER ROLE co_r CREATEDB", "ROLE", "role co_r"},
		{"INSERT INTO co VALUES (1)", "WRITE", ""},
		{"CALL co_p()", "FUNCTION", " co_p"},
		{"DO $$ BEGIN INSERT INTO co VALUES (6); END $$", "FUNCTION", ""},
		{"TRUNCATE co", "WRITE", " co"},
		{"DROP INDEX co_i", "DDL", "co_i"},
		{"DROP ROLE co_r", "ROLE", "role co_r"},
	} {
		must(t, c, x.sql)
		st := r.one(x.sql)
		var names []string
		for _, o := range st.Objects {
			names = append(names, o.Type+" "+o.Name)
		}
		if st.Class.String() != x.class || x.object != "" && !strings.Contains(strings.Join(names, ","), x.object) {
			t.Errorf("%s: %s %q, want %s %q", x.sql, st.Class, names, x.class, x.object)
		}
	}
}
