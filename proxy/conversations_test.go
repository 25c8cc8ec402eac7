package proxy_test

// moreConversations go on where conversations end.
var moreConversations = []conversation{
	{"flush", `
		P "" "INSERT INTO t VALUES (100, 'x')"
		B "" ""
		E "" 0
		H
		wait C
		P "" "SELECT id FROM t WHERE id = 100"
		B "" ""
		E "" 0
		H
		wait C
		S
		wait Z
		Q "SELECT id FROM t WHERE id >= 100 ORDER BY 1"
		wait Z`},
	// PostgreSQL 18 leaves the transaction of the messages before such a Query open and forgets it: not imitated.
	{"query without sync (up to 17)", `
		P "" "INSERT INTO t VALUES (101, 'x')"
		B "" ""
		E "" 0
		Q "INSERT INTO t VALUES (102, 'x')"
		wait Z
		P "" "INSERT INTO t VALUES (103, 'x')"
		B "" ""
		E "" 0
		Q "SELECT id FROM t WHERE id >= 100 ORDER BY 1"
		wait Z
		S
		wait Z`},
	{"unnamed", `
		P "" "INSERT INTO t VALUES ($1, 'u')" 23
		S
		wait Z
		B "" "" 110
		E "" 0
		S
		wait Z
		Q "INSERT INTO t VALUES (111, 'x')"
		wait Z
		B "" "" 112
		E "" 0
		S
		wait Z
		Q "BEGIN"
		wait Z
		P "" "INSERT INTO t VALUES ($1, 'u')" 23
		S
		wait Z
		Q "INSERT INTO t VALUES (113, 'x')"
		wait Z
		B "" "" 114
		S
		wait Z
		Q "ROLLBACK"
		wait Z`},
	{"copy simple", `
		Q "COPY t FROM STDIN"
		wait G
		d "120\tc\t1\n12"
		d "1\td\t2\n"
		c
		wait Z
		Q "COPY t (id, v) FROM STDIN WITH (FORMAT csv)"
		wait G
		d "122,a\n1,dup\n"
		c
		wait Z
		Q "COPY t FROM STDIN"
		wait G
		d "125\tc\t1\n"
		f "no more"
		wait Z
		Q "COPY nosuch FROM STDIN"
		wait Z
		Q "INSERT INTO t VALUES (126, 'x'); COPY t FROM STDIN; SELECT 5"
		wait G
		d "127\tc\t1\n"
		c
		wait Z
		Q "COPY t FROM STDIN"
		wait G
		d "bad\n"
		idle
		d "130\tc\t1\n"
		c
		Q "SELECT 6"
		wait Z
		Q "COPY (SELECT id FROM t WHERE id >= 120 ORDER BY 1) TO STDOUT"
		wait Z`},
	{"copy extended", `
		P "" "COPY t FROM STDIN"
		B "" ""
		E "" 0
		S
		d "140\tc\t1\n"
		c
		S
		wait Z
		P "" "COPY t FROM STDIN"
		B "" ""
		E "" 0
		H
		wait G
		d "141\tc\t1\n"
		H
		d "142\tc\t1\n"
		c
		S
		wait Z
		P "" "COPY t FROM STDIN"
		B "" ""
		E "" 0
		S
		d "1\tdup\t1\n"
		c
		S
		wait Z
		P "" "COPY nosuch FROM STDIN"
		B "" ""
		E "" 0
		S
		wait Z
		Q "SELECT id FROM t WHERE id >= 140 ORDER BY 1"
		wait Z`},
	{"copy temp", `
		Q "CREATE TEMP TABLE tt (id int)"
		wait Z
		Q "COPY tt FROM STDIN"
		wait G
		d "1\n"
		c
		wait Z
		P "" "COPY tt FROM STDIN"
		B "" ""
		E "" 0
		S
		d "2\n"
		c
		S
		wait Z
		P "" "COPY tt FROM STDIN"
		B "" ""
		E "" 0
		S
		d "x\n"
		c
		S
		wait Z
		Q "SELECT * FROM tt"
		wait Z`},
	{"opaque", `
		Q "SELECT writes(1)"
		wait Z
		Q "DO $$ BEGIN INSERT INTO nokey VALUES (2, 'do'); END $$"
		wait Z
		Q "CALL pr(5)"
		wait Z
		Q "SELECT notice(3)"
		wait Z
		Q "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) INSERT INTO nokey VALUES (9, 'e')"
		wait Z
		P "" "SELECT writes($1)"
		B "" "" 7
		D P ""
		E "" 0
		S
		wait Z
		Q "PREPARE x (int) AS INSERT INTO nokey VALUES ($1, 'prep') RETURNING a"
		wait Z
		Q "EXECUTE x(11)"
		wait Z
		Q "DEALLOCATE x"
		wait Z
		Q "EXECUTE x(11)"
		wait Z
		Q "SELECT * FROM nokey ORDER BY 1"
		wait Z`},
	{"ddl", `
		Q "CREATE TABLE n (a int); INSERT INTO n VALUES (1); ALTER TABLE n ADD b int DEFAULT 5; UPDATE n SET b = 6 RETURNING *"
		wait Z
		Q "BEGIN; ALTER TABLE n ADD c text; INSERT INTO n VALUES (1, 2, 'x')"
		wait Z
		Q "ROLLBACK"
		wait Z
		Q "INSERT INTO n VALUES (3, 4)"
		wait Z
		Q "TRUNCATE n"
		wait Z
		Q "CREATE INDEX CONCURRENTLY nx ON n (a)"
		wait Z
		Q "BEGIN; CREATE INDEX CONCURRENTLY ny ON n (a)"
		wait Z
		Q "ROLLBACK"
		wait Z
		P "" "DROP INDEX CONCURRENTLY nx"
		B "" ""
		E "" 0
		S
		wait Z
		Q "DROP TABLE IF EXISTS n, nosuchtable"
		wait Z
		Q "VACUUM t"
		wait Z
		Q "CREATE TABLE ctas AS SELECT 1 AS one"
		wait Z`},
	{"session", `
		Q "SET search_path = pg_catalog"
		wait Z
		Q "INSERT INTO t VALUES (150, 'x')"
		wait Z
		Q "RESET search_path"
		wait Z
		Q "INSERT INTO t VALUES (150, 'x')"
		wait Z
		Q "BEGIN; SET LOCAL search_path = nowhere; INSERT INTO t VALUES (151, 'x')"
		wait Z
		Q "ROLLBACK"
		wait Z
		Q "INSERT INTO t VALUES (151, 'x')"
		wait Z
		Q "SET client_encoding = 'LATIN1'"
		wait Z
		Q "INSERT INTO t VALUES (152, '\xe9')"
		wait Z
		Q "INSERT INTO t VALUES (153, 'ascii') RETURNING v"
		wait Z
		Q "INSERT INTO t VALUES (156, '\xe9'); INSERT INTO t VALUES (157, '\xe9\xe9' || nosuch)"
		wait Z
		Q "INSERT INTO t VALUES (156, '\xe9') RETURNING v, nosuch"
		wait Z
		Q "INSERT INTO t VALUES (156, '\xe9') RETURNING v"
		wait Z
		P "" "UPDATE t SET v = v || '\xe9' || $1 WHERE id = 156 RETURNING v"
		B "" "" "\xe8"
		E "" 0
		S
		wait Z
		Q "SET client_encoding = 'UTF8'; SET standard_conforming_strings = off; SET escape_string_warning = off"
		wait Z
		Q "INSERT INTO t VALUES (158, 'it\\'s; --'); UPDATE t SET v = v || '\\'' WHERE id = 158 RETURNING v"
		wait Z
		Q "INSERT INTO t VALUES (159, 'it\\'s'), (160, nosuch)"
		wait Z
		Q "INSERT INTO t VALUES (159, 'it\\')"
		wait Z
		Q "INSERT INTO t VALUES (154, 'a\\\\b') RETURNING v"
		wait Z
		Q "SELECT id, v FROM t WHERE id >= 150 ORDER BY 1"
		wait Z
		Q "DISCARD ALL"
		wait Z
		Q "INSERT INTO t VALUES (155, 'x')"
		wait Z`},
	{"read only", `
		Q "BEGIN READ ONLY"
		wait Z
		Q "INSERT INTO t VALUES (160, 'x')"
		wait Z
		Q "ROLLBACK"
		wait Z
		Q "BEGIN"
		wait Z
		Q "INSERT INTO t VALUES (161, 'x')"
		wait Z
		Q "SET TRANSACTION READ ONLY"
		wait Z
		Q "INSERT INTO t VALUES (162, 'x')"
		wait Z
		Q "COMMIT"
		wait Z
		Q "BEGIN"
		wait Z
		Q "INSERT INTO t VALUES (161, 'x')"
		wait Z
		Q "SET TRANSACTION READ ONLY"
		wait Z
		Q "COMMIT"
		wait Z
		Q "SELECT id FROM t WHERE id >= 160"
		wait Z`},
	{"cursor", `
		Q "BEGIN; DECLARE c CURSOR FOR SELECT id FROM t ORDER BY id FOR UPDATE"
		wait Z
		Q "FETCH 1 FROM c"
		wait Z
		Q "UPDATE t SET v = 'cur' WHERE CURRENT OF c"
		wait Z
		Q "DELETE FROM t WHERE CURRENT OF c"
		wait Z
		Q "COMMIT"
		wait Z
		Q "SELECT * FROM t ORDER BY id"
		wait Z`},
	{"notify", `
		Q "LISTEN ch"
		wait Z
		Q "BEGIN; INSERT INTO t VALUES (170, 'x'); NOTIFY ch, 'hello'; COMMIT"
		wait Z
		idle
		Q "UNLISTEN ch"
		wait Z`},
	{"two phase", `
		Q "BEGIN; INSERT INTO t VALUES (180, 'x')"
		wait Z
		Q "PREPARE TRANSACTION 'x'"
		wait Z
		Q "SELECT 1"
		wait Z`},
	{"upsert and with", `
		Q "INSERT INTO t VALUES (1, 'up') ON CONFLICT (id) DO UPDATE SET v = excluded.v"
		wait Z
		Q "INSERT INTO t VALUES (1, 'up') ON CONFLICT DO NOTHING"
		wait Z
		Q "WITH x AS (DELETE FROM t WHERE id = 2 RETURNING *) INSERT INTO nokey SELECT id, v FROM x RETURNING a, b"
		wait Z
		Q "WITH x AS (UPDATE t SET n = 100 RETURNING id) SELECT count(*) FROM x"
		wait Z
		Q "UPDATE nokey SET b = 'z'"
		wait Z
		Q "SELECT * FROM t ORDER BY id"
		wait Z`},
	{"discard in pipeline", `
		P a "SELECT 1"
		B "" a
		E "" 0
		S
		wait Z
		Q "INSERT INTO t VALUES (190, 'x')"
		wait Z
		P "" "DEALLOCATE ALL"
		B "" ""
		E "" 0
		P a "SELECT 2"
		B "" a
		E "" 0
		S
		wait Z
		Q "INSERT INTO t VALUES (191, 'x')"
		wait Z
		Q "BEGIN; INSERT INTO t VALUES (192, 'x'); DEALLOCATE ALL; COMMIT"
		wait Z
		Q "INSERT INTO t VALUES (193, 'x')"
		wait Z`},
	{"names of both kinds", `
		P s "INSERT INTO t VALUES ($1, 'x')" 23
		P r "UPDATE t SET v = $1 WHERE id = 500 RETURNING id, v"
		S
		wait Z
		Q "EXECUTE s(500)"
		wait Z
		Q "EXECUTE r('new')"
		wait Z
		P "" "EXECUTE s(501)"
		B "" ""
		D P ""
		E "" 0
		P "" "EXECUTE r('newer')"
		D S ""
		B "" ""
		D P ""
		E "" 0
		S
		wait Z
		Q "PREPARE s AS SELECT 1"
		wait Z
		Q "DEALLOCATE s"
		wait Z
		Q "EXECUTE s(502)"
		wait Z
		Q "PREPARE s (int) AS INSERT INTO t VALUES ($1, 'q') RETURNING v"
		wait Z
		B "" s 503
		D P ""
		E "" 0
		S
		wait Z
		Q "EXECUTE s(504)"
		wait Z
		P "" "DEALLOCATE s"
		B "" ""
		E "" 0
		P "" "EXECUTE s(1)"
		B "" ""
		E "" 0
		S
		wait Z
		Q "BEGIN; SELECT 1/0"
		wait Z
		Q "DEALLOCATE r"
		wait Z
		Q "ROLLBACK"
		wait Z
		B "" r last
		E "" 0
		S
		wait Z
		Q "DEALLOCATE ALL; PREPARE r (int) AS SELECT $1"
		wait Z
		Q "EXECUTE r(5)"
		wait Z
		Q "SELECT id, v FROM t ORDER BY 1"
		wait Z`},
	{"function call", `
		type F "\x00\x00\x00\xb1\x00\x00\x00\x02\x00\x00\x00\x013\x00\x00\x00\x014\x00\x00"
		wait Z
		Q "BEGIN"
		wait Z
		type F "\x00\x00\x00\xb1\x00\x00\x00\x02\x00\x00\x00\x013\x00\x00\x00\x014\x00\x00"
		wait Z
		type F "\x00\x00\x00\xb1\x00\x00\x00\x02\x00\x00\x00\x013\x00\x00\x00\x01x\x00\x00"
		wait Z
		Q "ROLLBACK"
		wait Z
		type F "\x00\x00\x00\xb1\x00\x00\x00\x02\x00\x00\x00\x013\x00\x00\x00\x01x\x00\x00"
		wait Z
		Q "INSERT INTO t VALUES (200, 'x')"
		wait Z`},
	{"mixed", `
		P w "SELECT writes($1)" 23
		B "" w 5
		E "" 0
		S
		wait Z
		Q "CREATE OR REPLACE FUNCTION writes(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'"
		wait Z
		B "" w 5
		D P ""
		E "" 0
		S
		wait Z
		P "" "INSERT INTO t VALUES ($1, $2) RETURNING *"
		D S ""
		H
		wait T
		B "" "" 201 x
		E "" 1
		S
		wait Z
		P "" "INSERT INTO t VALUES (1, 'x')"
		B "" ""
		E "" 0
		H
		wait E
		B "" ""
		H
		S
		wait Z
		Q "SET statement_timeout = '200ms'"
		wait Z
		Q "INSERT INTO t SELECT 999, 'x' FROM pg_sleep(2)"
		wait Z
		Q "INSERT INTO t VALUES (202, 'x') RETURNING 'a' AS \"?column?\", NULL, id"
		wait Z
		Q "INSERT INTO t VALUES (203, 'x'); INSERT INTO t SELECT 999, 'x' FROM pg_sleep(2); SELECT 1"
		wait Z
		Q "SELECT id FROM t ORDER BY 1"
		wait Z
		Q "BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO t VALUES (204, 'x'); COMMIT"
		wait Z
		Q "BEGIN"
		wait Z
		Q "INSERT INTO t VALUES (205, 'x')"
		wait Z
		Q "COMMIT; SELECT 1; INSERT INTO t VALUES (206, 'x'); ROLLBACK"
		wait Z
		Q "INSERT INTO t VALUES (207, 'x'); BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1"
		wait Z
		Q "ROLLBACK"
		wait Z
		Q "CALL pr(20); SELECT 1"
		wait Z
		Q "SELECT 1; CALL pr(20)"
		wait Z
		Q "SELECT id FROM t ORDER BY 1"
		wait Z`},
	{"unknown type", `
		type y ""
		wait E
		idle`},
}
