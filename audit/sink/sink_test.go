package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgproxy/audit"
	"pgproxy/journal"
	"pgproxy/journal/journaltest"
)

func tx(n int) *journal.Tx {
	t := time.Unix(1700000000, 0).UTC()
	return &journal.Tx{Marker: [16]byte{byte(n), byte(n >> 8), 1}, Start: t, End: t, User: "ann\n]\"x", Database: "shop", Client: "10.0.0.1:5",
		Relations: []journal.Relation{{Schema: "public", Name: "t", Key: []int{0}, Columns: []journal.Column{{Name: "id", Type: "integer"}}}},
		Statements: []journal.Statement{{Query: fmt.Sprintf("INSERT INTO t VALUES (%d)\n-- %s", n, strings.Repeat("x", n%50)), Command: "INSERT", Class: journal.ClassWrite,
			Tables: []string{"public.t"}, Capture: journal.CaptureExact, RowsAffected: 1, Start: t,
			Changes: []journal.Change{{Op: journal.OpInsert, After: []journal.Value{journal.Text(strconv.Itoa(n))}}}}}}
}

func fill(t *testing.T, j *journal.Journal, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		in, err := j.Seal(t.Context(), tx(n))
		if err == nil {
			err = in.Commit()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// positions gives those that j has, in order.
func positions(t *testing.T, j *journal.Journal) []uint64 {
	t.Helper()
	var all []uint64
	q := audit.Query{All: true, Filter: journal.Filter{Forward: true}}
	for x, err := range q.Run(j) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, x.Position)
	}
	return all
}

// runUntil runs a sink until it has written the journal's last entry.
func runUntil(t *testing.T, j *journal.Journal, o Output) {
	t.Helper()
	all := positions(t, j)
	s := New(Options{Journal: j, Output: o, Watch: j.Watch, Logger: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.Status().Position < all[len(all)-1] {
		select {
		case <-ctx.Done():
			t.Fatalf("%+v", s.Status())
		case <-tick.C:
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// filePositions reads the positions of a file and of those put aside.
func filePositions(t *testing.T, path string) []uint64 {
	t.Helper()
	names, err := filepath.Glob(path + ".*")
	if err != nil {
		t.Fatal(err)
	}
	var all []uint64
	for _, name := range append(names, path) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for l := range bytes.Lines(b) {
			var x audit.Transaction
			if err := json.Unmarshal(l, &x); err != nil {
				t.Fatalf("%s: %q: %v", name, l, err)
			}
			all = append(all, x.Position)
		}
	}
	return all
}

func same(t *testing.T, got, want []uint64) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("positions %v, expected %v", got, want)
	}
}

// TestFileIsExactWhereverItIsCut: a crash may leave any prefix of the file. Going on from each gives the same bytes.
func TestFileIsExactWhereverItIsCut(t *testing.T) {
	j := journaltest.Open(t, journal.Options{Node: "a", NoSync: true})
	fill(t, j, 0, 40)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	runUntil(t, j, &File{Path: path})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	same(t, filePositions(t, path), positions(t, j))
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 25 {
		at := rnd.IntN(len(whole) + 1)
		if err := os.WriteFile(path, whole[:at], 0o600); err != nil {
			t.Fatal(err)
		}
		runUntil(t, j, &File{Path: path})
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, whole) {
			t.Fatalf("seed %d: cut at byte %d of %d: the file is another one, %v", seed, at, len(whole), err)
		}
	}
}

func TestFileIsPutAside(t *testing.T) {
	j := journaltest.Open(t, journal.Options{Node: "a", NoSync: true})
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for n := range 6 {
		fill(t, j, 10*n, 10*n+10)
		runUntil(t, j, &File{Path: path, Bytes: 4000})
		same(t, filePositions(t, path), positions(t, j))
	}
	aside, err := filepath.Glob(path + ".*")
	if err != nil || len(aside) < 2 {
		t.Errorf("put aside: %v, %v", aside, err)
	}
	// A crash after the renaming leaves no file, or an empty one.
	if err := os.Rename(path, fmt.Sprintf("%s.%020d", path, positions(t, j)[len(positions(t, j))-1])); err != nil {
		t.Fatal(err)
	}
	fill(t, j, 90, 93)
	runUntil(t, j, &File{Path: path, Bytes: 4000})
	same(t, filePositions(t, path), positions(t, j))
}

func TestFileOfSomebodyElseIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	const content = "root:x:0:0\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&File{Path: path}).Resume(t.Context()); err == nil || !strings.Contains(err.Error(), "is not of an audit trail") {
		t.Errorf("error %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != content {
		t.Errorf("%q, %v", b, err)
	}
}

func TestSinkWaitsForOutcomes(t *testing.T) {
	j := journaltest.Open(t, journal.Options{Node: "a", NoSync: true})
	fill(t, j, 0, 3)
	open, err := j.Seal(t.Context(), tx(50))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, j, 4, 6)
	s := New(Options{Journal: j, Output: &File{Path: filepath.Join(t.TempDir(), "x")}, Watch: j.Watch, Logger: slog.New(slog.DiscardHandler)})
	entries, _, err := s.read(0)
	if err != nil || len(entries) != 3 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	if err := open.Abort("test"); err != nil {
		t.Fatal(err)
	}
	if entries, _, err = s.read(0); err != nil || len(entries) != 6 || entries[3].Outcome != "aborted" {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

// TestSyslog: the messages are RFC 5424, counted and in order. A server that breaks off in the middle gets some of them again, and
// none is left out.
func TestSyslog(t *testing.T) {
	j := journaltest.Open(t, journal.Options{Node: "a", NoSync: true})
	fill(t, j, 0, 30)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1000)
	go func() {
		for first := true; ; first = false {
			c, err := l.Accept()
			if err != nil {
				close(got)
				return
			}
			most := 1000
			if first {
				most = 7
			}
			readSyslog(c, most, got)
			c.Close()
		}
	}()
	state := filepath.Join(t.TempDir(), "position")
	out := func() *Syslog {
		return &Syslog{Network: "tcp", Address: l.Addr().String(), Host: "host one", State: state}
	}
	entries := func(position uint64) []audit.Transaction {
		all, _, err := New(Options{Journal: j, Output: out(), Watch: j.Watch}).read(position)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	s := out()
	if _, err := s.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.send(&entries(0)[0], mustMessage(t, &entries(0)[0])); err != nil { // as if killed before the position was kept
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	runUntil(t, j, out())
	want := positions(t, j)
	seen := map[uint64]int{}
	for m := range got {
		if !rfc5424.MatchString(m) {
			t.Errorf("no message of RFC 5424: %q", m)
		}
		var x audit.Transaction
		if err := json.Unmarshal([]byte(m[strings.Index(m, "\ufeff")+3:]), &x); err != nil {
			t.Fatal(err)
		}
		if seen[x.Position]++; x.Position == want[len(want)-1] {
			break
		}
	}
	for _, p := range want {
		if seen[p] == 0 {
			t.Errorf("position %d was never sent", p)
		}
	}
	if seen[want[0]] != 2 {
		t.Errorf("the first was sent %d times: the position is kept after sending", seen[want[0]])
	}
	if position, err := out().Resume(t.Context()); err != nil || position != want[len(want)-1] {
		t.Errorf("position %d, %v", position, err)
	}
}

func mustMessage(t *testing.T, x *audit.Transaction) []byte {
	t.Helper()
	m, err := message("host one", x)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestSyslogDatagramsSayWhatTheyLack: a message too large for a datagram is replaced by its size and hash.
func TestSyslogDatagramsSayWhatTheyLack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	j := journaltest.Open(t, journal.Options{Node: "a", NoSync: true})
	big := tx(1)
	big.Statements[0].Query = strings.Repeat("y", 200<<10)
	in, err := j.Seal(t.Context(), big)
	if err == nil {
		err = in.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	runUntil(t, j, &Syslog{Network: "unix", Address: path, Host: "host one", State: filepath.Join(t.TempDir(), "position")})
	b := make([]byte, 1<<20)
	n, err := c.Read(b)
	if err != nil || !rfc5424.Match(b[:n]) || !regexp.MustCompile(`"sha256":"[0-9a-f]{64}","truncated":20\d{4}`).Match(b[:n]) {
		t.Errorf("%s, %v", b[:n], err)
	}
}

func TestParseSyslog(t *testing.T) {
	for in, want := range map[string]string{"unix:///dev/log": "unix /dev/log", "udp://h": "udp h:514", "tcp://h:99": "tcp h:99", "tcp://[::1]": "tcp [::1]:601",
		"http://h": "", "unix://h/x": "", "udp://": "", "tcp://h/x": "", "": ""} {
		network, address, err := ParseSyslog(in)
		if got := network + " " + address; err == nil && got != want || err != nil && want != "" {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

// FuzzHeader: whatever an entry holds, the header of its message is one, and ends where its text begins.
func FuzzHeader(f *testing.F) {
	f.Add("a\"]\\\n", "x\x00\u202e")
	f.Fuzz(func(t *testing.T, user, host string) {
		h := string(header(host, &audit.Transaction{User: user, Origin: user, Kind: host, Outcome: "aborted"}))
		if !regexp.MustCompile(`^<108>1 \S+ [!-~]{1,32} pgproxy - [!-~]{1,32} \[pgproxy@32473( \w+="([^"\\\]\n\r]|\\.)*")+\] ` + "\ufeff$").MatchString(h) {
			t.Errorf("%q", h)
		}
	})
}

// readSyslog reads counted messages until the end, or as many.
func readSyslog(c net.Conn, most int, got chan<- string) {
	var count []byte
	one := make([]byte, 1)
	for n := 0; n < most; {
		if _, err := c.Read(one); err != nil {
			return
		}
		if one[0] != ' ' {
			count = append(count, one[0])
			continue
		}
		size, err := strconv.Atoi(string(count))
		if err != nil {
			got <- "no count: " + string(count)
			return
		}
		count = nil
		m := make([]byte, size)
		if _, err := io.ReadFull(c, m); err != nil {
			return
		}
		got <- string(m)
		n++
	}
}

var rfc5424 = regexp.MustCompile(`^<1(08|10)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z host_one pgproxy - \w+ \[pgproxy@32473( \w+="([^"\\\]]|\\.)*")+\] ` + "\ufeff" + `\{.*\}$`)
