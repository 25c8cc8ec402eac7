package apply

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// tiedSchema has unique keys and foreign keys of each kind.
const tiedSchema = `CREATE TABLE team (id int PRIMARY KEY, code text UNIQUE, n int);
CREATE TABLE person (id int PRIMARY KEY, team int REFERENCES team ON DELETE CASCADE, email text NOT NULL UNIQUE, nick text, name text, UNIQUE (team, nick));
CREATE TABLE remark (id int PRIMARY KEY, person int REFERENCES person, said text);`

var tied = []journal.Relation{
	{Schema: "public", Name: "team", Key: []int{0}, Columns: []journal.Column{{Name: "id", Type: "integer", NotNull: true},
		{Name: "code", Type: "text"}, {Name: "n", Type: "integer"}},
		Uniques: []journal.Unique{{Name: "team_code_key", Columns: []int{1}, Definition: "CREATE UNIQUE INDEX team_code_key ON public.team USING btree (code)"}}},
	{Schema: "public", Name: "person", Key: []int{0}, Columns: []journal.Column{{Name: "id", Type: "integer", NotNull: true},
		{Name: "team", Type: "integer"}, {Name: "email", Type: "text", NotNull: true}, {Name: "nick", Type: "text"}, {Name: "name", Type: "text"}},
		Uniques: []journal.Unique{{Name: "person_email_key", Columns: []int{2}, Definition: "CREATE UNIQUE INDEX person_email_key ON public.person USING btree (email)"},
			{Name: "person_team_nick_key", Columns: []int{1, 3}, Definition: "CREATE UNIQUE INDEX person_team_nick_key ON public.person USING btree (team, nick)"}},
		References: []journal.Reference{{Name: "person_team_fkey", Columns: []int{1}, Schema: "public", Table: "team", Foreign: []string{"id"}, OnDelete: 'c', OnUpdate: 'a'}}},
	{Schema: "public", Name: "remark", Key: []int{0}, Columns: []journal.Column{{Name: "id", Type: "integer", NotNull: true},
		{Name: "person", Type: "integer"}, {Name: "said", Type: "text"}},
		References: []journal.Reference{{Name: "remark_person_fkey", Columns: []int{1}, Schema: "public", Table: "person", Foreign: []string{"id"}, OnDelete: 'a', OnUpdate: 'a'}}},
}

// tiedTx is a transaction over the tied tables, with the changes found by comparing.
type tiedTx struct {
	n  *node
	tx *journal.Tx
}

func (n *node) tied() *tiedTx {
	n.exec("BEGIN")
	return &tiedTx{n, &journal.Tx{User: "u", Database: "app", Relations: tied}}
}

// tables reads all rows, by relation and key.
func (t *tiedTx) tables() []map[string][]journal.Value {
	var out []map[string][]journal.Value
	for _, rel := range tied {
		var cols []string
		for _, c := range rel.Columns {
			cols = append(cols, c.Name+"::text")
		}
		rows, err := t.n.c.Query(context.Background(), "SELECT "+strings.Join(cols, ", ")+" FROM "+rel.Name)
		if err != nil {
			t.n.w.t.Fatal(err)
		}
		m := map[string][]journal.Value{}
		for rows.Next() {
			var row []journal.Value
			for _, v := range rows.RawValues() {
				if v == nil {
					row = append(row, journal.Null())
				} else {
					row = append(row, journal.Text(string(v)))
				}
			}
			m[row[0].Data] = row
		}
		rows.Close()
		out = append(out, m)
	}
	return out
}

// do runs a statement, which the database may refuse, and records what it did. The change of a key is told by naming it.
func (t *tiedTx) do(sql string, args ...any) *tiedTx {
	t.n.w.t.Helper()
	ctx := context.Background()
	before := t.tables()
	t.n.exec("SAVEPOINT s")
	if _, err := t.n.c.Exec(ctx, sql, args...); err != nil {
		t.n.exec("ROLLBACK TO s")
		return t
	}
	after := t.tables()
	st := journal.Statement{Query: sql, Command: strings.Fields(sql)[0], Capture: journal.CaptureExact, RowsAffected: 1}
	var cascades []journal.Change
	for r := range tied {
		add := func(c journal.Change) {
			c.Relation = r
			if c.Cascade = !strings.Contains(sql, " "+tied[r].Name+" "); c.Cascade {
				cascades = append(cascades, c)
			} else {
				st.Changes = append(st.Changes, c)
			}
		}
		gone, come := [][]journal.Value{}, [][]journal.Value{}
		keys := map[string]bool{}
		for k := range before[r] {
			keys[k] = true
		}
		for k := range after[r] {
			keys[k] = true
		}
		for k := range keys {
			b, a := before[r][k], after[r][k]
			switch {
			case a == nil:
				gone = append(gone, b)
			case b == nil:
				come = append(come, a)
			case !slices.Equal(a, b):
				add(journal.Change{Op: journal.OpUpdate, Before: b, After: a, Set: differing(b, a), Delta: added(sql, r)})
			}
		}
		if len(gone) == 1 && len(come) == 1 && strings.HasPrefix(sql, "UPDATE") {
			add(journal.Change{Op: journal.OpUpdate, Before: gone[0], After: come[0], Set: differing(gone[0], come[0])})
			continue
		}
		for _, b := range gone {
			add(journal.Change{Op: journal.OpDelete, Before: b})
		}
		for _, a := range come {
			add(journal.Change{Op: journal.OpInsert, After: a})
		}
	}
	if st.Changes = append(st.Changes, cascades...); len(st.Changes) > 0 {
		t.tx.Statements = append(t.tx.Statements, st)
	}
	return t
}

func differing(b, a []journal.Value) (set []int) {
	for i := range b {
		if a[i] != b[i] {
			set = append(set, i)
		}
	}
	return set
}

func added(sql string, rel int) []int {
	if rel == 0 && strings.Contains(sql, "n = n +") {
		return []int{2}
	}
	return nil
}

func (t *tiedTx) commit() journal.ID {
	t.n.w.t.Helper()
	return (&tx{t.n, t.tx}).commit()
}

// tiedWorld makes nodes with the tied tables.
func tiedWorld(t testing.TB, major int, names ...string) *world {
	w := newWorld(t, major)
	for _, n := range names {
		w.node(n).exec(tiedSchema)
	}
	return w
}

func (n *node) dumpTied() string {
	n.w.t.Helper()
	var out strings.Builder
	for _, rel := range tied {
		rows, err := n.c.Query(context.Background(), "SELECT '"+rel.Name+"' || x::text FROM "+rel.Name+" x ORDER BY 1")
		if err != nil {
			n.w.t.Fatal(err)
		}
		for rows.Next() {
			fmt.Fprintln(&out, string(rows.RawValues()[0]))
		}
		rows.Close()
	}
	return out.String()
}

// soundTied checks the foreign keys, which nobody else does under session_replication_role=replica.
func (n *node) soundTied() {
	n.w.t.Helper()
	for _, q := range []string{"SELECT p::text FROM person p WHERE team IS NOT NULL AND NOT EXISTS (SELECT FROM team WHERE id = p.team)",
		"SELECT r::text FROM remark r WHERE person IS NOT NULL AND NOT EXISTS (SELECT FROM person WHERE id = r.person)"} {
		var orphan string
		if err := n.c.QueryRow(context.Background(), q).Scan(&orphan); err != pgx.ErrNoRows {
			n.w.t.Errorf("%s has %s without parent (%v)", n.name, orphan, err)
		}
	}
}

// convergeTied is converge for the tied tables.
func (w *world) convergeTied() string {
	w.t.Helper()
	w.converge()
	for _, n := range w.nodes {
		n.soundTied()
		if a, b := w.nodes[0].dumpTied(), n.dumpTied(); a != b {
			w.t.Fatalf("%s:\n%s\n%s:\n%s", w.nodes[0].name, a, n.name, b)
		}
	}
	return w.nodes[0].dumpTied()
}

// TestUniqueClash lets two nodes take one key apart: the first keeps it, everywhere; the other's row gives it up where it may
// be NULL, else its transaction is set aside, at its author's too, with what was built on it.
func TestUniqueClash(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := tiedWorld(t, major, "a", "b", "c")
		a, b := w.nodes[0], w.nodes[1]
		w.convergeTied()
		a.tied().do("INSERT INTO team VALUES (1, 'x', 1)").commit()
		b.tied().do("INSERT INTO team VALUES (2, 'x', 2)").commit()
		a.tied().do("INSERT INTO person VALUES (1, 1, 'bob', NULL, 'a')").commit()
		b.tied().do("INSERT INTO person VALUES (2, 2, 'bob', NULL, 'b')").do("INSERT INTO team VALUES (3, 'y', 3)").commit()
		b.tied().do("INSERT INTO remark VALUES (1, 2, 'about 2')").commit()
		b.tied().do("UPDATE team SET n = n + 5 WHERE id = 2").commit()
		if got := w.convergeTied(); got != "team(1,x,1)\nteam(2,,7)\nperson(1,1,bob,,a)\n" {
			t.Error(got)
		}
		for _, n := range w.nodes {
			waitFor(t, "the conflicts to be kept", func() bool { return fmt.Sprint(n.conflicts()) == "[reference/loser unique/unique unique/unique]" })
		}
	})
}

// TestParentDeletedUnderChild deletes a parent here and gives it a child there: the delete loses, with its cascade, in both
// orders of time.
func TestParentDeletedUnderChild(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		w := tiedWorld(t, major, "a", "b", "c")
		a, b := w.nodes[0], w.nodes[1]
		a.tied().do("INSERT INTO team VALUES (1, 'x', 1)").do("INSERT INTO team VALUES (2, 'y', 1)").
			do("INSERT INTO person VALUES (1, 1, 'm1', NULL, '1')").do("INSERT INTO person VALUES (2, 2, 'm2', NULL, '2')").commit()
		w.convergeTied()
		a.tied().do("DELETE FROM team WHERE id = 1").commit()
		b.tied().do("INSERT INTO person VALUES (3, 1, 'm3', NULL, '3')").do("INSERT INTO person VALUES (4, 2, 'm4', NULL, '4')").commit()
		a.tied().do("DELETE FROM team WHERE id = 2").do("INSERT INTO team VALUES (3, 'z', 1)").commit()
		if got := w.convergeTied(); got != "team(1,x,1)\nteam(2,y,1)\nteam(3,z,1)\nperson(1,1,m1,,1)\nperson(2,2,m2,,2)\nperson(3,1,m3,,3)\nperson(4,2,m4,,4)\n" {
			t.Error(got)
		}
	})
}

// writeTied makes a random transaction over the tied tables.
func (n *node) writeTied(r *rand.Rand) {
	t := n.tied()
	or := func(s string, null int) string {
		if r.IntN(null) == 0 {
			return "NULL"
		}
		return s
	}
	for range 1 + r.IntN(3) {
		id, other := r.IntN(5), r.IntN(5)
		switch r.IntN(12) {
		case 0, 1:
			t.do(fmt.Sprintf("INSERT INTO team VALUES (%d, %s, 5)", id, or(fmt.Sprintf("'c%d'", r.IntN(3)), 3)))
		case 2, 3, 4:
			t.do(fmt.Sprintf("INSERT INTO person VALUES (%d, %s, 'm%d', %s, '%s')", id, or(fmt.Sprint(other), 4), r.IntN(5), or(fmt.Sprintf("'k%d'", r.IntN(2)), 3), n.name))
		case 5:
			t.do(fmt.Sprintf("INSERT INTO remark VALUES (%d, %d, '%s')", id, other, n.name))
		case 6:
			t.do(fmt.Sprintf("UPDATE person SET name = '%s%d' WHERE id = %d", n.name, r.IntN(100), id))
		case 7:
			t.do(fmt.Sprintf("UPDATE person SET email = 'm%d', nick = %s WHERE id = %d", r.IntN(5), or("'k'", 2), id))
		case 8:
			t.do(fmt.Sprintf("UPDATE person SET team = %d WHERE id = %d", other, id))
		case 9:
			t.do(fmt.Sprintf("UPDATE team SET n = n + %d WHERE id = %d", r.IntN(4), id))
		case 10:
			t.do(fmt.Sprintf("DELETE FROM %s WHERE id = %d", []string{"team", "person", "remark"}[r.IntN(3)], id))
		case 11:
			t.do(fmt.Sprintf("UPDATE %s SET id = %d WHERE id = %d", []string{"team", "person", "remark"}[r.IntN(3)], id+5, id))
		}
	}
	t.commit()
}

// findings gives what is kept about transactions that the rules beyond one row judged.
func (n *node) findings() map[journal.ID]*conflict.Finding {
	n.w.t.Helper()
	rows, err := n.c.Query(context.Background(), "SELECT origin::text, seq::text, finding FROM pgproxy.finding")
	if err != nil {
		n.w.t.Fatal(err)
	}
	defer rows.Close()
	out := map[journal.ID]*conflict.Finding{}
	for rows.Next() {
		raw := rows.RawValues()
		id, err := parseID(raw[0], raw[1])
		if err != nil {
			n.w.t.Fatal(err)
		}
		if out[id], err = decodeFinding(raw[2]); err != nil {
			n.w.t.Fatal(err)
		}
	}
	return out
}

// plain makes a node apply as a role that owns the tables and is no superuser: triggers and foreign keys act there.
func (n *node) plain() {
	n.w.t.Helper()
	role := "plain_" + n.name
	n.exec(fmt.Sprintf("CREATE ROLE %[1]s LOGIN; ALTER DATABASE %[2]s OWNER TO %[1]s; GRANT ALL ON SCHEMA public TO %[1]s", role, n.name))
	for _, table := range []string{"item", "note", "team", "person", "remark"} {
		n.exec("ALTER TABLE " + table + " OWNER TO " + role)
	}
	o := n.options()
	o.Connect = func(ctx context.Context, _ string) (*pgconn.PgConn, error) {
		return pgconn.Connect(ctx, n.w.server.DSN(n.name)+" user="+role)
	}
	var err error
	if n.a, err = New(o); err != nil {
		n.w.t.Fatal(err)
	}
}

// TestRandomTiedWritesConverge lets three nodes write rows that are tied by unique and foreign keys, apart and exchanging at
// random; a fourth gets everything at the end. All end with equal tables, no constraint is broken, and nothing stops. One of
// them has no right to switch foreign keys off.
func TestRandomTiedWritesConverge(t *testing.T) {
	each(t, func(t *testing.T, major int) {
		r := seedOf(t)
		w := tiedWorld(t, major, "a", "b", "c")
		w.nodes[1].plain()
		w.convergeTied()
		for range 60 {
			n := w.nodes[r.IntN(len(w.nodes))]
			switch r.IntN(6) {
			case 0:
				n.send(w.nodes[r.IntN(len(w.nodes))])
			case 1:
				n.settled()
				n.soundTied()
			default:
				n.settled() // the hand-made capture cannot see an apply that is under way
				n.writeTied(r)
			}
		}
		w.convergeTied()
		if w.nodes[0].a.Status().Replica["app"] == w.nodes[1].a.Status().Replica["app"] {
			t.Error("foreign keys act at both nodes, or at none")
		}
		w.node("late").exec(tiedSchema)
		w.convergeTied()
		last := w.nodes[len(w.nodes)-1]
		t.Logf("conflicts: %d; %+v", len(last.conflicts()), last.a.Status().Counts)
	})
}
