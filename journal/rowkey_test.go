package journal_test

import (
	"slices"
	"testing"

	"pgproxy/journal"
)

func TestRowKey(t *testing.T) {
	rel := func(typ string) *journal.Relation {
		return &journal.Relation{Schema: "s", Name: "t", Columns: []journal.Column{{Name: "k", Type: typ}, {Name: "v", Type: "text"}}, Key: []int{0}}
	}
	row := func(k, v string) []journal.Value { return []journal.Value{journal.Text(k), journal.Text(v)} }
	tx := &journal.Tx{Database: "d"}
	for _, c := range []struct {
		typ, a, b string
		same      bool
	}{
		{"integer", "1", "1", true}, {"integer", "1", "2", false}, {"integer", "10", "1", false}, {"numeric(10,2)", "1.50", "1.5", true},
		{"numeric", "100", "1", false}, {"numeric", "1.0", "1", true}, {"numeric", "0.00", "0", true}, {"character(5)", "a  ", "a", true}, {"text", "a ", "a", false}, {"real", "-0", "0", true},
		{"text", "1.0", "1", false},
	} {
		if got := tx.RowKey(rel(c.typ), row(c.a, "x")) == tx.RowKey(rel(c.typ), row(c.b, "y")); got != c.same {
			t.Errorf("%s %q and %q: same row %v", c.typ, c.a, c.b, got)
		}
	}
	r := rel("text")
	null := []journal.Value{journal.Null(), journal.Text("x")}
	if tx.RowKey(r, null) == tx.RowKey(r, row("", "x")) {
		t.Error("NULL and the empty string are one key")
	}
	turned := &journal.Relation{Schema: "s", Name: "t", Columns: []journal.Column{r.Columns[1], r.Columns[0]}, Key: []int{1}}
	if tx.RowKey(r, row("1", "x")) != tx.RowKey(turned, row("y", "1")) {
		t.Error("the order of columns is in the key")
	}
	keyless := &journal.Relation{Schema: "s", Name: "t", Columns: r.Columns}
	if tx.RowKey(keyless, row("1", "x")) == tx.RowKey(keyless, row("1", "y")) {
		t.Error("two rows of a table without key are one")
	}
	if other := (&journal.Tx{Database: "e"}); tx.RowKey(r, row("1", "x")) == other.RowKey(r, row("1", "x")) {
		t.Error("rows of two databases are one")
	}
}

func TestRowKeys(t *testing.T) {
	tx := update(1, "ann")
	moved := tx.Statements[0]
	moved.Changes = []journal.Change{{Op: journal.OpUpdate, Before: tx.Statements[0].Changes[0].Before,
		After: []journal.Value{journal.Text("2"), journal.Null(), journal.Null()}}}
	undone, failed := moved, moved
	undone.Changes = []journal.Change{{Op: journal.OpInsert, After: []journal.Value{journal.Text("3"), journal.Null(), journal.Null()}}}
	failed.Changes = undone.Changes
	undone.RolledBack, failed.SQLState = true, "23505"
	tx.Statements = append(tx.Statements, moved, undone, failed)
	key := func(id string) journal.RowKey {
		return tx.RowKey(&account, []journal.Value{journal.Text(id), journal.Null(), journal.Null()})
	}
	if got := tx.RowKeys(); !slices.Equal(got, []journal.RowKey{key("1"), key("2")}) {
		t.Errorf("%q", got)
	}
}
