package proxy_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/journal"
	"pgproxy/test/harness"
)

// TestControlInsidePipelines sends transaction control and writes in one segment with one Sync: what is committed must be
// in the journal as committed, and nothing else.
func TestControlInsidePipelines(t *testing.T) {
	for _, major := range harness.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			pg := harness.Postgres(t, harness.Major(major))
			r := newRig(t, pg, nil)
			exec(t, pg, "postgres", "CREATE TABLE p (id int PRIMARY KEY)")
			ctx := context.Background()
			conn, err := pgconn.Connect(ctx, "postgres://postgres@"+r.addr+"/postgres?sslmode=disable")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(ctx) }()
			segments := []struct {
				name   string
				cycles [][]string // each ends with a Sync
				kept   []int
			}{
				{"block over a sync", [][]string{{"BEGIN", "+1"}, {"+2", "COMMIT"}}, []int{1, 2}},
				{"block over a sync, rolled back", [][]string{{"BEGIN", "+3"}, {"+4", "ROLLBACK"}}, nil},
				{"write behind COMMIT", [][]string{{"BEGIN"}, {"+5", "COMMIT", "+6"}}, []int{5, 6}},
				{"write behind an empty COMMIT", [][]string{{"BEGIN"}, {"COMMIT", "+7"}}, []int{7}},
				{"write behind ROLLBACK", [][]string{{"BEGIN"}, {"+8", "ROLLBACK", "+9"}}, []int{9}},
				{"write behind ROLLBACK of a failed block", [][]string{{"BEGIN"}, {"SELECT 1/0"}, {"ROLLBACK", "+10"}}, []int{10}},
				{"chain", [][]string{{"BEGIN"}, {"+11", "COMMIT AND CHAIN", "+12"}, {"ROLLBACK"}}, []int{11}},
				{"saved from a failure", [][]string{{"BEGIN", "+13", "SAVEPOINT s"}, {"SELECT 1/0"}, {"ROLLBACK TO s", "COMMIT"}}, []int{13}},
				{"saved from a failure, then more", [][]string{{"BEGIN", "+14", "SAVEPOINT s", "+15"}, {"SELECT 1/0"},
					{"ROLLBACK TO s", "+16", "COMMIT"}}, []int{14, 16}},
				{"two blocks in one", [][]string{{"BEGIN", "+17", "COMMIT", "BEGIN", "+18", "COMMIT"}}, []int{17, 18}},
			}
			var kept []int
			for _, s := range segments {
				for _, cycle := range s.cycles {
					runPipeline(t, conn, cycle)
				}
				if got := conn.TxStatus(); got != 'I' {
					t.Errorf("%s: status %c afterwards", s.name, got)
				}
				kept = append(kept, s.kept...)
			}
			var inTable []int
			for _, row := range exec(t, pg, "postgres", "SELECT id FROM p ORDER BY id") {
				var id int
				if _, err := fmt.Sscan(row[0], &id); err != nil {
					t.Fatal(err)
				}
				inTable = append(inTable, id)
			}
			if !slices.Equal(inTable, kept) {
				t.Errorf("in the table: %v, want %v", inTable, kept)
			}
			if got := r.journaledIDs(); !slices.Equal(got, kept) {
				t.Errorf("committed in the journal: %v, want %v", got, kept)
			}
		})
	}
}

// runPipeline runs one segment; its errors are part of the play.
func runPipeline(t *testing.T, conn *pgconn.PgConn, cycle []string) {
	t.Helper()
	p := conn.StartPipeline(context.Background())
	for _, sql := range cycle {
		if sql[0] == '+' {
			sql = "INSERT INTO p VALUES (" + sql[1:] + ")"
		}
		p.SendQueryParams(sql, nil, nil, nil, nil)
	}
	if err := p.Sync(); err != nil {
		t.Fatal(err)
	}
	for {
		res, err := p.GetResults()
		if _, ok := res.(*pgconn.PipelineSync); ok {
			break
		}
		if rr, ok := res.(*pgconn.ResultReader); ok {
			_, _ = rr.Close()
		}
		if err == nil && res == nil {
			break
		}
	}
	if err := p.Close(); err != nil {
		t.Logf("%v: %v", cycle, err)
	}
}

// journaledIDs gives the keys of the rows that the journal holds as committed, in order.
func (r *rig) journaledIDs() []int {
	r.t.Helper()
	var ids []int
	for _, it := range r.records() {
		if it.Record.Tx == nil || it.Outcome != journal.OutcomeCommitted {
			continue
		}
		for _, st := range it.Record.Tx.Statements {
			if st.RolledBack {
				continue
			}
			for _, c := range st.Changes {
				var id int
				if _, err := fmt.Sscan(c.After[0].Data, &id); err != nil {
					r.t.Fatal(err)
				}
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}
