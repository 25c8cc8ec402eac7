package apply

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"pgproxy/journal"
)

// seedOf gives the test's seed, and says it.
func seedOf(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	if s := os.Getenv("PGPROXY_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("PGPROXY_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// write makes a random transaction.
func (n *node) write(r *rand.Rand) {
	tx := n.begin()
	for range 1 + r.IntN(3) {
		id := 1 + r.IntN(6)
		switch r.IntN(13) {
		case 0, 1:
			if tx.item(id) == nil {
				tx.insert(id, fmt.Sprint(n.name, r.IntN(100)), r.IntN(5))
			}
		case 2:
			tx.delete(id)
		case 3, 4:
			tx.update(id, fmt.Sprintf("name = '%s%d'", n.name, r.IntN(100)), "name")
		case 5, 6:
			tx.update(id, fmt.Sprintf("qty = qty + %d", r.IntN(7)-3), "qty+")
		case 7:
			tx.update(id, fmt.Sprintf("qty = %d, price = price + 0.25", r.IntN(7)), "qty", "price+")
		case 8:
			if tx.item(id) != nil && tx.item(id+10) == nil { // a changed key
				before := tx.item(id)
				tx.n.exec(fmt.Sprintf("UPDATE item SET id = %d WHERE id = %d", id+10, id))
				tx.change(0, 'U', before, tx.item(id+10), []int{0}, nil)
			}
		case 9:
			tx.addNote("n", r.IntN(3))
		case 10:
			tx.dropNote("n", r.IntN(3))
		case 11, 12: // chains of them too: from row to row, made apart
			tx.changeNote("n", r.IntN(3), r.IntN(3))
		}
	}
	tx.commit()
}

// TestRandomWritesConverge lets three nodes write and exchange at random, in whatever order of arrival, and checks that
// all end with equal tables; a fourth gets everything at the end.
func TestRandomWritesConverge(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		r := seedOf(t)
		w := newWorld(t, major, "a", "b", "c")
		w.large = 3
		a := w.nodes[0]
		tx := a.begin()
		for id := range 4 {
			tx.insert(id+1, "start", 3)
		}
		tx.addNote("n", 1).addNote("n", 1).addNote("n", 2).commit()
		w.converge()
		for range 60 {
			n := w.nodes[r.IntN(len(w.nodes))]
			switch r.IntN(5) {
			case 0:
				n.send(w.nodes[r.IntN(len(w.nodes))])
			case 1:
				n.settled()
			default:
				n.settled() // the hand-made capture cannot see an apply that is under way
				n.write(r)
			}
		}
		w.converge()
		w.checkCounts(nil, nil)
		late := w.node("late")
		w.converge()
		t.Logf("conflicts: %d; %+v", len(late.conflicts()), late.a.Status().Counts)
	})
}

// TestEveryOrderOfArrival sends the concurrent transactions of three nodes to a fourth in every order.
func TestEveryOrderOfArrival(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := newWorld(t, major, "a", "b", "c")
		w.large = 2
		a, b, c := w.nodes[0], w.nodes[1], w.nodes[2]
		a.begin().insert(1, "x", 10).insert(2, "x", 10).insert(3, "x", 10).addNote("n", 1).commit()
		w.converge()
		for _, n := range w.nodes {
			n.halt()
		}
		a.begin().update(1, "qty = qty - 1, name = 'a'", "qty+", "name").delete(2).dropNote("n", 1).insert(7, "a", 1).commit()
		b.begin().update(1, "qty = 100", "qty").update(2, "name = 'b'", "name").changeNote("n", 1, 2).insert(7, "b", 2).commit()
		c.begin().update(1, "qty = qty + 5", "qty+").delete(3).addNote("n", 1).update(2, "price = 9.99", "price").insert(7, "c", 3).commit()
		b.begin().update(3, "qty = qty - 1", "qty+").commit()
		var first string
		for i, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
			d := w.node("d" + strconv.Itoa(i))
			d.run()
			for _, from := range order {
				sendOwn(t, a, d, a, 1)
				w.nodes[from].send(d)
				d.settled()
			}
			if got := d.dump(); first == "" {
				first = got
				t.Logf("tables:\n%s", got)
			} else if got != first {
				t.Errorf("order %v:\n%s\nwant:\n%s", order, got, first)
			}
			waitFor(t, fmt.Sprintf("the conflicts of order %v to be kept", order), func() bool {
				got := d.conflicts()
				return slices.Contains(got, "insert/insert") && slices.Contains(got, "delete/update") && slices.Contains(got, "update/missing")
			})
		}
		w.converge()
	})
}

// sendOwn sends the first n records of an origin.
func sendOwn(t *testing.T, from, to, origin *node, n uint64) {
	t.Helper()
	recs, err := from.j.After(to.j.Stored(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	recs = slices.DeleteFunc(recs, func(r journal.Raw) bool { return r.ID.Origin != origin.j.Identity().Node || r.ID.Seq > n })
	from.stage(to, recs)
	if err := to.j.Store(t.Context(), recs); err != nil {
		t.Fatal(err)
	}
}
