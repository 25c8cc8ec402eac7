package proxy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgproxy/test/harness"
)

const differentialSchema = `
CREATE TABLE t (id int PRIMARY KEY, v text, n int DEFAULT 0);
INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 3);
CREATE TABLE d (id int PRIMARY KEY, ref int REFERENCES t DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE nokey (a int, b text);
CREATE FUNCTION writes(i int) RETURNS int LANGUAGE sql AS 'INSERT INTO nokey VALUES (i, ''f'') RETURNING a';
CREATE PROCEDURE pr(i int) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO nokey VALUES (i, 'p'); COMMIT; INSERT INTO nokey VALUES (i+1, 'p'); END $$;
CREATE FUNCTION notice(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'hello %', i; RETURN i; END $$;
`

// conversation is what a client says, line by line (peer.do).
type conversation struct{ name, lines string }

// conversations are run twice, directly and through the proxy; every frame must be equal.
var conversations = []conversation{
	{"read", `
		Q "SELECT 1; SELECT 2"
		wait Z`},
	{"empty", `
		Q ""
		wait Z
		Q ";;"
		wait Z
		Q "-- nothing"
		wait Z`},
	{"insert simple", `
		Q "INSERT INTO t VALUES (10, 'x')"
		wait Z
		Q "  /* c */ UPDATE t SET v = 'y' WHERE id > 1 ; -- end"
		wait Z
		Q "DELETE FROM t WHERE id = 99"
		wait Z
		Q "SELECT * FROM t ORDER BY id"
		wait Z`},
	{"returning simple", `
		Q "INSERT INTO t VALUES (10, 'x'), (11, NULL) RETURNING id, v"
		wait Z
		Q "UPDATE t SET n = n + 1 RETURNING *"
		wait Z
		Q "DELETE FROM t RETURNING t.v || '!' AS bang"
		wait Z`},
	{"error positions", `
		Q "INSERT INTO t VALUES (1, 'x')"
		wait Z
		Q "INSERT INTO nosuch VALUES (1)"
		wait Z
		Q "  UPDATE t SET nosuch = 1"
		wait Z
		Q "INSERT INTO t VALUES (20, 'é'); UPDATE t SET nosuch = 1; SELECT 1"
		wait Z
		Q "SELECT 1; INSERT INTO t VALUES (1, 'é'), (2, nosuch)"
		wait Z
		Q "INSERT INTO t VALUES ($1, 'x')"
		wait Z
		Q "INSERT INTO t VALUSE (1)"
		wait Z
		Q "SELECT * FROM t ORDER BY id"
		wait Z`},
	{"block", `
		Q "BEGIN"
		wait Z
		Q "INSERT INTO t VALUES (30, 'x')"
		wait Z
		Q "SAVEPOINT a"
		wait Z
		Q "INSERT INTO t VALUES (1, 'dup')"
		wait Z
		Q "SELECT 1"
		wait Z
		Q "ROLLBACK TO a"
		wait Z
		Q "UPDATE t SET n = 9 WHERE id = 30 RETURNING n"
		wait Z
		Q "RELEASE a"
		wait Z
		Q "COMMIT"
		wait Z
		Q "COMMIT"
		wait Z
		Q "ROLLBACK"
		wait Z`},
	{"failed block", `
		Q "BEGIN"
		wait Z
		Q "INSERT INTO t VALUES (1, 'dup')"
		wait Z
		Q "INSERT INTO t VALUES (31, 'x')"
		wait Z
		Q "COMMIT"
		wait Z
		Q "BEGIN; INSERT INTO t VALUES (32, 'x'); INSERT INTO t VALUES (1, 'x')"
		wait Z
		Q "ROLLBACK; INSERT INTO t VALUES (33, 'x')"
		wait Z
		Q "SELECT * FROM t ORDER BY id"
		wait Z`},
	{"chain", `
		Q "BEGIN"
		wait Z
		Q "INSERT INTO t VALUES (35, 'x')"
		wait Z
		Q "COMMIT AND CHAIN"
		wait Z
		Q "INSERT INTO t VALUES (36, 'x')"
		wait Z
		Q "ROLLBACK AND CHAIN"
		wait Z
		Q "INSERT INTO t VALUES (37, 'x')"
		wait Z
		Q "END"
		wait Z
		Q "SELECT id FROM t ORDER BY id"
		wait Z`},
	{"several", `
		Q "INSERT INTO t VALUES (40, 'a'); INSERT INTO t VALUES (41, 'b') RETURNING id; SELECT count(*) FROM t"
		wait Z
		Q "INSERT INTO t VALUES (42, 'a'); INSERT INTO t VALUES (1, 'b'); SELECT 1"
		wait Z
		Q "SELECT count(*) FROM t"
		wait Z
		Q "INSERT INTO t VALUES (43, 'a'); COMMIT; INSERT INTO t VALUES (1, 'b')"
		wait Z
		Q "SELECT count(*) FROM t"
		wait Z
		Q "INSERT INTO t VALUES (44, 'a'); ROLLBACK; INSERT INTO t VALUES (45, 'b')"
		wait Z
		Q "SELECT id FROM t WHERE id > 40 ORDER BY 1"
		wait Z
		Q "BEGIN; INSERT INTO t VALUES (46, 'a'); COMMIT; SELECT 1"
		wait Z
		Q "INSERT INTO t VALUES (47, 'a'); BEGIN; INSERT INTO t VALUES (48, 'a')"
		wait Z
		Q "ROLLBACK"
		wait Z
		Q "INSERT INTO t VALUES (49, 'a'); SAVEPOINT x"
		wait Z
		Q "INSERT INTO t VALUES (49, 'a'); LOCK TABLE t; SET LOCAL work_mem = '1MB'; SHOW work_mem"
		wait Z
		Q "INSERT INTO t VALUES (50, 'a'); VACUUM t"
		wait Z
		Q "SELECT id FROM t WHERE id > 40 ORDER BY 1"
		wait Z`},
	{"deferred", `
		Q "INSERT INTO d VALUES (1, 999)"
		wait Z
		Q "INSERT INTO d VALUES (1, 999); SELECT 1"
		wait Z
		Q "BEGIN; INSERT INTO d VALUES (1, 999)"
		wait Z
		Q "COMMIT"
		wait Z
		P "" "INSERT INTO d VALUES (2, 999)"
		B "" ""
		E "" 0
		S
		wait Z
		P "" "BEGIN"
		B "" ""
		E "" 0
		P "" "INSERT INTO d VALUES (2, 999)"
		B "" ""
		E "" 0
		P "" "COMMIT"
		B "" ""
		E "" 0
		P "" "SELECT 7"
		B "" ""
		E "" 0
		S
		wait Z`},
	{"extended", `
		P "" "INSERT INTO t VALUES ($1, $2)"
		B "" "" 60 x
		D P ""
		E "" 0
		S
		wait Z
		P s1 "UPDATE t SET v = $1 WHERE id = $2 RETURNING id, v" 25 23
		D S s1
		S
		wait Z
		B "" s1 new 60
		D P ""
		E "" 0
		S
		wait Z
		B2 "" s1 newer 60
		D P ""
		E "" 0
		B22 "" s1 newest 60
		E "" 0
		S
		wait Z
		P s2 "DELETE FROM t WHERE id = $1"
		D S s2
		B p2 s2 60
		D P p2
		E p2 1
		C P p2
		C S s2
		S
		wait Z
		B "" s2 60
		S
		wait Z`},
	{"parse errors", `
		P s1 "INSERT INTO t VALUES ($1, $2)"
		P s1 "INSERT INTO t VALUES ($1, $2)"
		H
		wait E
		S
		wait Z
		P s1 "SELECT 1"
		S
		wait Z
		P s3 "INSERT INTO nosuch VALUES (1)"
		B "" s3
		E "" 0
		S
		wait Z
		P s3 "INSERT INTO t VALUES (70, 'x')"
		B "" s3
		E "" 0
		S
		wait Z
		P "" "UPDATE t SET nosuch = 1"
		H
		wait E
		D S ""
		B "" ""
		E "" 0
		H
		S
		wait Z
		P "" "INSERT INTO t VALUES (1, 'a'); SELECT 1"
		S
		wait Z
		P "" "INSERT INTO t VALUES (1)"
		B "" "" extra
		S
		wait Z
		P "" "INSERT INTO t VALUES (71, 1/0)"
		B "" ""
		E "" 0
		S
		wait Z
		E nosuch 0
		S
		wait Z`},
	{"portals", `
		P "" "INSERT INTO t SELECT g, 'x' FROM generate_series(80, 85) g RETURNING id"
		B p ""
		D P p
		E p 2
		E p 2
		H
		wait s
		S
		wait Z
		E p 2
		S
		wait Z
		Q "BEGIN"
		wait Z
		P "" "UPDATE t SET n = 5 WHERE id >= 80"
		B q ""
		E q 1
		S
		wait Z
		E q 0
		S
		wait Z
		Q "ROLLBACK"
		wait Z
		P "" "SELECT id FROM t ORDER BY id"
		B r ""
		E r 2
		E r 0
		E r 0
		S
		wait Z
		P "" "UPDATE t SET n = 5 WHERE id >= 80"
		B q ""
		E q 0
		E q 0
		S
		wait Z
		Q "SELECT id, n FROM t ORDER BY id"
		wait Z`},
	{"pipeline", `
		P "" "INSERT INTO t VALUES (90, 'x')"
		B "" ""
		E "" 0
		P "" "SELECT count(*) FROM t"
		B "" ""
		D P ""
		E "" 0
		P "" "INSERT INTO t VALUES (91, 'x')"
		B "" ""
		E "" 0
		P "" "INSERT INTO t VALUES (1, 'x')"
		B "" ""
		E "" 0
		P "" "INSERT INTO t VALUES (92, 'x')"
		B "" ""
		E "" 0
		S
		P "" "INSERT INTO t VALUES (93, 'x')"
		B "" ""
		E "" 0
		S
		wait Z
		wait Z
		P "" "BEGIN"
		B "" ""
		E "" 0
		P "" "INSERT INTO t VALUES (94, 'x')"
		B "" ""
		E "" 0
		P "" "COMMIT"
		B "" ""
		E "" 0
		P "" "INSERT INTO t VALUES (95, 'x')"
		B "" ""
		E "" 0
		P "" "ROLLBACK"
		B "" ""
		E "" 0
		S
		wait Z
		P "" "INSERT INTO t VALUES (96, 'x')"
		B "" ""
		E "" 0
		P late "SELECT 1"
		D S late
		S
		wait Z
		P "" "INSERT INTO t VALUES (97, 'x')"
		B "" ""
		E "" 0
		P bad "SELECT nosuch"
		S
		wait Z
		Q "SELECT id FROM t ORDER BY id"
		wait Z`},
}

func TestDifferential(t *testing.T) {
	for _, major := range harness.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			pg := harness.Postgres(t, harness.Major(major), harness.Setting("max_prepared_transactions", "3"),
				harness.Setting("timezone", "UTC"))
			r := newRig(t, pg, nil)
			for i, c := range slices.Concat(conversations, moreConversations) {
				t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
					if strings.Contains(c.name, "up to 17") && major > 17 {
						t.Skip("differs by intention")
					}
					direct := fmt.Sprintf("direct%d", i)
					through := fmt.Sprintf("proxied%d", i)
					for _, db := range []string{direct, through} {
						exec(t, pg, "postgres", "CREATE DATABASE "+db)
						exec(t, pg, db, differentialSchema)
					}
					want := converse(t, fmt.Sprintf("127.0.0.1:%d", pg.Port), direct, c.lines)
					rollbackPrepared(t, pg)
					got := converse(t, r.addr, through, c.lines)
					rollbackPrepared(t, pg)
					compare(t, want, got)
				})
			}
		})
	}
}

func rollbackPrepared(t *testing.T, pg *harness.Server) {
	for _, row := range exec(t, pg, "postgres", "SELECT gid, database FROM pg_prepared_xacts") {
		exec(t, pg, row[1], "ROLLBACK PREPARED '"+row[0]+"'")
	}
}

// converse runs a conversation's lines and gives what came back.
func converse(t *testing.T, addr, database, lines string) []string {
	t.Helper()
	p := dialPeer(t, "tcp", addr, database)
	defer p.close()
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		p.log = append(p.log, "> "+strings.TrimSpace(line))
		p.do(line)
	}
	p.log = append(p.log, "> the end")
	_ = p.w.Empty('X')
	_ = p.w.Flush()
	return p.log
}

func compare(t *testing.T, want, got []string) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		var w, g string
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w != g {
			from := max(0, i-4)
			t.Errorf("frame %d differs\nbefore:\n  %s\ndirect:  %s\nproxied: %s", i, strings.Join(want[from:min(i, len(want))], "\n  "), w, g)
			return
		}
	}
}
