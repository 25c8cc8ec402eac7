package pgtest

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pgproxy/test/harness"
)

// TestConversations runs every file directly and through a proxy, on the oldest and the newest PostgreSQL.
func TestConversations(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	for _, major := range harness.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			plain := harness.Postgres(t, harness.Major(major), harness.Named("plain"))
			behind := harness.Postgres(t, harness.Major(major), harness.Named("behind"))
			proxy := harness.NewProxy(t, harness.ProxyOptions{Upstream: behind, NoPeers: true})
			for _, path := range paths {
				t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
					compare(t, path, major, plain, behind, proxy)
				})
			}
		})
	}
}

func compare(t *testing.T, path string, major int, plain, behind *harness.Server, proxy *harness.Proxy) {
	c, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if major < c.Only {
		t.Skipf("from PostgreSQL %d on", c.Only)
	}
	database := "c_" + strings.NewReplacer("-", "_").Replace(strings.TrimSuffix(filepath.Base(path), ".txt"))
	for _, s := range []*harness.Server{plain, behind} {
		prepare(t, s, database, c.Setup)
	}
	want, err := c.Run(harness.Local(plain.Port), database)
	if err != nil {
		t.Fatalf("directly: %v", err)
	}
	if i := strings.Index(want, "<- waiting for"); i >= 0 {
		t.Fatalf("PostgreSQL itself does not give what the conversation waits for:\n%s", want)
	}
	got, err := c.Run(harness.Local(proxy.Port), database)
	if err != nil {
		t.Fatalf("through pgproxy: %v", err)
	}
	if got != want {
		t.Errorf("%s\n%s", path, diff(want, got))
	}
}

func prepare(t *testing.T, s *harness.Server, database string, setup []string) {
	t.Helper()
	harness.Query(t, s.DSN("postgres"), "CREATE DATABASE "+database)
	conn := harness.Connect(t, s.DSN(database))
	for _, sql := range setup {
		if _, err := conn.PgConn().Exec(context.Background(), sql).ReadAll(); err != nil {
			t.Fatalf("setup %s: %v", sql, err)
		}
	}
}

// shownBlocks is how many differing exchanges are shown of a conversation.
const shownBlocks = 8

// diff shows the exchanges, each a flight and the answers to it, in which two transcripts differ.
func diff(want, got string) string {
	w, g := exchanges(want), exchanges(got)
	var out strings.Builder
	different := 0
	for i := range max(len(w), len(g)) {
		var sent, a, b string
		if i < len(w) {
			sent, a = w[i][0], w[i][1]
		}
		if i < len(g) {
			sent, b = g[i][0], g[i][1]
		}
		if a == b {
			continue
		}
		if different++; different <= shownBlocks {
			fmt.Fprintf(&out, "%s  PostgreSQL:\n%s  pgproxy:\n%s\n", sent, a, b)
		}
	}
	fmt.Fprintf(&out, "%d of %d exchanges differ", different, len(w))
	return out.String()
}

// exchanges cuts a transcript into what was sent and what was received upon it.
func exchanges(transcript string) (all [][2]string) {
	received := true
	for line := range strings.Lines(transcript) {
		if isReceived := strings.HasPrefix(line, "<-"); !isReceived && received {
			all = append(all, [2]string{})
			received = false
		} else if isReceived {
			received = true
		}
		if len(all) == 0 {
			all = append(all, [2]string{})
		}
		last := &all[len(all)-1]
		if received {
			last[1] += "    " + line
		} else {
			last[0] += line
		}
	}
	return all
}

// TestConversationsHold runs every file twice on plain servers: a conversation that differs from itself would prove nothing.
func TestConversationsHold(t *testing.T) {
	paths, _ := filepath.Glob("testdata/*.txt")
	for _, major := range harness.Majors(t) {
		one, two := harness.Postgres(t, harness.Major(major)), harness.Postgres(t, harness.Major(major))
		for _, path := range paths {
			c, err := Read(path)
			if err != nil {
				t.Fatal(err)
			}
			if major < c.Only {
				continue
			}
			database := "c_" + strings.NewReplacer("-", "_").Replace(strings.TrimSuffix(filepath.Base(path), ".txt"))
			var got [2]string
			for i, s := range []*harness.Server{one, two} {
				prepare(t, s, database, c.Setup)
				if got[i], err = c.Run(harness.Local(s.Port), database); err != nil {
					t.Fatal(err)
				}
			}
			if got[0] != got[1] || strings.Contains(got[0], "<- waiting for") {
				t.Errorf("%s on %d differs from itself, or waits for what never comes:\n%s\n%s", path, major, diff(got[0], got[1]), got[0])
			}
		}
	}
}

func TestReadRefusesNonsense(t *testing.T) {
	for _, line := range []string{"fly", "query", `query "open`, "only", "mask ( x y", "parse x"} {
		if err := (&Conversation{}).add(1, line); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
}
