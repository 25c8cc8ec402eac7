package capture

import (
	"fmt"
	"testing"
	"time"
)

// TestIsolation: old rows are right at every isolation level, after waits and in savepoints.
func TestIsolation(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		setup := b.client()
		setup.plain("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0), (2, 0); CREATE TABLE k (v int, w int); INSERT INTO k VALUES (1, 0), (2, 0)")
		a, other := b.client(), b.client()
		want := 0
		for _, level := range []string{"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"} {
			a.run("BEGIN ISOLATION LEVEL " + level)
			other.plain("UPDATE t SET v = v + 10 WHERE id = 2; UPDATE k SET w = w + 1 WHERE v = 2")
			a.run("SAVEPOINT s")
			a.expect(t, "UPDATE t SET v = v + 1 WHERE id = 1", fmt.Sprintf("exact [public.t] U t -(1,%d) +(1,%d) set v delta v", want, want+1))
			a.run("ROLLBACK TO s; SAVEPOINT s")
			a.run("SELECT * FROM t WHERE id = 1 FOR UPDATE")
			a.expect(t, "UPDATE t SET v = v + 1 WHERE id = 1", fmt.Sprintf("exact [public.t] U t -(1,%d) +(1,%d) set v delta v", want, want+1))
			a.expect(t, "INSERT INTO t VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET v = t.v", fmt.Sprintf("exact [public.t] U t -(1,%d) +(1,%d)", want+1, want+1))
			a.run("COMMIT")
			want++
		}
		// A row without key that was removed is told from those that others have written, and locked, since the snapshot.
		for _, level := range []string{"REPEATABLE READ", "SERIALIZABLE"} {
			setup.plain("TRUNCATE k; INSERT INTO k VALUES (1, 0), (2, 0)")
			a.run("BEGIN ISOLATION LEVEL " + level)
			a.run("SELECT 1 FROM t")
			other.plain("INSERT INTO k VALUES (3, 0); BEGIN; SELECT * FROM k WHERE v = 3 FOR UPDATE")
			a.expect(t, "UPDATE k SET w = 5 WHERE v = 1", "exact [public.k] U k -(1,0) +(1,5) set w")
			a.run("SAVEPOINT s")
			a.expect(t, "DELETE FROM k WHERE v = 2", "exact [public.k] D k -(2,0)")
			a.run("COMMIT")
			other.plain("COMMIT")
		}
	})
}

func (c *client) version() int {
	n, err := c.session.db.catalog.server(c.t.Context(), c)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// TestWaits: a statement that waited for another's commit has overwritten what that one wrote.
func TestWaits(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		a, c := b.client(), b.client()
		a.plain("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')")
		a.plain("BEGIN; UPDATE t SET v = 'b'; INSERT INTO t VALUES (2, 'b')")
		done := make(chan []string)
		for _, sql := range []string{"UPDATE t SET v = v || 'c' WHERE id = 1", "INSERT INTO t VALUES (2, 'c') ON CONFLICT (id) DO UPDATE SET v = t.v || excluded.v"} {
			w := c
			if sql[0] == 'I' {
				w = b.client()
			}
			go func() {
				e, err := w.try(sql)
				if err != nil {
					done <- []string{err.Error()}
					return
				}
				done <- describe(w.last, e)
			}()
		}
		awaitWaiters(t, a, 2)
		a.plain("COMMIT")
		got := map[string]bool{}
		for range 2 {
			for _, line := range <-done {
				got[line] = true
			}
		}
		for _, want := range []string{"U t -(1,b) +(1,bc) set v", "U t -(2,b) +(2,bc) set v"} {
			if !got[want] {
				t.Errorf("got %v, want %s", got, want)
			}
		}
	})
}

// awaitWaiters waits until n sessions wait for a lock.
func awaitWaiters(t *testing.T, c *client, n int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		r := c.conn.ExecParams(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'", nil, nil, nil, nil).Read()
		if r.Err == nil && string(r.Rows[0][0]) == fmt.Sprint(n) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody waits")
		}
	}
}

// TestStaleCatalog: tables that others altered or made anew since a statement was planned.
func TestStaleCatalog(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b = newBench(t, b.dsn, func(o *Options) { o.Recheck = time.Hour })
		c, other := b.client(), b.client()
		other.plain("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0)")
		update := c.parser.Parse("UPDATE t SET v = v + 1").Statements[0]
		step := func(ddl, want string) {
			t.Helper()
			p, err := c.session.Plan(t.Context(), update)
			if err != nil {
				t.Fatal(err)
			}
			other.plain(ddl)
			c.plain("BEGIN")
			e, err := c.execute(t.Context(), p, update, nil)
			if got := effectOf(c.tx, e); err != nil || got != want {
				t.Errorf("%s: %v\n  got  %s\n  want %s\n  note %s", ddl, err, got, want, e.Note)
			}
			c.plain("COMMIT")
			c.end(true)
		}
		step("ALTER TABLE t ADD COLUMN w text DEFAULT 'w'", "exact [public.t] U t -(1,0,w) +(1,1,w) set v delta v")
		step("ALTER TABLE t DROP COLUMN w, ALTER COLUMN v TYPE bigint", "exact [public.t] U t -(1,1) +(1,2) set v delta v")
		step("DROP TABLE t; CREATE TABLE t (v int, id int PRIMARY KEY); INSERT INTO t VALUES (5, 1)", "exact [public.t] U t -(5,1) +(6,1) set v delta v")
	})
}

// TestMadeAnew: own queries survive that a table is dropped and made again.
func TestMadeAnew(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		for round := range 3 {
			c.run("DROP TABLE IF EXISTS t; CREATE TABLE t (id int, r int, v text, PRIMARY KEY (id, r)) PARTITION BY LIST (r)")
			c.run("CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2)")
			c.run("INSERT INTO t VALUES (1, 1, 'a')")
			c.expect(t, "UPDATE t SET r = 2", "exact [public.t] U t -(1,1,a) +(1,2,a) set r")
			e := c.expect(t, "INSERT INTO t VALUES (1, 2, 'b') ON CONFLICT (id, r) DO UPDATE SET v = excluded.v", "exact [public.t] U t -(1,2,a) +(1,2,b) set v")
			if e.Note != "" {
				t.Errorf("round %d: %s", round, e.Note)
			}
		}
	})
}

// TestRecheck: DDL of others is noticed without being told.
func TestRecheck(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b = newBench(t, b.dsn, func(o *Options) { o.Recheck = 20 * time.Millisecond })
		c := b.client()
		b.client().plain("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0)")
		st := c.parser.Parse("UPDATE t SET v = v + 1").Statements[0]
		loud := func() bool {
			p, err := c.session.Plan(t.Context(), st)
			if err != nil {
				t.Fatal(err)
			}
			return !p.watch.none()
		}
		if loud() {
			t.Fatal("no trigger yet")
		}
		other := b.client()
		other.plain("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SELECT 1'; RETURN NEW; END $$")
		other.plain("CREATE TRIGGER x BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()")
		for deadline := time.Now().Add(30 * time.Second); !loud(); {
			if time.Now().After(deadline) {
				t.Fatal("the trigger was not noticed")
			}
			other.plain("SELECT pg_sleep(0.1)") // lets the server hand over its counts
		}
	})
}
