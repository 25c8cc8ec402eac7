package apply

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/journal"
)

func (n *node) one(sql string) string {
	n.w.t.Helper()
	var s string
	if err := n.c.QueryRow(context.Background(), sql).Scan(&s); err != nil {
		n.w.t.Fatalf("%s: %s: %v", n.name, sql, err)
	}
	return s
}

// found makes the node a member with a number.
func (n *node) found(number uint32) {
	n.w.t.Helper()
	if err := n.j.SetCluster(journal.NodeID{1}, number); err != nil {
		n.w.t.Fatal(err)
	}
}

func TestSequencesNeverMeet(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b", "c")
		for i, n := range w.nodes {
			n.exec("CREATE TABLE s (id serial PRIMARY KEY, g bigint GENERATED ALWAYS AS IDENTITY, who text); INSERT INTO s (who) SELECT 'old' FROM generate_series(1, 300)")
			n.found(uint32(i))
		}
		a, b := w.nodes[0], w.nodes[1]
		w.converge()
		a.begin().ddl("CREATE TABLE fresh (id serial PRIMARY KEY, who text)").commit()
		a.exec("ALTER SEQUENCE fresh_id_seq INCREMENT BY 256 START WITH 256 RESTART WITH 256") // as capture would
		w.converge()
		seen := map[string]bool{}
		for i, n := range w.nodes {
			for range 3 {
				for _, table := range []string{"s", "fresh"} {
					id := n.one("INSERT INTO " + table + " (who) VALUES ('x') RETURNING id::text")
					if seen[table+id] {
						t.Errorf("%s gave %s.%s twice", n.name, table, id)
					}
					seen[table+id] = true
					var v int
					fmt.Sscan(id, &v)
					if v%256 != i || table == "s" && v <= 300 {
						t.Errorf("node %d gave %d", i, v)
					}
				}
			}
		}
		b.exec("INSERT INTO s (id, who) VALUES (5000, 'by hand')")
		b.halt()
		b.close()
		b.open()
		b.run()
		if got := b.one("SELECT nextval('s_id_seq')::text"); got != "5121" {
			t.Errorf("after a restart past 5000: %s", got)
		}
		if got := b.one("SELECT nextval('s_id_seq')::text"); got != "5377" {
			t.Errorf("then %s", got)
		}
	})
}

func TestRowsOfTheStatementsTable(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b")
		a, b := w.nodes[0], w.nodes[1]
		tx := a.begin().ddl("CREATE TABLE copied (id int PRIMARY KEY, v text)")
		tx.Relations = append(tx.Relations, journal.Relation{Schema: "public", Name: "copied", Key: []int{0},
			Columns: []journal.Column{{Name: "id", Type: "integer"}, {Name: "v", Type: "text"}}})
		tx.n.exec("INSERT INTO copied VALUES (1, 'one')")
		tx.Statements[0].Changes = []journal.Change{{Relation: 2, Op: 'I', After: []journal.Value{journal.Text("1"), journal.Text("one")}}}
		tx.commit()
		w.converge()
		if got := b.one("SELECT v FROM copied"); got != "one" {
			t.Error(got)
		}
	})
}

func TestOutsideABlock(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b")
		a, b := w.nodes[0], w.nodes[1]
		a.begin().insert(1, "x", 1).commit()
		w.converge()
		b.halt()
		outside := func(sql string) {
			tx := a.begin()
			tx.Statements = append(tx.Statements, journal.Statement{Query: sql, Command: "CREATE INDEX", Capture: journal.CaptureStatement,
				Replay: &journal.Replay{Text: sql, NoBlock: true, Settings: map[string]string{"search_path": "public"}}})
			tx.commit()
		}
		outside("CREATE INDEX CONCURRENTLY by_name ON item (name)")
		died := make(chan bool)
		b.fault = func(p string) {
			if p == "apply.ran" { // done, and the position not moved
				b.fault = func(string) {}
				close(died)
				select {}
			}
		}
		a.send(b)
		abandoned(b)
		<-died
		b.kill()
		outside("VACUUM item")
		w.converge()
		if got := b.one("SELECT indisvalid::text FROM pg_index WHERE indexrelid = 'by_name'::regclass"); got != "true" {
			t.Error(got)
		}
		outside("CREATE INDEX CONCURRENTLY by_name ON item (name)") // a name that is taken here is no second try
		a.send(b)
		waitStopped(t, b, a, "42P07")
		waitFor(t, "several tries", func() bool { s := b.a.Status().Stopped; return len(s) == 1 && s[0].Tries > 3 })
		b.exec("DROP INDEX by_name")
		b.a.Kick()
		w.converge()
	})
}

func TestStatementWithParametersAndRole(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b")
		a, b := w.nodes[0], w.nodes[1]
		a.exec("CREATE ROLE clerk")
		for _, n := range w.nodes {
			n.exec(`CREATE TABLE seen (who text, at text, n int); GRANT INSERT ON seen TO clerk`)
		}
		tx := a.begin()
		text := "INSERT INTO seen SELECT current_user, '2020-02-01'::date + 0, $1::int + 1"
		a.exec("INSERT INTO seen SELECT 'clerk', '01.02.2020', 8")
		tx.Statements = append(tx.Statements, journal.Statement{Query: text, Command: "SELECT", Capture: journal.CaptureStatement, Replay: &journal.Replay{
			Text: text, Role: "clerk", Params: []journal.Param{{Type: "integer", Value: journal.Text("7")}},
			Settings: map[string]string{"DateStyle": "German, DMY", "search_path": "public"}}})
		tx.commit()
		a.begin().insert(1, "after", 1).commit()
		w.converge()
		if got := b.one("SELECT s::text FROM seen s"); got != "(clerk,01.02.2020,8)" {
			t.Error(got)
		}
	})
}

func TestOversoldByACheck(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b", "c")
		a, b := w.nodes[0], w.nodes[1]
		for _, n := range w.nodes {
			n.exec("ALTER TABLE item ADD CHECK (qty >= 0)")
		}
		a.begin().insert(1, "seat", 1).commit()
		w.converge()
		a.begin().update(1, "qty = qty - 1", "qty+").commit()
		b.begin().update(1, "qty = qty - 1", "qty+").commit()
		w.converge()
		if got := a.dump(); got != "(1,seat,0,1.50)\n" {
			t.Error(got)
		}
		for _, n := range w.nodes {
			waitFor(t, n.name+" to be told", func() bool { return fmt.Sprint(n.conflicts()) == "[oversold]" })
		}
	})
}

func TestBigTransaction(t *testing.T) {
	w := newWorld(t, 0, "a", "b")
	a, b := w.nodes[0], w.nodes[1]
	tx := a.begin()
	a.exec("INSERT INTO item SELECT i, 'x', i, 1.5 FROM generate_series(1, 20000) i")
	for i := range 20000 {
		id := fmt.Sprint(i + 1)
		tx.change(0, 'I', nil, []journal.Value{journal.Text(id), journal.Text("x"), journal.Text(id), journal.Text("1.50")}, nil, nil)
	}
	tx.commit()
	w.converge()
	if got := b.one("SELECT count(*)::text FROM item"); got != "20000" {
		t.Error(got)
	}
}

// TestWithoutReplicaRole applies as a role that owns the tables and is no superuser.
func TestWithoutReplicaRole(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b")
		a, b := w.nodes[0], w.nodes[1]
		b.exec("CREATE ROLE plain LOGIN; ALTER DATABASE b OWNER TO plain; ALTER TABLE item OWNER TO plain; ALTER TABLE note OWNER TO plain; GRANT ALL ON SCHEMA public TO plain")
		o := b.options()
		o.Connect = func(ctx context.Context, _ string) (*pgconn.PgConn, error) {
			return pgconn.Connect(ctx, w.server.DSN("b")+" user=plain")
		}
		var err error
		if b.a, err = New(o); err != nil {
			t.Fatal(err)
		}
		a.begin().insert(1, "x", 1).addNote("n", 1).commit()
		a.begin().update(1, "qty = qty + 1", "qty+").changeNote("n", 1, 2).ddl("CREATE TABLE more (id serial)").commit()
		w.converge()
		if s := b.a.Status(); s.Replica["app"] {
			t.Errorf("status %+v", s)
		}
	})
}

// TestDatabasePutBack restores an older state of the database: what is missing is applied again.
func TestDatabasePutBack(t *testing.T) {
	w := newWorld(t, 0, "a", "b")
	a, b := w.nodes[0], w.nodes[1]
	a.begin().insert(1, "x", 1).commit()
	w.converge()
	b.halt()
	b.exec("CREATE TABLE old_item AS SELECT * FROM item; CREATE TABLE old_applied AS SELECT * FROM pgproxy.applied")
	b.run()
	a.begin().update(1, "qty = qty + 1", "qty+").commit()
	a.begin().update(1, "name = 'y'", "name").commit()
	w.converge()
	b.halt()
	b.exec("TRUNCATE item, pgproxy.applied; INSERT INTO item SELECT * FROM old_item; INSERT INTO pgproxy.applied SELECT * FROM old_applied")
	w.converge()
	if !strings.HasPrefix(b.dump(), "(1,y,2,") {
		t.Error(b.dump())
	}
}
