package proxy_test

import (
	"context"
	"encoding/csv"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/audit"
	"pgproxy/journal"
	"pgproxy/test/harness"
)

// pgauditLibrary is where Debian's package puts the extension.
const pgauditLibrary = "/usr/lib/postgresql/15/lib/pgaudit.so"

// pgauditStatements are run one by one, each after the ones before it.
var pgauditStatements = []string{
	"CREATE TABLE pa (id int PRIMARY KEY, v text)",
	"CREATE TABLE pb (id int, v text)",
	"CREATE INDEX pa_v ON pa (v)",
	"CREATE VIEW pv AS SELECT id FROM pa",
	"CREATE SEQUENCE ps",
	"CREATE SCHEMA px",
	"CREATE TYPE pt AS ENUM ('a', 'b')",
	"CREATE FUNCTION pf() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'",
	"CREATE PROCEDURE pp() LANGUAGE plpgsql AS 'BEGIN NULL; END'",
	"ALTER TABLE pa ADD COLUMN w int",
	"COMMENT ON TABLE pa IS 'x'",
	"INSERT INTO pa VALUES (1, 'x')",
	"INSERT INTO pb SELECT id, v FROM pa",
	"UPDATE pa SET v = 'y' WHERE id = 1",
	"DELETE FROM pb WHERE id = 1",
	"WITH d AS (DELETE FROM pa WHERE id = 77 RETURNING id) INSERT INTO pb SELECT id FROM d",
	"SELECT * FROM pa",
	"SELECT a.id FROM pa a JOIN pb b ON a.id = b.id",
	"SELECT 1",
	"SELECT id FROM pv",
	"TABLE pa",
	"VALUES (1)",
	"TRUNCATE pb",
	"CREATE TABLE pc AS SELECT id FROM pa",
	"CREATE ROLE pr", // its name is another one on the other side: roles belong to the server
	"ALTER ROLE pr CREATEDB",
	"GRANT SELECT ON pa TO pr",
	"REVOKE SELECT ON pa FROM pr",
	"GRANT pr TO CURRENT_USER",
	"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pr",
	"ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM pr",
	"DROP OWNED BY pr",
	"DROP ROLE pr",
	"DO $$ BEGIN NULL; END $$",
	"CALL pp()",
	"SET work_mem = '4MB'",
	"RESET work_mem",
	"SHOW work_mem",
	"BEGIN",
	"SAVEPOINT s",
	"LOCK TABLE pa",
	"DECLARE pcur CURSOR FOR SELECT id FROM pa",
	"FETCH 1 FROM pcur",
	"CLOSE pcur",
	"ROLLBACK TO s",
	"COMMIT",
	"PREPARE pq AS SELECT 1",
	"EXECUTE pq",
	"DEALLOCATE pq",
	"EXPLAIN SELECT 1",
	"VACUUM pa",
	"ANALYZE pa",
	"REINDEX TABLE pa",
	"CHECKPOINT",
	"LISTEN pl",
	"NOTIFY pl",
	"UNLISTEN pl",
	"DISCARD ALL",
	"COPY pa TO '/dev/null'",
	"COPY pb FROM '/dev/null'",
	"CREATE MATERIALIZED VIEW pm AS SELECT 1 AS a",
	"REFRESH MATERIALIZED VIEW pm",
	"DROP MATERIALIZED VIEW pm",
	"DROP VIEW pv",
	"DROP INDEX pa_v",
	"DROP FUNCTION pf",
	"DROP TABLE pc",
	"DROP SCHEMA px",
}

// pgauditMore are objects that pgAudit sees inside the server, and that the text does not name.
var pgauditMore = map[string]string{
	"CREATE TABLE pa (id int PRIMARY KEY, v text)": "pa_pkey", // made with it
	"SELECT id FROM pv":                            "pa",      // behind the view
}

// auditLine is a line of pgAudit's.
type auditLine struct{ class, command, object string }

// TestOraclePgaudit: issue 5, point 2: class, command and objects of each statement are those that pgAudit gives it.
func TestOraclePgaudit(t *testing.T) {
	if _, err := os.Stat(pgauditLibrary); err != nil {
		t.Skip("PostgreSQL 15's pgaudit is not installed: apt-get install postgresql-15-pgaudit (test/setup.sh does)")
	}
	pg := harness.Postgres(t, harness.Major(15), harness.Setting("shared_preload_libraries", "pgaudit"))
	for _, db := range []string{"audited", "proxied"} {
		exec(t, pg, "postgres", "CREATE DATABASE "+db)
	}
	exec(t, pg, "audited", "CREATE EXTENSION pgaudit")
	var lines []auditLine
	config, err := pgconn.ParseConfig(pg.DSN("audited"))
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["options"] = "-c pgaudit.log=all -c pgaudit.log_relation=on -c pgaudit.log_client=on -c pgaudit.log_level=notice -c pgaudit.log_catalog=off"
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		text, ok := strings.CutPrefix(n.Message, "AUDIT: ")
		if !ok {
			return
		}
		f, err := csv.NewReader(strings.NewReader(text)).Read()
		if err != nil || len(f) < 8 {
			t.Errorf("%q: %v", n.Message, err)
			return
		}
		lines = append(lines, auditLine{f[3], f[4], f[6]})
	}
	direct, err := pgconn.ConnectConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close(context.Background())
	r := newRig(t, pg, policyOf(t, audit.PolicySettings{Classes: []string{"ALL"}}))
	c := r.client("proxied").PgConn()
	expected := map[string][]auditLine{}
	for _, sql := range pgauditStatements {
		lines = nil
		_, err := direct.Exec(context.Background(), strings.Replace(sql, " pr", " role_pr", 1)).ReadAll()
		_, err2 := c.Exec(context.Background(), sql+" -- "+"\n").ReadAll()
		if sqlstate(err) != sqlstate(err2) {
			t.Fatalf("%s: directly %v, by pgproxy %v", sql, err, err2)
		}
		if err != nil {
			t.Errorf("%s: %v", sql, err)
		}
		if expected[sql] = lines; len(lines) == 0 {
			t.Logf("%s: pgAudit says nothing", sql)
		}
	}
	recorded := func(sql string) *journal.Statement {
		for _, it := range r.records() {
			if it.Record.Tx == nil {
				continue
			}
			for i := range it.Record.Tx.Statements {
				if st := &it.Record.Tx.Statements[i]; st.Query == sql {
					return st
				}
			}
		}
		return nil
	}
	compared := 0
	for _, sql := range pgauditStatements {
		if len(expected[sql]) == 0 {
			continue
		}
		await(t, sql, func() bool { return recorded(sql) != nil })
		comparePgaudit(t, sql, recorded(sql), expected[sql])
		compared++
	}
	t.Logf("%d of %d statements compared", compared, len(pgauditStatements))
}

// comparePgaudit holds one statement against pgAudit's lines for it.
func comparePgaudit(t *testing.T, sql string, st *journal.Statement, lines []auditLine) {
	t.Helper()
	main := slices.IndexFunc(lines, func(l auditLine) bool {
		if st.Command == "COPY" {
			l.command = "COPY" // pgAudit tells only of the SELECT or INSERT that it amounts to
		}
		class := st.Class.String()
		switch {
		case st.Class == journal.ClassMiscSet:
			class = "MISC" // so it is written; MISC_SET is for switching it off
		case st.Command == "CALL":
			class = "MISC" // beside FUNCTION EXECUTE, which is looked for below
		}
		return l.class == class && l.command == st.Command
	})
	if main < 0 {
		t.Errorf("%s: %s %s, pgAudit says %v", sql, st.Class, st.Command, lines)
		return
	}
	if st.Command == "CALL" && (st.Class != journal.ClassFunction || lines[0].class != "FUNCTION") {
		t.Errorf("%s: %s, pgAudit says %v", sql, st.Class, lines)
	}
	var mine []string
	add := func(name string) {
		mine = append(mine, name[strings.LastIndexByte(name, '.')+1:])
	}
	for _, name := range st.Tables {
		add(name)
	}
	for _, o := range st.Objects {
		add(o.Name)
	}
	for _, l := range lines {
		name, _, _ := strings.Cut(l.object, "(")
		name = strings.TrimPrefix(name[strings.LastIndexByte(name, '.')+1:], "role_")
		if name != "" && name != pgauditMore[sql] && !slices.Contains(mine, name) {
			t.Errorf("%s: %q is not among %q", sql, l.object, mine)
		}
	}
}
