package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/journal"
	"pgproxy/test/harness"
)

// serving is a node that runs in this process.
type serving struct {
	dir, addr string
	log       *buffer
	stop      func() int
}

var readyLine = regexp.MustCompile(`(?m)^ready node=a listen=([^,\s]+)`)

// startServe starts a node on a real server and waits until it is ready.
func startServe(t *testing.T, server *harness.Server, args ...string) *serving {
	t.Helper()
	s := &serving{dir: filepath.Join(t.TempDir(), "a"), log: &buffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	args = append([]string{"serve", "--node", "a", "--listen", "127.0.0.1:0", "--upstream", server.Upstream(), "--data-dir", s.dir}, args...)
	go func() {
		done <- Run(ctx, args, Environment{Stdout: s.log, Stderr: s.log, Now: time.Now})
	}()
	s.stop = func() int {
		cancel()
		select {
		case code := <-done:
			done <- code
			return code
		case <-time.After(30 * time.Second):
			t.Error("it does not stop")
			return -1
		}
	}
	t.Cleanup(func() { s.stop() })
	harness.WaitFor(t, 30*time.Second, "the node to be ready", func() (bool, string) {
		m := readyLine.FindStringSubmatch(s.log.String())
		if m != nil {
			s.addr = m[1]
		}
		return m != nil, s.log.String()
	})
	return s
}

func (s *serving) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	c := harness.Connect(t, "postgres://postgres@"+s.addr+"/postgres?sslmode=disable")
	if _, err := c.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestServe(t *testing.T) {
	socket := filepath.Join(harness.Dir(t, "socket"), ".s.PGSQL.6433")
	s := startServe(t, harness.Postgres(t), "--listen", socket)
	s.exec(t, "CREATE TABLE stock (id int PRIMARY KEY, v text)")
	s.exec(t, "INSERT INTO stock VALUES ($1, $2)", 1, "a\nb")
	t.Run("through the unix socket", func(t *testing.T) {
		c, err := pgx.Connect(t.Context(), fmt.Sprintf("host=%s port=6433 user=postgres dbname=postgres", filepath.Dir(socket)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background())
		if _, err := c.Exec(t.Context(), "UPDATE stock SET v = 'c'"); err != nil {
			t.Error(err)
		}
	})
	t.Run("status", func(t *testing.T) {
		r := run(t, "status", "--data-dir", s.dir, "-o", "json")
		r.expect(t, 0)
		var got map[string]json.RawMessage
		if err := json.Unmarshal([]byte(r.out), &got); err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"node", "node_id", "ready", "upstream", "applied", "in_doubt", "conflicts", "peers", "not_replicated", "streams"} {
			if got[field] == nil {
				t.Errorf("%s is missing in %s", field, r.out)
			}
		}
		if string(got["ready"]) != "true" || string(got["peers"]) != "[]" {
			t.Errorf("%s", r.out)
		}
		run(t, "status", "--data-dir", s.dir, "--ready").expect(t, 0, "node        a (ready)")
	})
	t.Run("journal", func(t *testing.T) {
		run(t, "journal", "ls", "--data-dir", s.dir).expect(t, 0, "CREATE TABLE stock", `INSERT INTO stock VALUES ($1, $2)  [1, a\nb]`, "UPDATE stock")
		r := run(t, "journal", "ls", "--data-dir", s.dir, "-o", "json", "--table", "stock", "--limit", "1")
		r.expect(t, 0, `"before":{"id":"1","v":"a\nb"}`, `"after":{"id":"1","v":"c"}`, `"client":"local"`)
		run(t, "journal", "show", "--data-dir", s.dir, "zz/1").expect(t, admin.ExitError, `no node "zz"`)
		run(t, "journal", "stats", "--data-dir", s.dir).expect(t, 0, "transactions")
		run(t, "journal", "check", "--data-dir", s.dir).expect(t, admin.ExitRefused, "is running")
	})
	t.Run("tail", func(t *testing.T) { testTail(t, s) })
	kept := filepath.Join(t.TempDir(), "a.checkpoint")
	t.Run("proofs", func(t *testing.T) { testProofs(t, s.dir, kept) })
	t.Run("no peers", func(t *testing.T) {
		run(t, "drain", "--data-dir", s.dir).expect(t, 0, "drained")
		run(t, "drain", "--data-dir", s.dir, "--peer", "zz").expect(t, admin.ExitUsage, `no peer "zz"`)
		run(t, "verify", "--data-dir", s.dir).expect(t, 0)
	})
	t.Run("in use", func(t *testing.T) {
		run(t, "serve", "--node", "a", "--data-dir", s.dir, "--listen", "127.0.0.1:0", "--upstream", "host=/x user=u").expect(t, admin.ExitError, "in use", s.dir)
	})
	t.Run("stop", func(t *testing.T) {
		if code := s.stop(); code != 0 {
			t.Errorf("exit code %d\n%s", code, s.log)
		}
		if _, err := os.Stat(filepath.Join(s.dir, admin.SocketName)); !os.IsNotExist(err) {
			t.Errorf("the admin socket is still there: %v", err)
		}
		run(t, "journal", "check", "--data-dir", s.dir).expect(t, 0, "nothing is wrong")
		run(t, "journal", "ls", "--data-dir", s.dir).expect(t, 0, "UPDATE stock")
		run(t, "audit", "verify", "--data-dir", s.dir, "--checkpoint", kept).expect(t, 0, "as they were written")
		run(t, "audit", "verify", "--data-dir", s.dir, "--peers").expect(t, admin.AuditGap, "is not running")
		run(t, "audit", "prove", "--data-dir", s.dir, "a/3").expect(t, 0, "c2sp.org/tlog-proof@v1")
		run(t, "audit", "checkpoint", "--data-dir", s.dir).expect(t, 0, "pgproxy.journal/")
	})
}

// testProofs asks a running node that has no peers, and keeps its checkpoint in a file.
func testProofs(t *testing.T, dir, kept string) {
	r := run(t, "audit", "checkpoint", "--data-dir", dir)
	r.expect(t, 0, "pgproxy.journal/", "node a")
	if err := os.WriteFile(kept, []byte(r.out), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "audit", "verify", "--data-dir", dir, "--checkpoint", kept).expect(t, 0, "as they were written")
	run(t, "audit", "verify", "--data-dir", dir, "-o", "json").expect(t, 0, `"tampered":false`, `"findings":[]`)
	run(t, "audit", "verify", "--data-dir", dir, "--peers").expect(t, admin.AuditGap, "no peers")
	run(t, "audit", "verify", "--data-dir", dir, "--checkpoint", filepath.Join(dir, "identity.db")).expect(t, admin.AuditError, "holds no checkpoint")
	other := filepath.Join(t.TempDir(), "b.checkpoint")
	stranger := run(t, "audit", "checkpoint", "--data-dir", writeJournal(t, 2))
	stranger.expect(t, 0)
	if err := os.WriteFile(other, []byte(stranger.out), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "audit", "verify", "--data-dir", dir, "--checkpoint", other).expect(t, admin.AuditTampered, "rebuilt")
	key := run(t, "audit", "checkpoint", "--data-dir", dir, "--key")
	proof := run(t, "audit", "prove", "--data-dir", dir, "a/3")
	proof.expect(t, 0, "c2sp.org/tlog-proof@v1", "\nindex ")
	file := filepath.Join(t.TempDir(), "proof.txt")
	if err := os.WriteFile(file, []byte(proof.out), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "audit", "prove", "--check", file, "--key", strings.TrimSpace(key.out)).expect(t, 0, "record 3 of node", "INSERT INTO stock")
	run(t, "audit", "prove", "--check", file).expect(t, admin.AuditGap, "signature was not checked")
	if err := os.WriteFile(file, []byte(strings.Replace(proof.out, "\nindex ", "\nindex 1", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "audit", "prove", "--check", file, "--key", strings.TrimSpace(key.out)).expect(t, admin.AuditTampered)
	run(t, "audit", "prove", "--data-dir", dir, "999999").expect(t, admin.AuditNothing)
	run(t, "audit", "checkpoint", "--data-dir", dir, "--of", "zz").expect(t, admin.AuditNothing)
	run(t, "audit", "purge", "--data-dir", dir, "--before", "0s").expect(t, 0, "0 files", "would be deleted")
	run(t, "audit", "purge", "--data-dir", dir).expect(t, admin.AuditError, "--before")
	run(t, "audit", "trust", "--data-dir", dir, "zz").expect(t, admin.AuditNothing, "nothing is known")
}

// testTail follows the journal while something is written.
func testTail(t *testing.T, s *serving) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs buffer
	done := make(chan int, 1)
	go func() {
		done <- Run(ctx, []string{"journal", "tail", "--data-dir", s.dir, "-o", "json", "--limit", "1"}, Environment{Stdout: &out, Stderr: &errs, Now: time.Now})
	}()
	seen := func(text string) {
		t.Helper()
		harness.WaitFor(t, 20*time.Second, text, func() (bool, string) { return strings.Contains(out.String(), text), out.String() + errs.String() })
	}
	seen("UPDATE stock")
	s.exec(t, "DELETE FROM stock WHERE id = 1")
	seen("DELETE FROM stock")
	cancel()
	if code := <-done; code != 0 || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
}

func TestServeRefusesBeforeItTouchesAnything(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	other := writeJournal(t, 1)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("zzz: 1\nnode: a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := func() string { return filepath.Join(t.TempDir(), "data") }
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"unreachable":        {[]string{"--upstream", "host=127.0.0.1 port=1 user=postgres"}, admin.ExitUnreachable, []string{"127.0.0.1:1", "refused", "HINT"}},
		"no such socket":     {[]string{"--upstream", "host=/nowhere user=postgres"}, admin.ExitUnreachable, []string{"/nowhere/.s.PGSQL.5432"}},
		"bad upstream":       {[]string{"--upstream", "host=x port=abc"}, admin.ExitUsage, []string{"--upstream", "port"}},
		"port taken":         {[]string{"--listen", taken.Addr().String()}, admin.ExitError, []string{"--listen", "address already in use"}},
		"peer port taken":    {[]string{"--peer-insecure", "--peer-listen", taken.Addr().String()}, admin.ExitError, []string{"--peer-listen", "address already in use"}},
		"other node":         {[]string{"--node", "b", "--data-dir", other}, admin.ExitError, []string{"another node", `"a"`}},
		"folder is a file":   {[]string{"--data-dir", file}, admin.ExitError, []string{"not a directory"}},
		"peer without name":  {[]string{"--peer-insecure", "--peer", "127.0.0.1:1"}, admin.ExitUsage, []string{"--peer", "name=host:port"}},
		"peers open":         {[]string{"--peer", "b=10.0.0.1:1", "--peer-insecure"}, admin.ExitUsage, []string{"loopback"}},
		"peers unprotected":  {[]string{"--peer", "b=10.0.0.1:1"}, admin.ExitUsage, []string{"--peer-ca"}},
		"bad config file":    {[]string{"--config", file}, admin.ExitUsage, []string{`file:1: unknown key "zzz"`}},
		"no config file":     {[]string{"--config", file + "x"}, admin.ExitUsage, []string{"no such file"}},
		"everything at once": {[]string{"--max-clients", "0", "--log-level", "x"}, admin.ExitUsage, []string{"--max-clients", "--log-level"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"serve", "--node", "a", "--listen", "127.0.0.1:0", "--upstream", "host=/nowhere user=u", "--data-dir", fresh()}, c.args...)
			if slicesContain(c.args, "--listen") {
				args = append([]string{"serve", "--node", "a", "--upstream", "host=/nowhere user=u", "--data-dir", fresh()}, c.args...)
			}
			r := run(t, args...)
			r.expect(t, c.code, c.says...)
			if strings.Contains(r.err, "\nready") {
				t.Error("it said ready")
			}
		})
	}
}

func slicesContain(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func TestServeWaitsForTheDatabase(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var log buffer
	done := make(chan int, 1)
	dir := filepath.Join(t.TempDir(), "a")
	go func() {
		done <- Run(ctx, []string{"serve", "--node", "a", "--listen", "127.0.0.1:0", "--upstream", "host=/nowhere user=u", "--data-dir", dir, "--wait-upstream"},
			Environment{Stdout: &log, Stderr: &log, Now: time.Now})
	}()
	harness.WaitFor(t, 20*time.Second, "it waits", func() (bool, string) {
		return strings.Contains(log.String(), "waiting for the database"), log.String()
	})
	run(t, "status", "--data-dir", dir).expect(t, 0, "starting")
	run(t, "drain", "--data-dir", dir).expect(t, admin.ExitUnreachable, "still starting")
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d: %s", code, log.String())
	}
}

func TestDamagedJournalIsNotServed(t *testing.T) {
	dir := writeJournal(t, 3)
	files, err := filepath.Glob(filepath.Join(dir, "segments", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte(strings.Repeat("rubbish", 10000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Open(t.Context(), journal.Options{Dir: dir, Node: "a"}); !errors.Is(err, journal.ErrDamaged) {
		t.Fatalf("the journal opens: %v", err)
	}
	run(t, "serve", "--node", "a", "--listen", "127.0.0.1:0", "--upstream", "host=/nowhere user=u", "--data-dir", dir).
		expect(t, admin.ExitDifference, "damaged", "HINT: pgproxy journal check --data-dir "+dir)
	run(t, "journal", "check", "--data-dir", dir).expect(t, admin.ExitDifference)
}
