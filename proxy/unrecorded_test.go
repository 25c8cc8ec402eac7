package proxy_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pgproxy/journal"
	"pgproxy/proxy"
	"pgproxy/test/harness"
)

// tiny is a journal's budget that a few statements use up; room is one that lets everything in again.
const (
	tiny = 1
	room = 0
)

// TestBad16FullJournalByPolicy: notes, bad case 16: what happens when the journal takes no more, by policy, in both protocols:
// fail_operation and shutdown refuse with 53100 and leave nothing behind; continue lets it happen, counts it, and a gap record
// follows with the tables once there is room. Reads pass always.
func TestBad16FullJournalByPolicy(t *testing.T) {
	pg := harness.Postgres(t)
	for _, policy := range []proxy.Failure{proxy.FailOperation, proxy.FailContinue, proxy.FailShutdown} {
		name := []string{"fail_operation", "continue", "shutdown"}[policy]
		t.Run(name, func(t *testing.T) {
			var broken atomic.Int64
			r := newRig(t, pg, func(r *rig) {
				r.options.Failure = policy
				r.options.Broken = func(error) { broken.Add(1) }
			})
			table := "full_" + name
			must(t, r.client("postgres"), "CREATE TABLE "+table+" (v text)")
			await(t, "all is written", func() bool { return len(r.records()) > 0 })
			r.journal.SetMaxBytes(tiny)
			bothModes(t, r, func(mode string, run func(string) error) {
				if err := run("SELECT 1"); err != nil {
					t.Errorf("read: %v", err)
				}
				for _, texts := range [][]string{{"INSERT INTO " + table + " VALUES ('" + mode + "')"}, {"BEGIN", "INSERT INTO " + table + " VALUES ('" + mode + " block')", "COMMIT"}} {
					var err error
					for _, sql := range texts {
						err = run(sql)
					}
					if want := map[bool]string{true: "<nil>", false: "53100"}[policy == proxy.FailContinue]; sqlstate(err) != want {
						t.Errorf("%s, %q: %v, want %s", mode, texts, err, want)
					}
				}
			})
			rows := exec(t, pg, "postgres", "SELECT count(*) FROM "+table)[0][0]
			if want := map[bool]string{true: "4", false: "0"}[policy == proxy.FailContinue]; rows != want {
				t.Errorf("%s rows, want %s", rows, want)
			}
			if got := broken.Load() > 0; got != (policy == proxy.FailShutdown) {
				t.Errorf("told the owner to end: %v", got)
			}
			r.journal.SetMaxBytes(room)
			var gaps []*journal.Event
			await(t, "gap records", func() bool {
				gaps = r.events(journal.EventGap)
				causes := ""
				for _, e := range gaps {
					causes += string(e.Gap.Cause) + " "
				}
				return strings.Contains(causes, "attempts") || strings.Contains(causes, "writes")
			})
			writes := slices.IndexFunc(gaps, func(e *journal.Event) bool { return e.Gap.Cause == journal.GapWrites })
			if policy != proxy.FailContinue {
				if writes >= 0 {
					t.Errorf("%+v", gaps[writes].Gap)
				}
				return
			}
			if g := gaps[writes].Gap; g.Transactions != 4 || g.Statements != 4 || !slices.Equal(g.Tables, []string{"public." + table}) || g.Reason == "" || g.From.After(g.To) {
				t.Errorf("%+v", g)
			}
			if n := r.server.Metrics().Unrecorded.Load(); n != 4 {
				t.Errorf("%d unrecorded", n)
			}
			if markers := exec(t, pg, "postgres", "SELECT count(*) FROM pgproxy.marker WHERE seq > 1 AND origin = '"+r.journal.Identity().Node.String()+"'"); markers[0][0] != "0" {
				t.Errorf("%s markers of what is not recorded", markers[0][0])
			}
			must(t, r.client("postgres"), "INSERT INTO "+table+" VALUES ('recorded again')")
			r.one("recorded again")
		})
	}
}
