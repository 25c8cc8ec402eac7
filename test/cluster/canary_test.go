package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/test/harness"
)

// canary is a secret in every statement of the canary's test. It stands nowhere in what pgproxy writes.
const canary = "hunter2Zq"

// canaryTexts are statements with a secret. Some succeed, some fail, some cannot be parsed; what they do does not matter.
var canaryTexts = []string{
	"ALTER ROLE bob PASSWORD 'hunter2Zq'",
	"CREATE USER u%d WITH ENCRYPTED PASSWORD 'hunter2Zq' VALID UNTIL 'infinity'",
	"ALTER ROLE bob PASSWORD E'hunter2Zq\\n'",
	"ALTER USER CURRENT_USER PASSWORD U&'hunter2Zq'",
	"ALTER ROLE bob PASSWORD $$hunter2Zq$$",
	"ALTER ROLE bob PASSWORD $x$hunter2Zq$x$ CONNECTION LIMIT 3",
	"ALTER ROLE bob PASSWORD 'x'\n'hunter2Zq'",
	"ALTER ROLE bob PASSWORD /* 'x' */ 'it''s hunter2Zq'",
	"ALTER ROLE bob SET app.password = 'hunter2Zq'",
	"SET app.password = 'hunter2Zq'",
	"SET LOCAL app.secret TO hunter2Zq",
	"ALTER SYSTEM SET primary_conninfo = 'host=x password=hunter2Zq'",
	"CREATE USER MAPPING FOR bob SERVER s%d OPTIONS (user 'bob', password 'hunter2Zq')",
	"ALTER USER MAPPING FOR bob SERVER s OPTIONS (ADD x%d 'hunter2Zq')",
	"CREATE SERVER sv%d FOREIGN DATA WRAPPER f OPTIONS (host 'h', passfile 'hunter2Zq')",
	"CREATE FOREIGN TABLE ft%d (a int) SERVER s OPTIONS (table_name 'x', \"auth\" 'hunter2Zq')",
	"CREATE SUBSCRIPTION sub%d CONNECTION 'host=h password=hunter2Zq' PUBLICATION p WITH (connect = false)",
	"CREATE SUBSCRIPTION sub%d CONNECTION 'host=h hunter2Zq' PUBLICATION p WITH (connect = false)",
	"SELECT * FROM dblink('host=127.0.0.1 port=1 password=hunter2Zq', 'select 1') AS t(a int)",
	"SELECT dblink_connect('c', 'postgresql://bob:hunter2Zq@127.0.0.1:1/d')",
	"SELECT run('ALTER ROLE bob PASSWORD ''hunter2Zq''')",
	"SELECT run(format('ALTER ROLE %%I PASSWORD %%L', 'bob', 'hunter2Zq'))",
	"SELECT run('CREATE TABLE made%d (a int); ALTER ROLE bob PASSWORD ''hunter2Zq''')",
	"DO $$ BEGIN ALTER ROLE bob PASSWORD 'hunter2Zq'; END $$",
	"DO 'BEGIN ALTER ROLE bob PASSWORD ''hunter2Zq''; END'",
	"DO E'BEGIN ALTER ROLE bob PASSWORD \\'hunter2Zq\\'; END'",
	"DO $$ BEGIN EXECUTE format('ALTER ROLE bob PASSWORD %%L', 'hunter2Zq'); CREATE TABLE doing%d (a int); END $$",
	"DO $$ DECLARE v text := 'hunter2Zq'; BEGIN EXECUTE 'ALTER ROLE bob PASSWORD ' || quote_literal(v); END $$",
	"DO $$ BEGIN RAISE EXCEPTION 'password is hunter2Zq'; END $$",
	"CREATE OR REPLACE FUNCTION setpw() RETURNS void LANGUAGE plpgsql AS $$ BEGIN ALTER USER bob PASSWORD 'hunter2Zq'; END $$",
	"COPY c FROM PROGRAM 'echo 1 # curl -u bob:hunter2Zq'",
	"COPY c TO PROGRAM 'PGPASSWORD=hunter2Zq cat >/dev/null'",
	"INSERT INTO c VALUES (1) /* password: hunter2Zq */",
	"INSERT INTO c /* secret hunter2Zq */ VALUES (1)",
	"EXPLAIN SELECT dblink('host=x password=hunter2Zq', 'select 1')",
	"COMMENT ON ROLE bob IS 'password=hunter2Zq'",
	"NOTIFY c, 'password=hunter2Zq'",
	"PREPARE p%d AS SELECT run('ALTER USER bob PASSWORD ''hunter2Zq''')",
	"ALTER ROLE bob PASSWORD hunter2Zq",
	"ALTER ROLE bob PASSWORD 'hunter2Zq",
	"ALTER ROLE bob PASSWRD 'hunter2Zq'",
	"CREATE USER bob PASSWORD \"hunter2Zq\"",
	"ALTER ROLE bob PASSWORD $$hunter2Zq",
	"CREATE SUBSCRIPTION s CONNECTION 'host=x hunter2Zq' PUBLCATION p",
	"CREATE USER MAPPING FOR x SERVER y OPTIONS (password 'hunter2Zq'",
	"SET app.password = hunter2Zq hunter2Zq",
	"SELEC dblink('host=x password=hunter2Zq')",
	"bob's PASSWORD is hunter2Zq",
}

// TestBad03NoSecretReachesTheDisk: notes, bad case 3: statements with a secret, committed, rolled back, failed, skipped, refused, in
// strings, by both protocols and as parameters, with the log at debug: no file of either node, and no answer of its commands,
// holds a byte of it. The passwords work on both nodes afterwards.
func TestBad03NoSecretReachesTheDisk(t *testing.T) {
	c := harness.NewCluster(t, harness.ClusterOptions{Nodes: 2, Args: []string{"--log-level", "debug", "--audit-class", "ALL"},
		Postgres: []harness.PostgresOption{harness.HBA("host all bob 127.0.0.1/32 password\nhost all all 127.0.0.1/32 trust\n")}})
	a, b := c.Nodes[0], c.Nodes[1]
	harness.Query(t, a.DSN("postgres"), `CREATE ROLE bob LOGIN; CREATE TABLE c (a int);
		CREATE FUNCTION run(q text) RETURNS int LANGUAGE plpgsql AS $f$ BEGIN EXECUTE q; RETURN 1; END $f$`)
	harness.Query(t, a.DSN("postgres"), "CREATE FOREIGN DATA WRAPPER f")
	harness.Query(t, a.DSN("postgres"), "CREATE SERVER s FOREIGN DATA WRAPPER f")
	harness.Query(t, a.DSN("postgres"), "CREATE USER MAPPING FOR bob SERVER s")
	k := &canaryClient{t: t, dsn: a.DSN("postgres")}
	for i, text := range canaryTexts {
		if strings.Contains(text, "%") {
			text = fmt.Sprintf(text, i)
			text, _, _ = strings.Cut(text, "%!(EXTRA")
		}
		k.drive(text)
	}
	k.parameters()

	for _, dsn := range []string{a.DSN("postgres"), b.DSN("postgres")} {
		for _, password := range []string{"wrong-" + canary, canary} {
			if conn, err := pgconn.Connect(context.Background(), strings.Replace(dsn, "user=postgres", "user=bob password="+password, 1)); err == nil {
				_ = conn.Close(context.Background())
			}
		}
	}
	last := "ALTER ROLE bob PASSWORD '" + canary + "'"
	harness.Query(t, a.DSN("postgres"), last)
	c.Drain(drainTime)
	for _, n := range c.Nodes {
		conn, err := pgconn.Connect(context.Background(), strings.Replace(n.DSN("postgres"), "user=postgres", "user=bob password="+canary, 1))
		if err != nil {
			t.Errorf("%s: the password does not work: %v", n.Name, err)
			continue
		}
		_ = conn.Close(context.Background())
	}
	for _, n := range c.Nodes {
		for _, args := range [][]string{{"journal", "ls", "-o", "json"}, {"journal", "ls"}, {"status", "-o", "json"}, {"audit", "ls", "-o", "json"}, {"audit", "ls", "-o", "csv"}} {
			if r := n.Run(args...); strings.Contains(r.Stdout+r.Stderr, canary) {
				t.Errorf("%s: %q tells the secret", n.Name, args)
			}
		}
		n.Stop()
		for _, path := range []string{n.Data, n.Log} {
			grepCanary(t, path)
		}
	}
}

// grepCanary looks into every file below a path.
func grepCanary(t *testing.T, root string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i := bytes.Index(b, []byte(canary)); i >= 0; i = bytes.Index(b, []byte(canary)) {
			t.Errorf("%s: ...%q...", path, b[max(i-150, 0):min(i+60, len(b))])
			b = b[i+len(canary):]
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("%s: %d files, %v", root, files, err)
	}
}

// canaryClient sends one statement in every way that there is.
type canaryClient struct {
	t    *testing.T
	dsn  string
	conn *pgconn.PgConn
}

// fresh gives a connection outside of any transaction.
func (k *canaryClient) fresh() *pgconn.PgConn {
	k.t.Helper()
	if k.conn != nil && !k.conn.IsClosed() && k.conn.TxStatus() == 'I' {
		return k.conn
	}
	if k.conn != nil {
		_ = k.conn.Close(context.Background())
	}
	var err error
	if k.conn, err = pgconn.Connect(context.Background(), k.dsn); err != nil {
		k.t.Fatal(err)
	}
	return k.conn
}

// simple sends Query strings, and does not mind errors: half of the statements are meant to fail.
func (k *canaryClient) simple(texts ...string) {
	c := k.fresh()
	for _, sql := range texts {
		_, _ = c.Exec(context.Background(), sql).ReadAll()
	}
	if c.TxStatus() != 'I' {
		_, _ = c.Exec(context.Background(), "ROLLBACK").ReadAll()
	}
}

func (k *canaryClient) pipeline(texts ...string) {
	p := k.fresh().StartPipeline(context.Background())
	for _, sql := range texts {
		p.SendQueryParams(sql, nil, nil, nil, nil)
	}
	_ = p.Sync() // whatever comes of it
	_ = p.Close()
}

func (k *canaryClient) drive(text string) {
	k.simple("BEGIN", "SAVEPOINT x", text, "ROLLBACK TO x", text, "ROLLBACK")
	k.simple("INSERT INTO c VALUES (1); " + text + "; INSERT INTO c VALUES (1/0)")
	k.simple("SELECT 1/0; " + text)
	k.pipeline("INSERT INTO c VALUES (1/0)", text)
	k.pipeline("SELECT 1/0", text, "INSERT INTO c VALUES (2)")
	_ = k.fresh().ExecParams(context.Background(), text, nil, nil, nil, nil).Read()
	k.simple("BEGIN", "INSERT INTO c VALUES (3)", text, "COMMIT")
}

// parameters binds secrets, as text and as binary.
func (k *canaryClient) parameters() {
	for _, format := range []int16{0, 1} {
		for _, x := range []struct{ sql, value string }{
			{"SELECT dblink_connect('c', $1::text)", "host=127.0.0.1 port=1 password=" + canary},
			{"SELECT run($1::text)", "ALTER ROLE bob PASSWORD '" + canary + "'"},
			{"SELECT run($1::text)", "CREATE TABLE IF NOT EXISTS prm (a int); ALTER ROLE bob PASSWORD '" + canary + "'"},
			{"SELECT run($1::text)", "ALTER ROLE bob PASSWRD '" + canary + "'"},
			{"SELECT set_config('app.password', $1::text, false)", canary},
			{"INSERT INTO c SELECT 1 WHERE crypt($1::text, 'x') = 'y'", canary},
			{"INSERT INTO c SELECT length($1::text) /* password */", "postgresql://bob:" + canary + "@h/d"},
			{"CREATE TABLE prm2 AS SELECT run($1::text)", "ALTER ROLE bob PASSWORD '" + canary + "'"},
		} {
			_ = k.fresh().ExecParams(context.Background(), x.sql, [][]byte{[]byte(x.value)}, nil, []int16{format}, nil).Read()
		}
	}
}
