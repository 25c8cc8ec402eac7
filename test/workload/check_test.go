package workload

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// story makes a ledger with one operation of each outcome, and tables that agree with it.
func story(t *testing.T) (*Ledger, Tables, []Entry) {
	t.Helper()
	l := NewLedger()
	acked := l.Begin("savepoint", "a", "u", 0, 1)
	l.End(acked, Acked, nil)
	failed := l.Begin("rollback", "a", "u", 0, 0)
	l.End(failed, Failed, errRolledBack)
	unknown := l.Begin("transaction", "b", "u", 1, 0)
	tables, err := ReadTables("a", []string{"set|1|a|kept", "set|4|b|", "set|5|b|NULL", "counter|1|3|", "delta|1|1|5", "delta|4|1|-2", "pair|1|4|", "pair|2|4|"})
	if err != nil {
		t.Fatal(err)
	}
	entries := []Entry{
		{ID: "a/1", Origin: "a", Seq: 1, User: "u", Outcome: "committed", Inserted: []Insert{{acked.ID, "INSERT", false}, {acked.Never[0], "INSERT", true}}},
		{ID: "b/1", Origin: "b", Seq: 1, User: "u", Outcome: "committed", Inserted: []Insert{{unknown.ID, "INSERT", false}, {unknown.More[0], "INSERT", false}}},
		{ID: "a/-", Origin: "a", User: "u", Outcome: "aborted", Inserted: []Insert{{failed.ID, "INSERT", false}}},
	}
	return l, tables, entries
}

func TestAgreementIsFoundRight(t *testing.T) {
	l, tables, entries := story(t)
	if wrong := append(CheckTables(l, tables), CheckJournal(l, tables, entries)...); len(wrong) > 0 {
		t.Errorf("all is well, yet: %s", strings.Join(wrong, "\n"))
	}
}

func TestEveryLieIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*Tables, []Entry)
		want  string
	}{
		"lost row":            {func(s *Tables, _ []Entry) { delete(s.Set, 1) }, "LOST"},
		"half a transaction":  {func(s *Tables, _ []Entry) { delete(s.Set, 5) }, "only part"},
		"failed and there":    {func(s *Tables, _ []Entry) { s.Set[3] = "a" }, "PHANTOM: failed"},
		"savepoint and there": {func(s *Tables, _ []Entry) { s.Set[2] = "a" }, "savepoint"},
		"from nowhere":        {func(s *Tables, _ []Entry) { s.Set[99] = "a" }, "of no operation"},
		"counter":             {func(s *Tables, _ []Entry) { s.Counter["1"]++ }, "sum of its deltas"},
		"pair":                {func(s *Tables, _ []Entry) { s.Pair[2] = 1 }, "two tokens"},
		"record twice":        {func(_ *Tables, e []Entry) { e[1] = e[0] }, "twice"},
		"row twice":           {func(_ *Tables, e []Entry) { e[1].Inserted[0].ID = 1 }, "and by"},
		"wrong user":          {func(_ *Tables, e []Entry) { e[0].User = "other" }, "tells of user"},
		"wrong node":          {func(_ *Tables, e []Entry) { e[0].Origin = "b" }, "tells of user"},
		"no text":             {func(_ *Tables, e []Entry) { e[0].Inserted[0].Query = "" }, "tells of user"},
		"not recorded":        {func(_ *Tables, e []Entry) { e[0].Inserted = nil }, "in no committed record"},
		"aborted and there":   {func(_ *Tables, e []Entry) { e[0].Outcome = "aborted" }, "in no committed record"},
		"committed, not there": {func(_ *Tables, e []Entry) { e[2].Outcome, e[2].ID = "committed", "a/2" },
			"is not in the table"},
		"in doubt": {func(_ *Tables, e []Entry) { e[0].Outcome = "unknown" }, "still unknown"},
		"missing":  {func(_ *Tables, e []Entry) { e[0].Missing = "MERGE" }, "not captured"},
	} {
		t.Run(name, func(t *testing.T) {
			l, tables, entries := story(t)
			c.spoil(&tables, entries)
			wrong := strings.Join(append(CheckTables(l, tables), CheckJournal(l, tables, entries)...), "\n")
			if !strings.Contains(wrong, c.want) {
				t.Errorf("expected %q, found %q", c.want, wrong)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	lost := errors.New("connection lost")
	for _, c := range []struct {
		committing bool
		err        error
		want       Outcome
	}{
		{true, nil, Acked},
		{false, lost, Failed},
		{true, lost, Unknown},
		{true, &pgconn.PgError{Severity: "ERROR", Code: "23505"}, Failed},
		{true, &pgconn.PgError{Severity: "ERROR", Code: "08007"}, Unknown},
		{true, &pgconn.PgError{Severity: "FATAL", Code: "57P01"}, Unknown},
		{true, errRolledBack, Failed},
	} {
		if got := judge(c.committing, c.err); got != c.want {
			t.Errorf("judge(%v, %v) is %v, expected %v", c.committing, c.err, got, c.want)
		}
	}
}
