package journal_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
	"pgproxy/journal/journaltest"
)

// lineWorld is a cluster of journals whose databases are two vectors each: what is applied, and what a crash leaves.
type lineWorld struct {
	t     *testing.T
	rnd   *rand.Rand
	wall  atomic.Int64
	nodes []*lineNode
	wrote []*journal.Record // transactions, of anybody
}

type lineNode struct {
	w       *lineWorld
	o       journal.Options
	j       *journal.Journal
	applied journal.Vector // what the database shows
	safe    journal.Vector // what a crash leaves
	after   journal.Vector // writes are refused until this is applied
	open    []*journal.Intent
	line    hlc.Time
	final   hlc.Time
}

func newLineWorld(t *testing.T, seed uint64) *lineWorld {
	w := &lineWorld{t: t, rnd: rand.New(rand.NewPCG(seed, 2))}
	w.wall.Store(time.Unix(1800000000, 0).UnixNano())
	w.join(nil)
	return w
}

// join lets a member admit a new node; by nil it founds the cluster.
func (w *lineWorld) join(by *lineNode) {
	n := &lineNode{w: w, applied: journal.Vector{}, safe: journal.Vector{}, after: journal.Vector{}}
	n.o = journal.Options{Dir: w.t.TempDir(), Node: "n" + strconv.Itoa(len(w.nodes)), NoSync: true, SegmentBytes: 64 << 10,
		Now: func() time.Time { return time.Unix(0, w.wall.Load()) }}
	n.reopen()
	w.t.Cleanup(func() {
		if err := n.j.Close(); err != nil {
			w.t.Error(err)
		}
		journaltest.Check(w.t, n.o.Dir)
	})
	m := journal.Member{Cluster: journal.NodeID{9}, Node: n.j.Identity().Node, Name: n.o.Node, Number: uint32(len(w.nodes))}
	if err := n.j.SetCluster(m.Cluster, m.Number); err != nil {
		w.t.Fatal(err)
	}
	if by != nil {
		r, err := by.j.SealMember(context.Background(), m)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := n.j.Clock().Observe(r.HLC); err != nil {
			w.t.Fatal(err)
		}
		n.after = by.j.Stored()
	}
	if _, err := n.j.SealMember(context.Background(), m); err != nil {
		w.t.Fatal(err)
	}
	w.nodes = append(w.nodes, n)
}

func (n *lineNode) reopen() {
	if n.j != nil {
		if err := n.j.Close(); err != nil {
			n.w.t.Fatal(err)
		}
	}
	j, err := journal.Open(context.Background(), n.o)
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.j, n.open, n.final = j, j.InDoubt(), 0
	if n.w.rnd.IntN(2) == 0 {
		n.applied = n.safe.Clone() // the database went down too
	}
	n.j.SetApplied(n.applied)
}

func (n *lineNode) write() {
	if !n.applied.Includes(n.after) {
		return
	}
	in := seal(n.w.t, n.j, update(n.w.rnd.IntN(9), "ann"))
	for _, other := range n.w.nodes {
		line := other.j.Line()
		for _, r := range n.w.wrote {
			if r.HLC <= line && !in.Record().Aware(r.ID) {
				n.w.t.Fatalf("%s writes %s unaware of %s, which is below the line %s of %s", n.o.Node, in.ID(), r.ID, line, other.o.Node)
			}
		}
	}
	n.w.wrote = append(n.w.wrote, in.Record())
	n.open = append(n.open, in)
	n.decide(3)
}

// decide settles one of the open intents, one time in so many.
func (n *lineNode) decide(chance int) {
	if len(n.open) == 0 || n.w.rnd.IntN(chance) == 0 {
		return
	}
	in := n.open[0]
	n.open = n.open[1:]
	if n.w.rnd.IntN(5) == 0 {
		abort(n.w.t, in, "")
	} else if err := in.Commit(); err != nil {
		n.w.t.Fatal(err)
	}
}

// pull takes over some of what another node has.
func (n *lineNode) pull(from *lineNode, bytes int) (moved bool) {
	recs, err := from.j.After(n.j.Stored(), bytes)
	if err != nil {
		n.w.t.Fatal(err)
	}
	for _, raw := range recs {
		r, err := journal.DecodeRaw(raw.Bytes)
		if err != nil {
			n.w.t.Fatal(err)
		}
		if line := n.j.Line(); r.Kind == journal.KindTx && r.HLC <= line {
			n.w.t.Fatalf("%s of %s arrives at %s, whose line is %s", r.ID, r.HLC, n.o.Node, line)
		}
		if final := n.j.Final(); r.Kind == journal.KindTx {
			for _, u := range n.w.wrote {
				if u.HLC <= final && !r.Aware(u.ID) && r.ID != u.ID {
					n.w.t.Fatalf("%s arrives at %s unaware of %s, which is final there", r.ID, n.o.Node, u.ID)
				}
			}
		}
		if err := n.j.Store(context.Background(), []journal.Raw{raw}); err != nil {
			n.w.t.Fatal(err)
		}
	}
	return len(recs) > 0
}

// apply counts up to so many records as applied, causes before effects, and now and then makes them safe.
func (n *lineNode) apply(most int) (moved bool) {
	have := n.applied.Clone()
	have[n.j.Identity().Node] = n.j.Stored()[n.j.Identity().Node] // own ones, which may have been pruned, are there
	recs, err := n.j.After(have, 1<<20)
	if err != nil {
		n.w.t.Fatal(err)
	}
	for _, raw := range recs {
		if raw.ID.Origin == n.j.Identity().Node || raw.ID.Seq != n.applied[raw.ID.Origin]+1 {
			continue
		}
		if most--; most < 0 {
			break
		}
		n.applied[raw.ID.Origin]++
		moved = true
		if err := n.j.Gate(func(g *journal.Gate) error { g.MarkApplied(raw.ID); return nil }); err != nil {
			n.w.t.Fatal(err)
		}
	}
	return moved
}

func (n *lineNode) sync() {
	n.safe = n.applied.Clone()
	if err := n.j.SetSafe(n.safe); err != nil {
		n.w.t.Fatal(err)
	}
}

// crash takes away what the database had not synced.
func (n *lineNode) crash() {
	for origin, seq := range n.applied {
		for ; seq > n.safe[origin]; seq-- {
			if err := n.j.Gate(func(g *journal.Gate) error {
				g.UnmarkApplied(journal.ID{Origin: origin, Seq: seq})
				return nil
			}); err != nil {
				n.w.t.Fatal(err)
			}
		}
	}
	n.applied = n.safe.Clone()
}

func (n *lineNode) keep() bool {
	beat, err := n.j.KeepLine(context.Background())
	if err != nil {
		n.w.t.Fatal(err)
	}
	return beat
}

func (n *lineNode) check() {
	line, final := n.j.Line(), n.j.Final()
	if line < n.line || final < n.final || final > line {
		n.w.t.Fatalf("%s: line from %s to %s, final from %s to %s", n.o.Node, n.line, line, n.final, final)
	}
	n.line, n.final = line, final
	n.checkFinal()
	for _, in := range n.open {
		if in.Record().HLC <= line {
			n.w.t.Fatalf("%s: line %s past the unpublished %s", n.o.Node, line, in.ID())
		}
	}
}

// checkFinal: whatever is above the line knows all that is final.
func (n *lineNode) checkFinal() {
	for _, r := range n.w.wrote {
		if r.HLC <= n.line {
			continue
		}
		for _, u := range n.w.wrote {
			if u.HLC <= n.final && !r.Aware(u.ID) {
				n.w.t.Fatalf("%s: %s is above the line %s and unaware of %s, which is final", n.o.Node, r.ID, n.line, u.ID)
			}
		}
	}
}

func (w *lineWorld) step() {
	w.wall.Add(int64(time.Duration(w.rnd.IntN(40)) * time.Millisecond))
	n, other := w.nodes[w.rnd.IntN(len(w.nodes))], w.nodes[w.rnd.IntN(len(w.nodes))]
	switch k := w.rnd.IntN(100); {
	case k < 25:
		n.write()
	case k < 30:
		n.decide(2)
	case k < 55 && n != other:
		n.pull(other, 1+w.rnd.IntN(6000))
	case k < 75:
		n.apply(1 + w.rnd.IntN(10))
	case k < 80:
		n.sync()
	case k < 83:
		n.crash()
	case k < 95:
		n.keep()
	case k < 97:
		n.reopen()
	case k < 98 && len(w.nodes) < 4 && n.applied.Includes(n.after):
		w.join(n)
	}
	n.check()
}

// quiet exchanges everything until nobody has anything to say any more, and gives how many beats that took.
func (w *lineWorld) quiet() (beats int) {
	for round := range 100 {
		w.wall.Add(int64(time.Second))
		moved := false
		for _, n := range w.nodes {
			for len(n.open) > 0 {
				n.decide(1 << 30)
			}
			for _, other := range w.nodes {
				moved = n != other && n.pull(other, 1<<20) || moved
			}
			moved = n.apply(1<<20) || moved
			n.sync()
		}
		for _, n := range w.nodes {
			if n.keep() {
				moved = true
				beats++
			}
			n.check()
		}
		if !moved {
			return beats
		}
		if round == 99 {
			w.t.Fatal("the cluster does not fall silent")
		}
	}
	return beats
}

// TestLine lets a cluster write, exchange, apply, crash, grow and beat at random. Nothing arrives below a line, nobody
// writes unaware of what is below one, lines do not go back, and once all is exchanged they have passed everything.
func TestLine(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4}
	if s, err := strconv.ParseUint(os.Getenv("PGPROXY_SEED"), 10, 64); err == nil {
		seeds = []uint64{s}
	} else if r, err := strconv.Atoi(os.Getenv("PGPROXY_ROUNDS")); err == nil {
		for s := range r {
			seeds = append(seeds, rand.Uint64()+uint64(s)%2)
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newLineWorld(t, seed)
			for range 600 {
				w.step()
			}
			beats := w.quiet()
			last := slices.MaxFunc(w.wrote, func(a, b *journal.Record) int { return journal.Order(a.HLC, a.ID, b.HLC, b.ID) })
			for _, n := range w.nodes {
				if n.j.Final() < last.HLC {
					t.Errorf("%s: final up to %s, the last transaction is of %s", n.o.Node, n.j.Final(), last.HLC)
				}
				for _, m := range n.j.Marks() {
					if m.Behind {
						t.Errorf("%s: %s is behind: %s", n.o.Node, m.Name, m.Mark)
					}
				}
			}
			if most := 8 * len(w.nodes); beats > most {
				t.Errorf("%d beats until it was silent, more than %d", beats, most)
			}
			w.wall.Add(int64(time.Hour))
			if w.quiet() > 0 {
				t.Error("an idle cluster beats")
			}
		})
	}
}
