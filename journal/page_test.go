package journal_test

import (
	"sync/atomic"
	"testing"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/journaltest"
)

// TestFirstPageReadsLittle counts the entries that scans of a journal of 20,000 records in several segments read: not many more
// than they give, whatever the filter.
func TestFirstPageReadsLittle(t *testing.T) {
	j := journaltest.Open(t, journal.Options{Node: "a", NoSync: true, SegmentBytes: 2 << 20})
	const n = 20000
	fill(t, j, n)
	if s := j.Stats(); s.Segments < 4 {
		t.Errorf("%d segments", s.Segments)
	}
	for range 3 {
		seal(t, j, update(1, "open"))
	}
	unknown := journal.OutcomeUnknown
	session := all(t, j, journal.Filter{Limit: 1})[0].Record.Session()
	middle := all(t, j, journal.Filter{Limit: n / 2})[n/2-1].Record.HLC.Wall()
	for name, c := range map[string]struct {
		f    journal.Filter
		most int64
	}{
		"all":             {journal.Filter{}, 512}, // outcomes stand between the records
		"user":            {journal.Filter{User: "user7"}, 128},
		"rare user":       {journal.Filter{User: "rare"}, 64},
		"table":           {journal.Filter{Table: "table3"}, 128},
		"table with user": {journal.Filter{Table: "public.table3", User: "user43"}, 128},
		"no such pair":    {journal.Filter{Table: "public.table3", User: "user44"}, 0},
		"origin":          {journal.Filter{Origin: "a"}, 128},
		"until":           {journal.Filter{Until: middle.Add(-time.Millisecond)}, 1024},
		"since":           {journal.Filter{Since: middle, Forward: true}, 1024},
		"user since":      {journal.Filter{User: "user7", Since: middle, Forward: true}, 128},
		"row":             {journal.Filter{Rows: update(7, "x").RowKeys()}, 64},
		"no such row":     {journal.Filter{Rows: []journal.RowKey{"nothing"}}, 0},
		"session":         {journal.Filter{Session: &session}, 128},
		"no such session": {journal.Filter{Session: &journal.SessionID{Node: session.Node, Incarnation: 1, Number: 77}}, 0},
		"in doubt":        {journal.Filter{Outcome: &unknown}, 3},
		"forward":         {journal.Filter{Forward: true}, 512},
	} {
		var read atomic.Int64
		c.f.Limit = 50
		got := len(all(t, j, c.f.Counting(&read)))
		if got != 50 && c.most > 64 || read.Load() > c.most {
			t.Errorf("%s: read %d entries for %d items, at most %d were expected", name, read.Load(), got, c.most)
		}
	}
}
