package proxy_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/journal"
	"pgproxy/test/harness"
)

// triggerStatements is how many statements the oracle's workload has.
const triggerStatements = 2500

// triggerSchema are the tables of the workload.
const triggerSchema = `
CREATE TABLE acct (id int PRIMARY KEY, name text, bal numeric(12,2) CHECK (bal > -100000), ok bool, at timestamptz DEFAULT '2020-01-01 00:00:00+00', b bytea);
CREATE TABLE child (id int PRIMARY KEY, acct int REFERENCES acct ON DELETE CASCADE, note text);
CREATE TABLE kv (k text PRIMARY KEY, v text, n int DEFAULT 7);
CREATE TABLE part (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (50);
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (50) TO (1000);
GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;`

// classicTriggers audit every table as the classic recipe does.
const classicTriggers = `
CREATE SCHEMA audit;
CREATE TABLE audit.logged_actions (seq bigserial PRIMARY KEY, schema_name text, table_name text, user_name text, action text, original_data text, new_data text);
CREATE FUNCTION audit.log() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET timezone = 'UTC' SET datestyle = 'ISO' AS $$
BEGIN
	INSERT INTO audit.logged_actions (schema_name, table_name, user_name, action, original_data, new_data)
	VALUES (TG_TABLE_SCHEMA, TG_TABLE_NAME, session_user, left(TG_OP, 1), CASE WHEN TG_OP <> 'INSERT' THEN OLD::text END, CASE WHEN TG_OP <> 'DELETE' THEN NEW::text END);
	RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON acct FOR EACH ROW EXECUTE FUNCTION audit.log();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON child FOR EACH ROW EXECUTE FUNCTION audit.log();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON kv FOR EACH ROW EXECUTE FUNCTION audit.log();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON part_1 FOR EACH ROW EXECUTE FUNCTION audit.log();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON part_2 FOR EACH ROW EXECUTE FUNCTION audit.log();`

// TestOracleTriggers: issue 5, point 1: a seeded workload on a database with classic audit triggers on every table, and the same through
// pgproxy on one without. For every row, actions, users, old and new rows are the same in the same order; what was rolled back
// or failed, which no trigger could keep, stands in the journal and is marked.
func TestOracleTriggers(t *testing.T) {
	seed := harness.Seed(t)
	pg := harness.Postgres(t)
	for _, db := range []string{"classic", "proxied"} {
		exec(t, pg, "postgres", "CREATE DATABASE "+db)
		exec(t, pg, db, triggerSchema)
	}
	exec(t, pg, "classic", classicTriggers)
	r := newRig(t, pg, nil)
	w := &triggerWorkload{t: t, rand: harness.Rand(seed, 5), lost: map[string]string{}}
	for _, user := range []string{"ann", "bob", "cid", "Dörte"} {
		exec(t, pg, "postgres", fmt.Sprintf("CREATE ROLE %q LOGIN", user))
		dsn := strings.Replace(pg.DSN("classic"), "user=postgres", "user="+user, 1)
		host, port, _ := strings.Cut(r.addr, ":")
		w.pairs = append(w.pairs, [2]*pgconn.PgConn{connectAs(t, dsn), connectAs(t, fmt.Sprintf("host=%s port=%s user=%s dbname=proxied sslmode=disable", host, port, user))})
	}
	for w.count < triggerStatements {
		w.step()
	}
	want := map[string][]string{}
	for _, row := range exec(t, pg, "classic", `SELECT table_name, user_name, action, coalesce(original_data, '-'), coalesce(new_data, '-') FROM audit.logged_actions ORDER BY seq`) {
		k := rowOf(strings.TrimRight(row[0], "_12"), row[3], row[4])
		want[k] = append(want[k], strings.Join(row[1:], " | "))
	}
	var got map[string][]string
	await(t, "every outcome", func() bool {
		for _, it := range r.records() {
			if it.Outcome == journal.OutcomeUnknown {
				return false
			}
		}
		return true
	})
	got = r.actions()
	differ := 0
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if !slices.Equal(want[k], got[k]) {
			if differ++; differ < 5 {
				t.Errorf("%s\ntriggers: %s\njournal:  %s", k, strings.Join(want[k], "\n          "), strings.Join(got[k], "\n          "))
			}
		}
		delete(got, k)
	}
	for k := range got {
		t.Errorf("%s stands in the journal only: %q", k, got[k])
	}
	rows := 0
	for _, s := range want {
		rows += len(s)
	}
	w.checkLost(r)
	t.Logf("%d statements, %d row actions on %d rows, %d statements that no trigger saw", w.count, rows, len(want), len(w.lost))
	if rows < triggerStatements/4 || len(w.lost) < triggerStatements/20 {
		t.Error("the workload does too little")
	}
}

func connectAs(t *testing.T, dsn string) *pgconn.PgConn {
	t.Helper()
	c, err := pgconn.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// rowOf names the row by table and key: the first column of whichever image there is.
func rowOf(table, before, after string) string {
	row := before
	if row == "-" {
		row = after
	}
	key, _, _ := strings.Cut(strings.TrimPrefix(row, "("), ",")
	return table + " " + key
}

// actions gives the committed changes by row, in the journal's order.
func (r *rig) actions() map[string][]string {
	out := map[string][]string{}
	for _, it := range r.records() {
		tx := it.Record.Tx
		if tx == nil || it.Outcome != journal.OutcomeCommitted {
			continue
		}
		for _, st := range tx.Statements {
			if st.RolledBack || st.SQLState != "" || st.NotExecuted {
				continue
			}
			for _, c := range st.Changes {
				rel := tx.Relations[c.Relation]
				before, after := recordText(c.Before), recordText(c.After)
				k := rowOf(strings.TrimRight(rel.Name, "_12"), before, after)
				out[k] = append(out[k], strings.Join([]string{tx.User, string(c.Op), before, after}, " | "))
			}
		}
	}
	return out
}

// recordText writes a row as PostgreSQL writes a composite value.
func recordText(row []journal.Value) string {
	if row == nil {
		return "-"
	}
	var fields []string
	for _, v := range row {
		s := v.Data
		switch {
		case v.Kind == journal.ValueNull:
		case s == "", strings.ContainsAny(s, "(),\"\\ \t\n\r\v\f"):
			s = `"` + strings.NewReplacer(`"`, `""`, `\`, `\\`).Replace(s) + `"`
		}
		fields = append(fields, s)
	}
	return "(" + strings.Join(fields, ",") + ")"
}

// triggerWorkload does the same by each user on both sides.
type triggerWorkload struct {
	t      *testing.T
	rand   *rand.Rand
	pairs  [][2]*pgconn.PgConn
	count  int
	serial int
	lost   map[string]string // mark of a statement without effect to what it must be marked as
}

// both runs a statement on both sides, by a protocol drawn, and gives the SQLSTATE.
func (w *triggerWorkload) both(pair [2]*pgconn.PgConn, sql string) string {
	w.t.Helper()
	w.count++
	extended := w.rand.IntN(2) == 0
	var code [2]string
	for i, c := range pair {
		var err error
		switch {
		case strings.HasPrefix(sql, "COPY"):
			text, data, _ := strings.Cut(sql, "\x00")
			_, err = c.CopyFrom(context.Background(), strings.NewReader(data), text)
		case extended:
			err = c.ExecParams(context.Background(), sql, nil, nil, nil, nil).Read().Err
		default:
			_, err = c.Exec(context.Background(), sql).ReadAll()
		}
		code[i] = sqlstate(err)
	}
	if code[0] != code[1] {
		w.t.Fatalf("%s: directly %s, by pgproxy %s", sql, code[0], code[1])
	}
	return code[0]
}

// step runs one statement alone, or a block of some.
func (w *triggerWorkload) step() {
	pair := w.pairs[w.rand.IntN(len(w.pairs))]
	if w.rand.IntN(3) > 0 {
		sql, mark := w.statement()
		if code := w.both(pair, sql); code != "<nil>" {
			w.lost[mark] = code
		}
		return
	}
	w.both(pair, "BEGIN")
	end := "COMMIT"
	if w.rand.IntN(3) == 0 {
		end = "ROLLBACK"
	}
	var since []string // done since the savepoint
	var done []string
	saved := false
	for range 1 + w.rand.IntN(5) {
		sql, mark := w.statement()
		if !saved && w.rand.IntN(4) == 0 {
			w.both(pair, "SAVEPOINT s")
			saved = true
		}
		code := w.both(pair, sql)
		switch {
		case code != "<nil>" && saved:
			w.lost[mark] = code
			w.both(pair, "ROLLBACK TO s")
			w.rolledBack(since)
			since = nil
		case code != "<nil>":
			w.lost[mark] = code
			end = "ROLLBACK"
		case saved:
			since = append(since, mark)
		default:
			done = append(done, mark)
		}
		if code != "<nil>" && !saved {
			break
		}
	}
	w.both(pair, end)
	if end == "ROLLBACK" {
		w.rolledBack(append(done, since...))
	}
}

func (w *triggerWorkload) rolledBack(marks []string) {
	for _, m := range marks {
		w.lost[m] = "rolled back"
	}
}

// statement draws a statement; its mark stands in it and in no other.
func (w *triggerWorkload) statement() (sql, mark string) {
	w.serial++
	mark = fmt.Sprintf("m%dm", w.serial)
	id, from := w.rand.IntN(60), w.rand.IntN(50)
	text := []string{"NULL", "''", "'NULL'", "'it''s \"q\", (x) \\'", "'ünï'", "'plain'"}[w.rand.IntN(6)]
	switch w.rand.IntN(16) {
	case 0, 1, 2:
		sql = fmt.Sprintf("INSERT INTO acct (id, name, bal, ok, b) VALUES (%d, %s, %d.50, %v, '\\x00ff') ", id, text, w.rand.IntN(100), w.rand.IntN(2) == 0)
	case 3, 4:
		sql = fmt.Sprintf("UPDATE acct SET bal = bal - %d, name = %s WHERE id = %d ", w.rand.IntN(9), text, id)
	case 5:
		sql = fmt.Sprintf("UPDATE acct SET bal = bal + 1, at = at + interval '1 day' WHERE id BETWEEN %d AND %d ", from, from+5)
	case 6:
		sql = fmt.Sprintf("DELETE FROM acct WHERE id = %d ", id)
	case 7, 8:
		sql = fmt.Sprintf("INSERT INTO child VALUES (%d, %d, %s) ", id, w.rand.IntN(60), text)
	case 9:
		sql = fmt.Sprintf("INSERT INTO kv VALUES ('k%d', %s) ON CONFLICT (k) DO UPDATE SET v = excluded.v, n = kv.n + 1 ", id%9, text)
	case 10:
		sql = fmt.Sprintf("WITH gone AS (DELETE FROM kv WHERE k = 'k%d' RETURNING k, v) INSERT INTO part SELECT %d, v FROM gone ", id%9, id+w.rand.IntN(40))
	case 11:
		sql = fmt.Sprintf("UPDATE part SET v = %s WHERE id = %d ", text, id)
	case 12:
		sql = fmt.Sprintf("INSERT INTO kv SELECT 'x' || g, %s FROM generate_series(%d, %d) g ", text, id, id+2)
	case 13:
		return fmt.Sprintf("COPY /* %s */ child (id, note) FROM STDIN\x00%d\tcopied\n%d\t\\N\n", mark, 100+w.rand.IntN(300), 500+w.rand.IntN(300)), mark
	case 14:
		sql = fmt.Sprintf("UPDATE acct SET bal = bal / %d WHERE id = %d ", w.rand.IntN(2), id)
	default:
		sql = fmt.Sprintf("DELETE FROM kv USING child WHERE kv.n = child.id AND child.note IS NOT NULL AND child.id < %d ", from)
	}
	verb, rest, _ := strings.Cut(sql, " ")
	return verb + " /* " + mark + " */ " + rest, mark
}

// checkLost looks for what no trigger could keep.
func (w *triggerWorkload) checkLost(r *rig) {
	w.t.Helper()
	found := map[string]string{}
	for _, it := range r.records() {
		if it.Record.Tx == nil {
			continue
		}
		for _, st := range it.Record.Tx.Statements {
			_, rest, _ := strings.Cut(st.Query, "/* m")
			number, _, _ := strings.Cut(rest, "m */")
			how := "committed"
			switch {
			case st.SQLState != "":
				how = st.SQLState
			case st.RolledBack:
				how = "rolled back"
			}
			found["m"+number+"m"] = how
		}
	}
	missing := 0
	for mark, how := range w.lost {
		if found[mark] != how {
			if missing++; missing < 5 {
				w.t.Errorf("statement %s is %q, want %q", mark, found[mark], how)
			}
		}
	}
}
