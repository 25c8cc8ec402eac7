package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pgproxy/test/harness"
)

// TestSinksAreExactWhenKilled kills a node at each point of the writing of its audit trail, under load. The file and the table
// have every entry of the journal once.
func TestSinksAreExactWhenKilled(t *testing.T) {
	pg := harness.Postgres(t)
	harness.Query(t, pg.DSN("postgres"), "CREATE TABLE k (id int PRIMARY KEY, v text)")
	harness.Query(t, pg.DSN("postgres"), "CREATE DATABASE trail")
	file := filepath.Join(harness.Dir(t, "trail"), "audit.jsonl")
	p := harness.PrepareProxy(t, harness.ProxyOptions{Upstream: pg, NoPeers: true, Binary: harness.Build(t, harness.Faults),
		Args: []string{"--audit-file", file, "--audit-file-size", "64KB", "--audit-table", pg.DSN("trail")}})
	id := 0
	for _, point := range []string{"sink.copied:2", "sink.put:3", "sink.read:4", "sink.copied:1", ""} {
		p.Env = nil
		if point != "" {
			p.Env = []string{"PGPROXY_FAULT=" + point}
		}
		p.Launch()
		harness.WaitFor(t, time.Minute, "the node to be killed at "+point, func() (bool, string) {
			if point == "" || !p.Process().Running() {
				return true, ""
			}
			write(p.DSN("postgres"), &id)
			return false, fmt.Sprintf("%d writes", id)
		})
	}
	harness.WaitFor(t, time.Minute, "the node to run", func() (bool, string) {
		s, err := p.Status()
		return err == nil && s.Ready, fmt.Sprint(err)
	})
	write(p.DSN("postgres"), &id)
	want := exported(t, p)
	last := want[len(want)-1]
	var inFile, inTable []uint64
	harness.WaitFor(t, time.Minute, "the trail to be written", func() (bool, string) {
		inFile, inTable = fromFiles(t, file), fromTable(t, pg)
		return slices.Contains(inFile, last) && slices.Contains(inTable, last), fmt.Sprintf("%d is the last, %v in the file, %v in the table", last, inFile, inTable)
	})
	later := func(position uint64) bool { return position > last } // that we have asked is written down too
	if got := slices.DeleteFunc(inFile, later); !slices.Equal(got, want) {
		t.Errorf("the file has %v, the journal %v", got, want)
	}
	if got := slices.DeleteFunc(inTable, later); !slices.Equal(got, want) {
		t.Errorf("the table has %v, the journal %v", got, want)
	}
	lost := harness.Query(t, pg.DSN("trail"), "SELECT count(*) FROM audit.logged_actions WHERE action = 'I' AND table_name = 'k' AND outcome = 'committed'")
	if n := harness.Query(t, pg.DSN("postgres"), "SELECT count(*) FROM k"); n[0] != lost[0] {
		t.Errorf("%s rows, %s inserts in the table", n[0], lost[0])
	}
	if r := p.Run("verify"); r.Code != 0 {
		t.Logf("verify without peers: %s", r)
	}
}

// write makes a few transactions; errors are what a killed node gives.
func write(dsn string, id *int) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return
	}
	defer c.Close(ctx)
	for range 20 {
		*id++
		if _, err := c.Exec(ctx, "INSERT INTO k VALUES ($1, repeat('x', 500))", *id); err != nil {
			return
		}
	}
}

// exported gives the positions of everything in the journal that is exported.
func exported(t *testing.T, p *harness.Proxy) []uint64 {
	t.Helper()
	r := p.Run("audit", "export", "--format", "jsonl")
	if r.Code != 0 {
		t.Fatalf("%s", r)
	}
	return positionsOf(t, []byte(r.Stdout))
}

func positionsOf(t *testing.T, lines []byte) []uint64 {
	t.Helper()
	var all []uint64
	for l := range bytes.Lines(lines) {
		var x struct {
			Position uint64
			Kind     string
		}
		if !bytes.HasSuffix(l, []byte("\n")) {
			continue // being written
		}
		if err := json.Unmarshal(l, &x); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		if x.Kind != "beat" {
			all = append(all, x.Position)
		}
	}
	return all
}

func fromFiles(t *testing.T, path string) []uint64 {
	t.Helper()
	names, err := filepath.Glob(path + ".*")
	if err != nil {
		t.Fatal(err)
	}
	var all []uint64
	for _, name := range append(names, path) {
		b, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		all = append(all, positionsOf(t, b)...)
	}
	return all
}

func fromTable(t *testing.T, pg *harness.Server) []uint64 {
	t.Helper()
	if harness.Query(t, pg.DSN("trail"), "SELECT to_regclass('audit.logged_actions') IS NULL")[0] == "t" {
		return nil
	}
	var all []uint64
	for _, l := range harness.Query(t, pg.DSN("trail"), "SELECT position FROM audit.logged_actions ORDER BY position, number") {
		var n uint64
		if _, err := fmt.Sscan(l, &n); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}
