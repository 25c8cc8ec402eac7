package apply

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// crash kills the server with everything on it, and starts it again.
func (w *world) crash() {
	w.t.Helper()
	w.server.Restart()
	for _, n := range w.nodes {
		var err error
		n.c.Close(context.Background())
		if n.c, err = pgx.Connect(context.Background(), w.server.DSN(n.name)); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (n *node) notes(name string) string {
	n.w.t.Helper()
	return n.one("SELECT count(*)::text FROM note WHERE a = '" + name + "'")
}

// again opens the node with another patience before it syncs.
func (n *node) again(calm time.Duration) {
	n.w.t.Helper()
	n.close()
	n.calm = calm
	n.open()
	n.run()
}

// TestCrashTakesAway crashes the database right after apply counted a record as applied, before anything was synced. No
// record comes afterwards; the row must be there again all the same.
func TestCrashTakesAway(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b")
		a, b := w.nodes[0], w.nodes[1]
		b.again(24 * time.Hour)
		a.begin().addNote("before", 1).commit()
		a.send(b)
		b.settled()
		lost := false
		for range 10 { // the server may have synced by itself
			a.begin().addNote("last", 1).commit()
			had := b.notes("last")
			a.send(b)
			b.settled()
			w.crash()
			if lost = b.notes("last") == had; lost {
				break
			}
		}
		if !lost {
			t.Error("the server's crash took nothing away: this test has shown nothing")
		}
		if b.j.Applied()[a.j.Identity().Node] == 0 {
			t.Error("apply noticed before its time")
		}
		b.later.Store(int64(25 * time.Hour)) // time to settle
		b.a.Kick()
		waitFor(t, "the row to be there again", func() bool { return b.notes("last") == a.notes("last") })
		w.converge()
	})
}

// TestCrashIsNoticedByItself is the same by the clock alone.
func TestCrashIsNoticedByItself(t *testing.T) {
	w := newWorld(t, 0, "a", "b")
	a, b := w.nodes[0], w.nodes[1]
	b.again(time.Second)
	for range 2 {
		a.begin().addNote("n", 1).commit()
		a.send(b)
		b.settled()
		w.crash()
		waitFor(t, "the row to be there", func() bool { return b.notes("n") == a.notes("n") })
	}
	w.converge()
}

// TestSettledIsSafe: what is settled outlives a crash, the positions say so in every database, and the marks too.
func TestSettledIsSafe(t *testing.T) {
	w := newWorld(t, 0, "a", "b")
	a, b := w.nodes[0], w.nodes[1]
	origin := a.j.Identity().Node
	for i, n := range w.nodes {
		if err := n.j.SetCluster(journal.NodeID{1}, uint32(i)); err != nil {
			t.Fatal(err)
		}
		m := journal.Member{Cluster: journal.NodeID{1}, Node: n.j.Identity().Node, Name: n.name, Number: uint32(i)}
		if _, err := a.j.SealMember(context.Background(), m); err != nil {
			t.Fatal(err)
		}
	}
	a.run()
	b.run()
	for round := range 2 {
		id := a.begin().addNote("n", round).commit()
		rec, err := a.j.Record(id)
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the line to pass the record at both nodes", func() bool {
			for _, n := range w.nodes {
				if _, err := n.j.KeepLine(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			a.send(b)
			b.send(a)
			return a.j.Line() >= rec.HLC && b.j.Line() >= rec.HLC
		})
		b.halt()
		w.crash()
		if got := b.notes("n"); got != a.notes("n") {
			t.Errorf("%s rows after the crash, %s before", got, a.notes("n"))
		}
		b.run()
		if got := b.j.Applied()[origin]; got < id.Seq {
			t.Errorf("the positions after the crash say %d of %d", got, id.Seq)
		}
	}
	w.converge()
}

// TestHistoriesAreForgotten: the fold of a row is let go of once its changes are final, and no sooner.
func TestHistoriesAreForgotten(t *testing.T) {
	h, old, late := &histories{}, conflict.NewHistory(), conflict.NewHistory()
	early := &conflict.Change{ID: journal.ID{Seq: 1}, HLC: 10, Op: journal.OpDelete}
	old.Add(early)
	late.Add(early)
	late.Add(&conflict.Change{ID: journal.ID{Seq: 2}, HLC: 30, Op: journal.OpDelete})
	h.put("old", old)
	h.put("late", late)
	h.forget(20)
	if h.rows["old"] != nil || h.rows["late"] != late || h.total != late.Len()+1 {
		t.Errorf("%d changes kept in %d rows", h.total, len(h.rows))
	}
	h.forget(30)
	if len(h.rows) > 0 || h.total != 0 {
		t.Errorf("%d changes kept in %d rows", h.total, len(h.rows))
	}
}

// TestSettledInEveryDatabase: a database that is not written to has its positions moved too, so that nobody has to look
// through what was for others.
func TestSettledInEveryDatabase(t *testing.T) {
	w := newWorld(t, 0, "a", "b")
	a, b := w.nodes[0], w.nodes[1]
	b.exec("CREATE DATABASE other")
	origin := a.j.Identity().Node
	for i := range settleLag + 10 {
		tx := a.begin()
		tx.n.exec("ROLLBACK")
		tx.Database = "app"
		if i == 0 {
			tx.Database = "other"
		}
		tx.change(1, journal.OpInsert, nil, noteRow("n", 1), nil, nil)
		if i == 0 {
			tx.Statements[0].Changes = nil // it writes nothing there
		}
		in, err := a.j.Seal(context.Background(), tx.Tx)
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	a.send(b)
	b.run()
	b.settled()
	c, err := pgx.Connect(context.Background(), w.server.DSN("other"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	waitFor(t, "the position in the other database", func() bool {
		var seq uint64
		err := c.QueryRow(context.Background(), "SELECT seq FROM pgproxy.applied WHERE origin = $1::uuid", origin.String()).Scan(&seq)
		return err == nil && seq > settleLag
	})
}
