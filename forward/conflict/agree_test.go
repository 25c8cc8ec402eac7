package conflict

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// town is the schema of the simulated authors. How its foreign keys act is drawn.
type town struct {
	team, person, note journal.Relation
	personTeam         byte // ON DELETE: c, a
	notePerson         byte // n, c, a
}

func newTown(personTeam, notePerson byte) *town {
	col := func(name string, notNull bool) journal.Column {
		return journal.Column{Name: name, Type: "text", NotNull: notNull}
	}
	w := &town{personTeam: personTeam, notePerson: notePerson}
	w.team = journal.Relation{Schema: "s", Name: "team", Key: []int{0}, Columns: []journal.Column{col("id", true), col("code", false),
		{Name: "n", Type: "integer"}}, Uniques: []journal.Unique{{Name: "code", Columns: []int{1}}}}
	w.person = journal.Relation{Schema: "s", Name: "person", Key: []int{0}, Columns: []journal.Column{col("id", true), col("team", false),
		col("email", true), col("nick", false), col("name", false)},
		Uniques:    []journal.Unique{{Name: "email", Columns: []int{2}}, {Name: "nick", Columns: []int{1, 3}}},
		References: []journal.Reference{{Name: "team", Columns: []int{1}, Schema: "s", Table: "team", Foreign: []string{"id"}, OnDelete: personTeam}}}
	w.person.Groups = [][]int{{1, 3}}
	w.note = journal.Relation{Schema: "s", Name: "note", Key: []int{0}, Columns: []journal.Column{col("id", true), col("person", false), col("text", false)},
		References: []journal.Reference{{Name: "person", Columns: []int{1}, Schema: "s", Table: "person", Foreign: []string{"id"}, OnDelete: notePerson}}}
	return w
}

func (w *town) relations() []journal.Relation { return []journal.Relation{w.team, w.person, w.note} }

// citizen is a node: what it has, and its database.
type citizen struct {
	id    journal.NodeID
	has   journal.Vector
	rows  map[journal.RowKey]Living
	cases []*Case
}

// village is a world of citizens.
type village struct {
	t     *rapid.T
	w     *town
	base  map[journal.RowKey]Living
	all   []*Case // in order of time
	nodes []*citizen
	rules Rules
	moves bool
}

func (v *village) agree(cases []*Case) Outcome {
	o, err := Agree(v.base, cases, &v.rules)
	if err != nil {
		v.t.Fatal(err)
	}
	return o
}

// work is a transaction that is being written, over the author's database.
type work struct {
	v    *village
	n    *citizen
	rows map[journal.RowKey]Living
	tx   *journal.Tx
}

func imageOf(l Living) []journal.Value {
	return image(found{l.Relation, &state{living: true, row: l.Row}})
}

func (k *work) draw(name string, max int) int { return rapid.IntRange(0, max).Draw(k.v.t, name) }

func (k *work) key(rel int, row []journal.Value) journal.RowKey {
	return k.tx.RowKey(&k.tx.Relations[rel], row)
}

func (k *work) of(rel int) []journal.RowKey {
	var out []journal.RowKey
	for key, l := range k.rows {
		if l.Relation.Name == k.tx.Relations[rel].Name {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

func (k *work) pick(rel int) (journal.RowKey, []journal.Value) {
	keys := k.of(rel)
	if len(keys) == 0 {
		return "", nil
	}
	key := keys[k.draw("row", len(keys)-1)]
	return key, imageOf(k.rows[key])
}

func (k *work) put(rel int, row []journal.Value) {
	l := Living{&k.tx.Relations[rel], Row{}}
	for i, v := range row {
		l.Row[l.Relation.Columns[i].Name] = v
	}
	k.rows[k.key(rel, row)] = l
}

// broken says what is wrong with a database.
func broken(rows map[journal.RowKey]Living) string {
	tx := &journal.Tx{}
	held := map[journal.RowKey]journal.RowKey{}
	for key, l := range rows {
		row := imageOf(l)
		held[key] = key
		for i := range l.Relation.Uniques {
			if k, ok := tx.UniqueKey(l.Relation, l.Relation.Uniques[i].Columns, row); ok {
				if o, two := held[k]; two {
					return fmt.Sprintf("%v and %v have one %s", l.Row, rows[o].Row, l.Relation.Uniques[i].Name)
				}
				held[k] = key
			}
		}
	}
	for _, l := range rows {
		for i := range l.Relation.References {
			if k, ok := tx.ReferenceKey(l.Relation, &l.Relation.References[i], imageOf(l)); ok && held[k] == "" {
				return fmt.Sprintf("%s %v refers to nobody", l.Relation.Name, l.Row)
			}
		}
	}
	return ""
}

// try does a step, and takes it back where the author's database would not have it.
func (k *work) try(step func() []journal.Change) {
	before := maps.Clone(k.rows)
	if changes := step(); len(changes) > 0 && broken(k.rows) == "" {
		k.tx.Statements = append(k.tx.Statements, journal.Statement{Changes: changes})
	} else {
		k.rows = before
	}
}

func (k *work) maybe(prefix string, max int) journal.Value {
	n := k.draw(prefix, max)
	if n == max {
		return journal.Null()
	}
	return journal.Text(fmt.Sprint(prefix, n))
}

func (k *work) fresh(rel int) []journal.Value {
	id := journal.Text(fmt.Sprint(k.draw("id", 4)))
	switch rel {
	case 0:
		return []journal.Value{id, k.maybe("code", 2), journal.Text("5")}
	case 1:
		team := journal.Null()
		if _, t := k.pick(0); t != nil && k.draw("in team", 3) > 0 {
			team = t[0]
		}
		return []journal.Value{id, team, journal.Text(fmt.Sprint("mail", k.draw("email", 3))), k.maybe("nick", 2), journal.Text("x")}
	}
	person := journal.Null()
	if _, p := k.pick(1); p != nil && k.draw("of person", 3) > 0 {
		person = p[0]
	}
	return []journal.Value{id, person, journal.Text("t")}
}

func (k *work) insert() []journal.Change {
	rel := k.draw("insert", 2)
	row := k.fresh(rel)
	if _, there := k.rows[k.key(rel, row)]; there {
		return nil
	}
	k.put(rel, row)
	c := journal.Change{Relation: rel, Op: journal.OpInsert, After: row}
	if k.draw("upsert", 5) == 0 {
		c.Upsert = []int{1 + k.draw("upsert column", len(row)-2)}
	}
	return []journal.Change{c}
}

func (k *work) change(rel int, before, after []journal.Value, cascade bool) []journal.Change {
	var set []int
	for i := range before {
		if before[i] != after[i] {
			set = append(set, i)
		}
	}
	if len(set) == 0 {
		return nil
	}
	delete(k.rows, k.key(rel, before))
	if _, there := k.rows[k.key(rel, after)]; there {
		return nil
	}
	k.put(rel, after)
	c := journal.Change{Relation: rel, Op: journal.OpUpdate, Before: before, After: after, Set: set, Cascade: cascade}
	if rel == 0 && slices.Equal(set, []int{2}) {
		c.Delta = []int{2}
	}
	return []journal.Change{c}
}

func (k *work) update() []journal.Change {
	rel := k.draw("update", 2)
	_, before := k.pick(rel)
	if before == nil {
		return nil
	}
	after := slices.Clone(before)
	new := k.fresh(rel)
	i := 1 + k.draw("column", len(after)-2)
	after[i] = new[i]
	if rel == 0 && i == 2 {
		d, _ := parseDecimal(before[2])
		e, _ := parseDecimal(journal.Text(fmt.Sprint(k.draw("delta", 3))))
		after[2] = journal.Text(d.add(e).String())
	}
	if i == len(after)-1 && rel > 0 {
		after[i] = journal.Text(fmt.Sprint("v", k.draw("value", 3)))
	}
	return k.change(rel, before, after, false)
}

func (k *work) move() []journal.Change {
	rel := k.draw("move", 2)
	_, before := k.pick(rel)
	if before == nil || !k.v.moves {
		return nil
	}
	after := slices.Clone(before)
	after[0] = k.fresh(rel)[0]
	return k.change(rel, before, after, false)
}

func (k *work) remove() []journal.Change {
	rel := k.draw("delete", 2)
	key, row := k.pick(rel)
	if row == nil {
		return nil
	}
	return k.cascade(rel, key, row, false)
}

// cascade deletes a row and does what its foreign keys do.
func (k *work) cascade(rel int, key journal.RowKey, row []journal.Value, cascade bool) []journal.Change {
	delete(k.rows, key)
	out := []journal.Change{{Relation: rel, Op: journal.OpDelete, Before: row, Cascade: cascade}}
	if rel == 2 {
		return out
	}
	act := k.v.w.personTeam
	if rel == 1 {
		act = k.v.w.notePerson
	}
	for _, ck := range k.of(rel + 1) {
		child := imageOf(k.rows[ck])
		if to, ok := k.tx.ReferenceKey(&k.tx.Relations[rel+1], &k.tx.Relations[rel+1].References[0], child); !ok || to != key {
			continue
		}
		switch act {
		case 'c':
			out = append(out, k.cascade(rel+1, ck, child, true)...)
		case 'n':
			less := slices.Clone(child)
			less[1] = journal.Null()
			out = append(out, k.change(rel+1, child, less, true)...)
		}
	}
	return out
}

// write lets a node make a transaction.
func (v *village) write(n *citizen) {
	k := &work{v: v, n: n, rows: maps.Clone(n.rows), tx: &journal.Tx{Relations: v.w.relations()}}
	for range rapid.IntRange(1, 3).Draw(v.t, "steps") {
		switch rapid.IntRange(0, 8).Draw(v.t, "step") {
		case 0, 1, 2:
			k.try(k.insert)
		case 3, 4, 5:
			k.try(k.update)
		case 6, 7:
			k.try(k.remove)
		case 8:
			k.try(k.move)
		}
	}
	if len(k.tx.Statements) == 0 {
		return
	}
	rec := &journal.Record{ID: journal.ID{Origin: n.id, Seq: n.has[n.id] + 1}, HLC: hlc.Time(len(v.all) + 1), Knew: n.has.Clone(), Kind: journal.KindTx, Tx: k.tx}
	c := NewCase(rec, Touches(rec))
	v.all = append(v.all, c)
	n.has[n.id]++
	n.cases = append(n.cases, c)
	v.settle(n)
}

// settle computes a node's database anew, and checks it.
func (v *village) settle(n *citizen) {
	n.rows = v.agree(n.cases).Rows
	if s := broken(n.rows); s != "" {
		v.t.Fatalf("%s has %s:%s", n.id, s, v.told(n.cases))
	}
}

// told writes transactions for a person.
func (v *village) told(cases []*Case) string {
	var b strings.Builder
	verdicts := v.agree(cases).Verdicts
	for _, c := range slices.SortedFunc(slices.Values(cases), orderCases) {
		fmt.Fprintf(&b, "\n%v %v knew %v", c.HLC, c.ID, c.Knew)
		for _, t := range c.Touches {
			fmt.Fprintf(&b, "\n  %d %s %c", t.Change.Place, t.Change.Relation.Name, t.Change.Op)
			for _, img := range [][]journal.Value{t.Change.Before, t.Change.After} {
				b.WriteString(" (")
				for _, x := range img {
					fmt.Fprint(&b, x.Data, ",")
				}
				b.WriteString(")")
			}
			fmt.Fprint(&b, " set ", t.Change.Set, map[bool]string{true: " cascade"}[t.Change.Cascade], map[bool]string{true: " moved"}[t.Change.Moved])
		}
		if w := verdicts[c.ID]; !w.Empty() {
			fmt.Fprintf(&b, "\n  => %+v", *w)
		}
	}
	return b.String()
}

// learn gives a node what another has, or a part of it with its causes.
func (v *village) learn(n, from *citizen) {
	up := from.has
	if len(from.cases) > 0 && rapid.IntRange(0, 2).Draw(v.t, "part") == 0 {
		c := from.cases[rapid.IntRange(0, len(from.cases)-1).Draw(v.t, "upto")]
		up = c.Knew.Clone()
		up[c.ID.Origin] = c.ID.Seq
	}
	for _, c := range v.all {
		if up.Covers(c.ID) && !n.has.Covers(c.ID) {
			n.cases = append(n.cases, c)
			n.has[c.ID.Origin] = c.ID.Seq
		}
	}
	v.settle(n)
}

func newVillage(t *rapid.T) *village {
	v := &village{t: t, w: newTown("ca"[rapid.IntRange(0, 1).Draw(t, "team action")], "nca"[rapid.IntRange(0, 2).Draw(t, "person action")]),
		base: map[journal.RowKey]Living{}, moves: rapid.Bool().Draw(t, "moves")}
	k := &work{v: v, rows: v.base, tx: &journal.Tx{Relations: v.w.relations()}}
	k.put(0, []journal.Value{journal.Text("0"), journal.Text("code0"), journal.Text("5")})
	k.put(1, []journal.Value{journal.Text("0"), journal.Text("0"), journal.Text("mail0"), journal.Text("nick0"), journal.Text("x")})
	k.put(2, []journal.Value{journal.Text("0"), journal.Text("0"), journal.Text("t")})
	for i := range rapid.IntRange(3, 5).Draw(t, "nodes") {
		v.nodes = append(v.nodes, &citizen{id: node(i + 1), has: journal.Vector{}, rows: v.base})
	}
	for range rapid.IntRange(1, 30).Draw(t, "events") {
		n := v.nodes[rapid.IntRange(0, len(v.nodes)-1).Draw(t, "who")]
		if rapid.IntRange(0, 3).Draw(t, "event") == 0 {
			v.learn(n, v.nodes[rapid.IntRange(0, len(v.nodes)-1).Draw(t, "from")])
		} else {
			v.write(n)
		}
	}
	return v
}

// TestConstraintsHold checks every unique and foreign key at every node all the time, with everything, and with any
// part of it that has its causes; and that the order in which transactions are given does not matter.
func TestConstraintsHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := newVillage(t)
		want := v.agree(v.all)
		if s := broken(want.Rows); s != "" {
			t.Fatalf("%s:%s", s, v.told(v.all))
		}
		for range 4 {
			part := rapid.SliceOfN(rapid.SampledFrom(append(slices.Clone(v.all), nil)), 1, 4).Draw(t, "part")
			has := journal.Vector{}
			for _, c := range part {
				if c != nil {
					for n, s := range c.Knew {
						has[n] = max(has[n], s)
					}
					has[c.ID.Origin] = max(has[c.ID.Origin], c.ID.Seq)
				}
			}
			some := slices.DeleteFunc(slices.Clone(v.all), func(c *Case) bool { return !has.Covers(c.ID) })
			if s := broken(v.agree(some).Rows); s != "" {
				t.Fatalf("%s:%s", s, v.told(some))
			}
		}
		mixed := rapid.Permutation(v.all).Draw(t, "mixed")
		got := v.agree(mixed)
		if d := differ(want, got); d != "" {
			t.Fatalf("mixed: %s:%s", d, v.told(v.all))
		}
	})
}

func differ(a, b Outcome) string {
	for id, v := range a.Verdicts {
		if !v.Equal(b.Verdicts[id]) {
			return fmt.Sprintf("%v: %+v and %+v", id, v, b.Verdicts[id])
		}
	}
	if len(a.Rows) != len(b.Rows) {
		return fmt.Sprintf("%d and %d rows", len(a.Rows), len(b.Rows))
	}
	for k, l := range a.Rows {
		if !maps.Equal(l.Row, b.Rows[k].Row) {
			return fmt.Sprintf("%v and %v", l.Row, b.Rows[k].Row)
		}
	}
	return ""
}
