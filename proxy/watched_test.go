package proxy_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"pgproxy/audit"
	"pgproxy/journal"
	"pgproxy/test/harness"
)

func policyOf(t *testing.T, s audit.PolicySettings) func(*rig) {
	t.Helper()
	p, err := audit.NewPolicy(s)
	if err != nil {
		t.Fatal(err)
	}
	return func(r *rig) { r.options.Audit = p }
}

// TestReadsOnRequest: reads, settings and maintenance are recorded if the policy says so, in both protocols: with text, parameters,
// rows, errors, what was skipped; what the policy leaves out is not.
func TestReadsOnRequest(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, policyOf(t, audit.PolicySettings{Classes: []string{"ALL"}, Exclude: []string{"class=READ table=quiet"}}))
	c := r.client("postgres")
	must(t, c, "CREATE TABLE rr (id int); CREATE TABLE quiet (id int); INSERT INTO rr VALUES (1), (2)")
	bothModes(t, r, func(name string, run func(string) error) {
		for _, x := range []struct{ sql, code string }{
			{"SELECT id AS " + name + "_a FROM rr", "<nil>"}, {"SELECT 1/0 AS " + name + "_b", "22012"}, {"SET work_mem = '4MB' /* */", "<nil>"},
			{"SELECT 1 AS " + name + "_c FROM quiet", "<nil>"}, {"VACUUM rr", "<nil>"},
		} {
			if err := run(x.sql); sqlstate(err) != x.code {
				t.Fatalf("%s: %v", x.sql, err)
			}
		}
		a, b := r.one(name+"_a"), r.one(name+"_b")
		if a.Class != journal.ClassRead || a.RowsAffected != 2 || a.Protocol.String() != name || len(a.Objects) == 0 || a.Objects[0].Name != "rr" {
			t.Errorf("%+v", a)
		}
		if b.SQLState != "22012" || b.Message != "division by zero" {
			t.Errorf("%+v", b)
		}
		if got, _ := r.recorded(name + "_c"); len(got) > 0 {
			t.Errorf("left out: %+v", got)
		}
	})
	await(t, "both settings", func() bool {
		s, _ := r.recorded("SET work_mem")
		return len(s) == 2 && s[0].Class == journal.ClassMiscSet
	})
	must(t, c, "SELECT id AS bound FROM rr WHERE id = $1", pgx.QueryExecModeExec, 2)
	if st := r.one("AS bound"); len(st.Params) != 1 || st.Params[0].Value != journal.Text("2") || st.RowsAffected != 1 {
		t.Errorf("%+v", st)
	}
	if _, err := c.PgConn().Exec(context.Background(), "SELECT 1 AS str_a; SELECT 1/0 AS str_b; SELECT 3 AS str_c").ReadAll(); sqlstate(err) != "22012" {
		t.Fatal(err)
	}
	for mark, want := range map[string]string{"str_a": "", "str_b": "22012", "str_c": "not executed"} {
		st := r.one(mark)
		got := st.SQLState
		if st.NotExecuted {
			got = "not executed"
		}
		if got != want || st.Parts != 3 {
			t.Errorf("%s: %q, part %d of %d", mark, got, st.Part, st.Parts)
		}
	}
	p := c.PgConn().StartPipeline(context.Background())
	for _, sql := range []string{"SELECT 1 AS pipe_a", "SELECT 1/0 AS pipe_b", "SELECT 3 AS pipe_c", "INSERT INTO rr VALUES (9) /* */ RETURNING id AS pipe_d"} {
		p.SendQueryParams(sql, nil, nil, nil, nil)
	}
	if err := p.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err == nil {
		t.Error("no error")
	}
	for mark, want := range map[string]string{"pipe_a": "", "pipe_b": "22012", "pipe_d": "not executed"} {
		st := r.one(mark)
		got := st.SQLState
		if st.NotExecuted {
			got = "not executed"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", mark, got, want)
		}
	}
	must(t, c, "BEGIN; INSERT INTO rr VALUES (77); SELECT 5 AS played; COMMIT")
	if st := r.one("played"); st.RowsAffected != 1 {
		t.Errorf("%+v", st)
	}
}

// TestReadsAreOffByDefault: nothing that did not write is recorded unasked; what stays local is, as a write.
func TestReadsAreOffByDefault(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, nil)
	bothModes(t, r, func(name string, run func(string) error) {
		for _, sql := range []string{"SELECT 1 AS " + name, "SET work_mem = '4MB'", "SHOW work_mem", "BEGIN", "SELECT 1 AS " + name, "COMMIT",
			"CREATE TEMP TABLE tt (v text)", "INSERT INTO tt VALUES ('" + name + " local')"} {
			if err := run(sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		if st := r.one(name + " local"); st.Class != journal.ClassWrite || len(st.Changes) != 0 {
			t.Errorf("%+v", st)
		}
	})
	for _, mark := range []string{"SELECT", "SET", "SHOW", "BEGIN"} {
		if got, _ := r.recorded(mark); len(got) > 0 {
			t.Errorf("%s: %+v", mark, got)
		}
	}
}

// TestBad23MaskedLiterals: notes, bad case 23: a statement that names a table with a masked column keeps its text without constants and
// its parameters without values, also when it fails; what the policy leaves out keeps its rows alone.
func TestBad23MaskedLiterals(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, policyOf(t, audit.PolicySettings{Mask: []string{"public.mk.iban=hash"}, Exclude: []string{"table=public.ex"}}))
	c := r.client("postgres")
	must(t, c, "CREATE TABLE mk (id int PRIMARY KEY, iban text)")
	must(t, c, "CREATE TABLE ex (id int PRIMARY KEY, v text)")
	must(t, c, "INSERT INTO mk VALUES (1, 'DE89370400440532013000')")
	must(t, c, "UPDATE mk SET iban = $1 WHERE iban = 'DE89370400440532013000'", pgx.QueryExecModeExec, "FR7630006000011234567890189")
	for _, sql := range []string{"INSERT INTO mk VALUES (1, 'DE89370400440532013000')", "UPDATE mk SET id = 'DE89370400440532013000'"} {
		if _, err := c.Exec(context.Background(), sql); err == nil {
			t.Fatal("no error")
		}
	}
	must(t, c, "INSERT INTO ex VALUES (1, 'left out')")
	await(t, "all statements", func() bool { return len(r.records()) >= 7 })
	seen, images, left := 0, 0, 0
	for _, it := range r.records() {
		if it.Record.Tx == nil {
			continue
		}
		for _, st := range it.Record.Tx.Statements {
			text := st.Query + st.Message
			for _, p := range st.Params {
				text += p.Value.Data
			}
			if strings.Contains(text, "DE89") || strings.Contains(text, "FR76") || strings.Contains(text, "left out") {
				t.Errorf("%+v", st)
			}
			if st.Redacted&journal.RedactedMask != 0 && strings.Contains(st.Query, "'***'") {
				seen++
			}
			if st.Redacted&journal.RedactedPolicy != 0 && st.Query == "" && len(st.Changes) == 1 {
				left++
			}
			if slices.ContainsFunc(st.Changes, func(c journal.Change) bool { return strings.HasPrefix(c.After[1].Data, "FR76") }) {
				images++
			}
		}
	}
	if seen != 4 || images != 1 || left != 1 {
		t.Errorf("%d masked statements, %d images for replication, %d left out", seen, images, left)
	}
}
