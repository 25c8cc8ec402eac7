package proxy_test

import (
	"slices"
	"testing"

	"pgproxy/journal"
	"pgproxy/proxy/capture"
	"pgproxy/test/harness"
)

// TestExcludedTable: writes to a table that is excluded run, and leave no record that a peer gets; those to others do.
func TestExcludedTable(t *testing.T) {
	pg := harness.Postgres(t)
	exec(t, pg, "postgres", "CREATE TABLE kept (id int PRIMARY KEY); CREATE TABLE excluded (id int PRIMARY KEY)")
	r := newRig(t, pg, func(r *rig) {
		r.options.Capturer = capture.New(capture.Options{Connect: r.options.Connect, Logger: r.options.Logger,
			Excluded: func(database, schema, table string) bool { return schema == "public" && table == "excluded" }})
		t.Cleanup(func() { _ = r.options.Capturer.Close() })
	})
	c := r.client("postgres")
	must(t, c, "INSERT INTO excluded VALUES (1)")
	must(t, c, "INSERT INTO kept VALUES (1)")
	must(t, c, "BEGIN")
	must(t, c, "INSERT INTO excluded VALUES (2)")
	must(t, c, "COMMIT")
	must(t, c, "WITH w AS (INSERT INTO excluded VALUES (3) RETURNING id) INSERT INTO kept SELECT id FROM w")
	if rows := exec(t, pg, "postgres", "SELECT count(*) FROM excluded"); rows[0][0] != "3" {
		t.Errorf("%s rows in the excluded table", rows[0][0])
	}
	records := slices.DeleteFunc(r.records(), func(it journal.Item) bool { return it.Record.Seq == 0 })
	if len(records) != 2 {
		t.Fatalf("%d records in the journal, expected those of the two writes to the other table", len(records))
	}
	await(t, "the audit knows of the others", func() bool { return len(r.records()) == 4 })
	for _, it := range records {
		for _, rel := range it.Record.Tx.Relations {
			if rel.Name != "kept" {
				t.Errorf("record %s has rows of %s", it.Record.ID, rel.Name)
			}
		}
	}
}
