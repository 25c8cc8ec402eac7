package apply

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestDiesAnywhere ends apply at every fault point, as a kill would: the connection is gone, the journal is opened anew,
// and what the position in the database says decides.
func TestDiesAnywhere(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b")
		a, b := w.nodes[0], w.nodes[1]
		a.begin().insert(1, "x", 0).addNote("n", 1).commit()
		w.converge()
		for i, point := range []string{"apply.begun", "apply.locked", "apply.gate", "apply.sent", "apply.committed"} {
			for _, forced := range []bool{false, true} { // direct, folded
				b.settled()
				a.begin().update(1, "qty = qty + 1, name = 'a"+fmt.Sprint(i)+"'", "qty+", "name").addNote("n", i).commit()
				if forced {
					b.begin().update(1, "name = 'b"+fmt.Sprint(i)+"'", "name").commit()
				}
				b.halt()
				died := make(chan bool)
				b.fault = func(p string) {
					if p == point {
						b.fault = func(string) {}
						close(died)
						select {} // it never comes back; its goroutine is left behind
					}
				}
				a.send(b)
				abandoned(b)
				select {
				case <-died:
				case <-time.After(20 * time.Second):
					t.Fatalf("%s was not reached", point)
				}
				b.kill()
				w.converge()
			}
		}
		if got := a.dump(); !strings.Contains(got, ",10,1.50)") {
			t.Errorf("ten deltas gave\n%s", got)
		}
	})
}

// abandoned runs apply without waiting for its end.
func abandoned(n *node) {
	if err := n.a.Prepare(context.Background()); err != nil {
		n.w.t.Fatal(err)
	}
	go n.a.Run(context.Background())
}

// kill takes away the backends of a dead process and opens the journal as the next one would.
func (n *node) kill() {
	n.w.t.Helper()
	n.fault = func(string) {}
	n.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgproxy' AND datname = current_database()")
	waitFor(n.w.t, "the backends to be gone", func() bool {
		var left int
		err := n.c.QueryRow(context.Background(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgproxy' AND datname = current_database()").Scan(&left)
		return err == nil && left == 0
	})
	if err := n.j.Close(); err != nil {
		n.w.t.Fatal(err)
	}
	n.open()
}

func TestBackendsKilledWhileApplying(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b")
		a, b := w.nodes[0], w.nodes[1]
		a.begin().insert(1, "x", 0).commit()
		w.converge()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan bool)
		go func() {
			defer close(done)
			c, err := pgx.Connect(ctx, w.server.DSN("postgres"))
			if err != nil {
				return
			}
			defer c.Close(context.Background())
			for ctx.Err() == nil {
				c.Exec(ctx, "SELECT pg_terminate_backend(pid), pg_sleep(0.02) FROM pg_stat_activity WHERE application_name = 'pgproxy' AND datname = 'b'")
			}
		}()
		for range 300 {
			a.begin().update(1, "qty = qty + 1", "qty+").addNote("n", 1).commit()
			a.send(b)
		}
		cancel()
		<-done
		w.converge()
		if got := b.dump(); !strings.Contains(got, "(1,x,300,1.50)") {
			t.Errorf("after all:\n%.100s", got)
		}
	})
}

// TestPendingNeighbour seals a transaction of the node itself and leaves it undecided: apply must not write its row, and
// must hold no lock meanwhile.
func TestPendingNeighbour(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b")
		a, b := w.nodes[0], w.nodes[1]
		a.begin().insert(1, "x", 0).insert(2, "x", 0).commit()
		w.converge()
		a.begin().update(1, "name = 'a'", "name").commit()
		own := b.begin().update(1, "name = 'b'", "name")
		in, err := b.j.Seal(t.Context(), own.Tx)
		if err != nil {
			t.Fatal(err)
		}
		a.send(b)
		waitFor(t, "apply to wait", func() bool {
			for _, s := range b.a.Status().Stopped {
				return s.Brief && s.Tries > 3
			}
			return false
		})
		b.exec("UPDATE item SET qty = 5 WHERE id = 2") // not held up by apply's locks
		b.exec("ROLLBACK")
		if err := in.Abort("rolled back"); err != nil {
			t.Fatal(err)
		}
		w.converge()
		if got := b.dump(); !strings.HasPrefix(got, "(1,a,0,1.50)") {
			t.Errorf("after the abort:\n%s", got)
		}

		a.begin().update(1, "name = 'a2'", "name").commit()
		own = b.begin().update(1, "name = 'b2'", "name")
		if err := b.j.Clock().Observe(w.last); err != nil { // b's is the later, also within one tick
			t.Fatal(err)
		}
		if in, err = b.j.Seal(t.Context(), own.Tx); err != nil {
			t.Fatal(err)
		}
		b.exec("COMMIT") // done in the database, not yet known in the journal
		a.send(b)
		waitFor(t, "apply to wait", func() bool { return len(b.a.Status().Stopped) > 0 })
		if err := in.Commit(); err != nil {
			t.Fatal(err)
		}
		w.converge()
		if got := b.dump(); !strings.HasPrefix(got, "(1,b2,0,1.50)") {
			t.Errorf("after the commit:\n%s", got)
		}
	})
}

// TestIdleClientHoldsRow lets a client sit on a row: only that stream waits, and Status says so.
func TestIdleClientHoldsRow(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b", "c")
		a, b, c := w.nodes[0], w.nodes[1], w.nodes[2]
		a.begin().insert(1, "x", 0).commit()
		w.converge()
		c.exec("BEGIN")
		c.exec("SELECT FROM item WHERE id = 1 FOR UPDATE")
		a.begin().update(1, "qty = 1", "qty").commit()
		b.begin().addNote("other", 1).commit()
		a.send(c)
		waitFor(t, "the lock to be named", func() bool {
			for _, s := range c.a.Status().Stopped {
				return s.SQLState == "55P03"
			}
			return false
		})
		b.send(c)
		waitFor(t, "the other stream", func() bool { return strings.Contains(noteDump(c), "other") })
		c.exec("ROLLBACK")
		w.converge()
	})
}

// TestTransactionsStayWhole checks that nobody ever sees half of a record, and that a stopped one left nothing.
func TestTransactionsStayWhole(t *testing.T) {
	w := newWorld(t, 0, "a", "b")
	a, b := w.nodes[0], w.nodes[1]
	b.exec("ALTER TABLE item ADD CONSTRAINT small CHECK (qty < 10)")
	b.run()
	a.begin().insert(1, "x", 5).addNote("n", 1).insert(2, "x", 50).commit()
	a.send(b)
	waitStopped(t, b, a, "23514")
	if got := b.dump(); got != "" {
		t.Errorf("half a record: %s", got)
	}
	if s := b.a.Status().Stopped[0]; s.Table != "public.item" || s.Database != "app" || s.Since.IsZero() {
		t.Errorf("status %+v", s)
	}
	b.exec("ALTER TABLE item DROP CONSTRAINT small")
	b.a.Kick()
	w.converge()
}

func TestUniqueViolationStops(t *testing.T) {
	w := newWorld(t, 0, "a", "b")
	a, b := w.nodes[0], w.nodes[1]
	b.exec("CREATE UNIQUE INDEX ON item (name)")
	b.run()
	a.begin().insert(1, "x", 5).commit()
	a.begin().insert(2, "x", 5).commit()
	a.send(b)
	waitStopped(t, b, a, "23505")
	if got := b.dump(); got != "(1,x,5,1.50)\n" {
		t.Errorf("before it: %s", got)
	}
	b.exec("DROP INDEX item_name_idx")
	w.converge()
}
