package command

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/journal"
)

// stockRow is a row of the table that the audit tests write to.
func stockRow(item, qty string, note journal.Value) []journal.Value {
	return []journal.Value{journal.Text(item), journal.Text(qty), note}
}

// stockTx is one statement on one row of stock.
func stockTx(user, query string, c journal.Change) *journal.Tx {
	now := time.Now()
	commands := map[journal.Op]string{journal.OpInsert: "INSERT", journal.OpUpdate: "UPDATE", journal.OpDelete: "DELETE"}
	tx := &journal.Tx{
		Start: now, End: now, User: user, Database: "shop", Application: "till", Client: "10.0.0.7:4711", Session: 9, XID: 700,
		Relations: []journal.Relation{{Schema: "public", Name: "stock", Key: []int{0}, Columns: []journal.Column{
			{Name: "item", Type: "text", NotNull: true}, {Name: "qty", Type: "integer"}, {Name: "note", Type: "text"}}}},
		Statements: []journal.Statement{{Query: query, Command: commands[c.Op], Class: journal.ClassWrite, Role: "clerk", Tables: []string{"public.stock"},
			Capture: journal.CaptureExact, RowsAffected: 1, Start: now, Changes: []journal.Change{c}}},
	}
	sum := sha256.Sum256([]byte(query))
	copy(tx.Marker[:], sum[:])
	return tx
}

// writeStock makes the journal of a stopped node whose stock has seen some things. Its records are a/1 and on.
func writeStock(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a")
	var ticks atomic.Int64 // a second between any two things
	begin := time.Now().Add(-30 * time.Minute)
	j, err := journal.Open(t.Context(), journal.Options{Dir: dir, Node: "a", NoSync: true, Now: func() time.Time {
		return begin.Add(time.Duration(ticks.Add(1)) * time.Second)
	}})
	if err != nil {
		t.Fatal(err)
	}
	null, text := journal.Null(), journal.Text
	insert := func(row []journal.Value) journal.Change { return journal.Change{Op: journal.OpInsert, After: row} }
	update := func(before, after []journal.Value, delta []int, set ...int) journal.Change {
		return journal.Change{Op: journal.OpUpdate, Before: before, After: after, Set: set, Delta: delta}
	}
	for _, tx := range []*journal.Tx{
		stockTx("alice", "INSERT INTO stock VALUES ('apple', 10, NULL)", insert(stockRow("apple", "10", null))),
		stockTx("bob", "UPDATE stock SET qty = qty - 3", update(stockRow("apple", "10", null), stockRow("apple", "7", null), []int{1}, 1)),
		stockTx("alice", "UPDATE stock SET note = ''", update(stockRow("apple", "7", null), stockRow("apple", "7", text("")), nil, 2)),
		stockTx("carol", "UPDATE stock SET note = 'NULL'", update(stockRow("apple", "7", text("")), stockRow("apple", "7", text("NULL")), nil, 2)),
		stockTx("bob", "INSERT INTO stock VALUES ('bread', 1, 'x')", insert(stockRow("bread", "1", text("x")))),
		stockTx("bob", "DELETE FROM stock WHERE item = 'bread'", journal.Change{Op: journal.OpDelete, Before: stockRow("bread", "1", text("x"))}),
	} {
		in, err := j.Seal(t.Context(), tx)
		if err == nil {
			err = in.Commit()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	back := stockTx("mallory", "UPDATE stock SET qty = 0", update(stockRow("apple", "7", text("NULL")), stockRow("apple", "0", text("NULL")), nil, 1))
	failed := stockTx("mallory", "UPDATE stock SET qty = -1 -- Secret Plan", journal.Change{})
	failed.Statements[0].SQLState, failed.Statements[0].Message, failed.Statements[0].Changes = "23514", "violates check", nil
	for _, tx := range []*journal.Tx{back, failed} {
		if err := j.Attempt(tx, journal.OutcomeAborted); err != nil {
			t.Fatal(err)
		}
	}
	who := journal.Who{Session: 9, User: "alice", Database: "shop", Application: "till", Client: "10.0.0.7:4711", Auth: "scram-sha-256"}
	for _, e := range []*journal.Event{
		{Kind: journal.EventSessionStart, Who: who, SessionStart: &journal.SessionStart{}},
		{Kind: journal.EventRefused, Who: journal.Who{User: "alice", Client: "10.0.0.8:1"}, Refusal: &journal.Refusal{SQLState: "28P01", Message: "wrong\npassword", By: "database"}},
	} {
		if err := j.NoteDurable(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// lines runs an audit command with -o json and gives its objects.
func lines[T any](t *testing.T, dir string, args ...string) []T {
	t.Helper()
	r := run(t, append([]string{"audit", args[0], "--data-dir", dir, "-o", "json"}, args[1:]...)...)
	if r.code != 0 {
		t.Fatalf("%v: code %d: %s", args, r.code, r.err)
	}
	var out []T
	for l := range strings.SplitSeq(strings.TrimSpace(r.out), "\n") {
		var v T
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		out = append(out, v)
	}
	return out
}

func TestAuditFilters(t *testing.T) {
	dir := writeStock(t)
	for _, c := range []struct {
		name string
		args []string
		want string // texts of statements, oldest first, by their numbers in the journal
	}{
		{"all", nil, "1 2 3 4 5 6 7 8"},
		{"user", []string{"--user", "bob"}, "2 5 6"},
		{"role", []string{"--role", "clerk", "--user", "carol"}, "4"},
		{"other role", []string{"--role", "nobody"}, ""},
		{"key finds what was rolled back", []string{"--table", "stock", "--key", "apple"}, "1 2 3 4 7"},
		{"key by column", []string{"--table", "public.stock", "--key", "item=bread"}, "5 6"},
		{"key as JSON", []string{"--table", "public.stock", "--key", `{"item":"bread"}`, "--command", "delete"}, "6"},
		{"outcome", []string{"--outcome", "aborted"}, "7 8"},
		{"sqlstate", []string{"--sqlstate", "23514"}, "8"},
		{"class", []string{"--class", "write", "--user", "alice"}, "1 3"},
		{"other class", []string{"--class", "DDL"}, ""},
		{"client", []string{"--client", "10.0.0.7", "--user", "carol"}, "4"},
		{"client with port", []string{"--client", "10.0.0.7:4711", "--limit", "1"}, "8"},
		{"other port", []string{"--client", "10.0.0.7:1"}, ""},
		{"application", []string{"--application", "till", "--limit", "2"}, "7 8"},
		{"session", []string{"--session", "a.1.9", "--user", "carol"}, "4"},
		{"other session", []string{"--session", "a.2.9"}, ""},
		{"transaction", []string{"--transaction", "a/3"}, "3"},
		{"xid", []string{"--transaction", "700", "--user", "carol"}, "4"},
		{"text, whatever the case", []string{"--text", "SECRET plan"}, "8"},
		{"text of an error", []string{"--text", "VIOLATES"}, "8"},
		{"one statement must have it all", []string{"--text", "violates", "--sqlstate", "00000"}, ""},
		{"until", []string{"--until", "1h ago"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, append([]string{"audit", "ls", "--data-dir", dir, "-o", "json", "--oldest-first"}, c.args...)...)
			if strings.Contains(strings.Join(c.args, " "), "--limit") {
				r = run(t, append([]string{"audit", "ls", "--data-dir", dir, "-o", "json"}, c.args...)...)
			}
			var got []string
			texts := []string{"('apple'", "qty - 3", "note = ''", "note = 'NULL'", "('bread'", "DELETE", "qty = 0", "qty = -1"}
			for l := range strings.SplitSeq(r.out, "\n") {
				for i, text := range texts {
					if strings.Contains(l, text) {
						got = append(got, fmt.Sprint(i+1))
						break
					}
				}
			}
			want := strings.Fields(c.want)
			if strings.Contains(strings.Join(c.args, " "), "--limit") {
				for i, k := 0, len(want)-1; i < k; i, k = i+1, k-1 {
					want[i], want[k] = want[k], want[i]
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("statements %v, expected %v\n%s%s", got, want, r.out, r.err)
			}
			if code := map[bool]int{true: admin.AuditNothing}[c.want == ""]; r.code != code {
				t.Errorf("exit code %d, expected %d", r.code, code)
			}
		})
	}
}

func TestAuditPagesAreStable(t *testing.T) {
	dir := writeStock(t)
	var seen []string
	page := "0"
	for range 10 {
		r := run(t, "audit", "ls", "--all", "--data-dir", dir, "--limit", "3", "--page", page)
		r.expect(t, 0)
		for l := range strings.SplitSeq(r.out, "\n") {
			if strings.HasPrefix(l, " 20") {
				seen = append(seen, l)
			}
		}
		next := regexp.MustCompile(`--page (\d+)`).FindStringSubmatch(r.err)
		if next == nil {
			break
		}
		page = next[1]
	}
	whole := run(t, "audit", "ls", "--all", "--data-dir", dir, "--limit", "0")
	for _, l := range seen {
		if fields := strings.Join(strings.Fields(l), " "); !strings.Contains(strings.Join(strings.Fields(whole.out), " "), fields) {
			t.Errorf("%s is on a page, not in the whole:\n%s", fields, whole.out)
		}
	}
	if len(seen) != 10 {
		t.Errorf("%d lines on all pages, expected 8 transactions and 2 events:\n%s", len(seen), strings.Join(seen, "\n"))
	}
}

func TestHistoryKeepsNullEmptyAndAbsentApart(t *testing.T) {
	dir := writeStock(t)
	v := lines[audit.Version](t, dir, "history", "stock", "apple")
	if len(v) != 4 || v[0].Op != "insert" || v[3].Op != "update" {
		t.Fatalf("%+v", v)
	}
	table := run(t, "audit", "history", "stock", "apple", "--data-dir", dir)
	table.expect(t, 0, "note: (none) -> NULL", "note: NULL -> ''", "note: '' -> 'NULL'", "qty: 10 -> 7", "(4 rows)")
	if notes := lines[audit.Version](t, dir, "history", "stock", "apple", "--column", "note"); len(notes) != 3 {
		t.Errorf("%d versions of note", len(notes))
	}
	gone := lines[audit.Version](t, dir, "history", "stock", "bread")
	if len(gone) != 2 || gone[1].Op != "delete" || gone[1].Row != nil {
		t.Errorf("%+v", gone)
	}
	for _, c := range []struct {
		at   time.Time
		want string
	}{{hlcTime(t, v[1].HLC), "qty=7 note=NULL"}, {time.Now(), "note='NULL'"}} {
		at := lines[audit.Version](t, dir, "history", "stock", "apple", "--as-of", c.at.Format(time.RFC3339Nano))
		if len(at) != 1 || !strings.Contains(fmt.Sprint(columnsText(at[0].Row)), c.want) {
			t.Errorf("as of %v: %+v, expected %s", c.at, at, c.want)
		}
	}
	run(t, "audit", "history", "stock", "apple", "--data-dir", dir, "--as-of", "1d").expect(t, admin.AuditNothing, "nothing matched")
	run(t, "audit", "history", "stock", "pear", "--data-dir", dir).expect(t, admin.AuditNothing)
	run(t, "audit", "history", "nothing", "pear", "--data-dir", dir).expect(t, admin.AuditNothing, "no row of a table nothing")
}

// hlcTime gives the time in a HLC's text.
func hlcTime(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s[:strings.IndexByte(s, '/')])
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func columnsText(c *audit.Columns) string {
	var parts []string
	for _, col := range *c {
		parts = append(parts, col.Name+"="+col.Value.String())
	}
	return strings.Join(parts, " ")
}

func TestBlameNamesTheLastWriterOfEachColumn(t *testing.T) {
	dir := writeStock(t)
	who := map[string]string{}
	for _, b := range lines[audit.Blame](t, dir, "blame", "stock", "apple") {
		who[b.Column] = b.User + " " + b.Record + " " + b.Old.String() + " " + b.New.String()
	}
	for column, want := range map[string]string{"item": "alice a/1 (none) apple", "qty": "bob a/2 10 7", "note": "carol a/4 '' 'NULL'"} {
		if who[column] != want {
			t.Errorf("%s: %q, expected %q", column, who[column], want)
		}
	}
	run(t, "audit", "blame", "stock", "bread", "--data-dir", dir).expect(t, 0, "(row deleted)", "a/6")
}

func TestDiffIsTheNetChange(t *testing.T) {
	dir := writeStock(t)
	d := lines[audit.Difference](t, dir, "diff", "--from", "1h")
	if len(d) != 1 || d[0].Op != "insert" || columnsText(d[0].After) != "item=apple qty=7 note='NULL'" || len(d[0].Records) != 4 {
		t.Errorf("bread came and went: %+v", d)
	}
	run(t, "audit", "diff", "--data-dir", dir).expect(t, admin.AuditError, "--from is missing")
	run(t, "audit", "diff", "--data-dir", dir, "--from", "1h", "--to", "2h").expect(t, admin.AuditError, "before its begin")
}

func TestSessionIsReplayedInOrder(t *testing.T) {
	dir := writeStock(t)
	e := lines[audit.SessionEntry](t, dir, "session", "a.1.9")
	if len(e) != 9 || e[0].Head == nil || e[0].Statement.Query[:6] != "INSERT" || e[6].Outcome != "aborted" || e[7].Statement.SQLState != "23514" || e[8].Kind != "session_start" {
		t.Errorf("%d entries: %+v", len(e), e)
	}
	run(t, "audit", "session", "a.1.9", "--data-dir", dir).expect(t, 0, "ERROR 23514", "by scram-sha-256", "(9 rows)")
	run(t, "audit", "session", "9", "--data-dir", dir).expect(t, admin.AuditError, "NODE.START.NUMBER")
	run(t, "audit", "session", "a.1.10", "--data-dir", dir).expect(t, admin.AuditNothing)
}

func TestLogons(t *testing.T) {
	dir := writeStock(t)
	l := lines[audit.Logon](t, dir, "logons")
	if len(l) != 1 || l[0].User != "alice" || l[0].Since != 1 || l[0].Successes != 1 || l[0].SQLState != "28P01" || l[0].Session != "a.1.9" || l[0].From != "10.0.0.8:1" {
		t.Errorf("%+v", l)
	}
	r := run(t, "audit", "logons", "--data-dir", dir)
	r.expect(t, 0, "28P01")
	if strings.Count(r.out, "\n") != 4 {
		t.Errorf("the message broke the line:\n%s", r.out)
	}
}

func TestStats(t *testing.T) {
	dir := writeStock(t)
	by := map[string]audit.Count{}
	for _, c := range lines[audit.Count](t, dir, "stats") {
		by[c.By+" "+c.Name] = c
	}
	if c := by["all "]; c.Transactions != 8 || c.Committed != 6 || c.Aborted != 2 || c.Failed != 1 || c.Inserted != 2 || c.Deleted != 1 {
		t.Errorf("%+v", c)
	}
	if c := by["user bob"]; c.Transactions != 3 {
		t.Errorf("%+v", c)
	}
	if c := by["table public.stock"]; c.Updated != 4 {
		t.Errorf("%+v", c)
	}
}

func TestAuditShow(t *testing.T) {
	dir := writeStock(t)
	run(t, "audit", "show", "a/2", "--data-dir", dir).expect(t, 0, "qty: 10 -> 7", "session      a.1.9", "WRITE, captured: exact")
	tx := lines[audit.Transaction](t, dir, "ls", "--sqlstate", "23514")[0]
	run(t, "audit", "show", fmt.Sprintf("@%d", tx.Position), "--data-dir", dir).expect(t, 0, "violates check")
	run(t, "audit", "show", lines[audit.Transaction](t, dir, "show", "a/2")[0].Marker, "--data-dir", dir).expect(t, 0, "a/2")
	run(t, "audit", "show", "a/99", "--data-dir", dir).expect(t, admin.AuditNothing)
	run(t, "audit", "show", "zz/1", "--data-dir", dir).expect(t, admin.AuditError, "knows no node")
	run(t, "audit", "show", "x", "--data-dir", dir).expect(t, admin.AuditError, "is no transaction")
	run(t, "audit", "show", "@100000", "--data-dir", dir).expect(t, admin.AuditNothing)
}

func TestAuditExitCodes(t *testing.T) {
	dir := writeStock(t)
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no verb":        {[]string{"audit"}, admin.AuditError, "needs a command"},
		"no such verb":   {[]string{"audit", "fly"}, admin.AuditError, `unknown command "fly"`},
		"no such flag":   {[]string{"audit", "ls", "--fly"}, admin.AuditError, "--fly"},
		"no folder":      {[]string{"audit", "ls"}, admin.AuditError, "--data-dir is missing"},
		"no such folder": {[]string{"audit", "ls", "--data-dir", dir + "/x"}, admin.AuditError, "there is no journal in"},
		"bad time":       {[]string{"audit", "ls", "--data-dir", dir, "--since", "soonish"}, admin.AuditError, "is no time"},
		"bad class":      {[]string{"audit", "ls", "--data-dir", dir, "--class", "X"}, admin.AuditError, "is none of READ"},
		"bad outcome":    {[]string{"audit", "ls", "--data-dir", dir, "--outcome", "maybe"}, admin.AuditError, "is none of committed"},
		"bad origin":     {[]string{"audit", "ls", "--data-dir", dir, "--origin", "zz"}, admin.AuditError, `no node "zz"`},
		"key alone":      {[]string{"audit", "ls", "--data-dir", dir, "--key", "1"}, admin.AuditError, "a key needs its table"},
		"bad key":        {[]string{"audit", "ls", "--data-dir", dir, "--table", "stock", "--key", `{"x":"1"}`}, admin.AuditError, "item is missing"},
		"nothing":        {[]string{"audit", "ls", "--data-dir", dir, "--user", "nobody"}, admin.AuditNothing, "nothing matched"},
	} {
		t.Run(name, func(t *testing.T) { run(t, c.args...).expect(t, c.code, c.says) })
	}
}

func TestEveryAuditCommandHasExamples(t *testing.T) {
	c := &cli{}
	for _, cmd := range c.audit().Commands() {
		run(t, "audit", cmd.Name(), "--help").expect(t, 0, "Examples:", "pgproxy audit "+cmd.Name(), "--data-dir")
	}
}

func TestAuditCSVIsOneRecordALine(t *testing.T) {
	dir := writeStock(t)
	for _, args := range [][]string{{"ls"}, {"history", "stock", "apple"}, {"blame", "stock", "apple"}, {"diff", "--from", "1h"}, {"session", "a.1.9"}, {"logons"}, {"stats"}} {
		r := run(t, append([]string{"audit", args[0], "--data-dir", dir, "-o", "csv"}, args[1:]...)...)
		r.expect(t, 0)
		rows, err := csv.NewReader(strings.NewReader(r.out)).ReadAll()
		if err != nil || len(rows) < 2 {
			t.Errorf("%v: %d rows, %v\n%s", args, len(rows), err, r.out)
		}
	}
}

func TestAuditOfARunningJournalAnswersTheSame(t *testing.T) {
	dir := writeStock(t)
	questions := [][]string{{"ls", "--all"}, {"history", "stock", "apple"}, {"blame", "stock", "bread"}, {"session", "a.1.9"}, {"logons"}, {"stats"},
		{"show", "a/4"}, {"ls", "--table", "stock", "--key", "apple"}, {"ls", "--user", "nobody"}, {"show", "a/99"}, {"ls", "--class", "X"}, {"history", "x", "y"}}
	ask := func(format string) []result {
		var out []result
		for _, q := range questions {
			out = append(out, run(t, append([]string{"audit", q[0], "--data-dir", dir, "-o", format}, q[1:]...)...))
		}
		return out
	}
	stopped := ask("json")
	j, err := journal.Open(t.Context(), journal.Options{Dir: dir, Node: "a", NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	n := &node{journal: j}
	l, err := admin.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := admin.NewServer(n, time.Now)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	running := ask("json")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	for i, q := range questions {
		if stopped[i] != running[i] {
			t.Errorf("audit %v\nstopped: %+v\nrunning: %+v", q, stopped[i], running[i])
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if r := runWith(ctx, nil, "audit", "ls", "--data-dir", dir); r.code != exitInterrupted {
		t.Errorf("interrupted: %+v", r)
	}
}

func TestExport(t *testing.T) {
	dir := writeStock(t)
	for _, f := range audit.ExportFormats() {
		r := run(t, "audit", "export", "--data-dir", dir, "--format", f)
		r.expect(t, 0, "DELETE FROM stock")
		if failed := strings.Contains(r.out, "Secret Plan"); failed == (f == "debezium") {
			t.Errorf("%s: a failed statement is in it: %v", f, failed)
		}
		if refused := strings.Contains(r.out, "28P01"); refused == (f == "debezium" || f == "pgaudit") {
			t.Errorf("%s: a refused login is in it: %v", f, refused)
		}
	}
	run(t, "audit", "export", "--data-dir", dir, "--format", "jsonl", "--user", "nobody").expect(t, admin.AuditNothing)
	run(t, "audit", "export", "--data-dir", dir, "--format", "xml").expect(t, admin.AuditError, "none of jsonl")
}
