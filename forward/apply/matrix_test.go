package apply

import (
	"fmt"
	"strings"
	"testing"

	"pgproxy/journal"
)

// case of the matrix of conflicts: what two nodes do apart, and what is left of it.
type matrixCase struct {
	name string
	// a's transaction comes first, then b's, then a's second one, in the global order; ids begin with the number of the case.
	a, b, again []string
	want        []string // rows afterwards, as the table's name and its text
	kind        string   // of the conflict that is told; "" for none of the rows' tables
	loser       string   // part of the loser's SQL
}

// start are the rows that each case begins with; # is the case's number.
const start = `INSERT INTO team VALUES (#1, 'x#1', 10)|INSERT INTO team VALUES (#2, 'x#2', 10)|INSERT INTO person VALUES (#1, #1, 'm#1', 'k#1', 'p')|INSERT INTO remark VALUES (#1, NULL, 's')`

func matrix() []matrixCase {
	return []matrixCase{
		{name: "insert/insert of one key: the newer wins", a: []string{"INSERT INTO team VALUES (#3, 'a#', 1)"}, b: []string{"INSERT INTO team VALUES (#3, 'b#', 2)"},
			want: []string{"team(#3,b#,2)"}, kind: "insert/insert", loser: "'a#'"},
		{name: "unique key of another row, may be NULL: the later gives it up", a: []string{"INSERT INTO team VALUES (#3, 'u#', 1)"}, b: []string{"INSERT INTO team VALUES (#4, 'u#', 2)"},
			want: []string{"team(#3,u#,1)", "team(#4,,2)"}, kind: "unique/unique", loser: "'u#'"},
		{name: "unique key of another row, NOT NULL: the later transaction is set aside",
			a: []string{"INSERT INTO person VALUES (#3, NULL, 'u#', NULL, 'a')"}, b: []string{"INSERT INTO person VALUES (#4, NULL, 'u#', NULL, 'b')", "UPDATE team SET n = 99 WHERE id = #1"},
			want: []string{"person(#3,,u#,,a)", "team(#1,x#1,10)"}, kind: "unique/unique", loser: "99"},
		{name: "update/update of different columns merges", a: []string{"UPDATE person SET name = 'a' WHERE id = #1"}, b: []string{"UPDATE person SET email = 'b#' WHERE id = #1"},
			want: []string{"person(#1,#1,b#,k#1,a)"}},
		{name: "update/update of one column: the newer wins", a: []string{"UPDATE person SET name = 'a' WHERE id = #1"}, b: []string{"UPDATE person SET name = 'b' WHERE id = #1"},
			want: []string{"person(#1,#1,m#1,k#1,b)"}, kind: "update/update", loser: "'a'"},
		{name: "update/update of deltas adds", a: []string{"UPDATE team SET n = n + 1 WHERE id = #1"}, b: []string{"UPDATE team SET n = n + 2 WHERE id = #1"},
			want: []string{"team(#1,x#1,13)"}},
		{name: "a later update outlives a delete", a: []string{"DELETE FROM remark WHERE id = #1"}, b: []string{"UPDATE remark SET said = 'b' WHERE id = #1"},
			want: []string{"remark(#1,,b)"}, kind: "delete/update", loser: "DELETE"},
		{name: "an earlier update falls with a delete", a: []string{"UPDATE remark SET said = 'a' WHERE id = #1"}, b: []string{"DELETE FROM remark WHERE id = #1"},
			kind: "update/delete", loser: "'a'"},
		{name: "delete/delete is one", a: []string{"DELETE FROM remark WHERE id = #1"}, b: []string{"DELETE FROM remark WHERE id = #1"}},
		{name: "a changed key gives way to a later change", a: []string{"UPDATE team SET id = #5 WHERE id = #2"}, b: []string{"UPDATE team SET n = 11 WHERE id = #2"},
			want: []string{"team(#2,x#2,11)"}, kind: "move/update", loser: "#5"},
		{name: "a changed key gives way to an earlier change", a: []string{"UPDATE team SET n = 11 WHERE id = #2"}, b: []string{"UPDATE team SET id = #5 WHERE id = #2"},
			want: []string{"team(#2,x#2,11)"}, kind: "move/update", loser: "#5"},
		{name: "a changed key gives way to a reference", a: []string{"UPDATE team SET id = #5 WHERE id = #2"}, b: []string{"INSERT INTO person VALUES (#3, #2, 'b#', NULL, 'b')"},
			want: []string{"team(#2,x#2,10)", "person(#3,#2,b#,,b)"}, kind: "move/reference", loser: "#5"},
		{name: "of two changed keys the first stands", a: []string{"UPDATE team SET id = #5 WHERE id = #2"}, b: []string{"UPDATE team SET id = #6 WHERE id = #2"},
			want: []string{"team(#5,x#2,10)"}, kind: "move/move", loser: "#6"},
		{name: "a delete loses to a later reference", a: []string{"DELETE FROM team WHERE id = #2", "INSERT INTO team VALUES (#7, NULL, 1)"}, b: []string{"INSERT INTO person VALUES (#3, #2, 'b#', NULL, 'b')"},
			want: []string{"team(#2,x#2,10)", "team(#7,,1)", "person(#3,#2,b#,,b)"}, kind: "delete/reference", loser: "DELETE"},
		{name: "a delete loses to an earlier reference", a: []string{"INSERT INTO person VALUES (#3, #2, 'a#', NULL, 'a')"}, b: []string{"DELETE FROM team WHERE id = #2"},
			want: []string{"team(#2,x#2,10)", "person(#3,#2,a#,,a)"}, kind: "delete/reference", loser: "DELETE"},
		{name: "with a delete its cascade loses", a: []string{"DELETE FROM team WHERE id = #1"}, b: []string{"INSERT INTO person VALUES (#3, #1, 'b#', NULL, 'b')"},
			want: []string{"team(#1,x#1,10)", "person(#1,#1,m#1,k#1,p)", "person(#3,#1,b#,,b)"}, kind: "delete/reference", loser: `DELETE FROM "public"."person"`},
		{name: "what a cascade took is needed: the delete above it loses", a: []string{"DELETE FROM team WHERE id = #1"}, b: []string{"UPDATE person SET name = 'b' WHERE id = #1"},
			want: []string{"team(#1,x#1,10)", "person(#1,#1,m#1,k#1,b)"}, kind: "delete/update", loser: `DELETE FROM "public"."team"`},
		{name: "what builds on a delete that lost is set aside", a: []string{"DELETE FROM team WHERE id = #2"}, b: []string{"INSERT INTO person VALUES (#3, #2, 'b#', NULL, 'b')"},
			again: []string{"INSERT INTO team VALUES (#8, 'x#2', 1)"}, want: []string{"team(#2,x#2,10)", "person(#3,#2,b#,,b)"}, kind: "unique/loser", loser: "#8"},
	}
}

// TestResolverMatrix does all cases of the matrix at once, apart, and looks at each afterwards, at a third node that got
// everything late, and at both that wrote.
func TestResolverMatrix(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := tiedWorld(t, major, "a", "b", "c")
		a, b := w.nodes[0], w.nodes[1]
		b.plain()
		do := func(n *node, i int, statements []string) {
			if len(statements) > 0 {
				tx := n.tied()
				for _, sql := range statements {
					tx.do(number(i, sql))
				}
				tx.commit()
			}
		}
		for i := range matrix() {
			do(a, i, strings.Split(start, "|"))
		}
		w.convergeTied()
		for i, c := range matrix() {
			do(a, i, c.a)
			do(b, i, c.b)
			do(a, i, c.again)
		}
		w.convergeTied()
		for i, c := range matrix() {
			t.Run(c.name, func(t *testing.T) { look(t, w, i, c) })
		}
	})
}

// number puts a case's number into SQL.
func number(i int, sql string) string { return strings.ReplaceAll(sql, "#", fmt.Sprint(i+11)) }

// look compares a case's rows and conflicts.
func look(t *testing.T, w *world, i int, c matrixCase) {
	rows := map[string]bool{}
	for _, line := range strings.Split(w.nodes[0].dumpTied(), "\n") {
		if strings.Contains(line, "("+number(i, "#")) {
			rows[line] = true
		}
	}
	for _, want := range c.want {
		if !rows[number(i, want)] {
			t.Errorf("there is no %s in %v", number(i, want), rows)
		}
	}
	if len(c.want) == 0 && rows["remark("+number(i, "#1")+",,s)"] {
		t.Error("the row is still there")
	}
	for _, n := range w.nodes {
		waitFor(t, fmt.Sprintf("%s to tell %q", n.name, c.kind), func() bool {
			told := n.told(number(i, "#"))
			if c.kind == "" {
				return len(told) == 0
			}
			for _, k := range told {
				if k.Kind == c.kind && strings.Contains(k.LoserSQL, number(i, c.loser)) && (k.Winner != journal.ID{} || strings.HasSuffix(k.Kind, "/loser")) {
					return true
				}
			}
			return false
		})
	}
}

// told gives the conflicts about rows whose key begins with a number.
func (n *node) told(number string) (out []journal.Conflict) {
	for c, err := range n.j.Conflicts() {
		if err != nil {
			n.w.t.Fatal(err)
		}
		if strings.HasPrefix(c.Key["id"], number) {
			out = append(out, c)
		}
	}
	return out
}
