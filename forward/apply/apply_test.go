package apply

import (
	"slices"
	"strings"
	"testing"
)

func TestRowsTravel(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b")
		a, b := w.nodes[0], w.nodes[1]
		a.begin().insert(1, "it's \\ ö", 5).insert(2, "", 6).commit()
		a.begin().update(1, "qty = qty - 1, name = NULL", "qty+", "name").commit()
		a.begin().delete(2).addNote("n", 1).addNote("n", 1).commit()
		w.converge()
		b.begin().update(1, "price = price * 2", "price").changeNote("n", 1, 2).commit()
		w.converge()
		if got := b.dump(); got != "(1,,4,3.00)\n(n,1,\"{\"\"x\"\": 1}\")\n(n,2,\"{\"\"x\"\": 1}\")\n" {
			t.Errorf("tables: %s", got)
		}
		b.halt()
		if s := b.a.Status(); s.Counts.Records == 0 || len(s.Stopped) > 0 {
			t.Errorf("status: %+v", s)
		}
		if c := append(a.conflicts(), b.conflicts()...); len(c) > 0 {
			t.Errorf("conflicts: %v", c)
		}
	})
}

func TestConcurrentWritesFold(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b", "c")
		a, b := w.nodes[0], w.nodes[1]
		a.begin().insert(1, "x", 10).insert(2, "x", 10).insert(3, "x", 10).insert(4, "x", 10).commit()
		w.converge()
		a.begin().update(1, "qty = qty - 1", "qty+").update(2, "name = 'a'", "name").delete(3).commit()
		b.begin().update(1, "qty = qty - 2, name = 'b'", "qty+", "name").update(2, "name = 'b'", "name").update(3, "qty = 0", "qty").commit()
		b.begin().delete(4).commit()
		a.begin().update(4, "name = 'kept'", "name").commit()
		w.converge()
		if got := a.dump(); got != "(1,b,7,1.50)\n(2,b,10,1.50)\n(3,x,0,1.50)\n(4,kept,10,1.50)\n" {
			t.Errorf("tables:\n%s", got)
		}
		for _, n := range w.nodes {
			waitFor(t, n.name+" to be told of the conflicts", func() bool {
				return slices.Equal(n.conflicts(), []string{"delete/update", "delete/update", "update/update"})
			})
		}
	})
}

func TestDDLBetweenRows(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b")
		a, b := w.nodes[0], w.nodes[1]
		a.begin().insert(1, "x", 10).commit()
		a.begin().ddl("ALTER TABLE item ALTER COLUMN qty TYPE bigint").commit()
		a.begin().update(1, "qty = 5000000000", "qty").commit()
		a.begin().ddl("TRUNCATE note").addNote("after", 1).commit()
		w.converge()
		if got := b.dump(); !strings.Contains(got, "5000000000") {
			t.Error(got)
		}
		if got := b.a.Status().Counts.Replayed; got != 2 {
			t.Errorf("replayed %d", got)
		}
	})
}

func TestStoppedStreamGoesOn(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b", "c")
		a, b, c := w.nodes[0], w.nodes[1], w.nodes[2]
		a.begin().insert(1, "x", 10).commit()
		b.begin().addNote("first", 1).commit()
		w.converge()
		c.exec("ALTER TABLE item RENAME TO hidden")
		a.begin().update(1, "qty = 7", "qty").commit()
		a.send(b)
		b.settled()
		b.begin().addNote("second", 1).commit() // knows of a's record, needs nothing of it
		b.begin().update(1, "name = 'y'", "name").commit()
		b.send(c)
		waitStopped(t, c, a, "42P01")
		waitFor(t, "the note of b at c", func() bool { return strings.Contains(noteDump(c), "second") })
		c.exec("ALTER TABLE hidden RENAME TO item")
		w.converge()
		if s := c.a.Status(); len(s.Stopped) > 0 {
			t.Errorf("still stopped: %+v", s)
		}
	})
}
