package apply

import (
	"fmt"
	"strings"
	"testing"
)

// TestDroppedColumn drops a column at one node while another, unaware, still writes it.
func TestDroppedColumn(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b", "c")
		a, b := w.nodes[0], w.nodes[1]
		a.begin().insert(1, "x", 1).insert(2, "x", 1).commit()
		w.converge()
		a.begin().ddl("ALTER TABLE item DROP COLUMN price", "public.item").commit()
		b.begin().update(1, "price = 7, name = 'b'", "price", "name").insert(3, "b", 3).commit()
		w.converge()
		if got := b.dump(); got != "(1,b,1)\n(2,x,1)\n(3,b,3)\n" {
			t.Error(got)
		}
		waitFor(t, "a to be told of what it dropped", func() bool {
			return fmt.Sprint(a.conflicts()) == "[insert/schema update/schema]"
		})
	})
}

// TestDroppedTable drops a table at one node while another, unaware, still writes into it.
func TestDroppedTable(t *testing.T) {
	w := newWorld(t, 0, "a", "b")
	a, b := w.nodes[0], w.nodes[1]
	b.begin().addNote("n", 1).commit()
	w.converge()
	a.begin().ddl("DROP TABLE note", "public.note").commit()
	b.begin().addNote("n", 2).insert(1, "x", 1).commit()
	for _, n := range w.nodes {
		n.run()
	}
	b.send(a)
	a.send(b)
	a.settled()
	b.settled()
	if got := a.one("SELECT i::text FROM item i") + b.one("SELECT i::text FROM item i"); got != "(1,x,1,1.50)(1,x,1,1.50)" {
		t.Error(got)
	}
	waitFor(t, "the note to be told", func() bool { return fmt.Sprint(a.conflicts()) == "[insert/schema]" })
}

// TestAddedColumn writes with a column that the others do not have yet, and without one that they do.
func TestAddedColumn(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b", "c")
		a, b := w.nodes[0], w.nodes[1]
		a.begin().insert(1, "x", 1).commit()
		w.converge()
		a.begin().ddl("ALTER TABLE item ADD COLUMN colour text DEFAULT 'red'").commit()
		b.begin().update(1, "qty = 2", "qty").insert(2, "b", 1).commit()
		w.converge()
		if got := b.dump(); got != "(1,x,2,1.50,red)\n(2,b,1,1.50,red)\n" {
			t.Error(got)
		}
	})
}

// TestHotRow lets two nodes add to one row again and again, unaware of each other.
func TestHotRow(t *testing.T) {
	w := newWorld(t, 0, "a", "b", "c")
	a, b := w.nodes[0], w.nodes[1]
	a.begin().insert(1, "x", 0).commit()
	w.converge()
	for i := range 100 {
		a.begin().update(1, "qty = qty + 1", "qty+").addNote("a", i).commit()
		b.begin().update(1, "qty = qty + 2", "qty+").addNote("b", i).commit()
	}
	w.converge()
	if got := a.dump(); !strings.HasPrefix(got, "(1,x,300,1.50)") {
		t.Errorf("%.40s", got)
	}
	c := w.nodes[2]
	c.halt()
	if s := c.a.Status(); s.Counts.Merged > 0 {
		t.Errorf("deltas that commute were folded: %+v", s.Counts)
	}
}

// TestLateOne holds one record back while others of the row go on.
func TestLateOne(t *testing.T) {
	w := newWorld(t, 0, "a", "b", "c", "d")
	a, b, c, d := w.nodes[0], w.nodes[1], w.nodes[2], w.nodes[3]
	a.begin().insert(1, "x", 0).commit()
	w.converge()
	b.begin().update(1, "name = 'b', qty = qty + 1", "name", "qty+").commit() // waits
	for i := range 50 {
		n := []*node{a, c}[i%2]
		n.begin().update(1, fmt.Sprintf("name = '%s%d', qty = qty + 1", n.name, i), "name", "qty+").commit()
		a.send(d)
		c.send(d)
		a.send(c)
		c.send(a)
		a.settled()
		c.settled()
	}
	d.settled()
	w.converge()
	if got := d.dump(); got != "(1,c49,51,1.50)\n" {
		t.Error(got)
	}
}

// TestTwoDatabases keeps one stream in order over two databases.
func TestTwoDatabases(t *testing.T) {
	w := newWorld(t, 0, "a", "b", "postgresb")
	a, b, other := w.nodes[0], w.nodes[1], w.nodes[2]
	other.close() // only its database is wanted
	w.nodes = w.nodes[:2]
	for i := range 20 {
		a.begin().insert(i, "x", 1).commit()
		tx := a.begin().addNote("n", i)
		tx.Database = "postgresb"
		tx.commit()
	}
	a.send(b)
	b.run()
	b.settled()
	if got := other.one("SELECT count(*)::text FROM note") + b.one("SELECT count(*)::text FROM item"); got != "2020" {
		t.Error(got)
	}
	tx := a.begin().addNote("n", 100)
	tx.Database = "nowhere"
	tx.commit()
	a.send(b)
	waitStopped(t, b, a, "3D000")
}
