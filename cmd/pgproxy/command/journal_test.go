package command

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/journal"
)

// writeJournal makes the journal of a stopped node a with n committed transactions of alice and bob in turn, and one attempt.
func writeJournal(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a")
	j, err := journal.Open(t.Context(), journal.Options{Dir: dir, Node: "a", NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		in, err := j.Seal(t.Context(), transaction([]string{"alice", "bob"}[i%2], i))
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	failed := transaction("mallory", n)
	failed.Statements[0].SQLState, failed.Statements[0].Changes = "42501", nil
	if err := j.Attempt(failed, journal.OutcomeAborted); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func transaction(user string, i int) *journal.Tx {
	now := time.Now()
	return &journal.Tx{
		Marker: [16]byte{byte(i >> 8), byte(i), 1}, Start: now, End: now, User: user, Database: "shop", Client: "local", XID: uint64(700 + i),
		Relations: []journal.Relation{{Schema: "public", Name: "stock", Columns: []journal.Column{{Name: "id", Type: "integer"}}, Key: []int{0}}},
		Statements: []journal.Statement{{Query: fmt.Sprintf("INSERT INTO stock VALUES (%d)", i), Command: "INSERT", Tables: []string{"public.stock"},
			Capture: journal.CaptureExact, RowsAffected: 1, Start: now, Changes: []journal.Change{{Op: journal.OpInsert, After: []journal.Value{journal.Text(fmt.Sprint(i))}}}}},
	}
}

func TestJournalOfAStoppedNode(t *testing.T) {
	dir := writeJournal(t, 60)
	t.Run("a screen, newest first, and the next page", func(t *testing.T) {
		r := run(t, "journal", "ls", "--data-dir", dir)
		r.expect(t, 0, "mallory", "ERROR 42501", "INSERT INTO stock VALUES (59)")
		if n := strings.Count(r.out, "INSERT INTO"); n != defaultScreen {
			t.Errorf("%d lines", n)
		}
		if strings.Index(r.out, "(59)") > strings.Index(r.out, "(58)") {
			t.Error("not newest first")
		}
		page := regexp.MustCompile(`--page (\d+)`).FindStringSubmatch(r.err)
		if page == nil {
			t.Fatalf("it does not say how to go on: %s", r.err)
		}
		next := run(t, "journal", "ls", "--data-dir", dir, "--page", page[1])
		next.expect(t, 0, "VALUES (10)", "VALUES (0)")
		if strings.Contains(next.out, "VALUES (11)") || next.err != "" {
			t.Errorf("second page:\n%s%s", next.out, next.err)
		}
	})
	t.Run("json gives all, one object a line", func(t *testing.T) {
		r := run(t, "journal", "ls", "--data-dir", dir, "-o", "json")
		r.expect(t, 0)
		lines := strings.Split(strings.TrimSpace(r.out), "\n")
		if len(lines) != 61 {
			t.Fatalf("%d lines", len(lines))
		}
		var tx audit.Transaction
		if err := json.Unmarshal([]byte(lines[1]), &tx); err != nil || tx.ID() != "a/60" || tx.User != "bob" || tx.Outcome != "committed" || len(tx.Statements[0].Rows) != 1 {
			t.Errorf("%+v, %v", tx, err)
		}
	})
	for _, c := range []struct {
		name string
		args []string
		want int // lines
	}{
		{"user", []string{"--user", "alice"}, 30}, {"outcome", []string{"--outcome", "aborted"}, 1}, {"table", []string{"--table", "public.stock"}, 61},
		{"other table", []string{"--table", "nothing"}, 0}, {"database", []string{"--database", "other"}, 0}, {"origin", []string{"--origin", "a", "--limit", "5"}, 5},
		{"since", []string{"--since", "1h ago"}, 61}, {"until", []string{"--until", "1h"}, 0}, {"limit", []string{"--limit", "3"}, 3},
		{"oldest", []string{"--oldest-first", "--limit", "1"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, append([]string{"journal", "ls", "--data-dir", dir, "-o", "json"}, c.args...)...)
			r.expect(t, 0)
			if n := strings.Count(r.out, "\n"); n != c.want {
				t.Errorf("%d lines, expected %d\n%.500s", n, c.want, r.out)
			}
		})
	}
	t.Run("csv", func(t *testing.T) {
		r := run(t, "journal", "ls", "--data-dir", dir, "-o", "csv", "--limit", "2")
		r.expect(t, 0, "time,origin,seq,outcome", "INSERT INTO stock VALUES (59)")
	})
	t.Run("show", func(t *testing.T) {
		run(t, "journal", "show", "--data-dir", dir, "a/7").expect(t, 0, "outcome      committed", "INSERT INTO stock VALUES (6)", "id: 6")
		run(t, "journal", "show", "--data-dir", dir, "a/7", "-o", "json").expect(t, 0, `"seq":7`)
	})
	t.Run("stats", func(t *testing.T) {
		run(t, "journal", "stats", "--data-dir", dir).expect(t, 0, "transactions", "60")
		run(t, "journal", "stats", "--data-dir", dir, "-o", "json").expect(t, 0, `"transactions":60`, `"attempts":1`)
	})
	t.Run("check", func(t *testing.T) {
		run(t, "journal", "check", "--data-dir", dir).expect(t, 0, "nothing is wrong")
		run(t, "journal", "check", "--data-dir", dir, "-o", "json").expect(t, 0, `"problems":[]`)
	})
	t.Run("status", func(t *testing.T) {
		run(t, "status", "--data-dir", dir).expect(t, 0, "stopped")
		run(t, "status", "--data-dir", dir, "-o", "json").expect(t, 0, `"ready":false`, `"stored":{"a":60}`, `"node":"a"`)
		run(t, "status", "--data-dir", dir, "--ready").expect(t, admin.ExitUnreachable, "not ready")
	})
	t.Run("conflicts", func(t *testing.T) { run(t, "conflicts", "ls", "--data-dir", dir).expect(t, 0, "(0 conflicts)") })
	t.Run("tail of a stopped node ends", func(t *testing.T) {
		r := run(t, "journal", "tail", "--data-dir", dir)
		r.expect(t, 0, "nothing new will come")
		if n := strings.Count(r.out, "INSERT"); n != defaultTail {
			t.Errorf("%d lines", n)
		}
	})
}

func TestCheckFindsDamage(t *testing.T) {
	dir := writeJournal(t, 40)
	files, err := filepath.Glob(filepath.Join(dir, "segments", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	at := strings.LastIndex(string(b), "INSERT INTO stock VALUES (20)")
	if at < 0 {
		t.Skip("texts are compressed: nothing to aim at")
	}
	b[at] = 'X'
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "journal", "check", "--data-dir", dir).expect(t, admin.ExitDifference, "HINT: keep a copy")
}

func TestCheckOutlivesItsChild(t *testing.T) {
	c := &cli{Environment: Environment{Executable: func() (string, []string, error) {
		return "/bin/sh", []string{"-c", "echo 'fatal error: fault' >&2; kill -9 $$"}, nil
	}}}
	r, err := c.checkJournal(t.Context(), "/x")
	if err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "fatal error: fault") {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestUsage(t *testing.T) {
	dir := writeJournal(t, 1)
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no such command":   {[]string{"fly"}, admin.ExitUsage, `unknown command "fly"`},
		"no sub-command":    {[]string{"journal"}, admin.ExitUsage, "needs a command"},
		"no such sub":       {[]string{"journal", "fly"}, admin.ExitUsage, `unknown command "fly"`},
		"no such flag":      {[]string{"status", "--fly"}, admin.ExitUsage, "--fly"},
		"no folder":         {[]string{"status"}, admin.ExitUsage, "--data-dir is missing"},
		"no such folder":    {[]string{"status", "--data-dir", dir + "/x"}, admin.ExitError, "there is no journal in"},
		"empty folder":      {[]string{"journal", "ls", "--data-dir", t.TempDir()}, admin.ExitError, "no journal in"},
		"folder is a file":  {[]string{"journal", "ls", "--data-dir", os.Args[0]}, admin.ExitError, "is no folder"},
		"bad format":        {[]string{"status", "-o", "xml"}, admin.ExitUsage, "none of table, json"},
		"bad time":          {[]string{"journal", "ls", "--data-dir", dir, "--since", "soonish"}, admin.ExitUsage, `--since: "soonish" is no time`},
		"bad outcome":       {[]string{"journal", "ls", "--data-dir", dir, "--outcome", "maybe"}, admin.ExitUsage, `"maybe"`},
		"bad limit":         {[]string{"journal", "ls", "--data-dir", dir, "--limit", "-1"}, admin.ExitUsage, "negative"},
		"unknown origin":    {[]string{"journal", "ls", "--data-dir", dir, "--origin", "zz"}, admin.ExitUsage, `no node "zz"`},
		"show what":         {[]string{"journal", "show", "--data-dir", dir}, admin.ExitUsage, "accepts 1 arg"},
		"show nonsense":     {[]string{"journal", "show", "--data-dir", dir, "x"}, admin.ExitUsage, "ORIGIN/SEQ"},
		"show missing":      {[]string{"journal", "show", "--data-dir", dir, "a/99"}, admin.ExitError, "a/99"},
		"drain stopped":     {[]string{"drain", "--data-dir", dir}, admin.ExitUnreachable, "is not running"},
		"verify stopped":    {[]string{"verify", "--data-dir", dir}, admin.ExitUnreachable, "is not running"},
		"drain in no time":  {[]string{"drain", "--data-dir", dir, "--timeout", "0s"}, admin.ExitUsage, "not above zero"},
		"serve what":        {[]string{"serve"}, admin.ExitUsage, "--node is missing"},
		"serve with a word": {[]string{"serve", "me"}, admin.ExitUsage, "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, c.args...)
			r.expect(t, c.code, c.says)
			if r.out != "" {
				t.Errorf("something on standard output: %s", r.out)
			}
		})
	}
}

func TestFolderFromEnvironment(t *testing.T) {
	dir := writeJournal(t, 1)
	runWith(t.Context(), []string{"PGPROXY_DATA_DIR=" + dir}, "journal", "ls").expect(t, 0, "INSERT INTO stock VALUES (0)")
}

func TestLockedFolderWithoutSocket(t *testing.T) {
	dir := writeJournal(t, 1)
	j, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a", NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	run(t, "journal", "ls", "--data-dir", dir).expect(t, admin.ExitError, "in use", "try again in a moment")
}

func TestEveryCommandHasExamples(t *testing.T) {
	for _, args := range [][]string{{}, {"serve"}, {"journal"}, {"journal", "ls"}, {"journal", "tail"}, {"journal", "show"}, {"journal", "check"}, {"journal", "stats"},
		{"status"}, {"drain"}, {"verify"}, {"conflicts"}, {"conflicts", "ls"}, {"demo"}, {"version"}} {
		run(t, append(args, "--help")...).expect(t, 0, "Examples:", "pgproxy "+strings.Join(args, " "))
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		run(t, "completion", shell).expect(t, 0, "pgproxy")
	}
	run(t, "version").expect(t, 0, "pgproxy ", "go1.")
}
