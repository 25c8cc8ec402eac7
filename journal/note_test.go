package journal_test

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/journaltest"
)

func who(user, client string, session uint64) journal.Who {
	return journal.Who{User: user, Database: "bank", Client: client, Session: session, Application: "psql"}
}

func kindsOf(t *testing.T, r journal.Reader, f journal.Filter) []string {
	t.Helper()
	var found []string
	for it, err := range r.Scan(f) {
		if err != nil {
			t.Fatal(err)
		}
		if it.Event == nil {
			found = append(found, "record")
		} else {
			found = append(found, it.Event.Kind.String())
		}
	}
	return found
}

// TestEventsAreFoundByTheirTerms: in an open segment, in sealed ones, and read by another process; never without being asked
// for.
func TestEventsAreFoundByTheirTerms(t *testing.T) {
	dir := t.TempDir()
	o := journal.Options{Dir: dir, Node: "a", NoSync: true, SegmentBytes: 1}
	j := journaltest.Open(t, o)
	note := func(e *journal.Event) {
		t.Helper()
		if err := j.NoteDurable(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
	ann := who("ann", "10.0.0.7:40123", 12)
	note(&journal.Event{Kind: journal.EventNodeStart, NodeState: &journal.NodeState{Version: "1"}})
	note(&journal.Event{Kind: journal.EventSessionStart, Who: ann, SessionStart: &journal.SessionStart{}})
	tx := update(1, "ann")
	tx.Session, tx.Client = 12, "10.0.0.7:40123"
	tx.Statements[0].Class, tx.Statements[0].Role = journal.ClassWrite, "owner"
	in := commit(t, j, tx)
	note(&journal.Event{Kind: journal.EventSessionEnd, Who: ann, SessionEnd: &journal.SessionEnd{Reason: "client"}})
	note(&journal.Event{Kind: journal.EventRefused, Who: who("bob", "[::1]:7", 13), Refusal: &journal.Refusal{SQLState: "28P01"}})
	for i := range 600 { // some segments more
		commit(t, j, update(i, "carol"))
	}
	note(&journal.Event{Kind: journal.EventAct, Who: journal.Who{User: "root", Client: "admin"}, Act: &journal.Act{Verb: "purge"}})
	until(t, j, "all is published", func() bool { return j.Stored()[in.ID().Origin] == 601 })
	if n := j.Stats().Events; n != 5 {
		t.Errorf("%d events", n)
	}
	write, ddl, all := journal.ClassWrite, journal.ClassDDL, journal.EventKinds()
	session := &journal.SessionID{Node: j.Identity().Node, Incarnation: j.Identity().Incarnation, Number: 12}
	check := func(r journal.Reader) {
		t.Helper()
		for _, c := range []struct {
			name string
			f    journal.Filter
			want []string
		}{
			{"no event unasked", journal.Filter{User: "ann"}, []string{"record"}},
			{"by user", journal.Filter{User: "ann", Events: all}, []string{"session_start", "record", "session_end"}},
			{"only events", journal.Filter{OnlyEvents: true, Events: all}, []string{"node_start", "session_start", "session_end", "auth_fail", "admin"}},
			{"one kind", journal.Filter{OnlyEvents: true, Events: []journal.EventKind{journal.EventRefused}}, []string{"auth_fail"}},
			{"by client", journal.Filter{Client: "10.0.0.7", Events: all}, []string{"session_start", "record", "session_end"}},
			{"by client and port", journal.Filter{Client: "10.0.0.7:40123", Events: all}, []string{"session_start", "record", "session_end"}},
			{"by IPv6 client", journal.Filter{Client: "::1", Events: all}, []string{"auth_fail"}},
			{"by session", journal.Filter{Session: session, Events: all}, []string{"session_start", "record", "session_end"}},
			{"by application", journal.Filter{Application: "psql", Events: all, OnlyEvents: true}, []string{"session_start", "session_end", "auth_fail"}},
			{"by class", journal.Filter{Class: &write, Events: all}, []string{"record"}},
			{"by another class", journal.Filter{Class: &ddl, Events: all}, nil},
			{"by role", journal.Filter{Role: "owner", Events: all}, []string{"record"}},
			{"by node", journal.Filter{Origin: "a", OnlyEvents: true, Events: all}, []string{"node_start", "session_start", "session_end", "auth_fail", "admin"}},
			{"operator", journal.Filter{User: "root", Events: all}, []string{"admin"}},
			{"before it all", journal.Filter{Until: time.Unix(1, 0), Events: all}, nil},
		} {
			c.f.Forward = true
			if got := kindsOf(t, r, c.f); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v", c.name, got)
			}
		}
	}
	check(j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := journal.OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	check(r)
	for it, err := range r.Scan(journal.Filter{OnlyEvents: true, Events: all, Limit: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		if e := it.Event; e.Act.Verb != "purge" || e.Incarnation != j.Identity().Incarnation || e.Node != j.Identity().Node || e.Time == 0 {
			t.Errorf("%+v", e)
		}
	}
}

// TestNoteTellsAFullDisk: whoever waits for an event is told that the disk did not take it; nobody else is held up.
func TestNoteTellsAFullDisk(t *testing.T) {
	full := true
	j := journaltest.Open(t, journal.Options{Node: "a"}.WithDisk(func(point string) error {
		if full && point == "append" {
			return syscall.ENOSPC
		}
		return nil
	}))
	act := func() *journal.Event {
		return &journal.Event{Kind: journal.EventAct, Act: &journal.Act{Verb: "purge"}}
	}
	if err := j.NoteDurable(context.Background(), act()); !errors.Is(err, journal.ErrFull) {
		t.Fatal(err)
	}
	if err := j.Note(act()); err != nil {
		t.Fatal(err)
	}
	full = false
	until(t, j, "what nobody waited for is written", func() bool { return j.Stats().Events == 1 })
}
