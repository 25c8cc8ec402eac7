package capture

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgproxy/journal"
)

// effectOf is one line about an effect: capture, tables, changes, note.
func effectOf(tx *TxState, e Effect) string {
	s := map[journal.Capture]string{journal.CaptureNone: "none", journal.CaptureExact: "exact", journal.CaptureCopy: "copy", journal.CaptureHidden: "hidden",
		journal.CaptureStatement: "statement", journal.CaptureLocal: "local", journal.CaptureMissing: "missing"}[e.Capture]
	s += " [" + strings.Join(e.Tables, " ") + "] " + strings.Join(describe(tx, e), "|")
	return strings.TrimSpace(s)
}

// expect runs a statement and compares its effect.
func (c *client) expect(t *testing.T, sql, want string) Effect {
	t.Helper()
	e, err := c.try(sql)
	if err != nil {
		t.Errorf("%s: %v\n  sent %s", sql, err, c.lastText)
		return e
	}
	tx := c.tx
	if c.conn.TxStatus() == 'I' && c.last != nil {
		tx = c.last
	}
	if got := effectOf(tx, e); got != want {
		t.Errorf("%s\n  sent %s\n  got  %s\n  want %s\n  note %s", sql, c.lastText, got, want, e.Note)
	}
	return e
}

func TestStatements(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		c.expect(t, "CREATE SCHEMA s", "statement []")
		c.run("SET search_path = s, public")
		e := c.expect(t, "CREATE TABLE t (id serial PRIMARY KEY, n int)", "statement [s.t]")
		if e.Replay == nil || e.Replay.Settings["search_path"] != "s, public" || e.Replay.Role != "postgres" || e.Replay.Text != "CREATE TABLE t (id serial PRIMARY KEY, n int)" {
			t.Errorf("replay %+v", e.Replay)
		}
		c.expect(t, "INSERT INTO t (n) VALUES (1)", "exact [s.t] I t +(1,1)")
		c.expect(t, "ALTER TABLE t ADD COLUMN x text DEFAULT 'd'", "statement [s.t]")
		c.expect(t, "INSERT INTO t (n) VALUES (2)", "exact [s.t] I t +(2,2,d)")
		c.expect(t, "UPDATE t SET n = n + 1 WHERE id = 1", "exact [s.t] U t -(1,1,d) +(1,2,d) set n delta n")
		c.expect(t, "CREATE TEMP TABLE t (id int)", "none []")
		c.expect(t, "INSERT INTO t VALUES (1)", "none []")
		c.expect(t, "INSERT INTO s.t (n) VALUES (3)", "exact [s.t] I t +(3,3,d)")
		c.expect(t, "DROP TABLE t", "none []")
		c.expect(t, "INSERT INTO t (n) VALUES (4)", "exact [s.t] I t +(4,4,d)")
		c.expect(t, "TRUNCATE t RESTART IDENTITY", "statement [s.t]")
		c.expect(t, "CREATE UNLOGGED TABLE ul (a int)", "statement [s.ul]")
		c.expect(t, "INSERT INTO ul VALUES (1)", "none []")
		c.expect(t, "DROP TABLE ul", "statement [s.ul]")
		c.expect(t, "CREATE VIEW v AS SELECT id, n FROM t", "statement [s.v]")
		c.expect(t, "INSERT INTO v (n) VALUES (9)", "hidden [s.t] I t +(1,9,d)")
		c.expect(t, "UPDATE v SET n = 10", "hidden [s.t] U t -(1,9,d) +(1,10,d) set n")
		c.expect(t, "SELECT count(*), now(), random(), nextval('t_id_seq') FROM t", "none []")
		for _, sql := range []string{"ANALYZE t", "LOCK TABLE pg_class IN ACCESS SHARE MODE"} {
			if plan, _ := c.session.Plan(t.Context(), c.parser.Parse(sql).Statements[0]); plan.Hold {
				t.Errorf("%s is held", sql)
			}
		}
		// DDL and rows in one transaction.
		c.run("BEGIN")
		c.expect(t, "CREATE TABLE fresh (id int PRIMARY KEY, v text)", "statement [s.fresh]")
		c.expect(t, "INSERT INTO fresh VALUES (1, 'a')", "exact [s.fresh] I fresh +(1,a)")
		c.expect(t, "ALTER TABLE fresh ADD COLUMN w int", "statement [s.fresh]")
		c.expect(t, "UPDATE fresh SET w = 3", "exact [s.fresh] U fresh -(1,a,~) +(1,a,3) set w")
		c.expect(t, "UPDATE fresh SET id = 2", "exact [s.fresh] U fresh -(1,a,3) +(2,a,3) set id")
		c.run("ROLLBACK")
		if _, err := c.try("INSERT INTO fresh VALUES (1)"); err == nil {
			t.Error("table of a rolled back transaction is there")
		}
	})
}

func TestCopy(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		c.plain("CREATE TABLE t (id serial PRIMARY KEY, v text, w int DEFAULT 5); CREATE TABLE k (a int, b text); INSERT INTO t VALUES (100, 'old'); INSERT INTO k VALUES (1, 'x')")
		check := func(sql, data, want string) {
			t.Helper()
			e, err := c.copyIn(sql, data)
			tx := c.tx
			if c.conn.TxStatus() == 'I' {
				tx = c.last
			}
			if got := effectOf(tx, e); err != nil || got != want {
				t.Errorf("%s: %v\n  got  %s\n  want %s\n  note %s", sql, err, got, want, e.Note)
			}
		}
		check("COPY t FROM STDIN", "1\ta\t7\n2\t\\N\t8\n", "copy [public.t] I t +(1,a,7)|I t +(2,~,8)")
		check("COPY t (v, id) FROM STDIN (FORMAT csv)", "\"a\nb\",3\n,4\n", "copy [public.t] I t +(3,a\nb,5)|I t +(4,~,5)")
		check("COPY k FROM STDIN", "1\tx\n1\tx\n", "copy [public.k] I k +(1,x)|I k +(1,x)")
		c.run("BEGIN; SAVEPOINT a")
		c.run("INSERT INTO k VALUES (1, 'x')")
		check("COPY k FROM STDIN", "1\tx\n2\tz\n", "copy [public.k] I k +(1,x)|I k +(2,z)")
		c.run("UPDATE k SET b = 'q' WHERE a = 2; RELEASE a; SAVEPOINT b")
		check("COPY k FROM STDIN", "1\tx\n2\tz\n", "copy [public.k] I k +(1,x)|I k +(2,z)")
		c.run("ROLLBACK TO b")
		check("COPY k FROM STDIN", "3\tx\n", "copy [public.k] I k +(3,x)")
		c.run("COMMIT; BEGIN; TRUNCATE k, t")
		check("COPY k FROM STDIN (FREEZE on)", "1\tx\n", "copy [public.k] I k +(1,x)")
		check("COPY t FROM STDIN (FREEZE on)", "100\tx\t1\n", "copy [public.t] I t +(100,x,1)")
		c.expect(t, "UPDATE t SET w = w + 1", "exact [public.t] U t -(100,x,1) +(100,x,2) set w delta w")
		c.run("COMMIT")
	})
}

func TestHidden(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		c.plain(`CREATE TABLE t (id int PRIMARY KEY, n int, stamp text); CREATE TABLE log (id serial PRIMARY KEY, what text); CREATE TABLE other (a int, b int);
INSERT INTO other VALUES (1, 1), (2, 2), (2, 2); INSERT INTO t VALUES (5, 5, 'five');
CREATE FUNCTION logged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES (TG_OP || NEW.id); RETURN NULL; END $$;
CREATE FUNCTION stamped() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.stamp := 'INSERT was ' || upper(coalesce(NEW.stamp, 'none')); RETURN NEW; END $$;
CREATE FUNCTION writes(int) RETURNS int LANGUAGE sql AS $$ UPDATE other SET b = b + 1 WHERE a = $1; INSERT INTO t VALUES ($1 + 100, 0) RETURNING 1 $$;
CREATE FUNCTION reads(int) RETURNS int STABLE LANGUAGE sql AS $$ SELECT $1 $$; CREATE VIEW looks AS SELECT writes(7);`)
		c.expect(t, "SELECT writes(1)", "hidden [public.other public.t] D other -(1,1)|I other +(1,2)|I t +(101,0,~)")
		c.expect(t, "SELECT reads(1)", "none []")
		c.expect(t, "SELECT * FROM looks", "hidden [public.t] I t +(107,0,~)")
		c.expect(t, "DO $$ BEGIN DELETE FROM other WHERE a = 2; UPDATE t SET n = 6 WHERE id = 5; END $$",
			"hidden [public.other public.t] D other -(2,2)|D other -(2,2)|U t -(5,5,five) +(5,6,five) set n")
		c.expect(t, "DELETE FROM t WHERE id > 100", "exact [public.t] D t -(101,0,~)|D t -(107,0,~)")
		c.plain("CREATE TRIGGER s BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION stamped()")
		c.capturer.Invalidate("postgres")
		c.queries = 0
		c.expect(t, "INSERT INTO t VALUES (1, 1)", "exact [public.t] I t +(1,1,INSERT was NONE)")
		if c.queries > 0 {
			t.Errorf("a trigger that writes nothing else cost %d queries", c.queries)
		}
		c.plain("CREATE TRIGGER l AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION logged()")
		c.capturer.Invalidate("postgres")
		c.expect(t, "INSERT INTO t VALUES (2, 2, 'x')", "hidden [public.log public.t] I log +(1,INSERT2)|I t +(2,2,INSERT was X)")
		c.run("BEGIN")
		c.expect(t, "UPDATE t SET n = 3 WHERE id = 2", "hidden [public.log public.t] I log +(2,UPDATE2)|U t -(2,2,INSERT was X) +(2,3,INSERT was INSERT WAS X) set n,stamp")
		c.expect(t, "UPDATE t SET n = 4 WHERE id = 2", "hidden [public.log public.t] I log +(3,UPDATE2)|U t -(2,3,INSERT was INSERT WAS X) +(2,4,INSERT was INSERT WAS INSERT WAS X) set n,stamp")
		c.run("COMMIT")
		c.expect(t, "WITH w AS (INSERT INTO other VALUES (9, 9) RETURNING a) SELECT * FROM w", "hidden [public.other] I other +(9,9)")
	})
}

func TestRoles(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		c.plain(`CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1); CREATE ROLE writer; GRANT INSERT, UPDATE ON t TO writer; CREATE ROLE reader; GRANT ALL ON t TO reader;
CREATE TABLE rls (id int PRIMARY KEY, who text); ALTER TABLE rls ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON rls USING (who = current_user) WITH CHECK (true); GRANT ALL ON rls TO reader`)
		c.run("SET ROLE writer")
		c.expect(t, "INSERT INTO t VALUES (2, 2)", "statement [public.t]")
		c.run("SET ROLE reader")
		c.expect(t, "INSERT INTO t VALUES (3, 3)", "exact [public.t] I t +(3,3)")
		c.expect(t, "INSERT INTO rls VALUES (3, 'other')", "statement [public.rls]")
		c.run("RESET ROLE")
		c.expect(t, "INSERT INTO rls VALUES (4, 'other')", "exact [public.rls] I rls +(4,other)")
	})
}

func TestPassword(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b = newBench(t, b.dsn, func(o *Options) { o.Rand = bytes.NewReader(bytes.Repeat([]byte("0123456789abcdef"), 10)) })
		c := b.client()
		e := c.run("CREATE ROLE secret LOGIN PASSWORD 'open sesame'")
		if e.Replay == nil || strings.Contains(e.Replay.Text, "sesame") || !strings.Contains(e.Replay.Text, "PASSWORD 'SCRAM-SHA-256$4096:") {
			t.Fatalf("replay %+v note %s", e.Replay, e.Note)
		}
		// The server makes the same verifier of the same salt.
		verifier, err := scramVerifier("open sesame", []byte("0123456789abcdef"))
		if err != nil || !strings.Contains(e.Replay.Text, verifier) {
			t.Errorf("verifier %s %v", verifier, err)
		}
		c.plain("ALTER ROLE secret PASSWORD '" + verifier + "'")
		r := c.conn.ExecParams(t.Context(), "SELECT rolpassword FROM pg_authid WHERE rolname = 'secret'", nil, nil, nil, nil).Read()
		if string(r.Rows[0][0]) != verifier {
			t.Errorf("stored %s", r.Rows[0][0])
		}
	})
}

func TestStride(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b = newBench(t, b.dsn, func(o *Options) { o.Number = func() (uint32, bool) { return 3, true } })
		c := b.client()
		c.run("CREATE TABLE t (id serial PRIMARY KEY, i int GENERATED BY DEFAULT AS IDENTITY, j bigint); CREATE SEQUENCE own INCREMENT 7; CREATE SEQUENCE used; ALTER TABLE t ALTER j SET DEFAULT nextval('used')")
		c.expect(t, "INSERT INTO t DEFAULT VALUES", "exact [public.t] I t +(3,3,3)")
		c.expect(t, "INSERT INTO t DEFAULT VALUES", "exact [public.t] I t +(259,259,259)")
		c.run("SELECT setval('t_id_seq', 1000, true)")
		c.expect(t, "INSERT INTO t DEFAULT VALUES", "exact [public.t] I t +(1027,515,515)")
		c.run("ALTER SEQUENCE used RESTART WITH 20")
		c.expect(t, "INSERT INTO t DEFAULT VALUES", "exact [public.t] I t +(1283,771,259)")
		c.run("TRUNCATE t RESTART IDENTITY")
		c.expect(t, "INSERT INTO t DEFAULT VALUES", "exact [public.t] I t +(3,3,515)")
	})
}

// TestTypes: what cannot travel in binary form travels as text.
func TestTypes(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		c.plain("CREATE TABLE x (id int PRIMARY KEY, v tsvector, a aclitem, r regclass, m money)")
		c.expect(t, "INSERT INTO x VALUES (1, 'b:2 a:1', 'postgres=r/postgres', 'pg_class', 12.5)", "exact [public.x] I x +(1,'a':1 'b':2,postgres=r/postgres,pg_class,$12.50)")
		c.expect(t, "UPDATE x SET m = '1'", "exact [public.x] U x -(1,'a':1 'b':2,postgres=r/postgres,pg_class,$12.50) +(1,'a':1 'b':2,postgres=r/postgres,pg_class,$1.00) set m")
	})
}

func TestSchemaWithRows(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		c.plain("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
		e := c.expect(t, "CREATE TABLE n AS SELECT id, id * 2 AS d FROM t", "statement [public.n] I n +(1,2)|I n +(2,4)")
		if e.Replay.Text != "CREATE TABLE n AS SELECT id, id * 2 AS d FROM t WITH NO DATA" {
			t.Error(e.Replay.Text)
		}
		e = c.expect(t, "SELECT id AS a, 'x'::varchar(5) AS b INTO m FROM t", "statement [public.m] I m +(1,x)|I m +(2,x)")
		if e.Replay.Text != `CREATE TABLE "public"."m" ("a" integer, "b" character varying(5))` {
			t.Error(e.Replay.Text)
		}
		c.expect(t, "ALTER TABLE t ADD COLUMN c text DEFAULT 'x'", "statement [public.t]")
		c.expect(t, "ALTER TABLE t ADD COLUMN s serial", "statement [public.t] U t -(1,x,<0:>) +(1,x,1) set s|U t -(2,x,<0:>) +(2,x,2) set s")
		e = c.run("ALTER TABLE t ADD COLUMN w timestamptz DEFAULT now(), DROP COLUMN c")
		if len(e.Changes) != 2 || len(e.Changes[0].Set) != 1 {
			t.Errorf("%v", describe(c.last, e))
		}
		c.expect(t, "CREATE MATERIALIZED VIEW mv AS SELECT id FROM t", "statement [public.mv]")
		c.expect(t, "REFRESH MATERIALIZED VIEW mv", "statement [public.mv]")
	})
}

func TestHiddenSchema(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		c.plain("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2); CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE IF NOT EXISTS made (a int); END $$")
		c.expect(t, "DO $$ BEGIN PERFORM 1; END $$", "none []")
		e := c.expect(t, "DO $$ BEGIN CREATE TYPE mood AS ENUM ('a'); END $$", "statement []")
		if e.Replay == nil || !strings.HasPrefix(e.Replay.Text, "DO $$") {
			t.Errorf("replay %+v", e.Replay)
		}
		c.expect(t, "DO $$ BEGIN TRUNCATE t; END $$", "statement [public.t]")
		c.expect(t, "DO $$ BEGIN CREATE TEMP TABLE tt (a serial PRIMARY KEY, b text); INSERT INTO t VALUES (7); END $$", "hidden [public.t] I t +(7)")
		c.expect(t, "SELECT f()", "statement [public.made]")
		c.expect(t, "SELECT f()", "none []")
		c.run("BEGIN")
		c.expect(t, "CREATE TABLE x (a int)", "statement [public.x]")
		c.expect(t, "DO $$ BEGIN INSERT INTO x VALUES (1); END $$", "hidden [public.x] I x +(1)")
		c.expect(t, "DO $$ BEGIN DROP TABLE x; ALTER TABLE t ADD COLUMN z int; END $$", "statement [public.t]")
		c.run("COMMIT")
		c.expect(t, "INSERT INTO t VALUES (9, 9)", "exact [public.t] I t +(9,9)")
	})
}

// TestLoudTarget: a trigger that may do anything does not cost a look into the table itself, as long as the counts are right.
func TestLoudTarget(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b = newBench(t, b.dsn, func(o *Options) { o.ScanPages = 50 })
		c := b.client()
		b.client().plain(`CREATE TABLE acct (id int PRIMARY KEY, n int); INSERT INTO acct SELECT i, 0 FROM generate_series(1, 100000) i; CREATE TABLE small (id int);
CREATE FUNCTION "any"() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.n > 5 THEN EXECUTE 'INSERT INTO small VALUES (1)'; END IF;
IF NEW.n = 7 THEN EXECUTE 'UPDATE acct SET n = 70 WHERE id = 99'; END IF; RETURN NULL; END $$;
CREATE TRIGGER t AFTER UPDATE ON acct FOR EACH ROW EXECUTE FUNCTION "any"()`)
		c.expect(t, "UPDATE acct SET n = 1 WHERE id = 5", "exact [public.acct] U acct -(5,0) +(5,1) set n")
		c.expect(t, "UPDATE acct SET n = 6 WHERE id = 5", "hidden [public.acct public.small] I small +(1)|U acct -(5,1) +(5,6) set n")
		c.run("BEGIN")
		c.expect(t, "UPDATE acct SET n = 8 WHERE id IN (5, 6)", "hidden [public.acct public.small] I small +(1)|I small +(1)|U acct -(5,6) +(5,8) set n|U acct -(6,0) +(6,8) set n")
		c.expect(t, "UPDATE acct SET n = 7 WHERE id = 8", "missing [public.acct public.small] I small +(1)|I small +(1)|U acct -(8,0) +(8,7) set n")
		c.run("COMMIT")
	})
}

// TestAudit: the rows of a classic audit trigger are found without reading the audit table, whatever its size.
func TestAudit(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b = newBench(t, b.dsn, func(o *Options) { o.ScanPages = 50 })
		c := b.client()
		b.client().plain(`CREATE TABLE acct (id int PRIMARY KEY, n int); INSERT INTO acct SELECT i, 0 FROM generate_series(1, 100000) i;
CREATE TABLE audit (at timestamptz DEFAULT now(), what text); INSERT INTO audit SELECT now(), repeat('x', 100) FROM generate_series(1, 20000);
CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit (what) VALUES (TG_OP || ' ' || NEW.id || ' ' || NEW.n); RETURN NULL; END $$;
CREATE TRIGGER audited AFTER UPDATE ON acct FOR EACH ROW EXECUTE FUNCTION audited()`)
		for i := range 5 {
			e := c.run(fmt.Sprintf("UPDATE acct SET n = n + 1 WHERE id IN (%d, %d)", i*2+1, i*2+2))
			if e.Capture != journal.CaptureHidden || len(e.Changes) != 4 {
				t.Errorf("%s note %s", effectOf(c.last, e), e.Note)
			}
		}
		c.run("BEGIN; SAVEPOINT a")
		c.run("UPDATE acct SET n = n + 1 WHERE id = 50")
		c.run("ROLLBACK TO a")
		c.run("INSERT INTO audit (what) VALUES ('own')")
		e := c.run("UPDATE acct SET n = n + 1 WHERE id = 51")
		if e.Capture != journal.CaptureHidden || len(e.Changes) != 2 {
			t.Errorf("%s note %s", effectOf(c.tx, e), e.Note)
		}
		c.run("COMMIT")
		for i := range 3 {
			c.queries = 0
			e := c.run(fmt.Sprintf("UPDATE acct SET n = n + 1 WHERE id = %d", i+1))
			if e.Capture != journal.CaptureHidden || len(e.Changes) != 2 {
				t.Errorf("%s note %s", effectOf(c.last, e), e.Note)
			}
			if c.queries > 6 {
				t.Errorf("%d queries", c.queries)
			}
		}
	})
}

// TestUnread: syntax that the parser does not know yet is captured by its effect.
func TestUnread(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		if c.version() < minOld {
			t.Skip("no such syntax in this version")
		}
		e := c.expect(t, "CREATE TABLE t (id int PRIMARY KEY, n int, d int GENERATED ALWAYS AS (n * 2) VIRTUAL)", "statement [public.t]")
		if e.Replay == nil || !strings.HasSuffix(e.Replay.Text, "VIRTUAL)") {
			t.Errorf("replay %+v", e.Replay)
		}
		c.expect(t, "INSERT INTO t VALUES (1, 2)", "exact [public.t] I t +(1,2,4)")
		c.expect(t, "UPDATE t SET n = 3 RETURNING WITH (OLD AS o) o.n", "exact [public.t] U t -(1,2,4) +(1,3,6) set n")
		c.expect(t, "UPDATE t SET n = n + 1", "exact [public.t] U t -(1,3,6) +(1,4,8) set n delta n")
	})
}
