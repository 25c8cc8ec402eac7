package capture

import (
	"testing"

	"pgproxy/test/harness"
)

// BenchmarkUpdate is what capture adds to a one-row UPDATE, the server's part left out.
func BenchmarkUpdate(b *testing.B) {
	s := harness.Postgres(b, harness.Major(0))
	t := newBench(b, s.DSN("postgres"))
	c := t.client()
	c.plain("CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84)); INSERT INTO pgbench_accounts VALUES (1, 1, 0, '')")
	st := t.parser.Parse("UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2").Statements[0]
	plan, err := c.session.Plan(b.Context(), st)
	if err != nil {
		b.Fatal(err)
	}
	r := c.conn.ExecParams(b.Context(), plan.Text, [][]byte{[]byte("5"), []byte("1")}, nil, nil, []int16{1}).Read()
	if r.Err != nil {
		b.Fatal(r.Err)
	}
	b.ReportAllocs()
	for b.Loop() {
		plan, err := c.session.Plan(b.Context(), st)
		if err != nil {
			b.Fatal(err)
		}
		e := c.session.Start(plan, st)
		if err := e.Row(r.Rows[0][0]); err != nil {
			b.Fatal(err)
		}
		tx := &TxState{}
		if _, err := e.Finish(b.Context(), tx, "UPDATE 1"); err != nil {
			b.Fatal(err)
		}
	}
}
