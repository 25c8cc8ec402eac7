package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/cmd/pgproxy/command"
	"pgproxy/journal"
	"pgproxy/test/harness"
)

// What `journal ls` may take on a large journal, start of the program included.
const (
	page        = 10        // a page, or a filter that finds few, takes at most one part in so many of what listing everything takes
	listMemory  = 200 << 20 // of the largest listing, which pages through everything
	rareEvery   = 10000     // one in so many records is of the rare user and the rare table
	listWriters = 64
)

// TestListingOfALargeJournal: the first page comes within a blink, filters do not read everything, and all of it can be
// paged through in constant memory. The machine's speed is no matter: what is compared is processor time of the same program
// on the same journal. (journal.TestFirstPageReadsLittle counts what is read.) PGPROXY_RECORDS says how large
// (1,000,000 in `make soak`).
func TestListingOfALargeJournal(t *testing.T) {
	records := harness.Number(t, "PGPROXY_RECORDS", 100000)
	dir := filepath.Join(harness.Dir(t, "journal"), "data")
	begin := time.Now()
	writeJournal(t, dir, records)
	t.Logf("wrote %d records in %v", records, time.Since(begin).Round(time.Millisecond))
	binary := harness.Build(t)
	rare := records / rareEvery
	var whole time.Duration // of processor time
	for _, c := range []struct {
		name  string
		args  []string
		lines int
	}{
		{"everything", []string{"--limit", strconv.Itoa(records + 10)}, records},
		{"first page", []string{"--limit", "50"}, 50},
		{"rare table", []string{"--table", "rare", "--limit", "50"}, min(rare, 50)},
		{"rare user", []string{"--user", "ruth", "--limit", "50"}, min(rare, 50)},
		{"no such user", []string{"--user", "nobody"}, 0},
		{"no such table", []string{"--table", "nothing"}, 0},
		{"time before all", []string{"--until", "2000-01-01"}, 0},
		{"row", []string{"--table", "account", "--key", "4711"}, 1},
		{"no such row", []string{"--table", "account", "--key", "-1"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Now()
			room := "journal"
			if slices.Contains(c.args, "--key") {
				room = "audit"
			}
			cmd := exec.Command(binary, append([]string{room, "ls", "-o", "json", "--data-dir", dir}, c.args...)...)
			out := lineCounter{cmd: cmd}
			var errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Run(); err != nil && (cmd.ProcessState.ExitCode() != admin.AuditNothing || c.lines > 0) {
				t.Fatalf("%v: %s", err, errs.String())
			}
			took, used := time.Since(begin), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
			t.Logf("%d lines in %v, %v of processor time, %d MiB", out.lines, took.Round(time.Millisecond), used.Round(time.Millisecond), out.memory>>20)
			if out.lines != c.lines {
				t.Errorf("%d lines, expected %d", out.lines, c.lines)
			}
			if whole == 0 {
				whole = used
			} else if used > whole/page {
				t.Errorf("it took %v of processor time, and listing everything %v", used, whole)
			}
			if out.memory > listMemory {
				t.Errorf("it took %d MiB", out.memory>>20)
			}
		})
	}
}

// TestAuditOfALargeJournal: while the node runs, what an auditor asks for by table, user, key and session is there at once. The
// times are told, not judged: that little is read is held by the journal's own tests.
func TestAuditOfALargeJournal(t *testing.T) {
	records := harness.Number(t, "PGPROXY_RECORDS", 20000)
	dir := filepath.Join(harness.Dir(t, "journal"), "data")
	writeJournal(t, dir, records)
	j, err := journal.Open(t.Context(), journal.Options{Dir: dir, Node: "a", NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	fold := command.NewFold()
	for _, c := range []struct {
		name string
		q    audit.Question
		want int
	}{
		{"newest by table", audit.Question{Table: "account", Limit: 50}, 50},
		{"newest by user", audit.Question{User: "postgres", Limit: 50}, 50},
		{"rare user", audit.Question{User: "ruth"}, records / rareEvery},
		{"rare table", audit.Question{Table: "public.rare"}, records / rareEvery},
		{"by key", audit.Question{Table: "account", Key: "4711"}, 1},
		{"by key and database", audit.Question{Table: "public.account", Key: "19999", Database: "shop"}, 1},
		{"by session", audit.Question{Session: "a.1.1", Limit: 50}, 50},
		{"history", audit.Question{Verb: audit.VerbHistory, Table: "account", Key: "4711"}, 1},
		{"blame", audit.Question{Verb: audit.VerbBlame, Table: "account", Key: "4711"}, 2},
	} {
		if c.q.Verb == "" {
			c.q.Verb = audit.VerbList
		}
		var times []time.Duration
		for range 5 {
			begin, got := time.Now(), 0
			err := audit.Answer(t.Context(), j, c.q, audit.Aid{Now: time.Now, Fold: fold}, func(any) error { got++; return nil })
			if err != nil || got != c.want {
				t.Errorf("%s: %d items, expected %d, %v", c.name, got, c.want, err)
			}
			times = append(times, time.Since(begin))
		}
		slices.Sort(times)
		t.Logf("%-20s %7d records: %8.3f ms (median of 5; worst %.3f ms)", c.name, records, ms(times[2]), ms(times[4]))
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// lineCounter counts lines and forgets them; with each it looks at the memory of the process that writes them. (What the
// kernel tells of a process that has ended includes the one that started it.)
type lineCounter struct {
	cmd    *exec.Cmd
	lines  int
	memory int64
}

func (c *lineCounter) Write(b []byte) (int, error) {
	c.lines += bytes.Count(b, []byte("\n"))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err == nil {
		if _, peak, ok := bytes.Cut(status, []byte("VmHWM:")); ok {
			var kib int64
			if _, err := fmt.Sscan(string(peak), &kib); err == nil {
				c.memory = max(c.memory, kib<<10)
			}
		}
	}
	return len(b), nil
}

// writeJournal makes the journal of a node that has seen many small transactions.
func writeJournal(t *testing.T, dir string, records int) {
	t.Helper()
	ctx := context.Background()
	j, err := journal.Open(ctx, journal.Options{Dir: dir, Node: "a", NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	numbers := make(chan int)
	var writers sync.WaitGroup
	for range listWriters {
		writers.Go(func() {
			for n := range numbers {
				in, err := j.Seal(ctx, smallTransaction(n))
				if err == nil {
					err = in.Commit()
				}
				if err != nil {
					t.Errorf("record %d: %v", n, err)
				}
			}
		})
	}
	for n := range records {
		numbers <- n
	}
	close(numbers)
	writers.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func smallTransaction(n int) *journal.Tx {
	user, table := "postgres", "account"
	if n%rareEvery == rareEvery/2 {
		user, table = "ruth", "rare"
	}
	id := strconv.Itoa(n)
	now := time.Now()
	tx := &journal.Tx{Start: now, End: now, User: user, Database: "shop", Application: "psql", Client: "127.0.0.1:1", Session: 1,
		Relations: []journal.Relation{{Schema: "public", Name: table, Key: []int{0}, Columns: []journal.Column{
			{Name: "id", Type: "integer", NotNull: true}, {Name: "v", Type: "text"}}}}}
	copy(tx.Marker[:], fmt.Sprintf("%016d", n))
	tx.Statements = []journal.Statement{{Query: "INSERT INTO " + table + " VALUES ($1, $2)", Command: "INSERT", Tables: []string{"public." + table},
		Capture: journal.CaptureExact, RowsAffected: 1, Start: now,
		Changes: []journal.Change{{Op: journal.OpInsert, After: []journal.Value{journal.Text(id), journal.Text("value " + id)}}}}}
	return tx
}
