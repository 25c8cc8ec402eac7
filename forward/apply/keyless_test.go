package apply

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// noteKey gives the row key of a note.
func noteKey(a string, b int) journal.RowKey {
	tx := &journal.Tx{Database: "app"}
	return tx.RowKey(&noteRel, noteRow(a, b))
}

// checkCounts compares the table without key with what its changes after since make, played in order over what was there,
// but for those that are set aside.
func (w *world) checkCounts(since journal.Vector, base map[journal.RowKey]int) {
	w.t.Helper()
	var changes []conflict.Count
	image := map[journal.RowKey][]journal.Value{}
	n := w.nodes[0]
	findings := n.findings()
	recs, err := n.j.After(since, 1<<30)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, raw := range recs {
		rec, err := n.j.Decode(raw)
		if err != nil {
			w.t.Fatal(err)
		}
		for t, err := range conflict.All(rec) {
			if err != nil {
				w.t.Fatal(err)
			}
			if !t.Keyless {
				continue
			}
			if f := findings[rec.ID]; f != nil {
				t.Change = f.Stands(t.Change)
			}
			c := conflict.CountOf(t)
			if c.From != "" {
				image[c.From] = t.Change.Before
			}
			if c.To != "" {
				image[c.To] = t.Change.After
			}
			changes = append(changes, c)
		}
	}
	want, _ := conflict.Counts(base, changes)
	for k, row := range image {
		got := n.one(fmt.Sprintf("SELECT count(*)::text FROM note WHERE a = '%s' AND b = %s", row[0].Data, row[1].Data))
		if got != fmt.Sprint(want[k]) {
			w.t.Errorf("%s rows %v, their changes make %d", got, row, want[k])
		}
	}
}

// roundsOf gives how many rounds a random test plays: PGPROXY_ROUNDS, or what is said here.
func roundsOf(short int) int {
	if n, err := strconv.Atoi(os.Getenv("PGPROXY_ROUNDS")); err == nil {
		return n
	}
	return short
}

// takes makes a random transaction on few equal rows: most of its changes meet those of others.
func (n *node) takes(r *rand.Rand, name string) {
	tx := n.begin()
	for range 1 + r.IntN(4) {
		switch r.IntN(8) {
		case 0, 1:
			tx.addNote(name, r.IntN(4))
		case 2, 3:
			tx.dropNote(name, r.IntN(4))
		default:
			tx.changeNote(name, r.IntN(4), r.IntN(4))
		}
	}
	tx.commit()
}

// TestKeylessConverges lets nodes take, make and change the same few rows of a table without key, unaware of each other and
// in any order of arrival: the counts are what the changes make in the global order, whichever way apply took.
func TestKeylessConverges(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		r := seedOf(t)
		w := newWorld(t, major, "a", "b", "c", "d")
		w.large = 3
		for round := range roundsOf(6) {
			name, since, base := "n"+strconv.Itoa(round), w.nodes[0].j.Stored(), map[journal.RowKey]int{}
			for _, n := range w.nodes {
				n.exec("TRUNCATE note") // what is behind us would only make the comparisons slow
			}
			for b := range 4 { // rows that were there before the first node was
				rows := r.IntN(3)
				base[noteKey(name, b)] = rows
				for _, n := range w.nodes {
					for range rows {
						n.exec(`INSERT INTO note VALUES ($1, $2, '{"x": 1}')`, name, b)
					}
				}
			}
			for range 4 + r.IntN(25) {
				n := w.nodes[r.IntN(len(w.nodes))]
				switch r.IntN(6) {
				case 0, 1:
					n.run()
					n.send(w.nodes[r.IntN(len(w.nodes))])
				case 2:
					n.halt()
				default:
					n.run()
					n.settled() // the hand-made capture cannot see an apply that is under way
					n.takes(r, name)
				}
			}
			w.converge()
			w.checkCounts(since, base)
			if t.Failed() {
				t.Fatalf("round %d", round)
			}
		}
		t.Logf("%+v", w.nodes[3].a.Status().Counts)
	})
}
