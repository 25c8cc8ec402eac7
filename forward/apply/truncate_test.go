package apply

import (
	"fmt"
	"testing"

	"pgproxy/journal"
)

// truncate is a TRUNCATE as capture records it.
func (t *tx) truncate(table string) *tx {
	t.n.w.t.Helper()
	text := "TRUNCATE " + table
	t.n.exec(text)
	t.Statements = append(t.Statements, journal.Statement{Query: text, Command: "TRUNCATE TABLE", Capture: journal.CaptureStatement, RowsAffected: -1,
		Tables: []string{"public." + table}, Replay: &journal.Replay{Text: text, Tables: []string{"public." + table}, Settings: map[string]string{"search_path": "public"}}})
	return t
}

func TestTruncateMeetsOthersRows(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b", "c")
		a, b, c := w.nodes[0], w.nodes[1], w.nodes[2]
		a.begin().insert(1, "x", 1).insert(2, "x", 1).addNote("old", 1).addNote("old", 1).commit()
		w.converge()
		b.begin().addNote("older", 1).insert(3, "older", 1).commit()
		a.begin().truncate("note").truncate("item").addNote("own", 1).commit()
		b.begin().addNote("younger", 1).addNote("younger", 1).changeNote("younger", 1, 2).insert(4, "younger", 1).update(1, "qty = 5", "qty").dropNote("old", 1).commit()
		c.begin().update(2, "qty = qty + 1", "qty+").insert(4, "newest", 2).commit()
		w.converge()
		if got := a.dump(); got != "(4,newest,2,1.50)\n(own,1,\"{\"\"x\"\": 1}\")\n(younger,1,\"{\"\"x\"\": 1}\")\n(younger,2,\"{\"\"x\"\": 1}\")\n" {
			t.Errorf("tables:\n%s", got)
		}
		waitFor(t, "the lost rows to be told", func() bool { return len(a.conflicts()) >= 4 && len(b.conflicts()) >= 4 })
		late := w.node("late")
		for _, n := range []*node{c, b, a} {
			n.send(late)
		}
		w.converge()
		for _, n := range w.nodes { // nothing of it may be forgotten by a restart
			n.halt()
			n.close()
			n.open()
		}
		w.nodes = w.nodes[:3]
		b.begin().addNote("after", 1).commit()
		w.converge()
		_ = late
	})
}

// TestTruncateWhileOthersInsert is how pgbench begins: everybody truncates the history and fills it.
func TestTruncateWhileOthersInsert(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b", "c")
		for _, n := range w.nodes {
			n.run()
		}
		for i := range 120 {
			n := w.nodes[i%3]
			tx := n.begin()
			if i%40 < 3 {
				tx.truncate("note")
			}
			tx.addNote(fmt.Sprint(i%7), i).commit()
			if i%5 == 0 {
				n.send(w.nodes[(i+1)%3])
			}
		}
		w.converge()
		if s := a(w).Status(); len(s.Stopped) > 0 {
			t.Errorf("%+v", s)
		}
	})
}

func a(w *world) *Applier { return w.nodes[0].a }
