package conflict

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

func node(i int) journal.NodeID { return journal.NodeID{15: byte(i)} }

var item = &journal.Relation{Schema: "public", Name: "item", Key: []int{0}, Groups: [][]int{{3, 4}}, Columns: []journal.Column{
	{Name: "id", Type: "integer"}, {Name: "name", Type: "text"}, {Name: "qty", Type: "integer"},
	{Name: "lo", Type: "numeric(6,2)"}, {Name: "hi", Type: "numeric(6,2)"}}}

func vals(id, name, qty, lo, hi string) []journal.Value {
	out := []journal.Value{}
	for _, s := range []string{id, name, qty, lo, hi} {
		out = append(out, journal.Text(s))
	}
	return out
}

type author struct {
	id   int
	seq  uint64
	knew journal.Vector
}

func (a *author) change(at hlc.Time, op journal.Op, before, after []journal.Value, set ...int) *Change {
	a.seq++
	k := a.knew.Clone()
	k[node(a.id)] = a.seq - 1
	return &Change{ID: journal.ID{Origin: node(a.id), Seq: a.seq}, HLC: at, Knew: k, Relation: item, Op: op, Before: before, After: after, Set: set}
}

func (a *author) learns(c *Change) {
	for n, s := range c.Knew {
		a.knew[n] = max(a.knew[n], s)
	}
	a.knew[c.ID.Origin] = max(a.knew[c.ID.Origin], c.ID.Seq)
}

func authors() (a, b *author) {
	return &author{id: 1, knew: journal.Vector{}}, &author{id: 2, knew: journal.Vector{}}
}

func fold(t testing.TB, check Check, changes ...*Change) Result {
	t.Helper()
	sorted := slices.Clone(changes)
	slices.SortFunc(sorted, Order)
	r, err := Fold(Base(sorted[0]), changes, check)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func want(t *testing.T, r Result, col, value string, kinds ...string) {
	t.Helper()
	if value == "" && r.Living {
		t.Errorf("row lives: %v", r.Row)
	}
	if value != "" && r.Row[col] != journal.Text(value) {
		t.Errorf("%s = %v, want %s (living %v)", col, r.Row[col], value, r.Living)
	}
	var got []string
	for _, d := range r.Decisions {
		got = append(got, d.Kind)
	}
	if !slices.Equal(got, kinds) {
		t.Errorf("decisions %v, want %v", got, kinds)
	}
}

func TestDisjointColumnsMerge(t *testing.T) {
	a, b := authors()
	base := vals("1", "x", "5", "1.00", "2.00")
	r := fold(t, nil, a.change(10, 'U', base, vals("1", "y", "5", "1.00", "2.00"), 1),
		b.change(11, 'U', base, vals("1", "x", "9", "1.00", "2.00"), 2))
	want(t, r, "name", "y")
	want(t, r, "qty", "9")
}

func TestSameColumnNewerWins(t *testing.T) {
	a, b := authors()
	base := vals("1", "x", "5", "1.00", "2.00")
	r := fold(t, nil, b.change(11, 'U', base, vals("1", "z", "5", "1.00", "2.00"), 1),
		a.change(10, 'U', base, vals("1", "y", "5", "1.00", "2.00"), 1))
	want(t, r, "name", "z", "update/update")
	if d := r.Decisions[0]; d.Winner.Origin != node(2) || d.Loser.Origin != node(1) || d.Columns[0] != "name" {
		t.Errorf("decision %+v", d)
	}
}

func TestKnownOverwriteIsSilent(t *testing.T) {
	a, b := authors()
	base := vals("1", "x", "5", "1.00", "2.00")
	first := a.change(10, 'U', base, vals("1", "y", "5", "1.00", "2.00"), 1)
	b.learns(first)
	want(t, fold(t, nil, first, b.change(11, 'U', first.After, vals("1", "z", "5", "1.00", "2.00"), 1)), "name", "z")
}

func delta(c *Change, cols ...int) *Change { c.Delta = cols; return c }

func TestDeltasSum(t *testing.T) {
	a, b := authors()
	base := vals("1", "x", "5", "1.00", "2.00")
	c1 := delta(a.change(10, 'U', base, vals("1", "x", "4", "1.00", "2.00"), 2), 2)
	c2 := delta(b.change(11, 'U', base, vals("1", "x", "3", "1.00", "2.00"), 2), 2)
	want(t, fold(t, nil, c1, c2), "qty", "2")
}

func TestDeltaOverSet(t *testing.T) {
	a, b := authors()
	base := vals("1", "x", "1", "1.00", "2.00")
	inc := delta(a.change(10, 'U', base, vals("1", "x", "2", "1.00", "2.00"), 2), 2)
	set := b.change(11, 'U', base, vals("1", "x", "5", "1.00", "2.00"), 2)
	want(t, fold(t, nil, inc, set), "qty", "5", "update/update")
	late := delta(a.change(12, 'U', inc.After, vals("1", "x", "3", "1.00", "2.00"), 2), 2)
	want(t, fold(t, nil, set, late, inc), "qty", "6", "update/update")
}

func atLeastZero(_ *journal.Relation, r Row) (bool, error) {
	d, ok := parseDecimal(r["qty"])
	return !ok || d.digits.Sign() >= 0, nil
}

func TestOversold(t *testing.T) {
	a, b := authors()
	base := vals("1", "x", "1", "1.00", "2.00")
	c1 := delta(a.change(10, 'U', base, vals("1", "x", "0", "1.00", "2.00"), 2), 2)
	c2 := delta(b.change(11, 'U', base, vals("1", "x", "0", "1.00", "2.00"), 2), 2)
	want(t, fold(t, atLeastZero, c2, c1), "qty", "0", "oversold")
}

func TestOverflowSetsAfterImage(t *testing.T) {
	a, b := authors()
	base := vals("1", "x", "2147483646", "1.00", "2.00")
	c1 := delta(a.change(10, 'U', base, vals("1", "x", "2147483647", "1.00", "2.00"), 2), 2)
	c2 := delta(b.change(11, 'U', base, vals("1", "x", "2147483647", "1.00", "2.00"), 2), 2)
	want(t, fold(t, nil, c2, c1), "qty", "2147483647", "oversold")
}

func TestDeleteLosesToLaterUnaware(t *testing.T) {
	a, b := authors()
	base := vals("1", "x", "5", "1.00", "2.00")
	del := a.change(10, 'D', base, nil)
	up := b.change(11, 'U', base, vals("1", "z", "5", "1.00", "2.00"), 1)
	want(t, fold(t, nil, up, del), "name", "z", "delete/update")
}

func TestEarlierUpdateFallsWithRow(t *testing.T) {
	a, b := authors()
	base := vals("1", "x", "5", "1.00", "2.00")
	up := b.change(10, 'U', base, vals("1", "z", "5", "1.00", "2.00"), 1)
	want(t, fold(t, nil, up, a.change(11, 'D', base, nil)), "name", "", "update/delete")
}

func TestInsertInsert(t *testing.T) {
	a, b := authors()
	c1 := a.change(10, 'I', nil, vals("1", "a", "5", "1.00", "2.00"))
	c2 := b.change(11, 'I', nil, vals("1", "b", "6", "1.00", "2.00"))
	r := fold(t, nil, c2, c1)
	want(t, r, "name", "b", "insert/insert")
	want(t, r, "qty", "6", "insert/insert")
}

func TestUpsertFoldsAsUpdate(t *testing.T) {
	a, b := authors()
	c1 := a.change(10, 'I', nil, vals("1", "a", "5", "1.00", "2.00"))
	c2 := b.change(11, 'I', nil, vals("1", "b", "6", "1.00", "2.00"))
	c2.Upsert = []int{2}
	r := fold(t, nil, c2, c1)
	want(t, r, "name", "a", "insert/update"[:0]+"insert/insert")
	want(t, r, "qty", "6", "insert/insert")
	c2.Delta = []int{2}
	want(t, fold(t, nil, c2, c1), "qty", "11")
}

func TestReinsertEndsOldLife(t *testing.T) {
	a, b := authors()
	base := vals("1", "x", "5", "1.00", "2.00")
	del := a.change(10, 'D', base, nil)
	b.learns(del)
	again := b.change(12, 'I', nil, vals("1", "new", "1", "1.00", "2.00"))
	want(t, fold(t, nil, again, del), "name", "new")
}

func TestUpdateOfNothing(t *testing.T) {
	a, b := authors()
	base := vals("1", "x", "5", "1.00", "2.00")
	del := a.change(10, 'D', base, nil)
	b.learns(del)
	want(t, fold(t, nil, b.change(12, 'U', base, vals("1", "n", "5", "1.00", "2.00"), 1), del), "", "", "update/missing")
}

func TestColumnsByName(t *testing.T) {
	a, b := authors()
	c1 := a.change(10, 'I', nil, vals("1", "a", "5", "1.00", "2.00"))
	wide := &journal.Relation{Schema: "public", Name: "item", Key: []int{1}, Columns: []journal.Column{
		{Name: "extra", Type: "text"}, {Name: "id", Type: "integer"}}}
	b.learns(c1)
	c2 := b.change(11, 'U', []journal.Value{journal.Null(), journal.Text("1")}, []journal.Value{journal.Text("e"), journal.Text("1")}, 0)
	c2.Relation = wide
	r := fold(t, nil, c1, c2)
	want(t, r, "extra", "e")
	want(t, r, "name", "a")
}

// world draws what several authors do to one row, each from what it has seen, and gives the changes.
func world(t *rapid.T) []*Change {
	type place struct {
		author
		seen []*Change
	}
	nodes := make([]*place, rapid.IntRange(2, 4).Draw(t, "nodes"))
	for i := range nodes {
		nodes[i] = &place{author: author{id: i + 1, knew: journal.Vector{}}}
	}
	base := Row{"id": journal.Text("1"), "name": journal.Text("x"), "qty": journal.Text("3"), "lo": journal.Text("1.00"), "hi": journal.Text("2.00")}
	if rapid.Bool().Draw(t, "empty") {
		base = nil
	}
	image := func(r Row) []journal.Value {
		out := make([]journal.Value, 5)
		for i, c := range item.Columns {
			out[i] = r[c.Name]
		}
		return out
	}
	var all []*Change
	for at := range rapid.IntRange(1, 24).Draw(t, "steps") {
		n := nodes[rapid.IntRange(0, len(nodes)-1).Draw(t, "who")]
		if rapid.IntRange(0, 2).Draw(t, "act") == 0 { // learn all of another node
			for _, c := range nodes[rapid.IntRange(0, len(nodes)-1).Draw(t, "from")].seen {
				if !slices.Contains(n.seen, c) {
					n.seen = append(n.seen, c)
				}
				n.learns(c)
			}
			continue
		}
		r, err := Fold(base, n.seen, atLeastZero)
		if err != nil {
			t.Fatal(err)
		}
		when, v := hlc.Time(at+1), func() string { return fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "v")) }
		var c *Change
		switch {
		case !r.Living:
			c = n.change(when, 'I', nil, vals("1", v(), v(), v()+".00", v()+".00"))
			if rapid.Bool().Draw(t, "upsert") {
				c.Upsert = []int{1, 2}
			}
		case rapid.IntRange(0, 4).Draw(t, "delete") == 0:
			c = n.change(when, 'D', image(r.Row), nil)
		default:
			before, after := image(r.Row), image(r.Row)
			i := rapid.IntRange(1, 3).Draw(t, "col")
			set := []int{i}
			if i == 3 {
				set = []int{3, 4}
				after[4] = journal.Text(v() + ".00")
			}
			after[i] = journal.Text(v())
			if i == 3 {
				after[i] = journal.Text(v() + ".00")
			}
			c = n.change(when, 'U', before, after, set...)
			if i == 2 && rapid.Bool().Draw(t, "delta") {
				c.Delta = []int{2}
			}
		}
		n.seen, all = append(n.seen, c), append(all, c)
	}
	return all
}

func TestArrivalOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := world(t)
		if len(all) == 0 {
			return
		}
		want := fold(t2(t), atLeastZero, all...)
		seed := rapid.Uint64().Draw(t, "seed")
		rnd := rand.New(rand.NewPCG(seed, 1))
		shuffled := slices.Clone(all)
		rnd.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if got := fold(t2(t), atLeastZero, shuffled...); !reflect.DeepEqual(got, want) {
			t.Fatalf("shuffled %+v, want %+v", got, want)
		}
		h := NewHistory()
		for i, c := range shuffled {
			h.Add(c, c)
			if rnd.IntN(2) == 0 {
				got, err := h.Result(atLeastZero)
				if err != nil {
					t.Fatal(err)
				}
				part := fold(t2(t), atLeastZero, shuffled[:i+1]...)
				if got.Living != part.Living || !reflect.DeepEqual(got.Row, part.Row) {
					t.Fatalf("incremental after %d: %+v, want %+v", i+1, got, part)
				}
			}
		}
		got, err := h.Result(atLeastZero)
		if err != nil {
			t.Fatal(err)
		}
		if got.Living != want.Living || !reflect.DeepEqual(got.Row, want.Row) {
			t.Fatalf("incremental %+v, want %+v", got, want)
		}
		fresh := NewHistory()
		fresh.Add(shuffled...)
		if got, _ := fresh.Result(atLeastZero); !reflect.DeepEqual(got.Row, want.Row) {
			t.Fatalf("at once %+v, want %+v", got, want)
		}
		sorted := slices.SortedFunc(slices.Values(all), Order)
		for _, f := range []*History{h, fresh} {
			if got := f.Decisions(sorted[0].ID); !reflect.DeepEqual(got, want.Decisions) {
				t.Fatalf("incremental decisions %+v, want %+v", got, want.Decisions)
			}
		}
	})
}

// t2 lets fold take a rapid.T.
func t2(t *rapid.T) testing.TB { return rapidTB{nil, t} }

type rapidTB struct {
	testing.TB
	t *rapid.T
}

func (r rapidTB) Helper()        {}
func (r rapidTB) Fatal(a ...any) { r.t.Fatal(a...) }

func TestLongHistory(t *testing.T) {
	a, b := authors()
	h, all := NewHistory(), []*Change{}
	base := vals("1", "x", "1000000", "1.00", "2.00")
	for i := range 500 {
		who := a
		if i%3 == 0 {
			who = b
		}
		all = append(all, delta(who.change(hlc.Time(10+i), 'U', base, vals("1", "x", "999999", "1.00", "2.00"), 2), 2))
	}
	for i := range all { // pairs the wrong way round
		h.Add(all[i^1])
		if _, err := h.Result(atLeastZero); err != nil {
			t.Fatal(err)
		}
	}
	r, err := h.Result(atLeastZero)
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, "qty", "999500")
}

func TestCountsDoNotDependOnOrder(t *testing.T) {
	a, b := authors()
	ins := Count{To: "x", Change: a.change(12, 'I', nil, nil)}
	d1 := Count{From: "x", Change: a.change(10, 'D', nil, nil)}
	d2 := Count{From: "x", To: "y", Change: b.change(11, 'U', nil, nil)}
	for range 2 {
		n, told := Counts(map[journal.RowKey]int{"x": 1}, []Count{ins, d2, d1})
		if n["x"] != 1 || n["y"] != 0 || len(told) != 1 || told[0].Kind != "update/missing" {
			t.Fatalf("counts %v %v", n, told)
		}
		ins, d2, d1 = d1, ins, d2
	}
}

func TestDecimal(t *testing.T) {
	for _, c := range [][4]string{{"1.50", "1.75", "10", "10.25"}, {"5", "4", "0", "-1"}, {"0.001", "0.002", "-1.0", "-0.999"},
		{"99999999999999999999", "100000000000000000000", "1", "2"}, {"1.00", "0.00", "1.00", "0.00"}} {
		step, ok := Difference(journal.Text(c[0]), journal.Text(c[1]))
		if !ok {
			t.Fatal(c)
		}
		x, _ := parseDecimal(journal.Text(c[2]))
		d, _ := parseDecimal(journal.Text(step))
		if got := x.add(d).String(); got != c[3] {
			t.Errorf("%v: %s", c, got)
		}
	}
	for _, bad := range []string{"", "NaN", "Infinity", "1e5", "-", ".", "--1", "1.2.3"} {
		if _, ok := parseDecimal(journal.Text(bad)); ok {
			t.Errorf("%q parsed", bad)
		}
	}
	for typ, n := range map[string]string{"smallint": "32768", "integer": "-2147483649", "bigint": "9223372036854775808", "numeric(4,2)": "100.00"} {
		if d, _ := parseDecimal(journal.Text(n)); d.fits(typ) {
			t.Errorf("%s fits %s", n, typ)
		}
	}
}

func FuzzDecimal(f *testing.F) {
	f.Add("1.50", "integer")
	f.Add("-0.01", "numeric(3,2)")
	f.Fuzz(func(t *testing.T, s, typ string) {
		d, ok := parseDecimal(journal.Text(s))
		if !ok {
			return
		}
		_ = d.fits(typ)
		again, ok := parseDecimal(journal.Text(d.String()))
		if !ok || again.sub(d).digits.Sign() != 0 {
			t.Fatalf("%q -> %s", s, d)
		}
	})
}

func TestTruncateEndsWhatIsOlder(t *testing.T) {
	a, b := authors()
	base := vals("1", "x", "5", "1.00", "2.00")
	end := a.change(10, 'D', nil, nil)
	end.Ends, end.Relation = true, nil
	up := b.change(11, 'U', base, vals("1", "z", "5", "1.00", "2.00"), 1)
	r := fold(t, nil, up, end)
	want(t, r, "name", "", "update/missing")
	early := b.change(9, 'I', nil, vals("1", "b", "6", "1.00", "2.00"))
	want(t, fold(t, nil, end, early), "name", "", "insert/truncate")
	late := b.change(12, 'I', nil, vals("1", "b", "6", "1.00", "2.00"))
	want(t, fold(t, nil, late, end), "name", "b")
	n, told := Counts(map[journal.RowKey]int{"x": 4}, []Count{{To: "x", Change: late}, {Change: end}, {To: "y", Change: early}})
	if n["x"] != 1 || n["y"] != 0 || len(told) != 1 || told[0].Kind != "insert/truncate" {
		t.Errorf("counts %v %v", n, told)
	}
}
