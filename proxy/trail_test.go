package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pgproxy/audit"
	"pgproxy/journal"
	"pgproxy/test/harness"
)

// events gives the journal's events of some kinds, oldest first.
func (r *rig) events(kinds ...journal.EventKind) []*journal.Event {
	r.t.Helper()
	if len(kinds) == 0 {
		kinds = journal.EventKinds()
	}
	var out []*journal.Event
	for it, err := range r.journal.Scan(journal.Filter{Forward: true, OnlyEvents: true, Events: kinds}) {
		if err != nil {
			r.t.Fatalf("scan: %v", err)
		}
		out = append(out, it.Event)
	}
	return out
}

// TestBad21RefusedLogins: notes, bad case 21: wrong password, unknown user, wrong database, too many clients, garbage, a client
// that breaks off: each is recorded with its SQLSTATE, and never with the secret; sessions begin and end.
func TestBad21RefusedLogins(t *testing.T) {
	pg := harness.Postgres(t, harness.HBA("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"))
	exec(t, pg, "postgres", "CREATE ROLE ann LOGIN PASSWORD 'right'")
	r := newRig(t, pg, nil)
	host, port, _ := strings.Cut(r.addr, ":")
	login := func(user, password, database string) (*pgx.Conn, error) {
		return pgx.Connect(context.Background(), fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=%s sslmode=disable application_name=bad21", host, port, user, password, database))
	}
	for _, c := range []struct{ user, password, database, code string }{
		{"ann", "canary-wrong", "postgres", "28P01"}, {"nobody", "canary-x", "postgres", "28P01"}, {"ann", "right", "nowhere", "3D000"},
	} {
		if _, err := login(c.user, c.password, c.database); err == nil {
			t.Fatalf("%s is let in", c.user)
		}
		await(t, "refusal of "+c.user, func() bool {
			ev := r.events(journal.EventRefused)
			if len(ev) == 0 {
				return false
			}
			e := ev[len(ev)-1]
			return e.Who.User == c.user && e.Who.Database == c.database && e.Refusal.SQLState == c.code && e.Refusal.By == "database" &&
				e.Who.Application == "bad21" && strings.HasPrefix(e.Who.Client, "127.0.0.1:") && !strings.Contains(e.Refusal.Message, "canary")
		})
	}
	raw := dialRaw(t, r.addr)
	if _, err := raw.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	await(t, "refusal of garbage", func() bool {
		ev := r.events(journal.EventRefused)
		e := ev[len(ev)-1]
		return len(ev) == 4 && e.Refusal.By == "pgproxy" && e.Refusal.SQLState == "08P01"
	})
	half := dialRaw(t, r.addr)
	if _, err := half.Write(packet(3<<16, "user\x00ann\x00database\x00postgres\x00\x00")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1)
	if _, err := half.Read(buf); err != nil || buf[0] != 'R' {
		t.Fatalf("%q, %v", buf, err)
	}
	_ = half.Close()
	await(t, "refusal of who breaks off", func() bool {
		ev := r.events(journal.EventRefused)
		return len(ev) == 5 && ev[4].Refusal.SQLState == "08006" && ev[4].Who.Auth == "scram-sha-256"
	})

	c, err := login("ann", "right", "postgres")
	if err != nil {
		t.Fatal(err)
	}
	pid := c.PgConn().PID()
	must(t, c, "CREATE TEMP TABLE x (a int)")
	if _, err := c.Exec(context.Background(), "SELECT 1/0"); sqlstate(err) != "22012" {
		t.Fatal(err)
	}
	if err := c.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	await(t, "the session's end", func() bool { return len(r.events(journal.EventSessionEnd)) == 1 })
	start, end := r.events(journal.EventSessionStart), r.events(journal.EventSessionEnd)
	if len(start) != 1 || start[0].Who != end[0].Who || start[0].Who.Auth != "scram-sha-256" || start[0].Who.Backend != pid || start[0].Who.User != "ann" {
		t.Errorf("start %+v, end %+v, pid %d", start[0].Who, end[0].Who, pid)
	}
	if e := end[0].SessionEnd; e.Reason != "client" || e.Statements < 2 || e.Errors != 1 || e.Duration <= 0 {
		t.Errorf("end %+v", e)
	}
}

// TestRefusedFloodIsCounted: a flood of refused logins does not fill the journal; how many were left out stands there.
func TestRefusedFloodIsCounted(t *testing.T) {
	pg := harness.Postgres(t)
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	r := newRig(t, pg, func(r *rig) {
		r.options.Now = func() time.Time { return time.Unix(0, now.Load()) } // stands still
	})
	const flood = 250
	for range flood {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("\x00\x00\x00\x04junkjunk")); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Log(err)
		}
		_ = c.Close()
	}
	await(t, "all are counted", func() bool {
		n := len(r.events(journal.EventRefused))
		for _, e := range r.events(journal.EventGap) {
			if e.Gap.Cause != journal.GapRefusals {
				t.Fatalf("gap %+v", e.Gap)
			}
			n += int(e.Gap.Events)
		}
		return n == flood
	})
	if n := len(r.events(journal.EventRefused)); n != 100 {
		t.Errorf("%d of %d are recorded one by one", n, flood)
	}
}

// TestSessionsByPolicy: sessions that the policy leaves out are not recorded.
func TestSessionsByPolicy(t *testing.T) {
	pg := harness.Postgres(t)
	policy, err := audit.NewPolicy(audit.PolicySettings{Exclude: []string{"class=SESSION application=monitor*"}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, pg, func(r *rig) { r.options.Audit = policy })
	for _, name := range []string{"monitor-1", "shop"} {
		p := dialPeer(t, "tcp", r.addr, "postgres", "application_name", name)
		p.close()
	}
	await(t, "one session's end", func() bool { return len(r.events(journal.EventSessionEnd)) == 1 })
	for _, e := range r.events() {
		if e.Who.Application != "shop" || e.Kind == journal.EventSessionEnd && e.SessionEnd.Reason != "lost" {
			t.Errorf("%s %+v %+v", e.Kind, e.Who, e.SessionEnd)
		}
	}
}
