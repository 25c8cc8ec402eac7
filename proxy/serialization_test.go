package proxy_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgproxy/test/harness"
)

// skewSchema holds what two transactions read and write crosswise, and a row that both change.
const skewSchema = `
CREATE TABLE sums (id serial PRIMARY KEY, num int);
CREATE TABLE one (id int PRIMARY KEY, n int);
INSERT INTO one VALUES (1, 0);
`

const skewReset = "TRUNCATE sums RESTART IDENTITY; UPDATE one SET n = 0"

// skew is a write that fails at SERIALIZABLE when a second transaction does the same at the same time.
const skew = "INSERT INTO sums (num) SELECT coalesce(sum(num), 0)::int + 1 FROM sums"

// serializations are conversations of two clients, a and b; each line begins with who speaks.
var serializations = []conversation{
	{"explicit simple", `
		a Q "BEGIN ISOLATION LEVEL SERIALIZABLE"
		a wait Z
		b Q "BEGIN ISOLATION LEVEL SERIALIZABLE"
		b wait Z
		a Q "SKEW"
		a wait Z
		b Q "SKEW"
		b wait Z
		a Q "COMMIT"
		a wait Z
		b Q "COMMIT"
		b wait Z
		b Q "SELECT count(*) FROM sums"
		b wait Z`},
	{"explicit extended", `
		a Q "BEGIN ISOLATION LEVEL SERIALIZABLE"
		a wait Z
		b P "" "BEGIN ISOLATION LEVEL SERIALIZABLE"
		b B "" ""
		b E "" 0
		b S
		b wait Z
		a Q "SKEW"
		a wait Z
		b P "" "SKEW"
		b B "" ""
		b E "" 0
		b S
		b wait Z
		a Q "COMMIT"
		a wait Z
		b P "" "COMMIT"
		b B "" ""
		b D P ""
		b E "" 0
		b S
		b wait Z
		b P "" "SELECT count(*) FROM sums"
		b B "" ""
		b E "" 0
		b S
		b wait Z`},
	{"explicit pipelined", `
		a Q "BEGIN ISOLATION LEVEL SERIALIZABLE"
		a wait Z
		b Q "BEGIN ISOLATION LEVEL SERIALIZABLE"
		b wait Z
		a Q "SKEW"
		a wait Z
		b Q "SKEW"
		b wait Z
		a Q "COMMIT"
		a wait Z
		b P "" "SELECT 5"
		b B "" ""
		b E "" 0
		b P "" "COMMIT"
		b B "" ""
		b E "" 0
		b P "" "SELECT 7"
		b B "" ""
		b E "" 0
		b S
		b wait Z
		b Q "SKEW"
		b wait Z`},
	{"commit in a string", `
		a Q "BEGIN ISOLATION LEVEL SERIALIZABLE"
		a wait Z
		b Q "BEGIN ISOLATION LEVEL SERIALIZABLE"
		b wait Z
		a Q "SKEW"
		a wait Z
		b Q "SKEW"
		b wait Z
		a Q "COMMIT"
		a wait Z
		b Q "SELECT 5; COMMIT; SELECT 7"
		b wait Z
		b Q "SELECT count(*) FROM sums"
		b wait Z`},
	{"implicit extended", `
		a Q "SET default_transaction_isolation = 'serializable'"
		a wait Z
		b Q "SET default_transaction_isolation = 'serializable'"
		b wait Z
		a P "" "SKEW"
		a B "" ""
		a E "" 0
		a H
		a wait C
		b P "" "SKEW"
		b B "" ""
		b E "" 0
		b H
		b wait C
		a S
		a wait Z
		b S
		b wait Z
		b P "" "SKEW"
		b B "" ""
		b E "" 0
		b S
		b wait Z`},
	{"implicit string", `
		a Q "BEGIN ISOLATION LEVEL SERIALIZABLE"
		a wait Z
		b Q "SET default_transaction_isolation = 'serializable'"
		b wait Z
		a Q "SKEW; SELECT pg_advisory_xact_lock(1)"
		a wait Z
		b Q "SKEW; SELECT pg_advisory_xact_lock(1); SELECT 2"
		b sent
		a Q "COMMIT"
		a wait Z
		b wait Z
		b Q "SELECT count(*) FROM sums"
		b wait Z`},
	{"implicit simple", `
		a Q "BEGIN ISOLATION LEVEL SERIALIZABLE"
		a wait Z
		b Q "SET default_transaction_isolation = 'serializable'"
		b wait Z
		a Q "SKEW; SELECT pg_advisory_xact_lock(1)"
		a wait Z
		b Q "WITH w AS (SKEW RETURNING num) SELECT num, pg_advisory_xact_lock(1) FROM w"
		b sent
		a Q "COMMIT"
		a wait Z
		b wait Z
		b Q "SELECT count(*) FROM sums"
		b wait Z`},
	{"hidden extended", `
		a Q "BEGIN ISOLATION LEVEL SERIALIZABLE"
		a wait Z
		b Q "SET default_transaction_isolation = 'serializable'"
		b wait Z
		a Q "SKEW; SELECT pg_advisory_xact_lock(1)"
		a wait Z
		b P "" "WITH w AS (SKEW RETURNING num) SELECT num, pg_advisory_xact_lock(1) FROM w"
		b B "" ""
		b E "" 0
		b S
		b sent
		a Q "COMMIT"
		a wait Z
		b wait Z
		b Q "SELECT count(*) FROM sums"
		b wait Z`},
	{"repeatable read simple", `
		a Q "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1"
		a wait Z
		b Q "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT n FROM one"
		b wait Z
		a Q "UPDATE one SET n = n + 1"
		a wait Z
		a Q "COMMIT"
		a wait Z
		b Q "UPDATE one SET n = n + 1"
		b wait Z
		b Q "COMMIT"
		b wait Z
		b Q "UPDATE one SET n = n + 1 RETURNING n"
		b wait Z`},
	{"repeatable read extended", `
		b P "" "BEGIN ISOLATION LEVEL REPEATABLE READ"
		b B "" ""
		b E "" 0
		b P "" "SELECT n FROM one"
		b B "" ""
		b E "" 0
		b S
		b wait Z
		a Q "UPDATE one SET n = n + 1"
		a wait Z
		b P "" "UPDATE one SET n = n + $1 RETURNING n"
		b B "" "" 2
		b E "" 0
		b S
		b wait Z
		b P "" "ROLLBACK"
		b B "" ""
		b E "" 0
		b S
		b wait Z
		b Q "SELECT n FROM one"
		b wait Z`},
	{"repeatable read implicit", `
		b Q "SET default_transaction_isolation = 'repeatable read'"
		b wait Z
		b P "" "SELECT n FROM one"
		b B "" ""
		b E "" 0
		b H
		b wait C
		a Q "UPDATE one SET n = n + 1"
		a wait Z
		b P "" "UPDATE one SET n = n + $1 RETURNING n"
		b B "" "" 2
		b E "" 0
		b S
		b wait Z
		b Q "SELECT n FROM one"
		b wait Z`},
}

// serializationDetail says at which moment the server noticed: with the marker it may be a moment earlier.
var serializationDetail = regexp.MustCompile(` D="Reason code[^"]*" `)

// TestSerializationFailure: the client is told what it would be told directly, and its session goes on.
func TestSerializationFailure(t *testing.T) {
	for _, major := range harness.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			pg := harness.Postgres(t, harness.Major(major))
			r := newRig(t, pg, nil)
			exec(t, pg, "postgres", "CREATE DATABASE direct")
			exec(t, pg, "postgres", "CREATE DATABASE through")
			exec(t, pg, "direct", skewSchema)
			exec(t, pg, "through", skewSchema)
			for _, c := range serializations {
				t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
					exec(t, pg, "direct", skewReset)
					exec(t, pg, "through", skewReset)
					want := converseTwo(t, fmt.Sprintf("127.0.0.1:%d", pg.Port), "direct", pg, c.lines)
					got := converseTwo(t, r.addr, "through", pg, c.lines)
					if strings.HasPrefix(c.name, "hidden") { // what is written is read before the tag is passed on: it fails sooner
						want = slices.DeleteFunc(want, func(l string) bool { return strings.HasPrefix(l, `C "SELECT`) })
						got = slices.DeleteFunc(got, func(l string) bool { return strings.HasPrefix(l, `C "SELECT`) })
					}
					compare(t, want, got)
					if !strings.Contains(strings.Join(want, "\n"), "40001") {
						t.Error("nothing failed: this proves nothing")
					}
				})
			}
		})
	}
}

// converseTwo runs a conversation of two clients. "sent" waits until what was sent stands at a lock.
func converseTwo(t *testing.T, addr, database string, pg *harness.Server, lines string) []string {
	t.Helper()
	peers := map[string]*peer{"a": dialPeer(t, "tcp", addr, database), "b": dialPeer(t, "tcp", addr, database)}
	var log []string
	for line := range strings.Lines(strings.ReplaceAll(strings.TrimSpace(lines), "SKEW", skew)) {
		line = strings.TrimSpace(line)
		who, what, _ := strings.Cut(line, " ")
		p := peers[who]
		log, p.log = append(log, "> "+line), nil
		if what == "sent" {
			_ = p.w.Flush()
			await(t, "b waits for the lock", func() bool {
				return exec(t, pg, database, "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()")[0][0] == "1"
			})
			continue
		}
		p.do(what)
		for _, l := range p.log {
			log = append(log, serializationDetail.ReplaceAllString(l, ` D="Reason code" `))
		}
	}
	for _, p := range peers {
		p.close()
	}
	return log
}
