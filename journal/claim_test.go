package journal

import (
	"slices"
	"testing"
)

// TestClaimKeys shows that a reference and the row that it refers to meet under one key, and what the index knows a change by.
func TestClaimKeys(t *testing.T) {
	team := Relation{Schema: "s", Name: "team", Key: []int{0}, Columns: []Column{{Name: "id", Type: "numeric"}, {Name: "code", Type: "text"}},
		Uniques: []Unique{{Name: "code", Columns: []int{1}, Definition: "CREATE UNIQUE INDEX code ON s.team USING btree (code)"},
			{Name: "some", Columns: []int{1}, Definition: "CREATE UNIQUE INDEX some ON s.team USING btree (code) WHERE (id > 1)"}}}
	person := Relation{Schema: "s", Name: "person", Key: []int{0}, Columns: []Column{{Name: "no", Type: "integer"}, {Name: "team", Type: "numeric"}},
		References: []Reference{{Columns: []int{1}, Schema: "s", Table: "team", Foreign: []string{"id"}}}}
	tx := &Tx{Database: "d", Relations: []Relation{team, person}}
	row := tx.RowKey(&team, []Value{Text("1.0"), Text("x")})
	to, ok := tx.ReferenceKey(&person, &person.References[0], []Value{Text("7"), Text("1.00")})
	if !ok || to != row {
		t.Errorf("%q refers to %q, the row is %q", "person", to, row)
	}
	if _, ok := tx.ReferenceKey(&person, &person.References[0], []Value{Text("7"), Null()}); ok {
		t.Error("NULL refers to something")
	}
	if team.Uniques[1].Plain() || !team.Uniques[0].Plain() {
		t.Error("the predicate is not noticed")
	}
	value := func(s string) RowKey {
		k, _ := tx.UniqueKey(&team, []int{1}, []Value{Text("1"), Text(s)})
		return k
	}
	for _, c := range []struct {
		change Change
		want   []RowKey
	}{
		{Change{Op: OpInsert, After: []Value{Text("1"), Text("x")}}, []RowKey{value("x").Claimed()}},
		{Change{Op: OpUpdate, Before: []Value{Text("1"), Text("x")}, After: []Value{{Kind: ValueUnchanged}, Text("y")}, Set: []int{1}},
			[]RowKey{value("x").Claimed(), value("y").Claimed(), value("x").Released()}},
		{Change{Op: OpDelete, Before: []Value{Text("1"), Text("x")}}, []RowKey{value("x").Claimed(), value("x").Released(), row.Released()}},
		{Change{Relation: 1, Op: OpInsert, After: []Value{Text("7"), Text("1")}}, []RowKey{row.Referenced()}},
		{Change{Relation: 1, Op: OpUpdate, Before: []Value{Text("7"), Text("1")}, After: []Value{Text("8"), Text("1")}, Set: []int{0}},
			[]RowKey{row.Referenced(), tx.RowKey(&person, []Value{Text("7"), Null()}).Released()}},
	} {
		tx.Statements = []Statement{{Changes: []Change{c.change}}}
		slices.Sort(c.want)
		if got := tx.ClaimKeys(); !slices.Equal(got, c.want) {
			t.Errorf("%c of %d: %q, want %q", c.change.Op, c.change.Relation, got, c.want)
		}
	}
	if got := team.Closed([]int{0}); !slices.Equal(got, []int{0}) {
		t.Error(got)
	}
}
