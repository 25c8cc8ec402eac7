package audit

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"pgproxy/journal"
)

func collect(t *testing.T, q Query, r journal.Reader) string {
	t.Helper()
	var ids []string
	for tx, err := range q.Run(r) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, tx.ID())
	}
	return strings.Join(ids, " ")
}

func sample() *fakeReader {
	r := &fakeReader{}
	r.add(&journal.Record{ID: journal.ID{Origin: nodeA, Seq: 1}, Kind: journal.KindMember, Member: &journal.Member{Name: "a"}}, journal.OutcomeCommitted)
	r.add(txRecord(nodeA, 2), journal.OutcomeCommitted)
	r.add(&journal.Record{ID: journal.ID{Origin: nodeB, Seq: 1}, Kind: journal.KindBeat}, journal.OutcomeCommitted)
	r.add(txRecord(nodeB, 2), journal.OutcomeCommitted)
	r.add(txRecord(nodeA, 0), journal.OutcomeAborted)
	return r
}

func TestQueryCountsOnlyWhatItShows(t *testing.T) {
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{}, "a/- b/2 a/2"},
		{Query{Filter: journal.Filter{Forward: true}}, "a/2 b/2 a/-"},
		{Query{Filter: journal.Filter{Limit: 2}}, "a/- b/2"},
		{Query{Filter: journal.Filter{Limit: 2, After: 4}}, "a/2"},
		{Query{All: true}, "a/- b/2 b/1 a/2 a/1"},
	} {
		if got := collect(t, c.q, sample()); got != c.want {
			t.Errorf("%+v gives %q, want %q", c.q, got, c.want)
		}
	}
}

func TestQueryStopsAtError(t *testing.T) {
	r := sample()
	r.err = journal.ErrDamaged
	var last error
	n := 0
	for _, err := range (Query{}).Run(r) {
		n++
		last = err
	}
	if n != 4 || !errors.Is(last, journal.ErrDamaged) {
		t.Errorf("%d items, last error %v", n, last)
	}
}

func TestGet(t *testing.T) {
	r := sample()
	if tx, err := Get(r, "b/2"); err != nil || tx.ID() != "b/2" {
		t.Errorf("b/2: %v %v", tx.ID(), err)
	}
	if tx, err := Get(r, nodeB.String()+"/2"); err != nil || tx.ID() != "b/2" {
		t.Errorf("by id: %v %v", tx.ID(), err)
	}
	for id, want := range map[string]string{
		"b": "write ORIGIN/SEQ", "b/x": "write ORIGIN/SEQ", "b/0": "write ORIGIN/SEQ", "z/1": "it knows: a, b", "b/9": "no such record",
	} {
		if _, err := Get(r, id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", id, err, want)
		}
	}
}

func TestFollow(t *testing.T) {
	r := sample()
	ctx, cancel := context.WithCancel(context.Background())
	wake := make(chan struct{}, 4)
	var got []string
	err := Follow(ctx, r, Query{Filter: journal.Filter{Limit: 2}}, wake, func() time.Time { return noon }, func(tx Transaction) error {
		got = append(got, tx.ID()+" "+tx.Outcome)
		switch len(got) {
		case 2: // one that is committed, one that is still open
			r.add(txRecord(nodeA, 3), journal.OutcomeCommitted)
			r.add(txRecord(nodeA, 4), journal.OutcomeUnknown)
			wake <- struct{}{}
		case 3:
			r.items[6].Outcome = journal.OutcomeCommitted
			wake <- struct{}{}
		case 4:
			cancel()
		}
		return nil
	})
	want := "b/2 committed, a/- aborted, a/3 committed, a/4 committed"
	if err != nil || strings.Join(got, ", ") != want {
		t.Errorf("followed %q, %v; want %q", strings.Join(got, ", "), err, want)
	}
}

func TestFollowFromEmpty(t *testing.T) {
	r := &fakeReader{}
	ctx, cancel := context.WithCancel(context.Background())
	wake := make(chan struct{}, 1)
	r2 := sample()
	n := 0
	go func() { wake <- struct{}{} }()
	err := Follow(ctx, swap{r, r2}, Query{Filter: journal.Filter{Limit: 2}}, wake, time.Now, func(Transaction) error {
		if n++; n == 3 {
			cancel()
		}
		return nil
	})
	if err != nil || n != 3 {
		t.Errorf("%d transactions, %v", n, err)
	}
}

// swap is an empty journal that has become another one by the time it is read forward.
type swap struct {
	*fakeReader
	then *fakeReader
}

func (s swap) Scan(f journal.Filter) iter.Seq2[journal.Item, error] {
	if f.Forward {
		return s.then.Scan(f)
	}
	return s.fakeReader.Scan(f)
}

func TestParseWhen(t *testing.T) {
	for text, want := range map[string]time.Time{
		"now": noon, "10m": noon.Add(-10 * time.Minute), "1h ago": noon.Add(-time.Hour), "1h30m ago": noon.Add(-90 * time.Minute),
		"2d": noon.AddDate(0, 0, -2), "1w ago": noon.AddDate(0, 0, -7), "2026-01-30": noon.Add(-36 * time.Hour),
		"2026-01-31 11:00": noon.Add(-time.Hour), "2026-01-31T13:00:00+02:00": noon.Add(-time.Hour), "2026-01-31T11:00:00.5Z": noon.Add(-time.Hour + 500*time.Millisecond),
	} {
		if got, err := ParseWhen(text, noon); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "-5m", "5", "d", "2026-13-01", "99999999d"} {
		if got, err := ParseWhen(text, noon); err == nil {
			t.Errorf("%q is %v, want an error", text, got)
		}
	}
}
