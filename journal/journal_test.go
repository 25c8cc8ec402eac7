package journal_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/journaltest"
)

// account is the table that most tests write to.
var account = journal.Relation{
	Schema: "public", Name: "account",
	Columns: []journal.Column{{Name: "id", Type: "integer", NotNull: true}, {Name: "owner", Type: "text"}, {Name: "balance", Type: "numeric"}},
	Key:     []int{0},
}

// update is a transaction that changes one row of account.
func update(id int, user string) *journal.Tx {
	row := func(balance string) []journal.Value {
		return []journal.Value{journal.Text(fmt.Sprint(id)), journal.Text("o"), journal.Text(balance)}
	}
	return &journal.Tx{
		Marker: [16]byte{byte(id), byte(id >> 8), 1}, Start: time.Unix(1700000000, 5).UTC(), End: time.Unix(1700000001, 0).UTC(),
		User: user, Database: "bank", Application: "psql", Client: "local", Session: 3, XID: 700,
		Relations: []journal.Relation{account},
		Statements: []journal.Statement{{
			Query: "UPDATE account SET balance = balance - 1 WHERE id = $1", Command: "UPDATE", Role: user,
			Params: []journal.Param{{Type: "integer", Value: journal.Text(fmt.Sprint(id))}},
			Tables: []string{"public.account"}, Capture: journal.CaptureExact, RowsAffected: 1,
			Changes: []journal.Change{{Op: journal.OpUpdate, Before: row("10"), After: row("9"), Set: []int{2}, Delta: []int{2}}},
		}},
	}
}

func seal(t testing.TB, j *journal.Journal, tx *journal.Tx) *journal.Intent {
	t.Helper()
	in, err := j.Seal(context.Background(), tx)
	if err != nil {
		t.Fatalf("seal: %v", err)
	}
	return in
}

func commit(t testing.TB, j *journal.Journal, tx *journal.Tx) *journal.Intent {
	t.Helper()
	in := seal(t, j, tx)
	if err := in.Commit(); err != nil {
		t.Fatalf("commit: %v", err)
	}
	return in
}

func abort(t testing.TB, in *journal.Intent, reason string) {
	t.Helper()
	if err := in.Abort(reason); err != nil {
		t.Fatalf("abort: %v", err)
	}
}

func all(t testing.TB, r journal.Reader, f journal.Filter) []journal.Item {
	t.Helper()
	var items []journal.Item
	for it, err := range r.Scan(f) {
		if err != nil {
			t.Fatalf("scan: %v", err)
		}
		items = append(items, it)
	}
	return items
}

// pull stores in "to" everything that "from" has and it lacks.
func pull(t testing.TB, to, from *journal.Journal) {
	t.Helper()
	for {
		recs, err := from.After(to.Stored(), 1<<16)
		if err != nil {
			t.Fatalf("after: %v", err)
		}
		if len(recs) == 0 {
			return
		}
		stage := to.Stage()
		for _, r := range recs {
			if err := errors.Join(from.Pieces(r, stage.Add), stage.Complete(r)); err != nil {
				t.Fatalf("take in images: %v", err)
			}
		}
		if err := to.Store(context.Background(), recs); err != nil {
			t.Fatalf("store: %v", err)
		}
	}
}

func TestLifeOfAWrite(t *testing.T) {
	dir := t.TempDir()
	j := journaltest.Open(t, journal.Options{Dir: dir, Node: "a"})
	first := commit(t, j, update(1, "ann"))
	second := seal(t, j, update(1, "bob"))
	third := commit(t, j, update(2, "cid"))
	if got := j.Stored()[j.Identity().Node]; got != 1 {
		t.Errorf("published %d, want 1: the second has no outcome yet", got)
	}
	err := j.Gate(func(g *journal.Gate) error {
		tx := update(1, "x")
		refs := g.Changes(tx.RowKeys()[0])
		if len(refs) != 2 || refs[0].ID != first.ID() || refs[0].Outcome != journal.OutcomeCommitted ||
			refs[1].ID != second.ID() || refs[1].Outcome != journal.OutcomeUnknown {
			t.Errorf("changes of row 1: %+v", refs)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	abort(t, second, "deadlock")
	if got := j.Stored()[j.Identity().Node]; got != 3 {
		t.Errorf("published %d, want 3", got)
	}
	recs, err := j.After(nil, 1<<20)
	if err != nil || len(recs) != 3 {
		t.Fatalf("after: %d records, %v", len(recs), err)
	}
	if recs[0].Void() || !recs[1].Void() || recs[2].Void() {
		t.Errorf("void: %v %v %v", recs[0].Void(), recs[1].Void(), recs[2].Void())
	}
	it, err := j.Get(second.ID())
	if err != nil || it.Outcome != journal.OutcomeAborted || it.Record.Tx.User != "bob" {
		t.Errorf("get: %+v, %v", it, err)
	}
	if r, err := j.Record(second.ID()); err != nil || r.Kind != journal.KindVoid || r.Tx != nil {
		t.Errorf("record of the aborted one: %+v, %v", r, err)
	}
	if r, err := j.Record(third.ID()); err != nil || !r.Aware(second.ID()) || r.Tx.User != "cid" {
		t.Errorf("record: %+v, %v", r, err)
	}
	if s := j.Stats(); s.Transactions != 2 && s.Records != 3 {
		t.Errorf("stats: %+v", s)
	}
}

func TestRecordsTravelAndComeBack(t *testing.T) {
	a := journaltest.Open(t, journal.Options{Node: "a"})
	b := journaltest.Open(t, journal.Options{Node: "b"})
	c := journaltest.Open(t, journal.Options{Node: "c"})
	for i := range 20 {
		in := seal(t, a, update(i, "ann"))
		if i%3 == 0 {
			abort(t, in, "no")
		} else if err := in.Commit(); err != nil {
			t.Fatal(err)
		}
		commit(t, b, update(i, "bob"))
		if i%5 == 0 {
			pull(t, b, a)
		}
	}
	pull(t, b, a)
	pull(t, c, b) // c never sees a
	pull(t, a, c)
	for _, j := range []*journal.Journal{a, b, c} {
		v := j.Stored()
		if v[a.Identity().Node] != 20 || v[b.Identity().Node] != 20 {
			t.Errorf("stored: %v", v)
		}
	}
	x, _ := a.After(nil, 1<<30)
	y, _ := c.After(nil, 1<<30)
	seen := map[journal.ID]journal.Raw{}
	for _, r := range x {
		seen[r.ID] = r
	}
	for _, r := range y {
		if !seen[r.ID].Equal(r) {
			t.Errorf("record %s is not the same after its travel", r.ID)
		}
	}
	if len(x) != 40 || len(y) != 40 {
		t.Errorf("%d and %d records", len(x), len(y))
	}
}

func TestOpenFindsDoubt(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a"})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, j, update(1, "ann"))
	lost := seal(t, j, update(2, "bob"))
	commit(t, j, update(3, "cid"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = journaltest.Open(t, journal.Options{Dir: dir, Node: "a"})
	doubt := j.InDoubt()
	if len(doubt) != 1 || doubt[0].ID() != lost.ID() || doubt[0].Marker() != lost.Marker() {
		t.Fatalf("in doubt: %v", doubt)
	}
	if got := j.Stored()[j.Identity().Node]; got != 1 {
		t.Errorf("published %d, want 1", got)
	}
	if err := doubt[0].Commit(); err != nil {
		t.Fatal(err)
	}
	if got := j.Stored()[j.Identity().Node]; got != 3 {
		t.Errorf("published %d, want 3", got)
	}
	if got := j.Identity().Incarnation; got != 2 {
		t.Errorf("incarnation %d", got)
	}
}
