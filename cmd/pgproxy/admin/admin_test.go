package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgproxy/audit"
	"pgproxy/journal"
)

// fakeNode answers from memory.
type fakeNode struct {
	items []journal.Item
	err   error
	drain []DrainProgress
	wake  chan struct{}
	asked []journal.Filter
}

var _ Node = (*fakeNode)(nil)

func (f *fakeNode) Status(context.Context) Status { return Status{Node: "a", Ready: true} }
func (f *fakeNode) Journal() audit.Reader         { return f }
func (f *fakeNode) VerifyJournal(context.Context, []journal.Evidence, bool) (Verified, error) {
	return Verified{}, nil
}
func (f *fakeNode) Prove(context.Context, string) (string, error) { return "", nil }
func (f *fakeNode) Checkpoint(context.Context, string) (SignedCheckpoint, error) {
	return SignedCheckpoint{}, nil
}
func (f *fakeNode) Trust(context.Context, string) error { return nil }
func (f *fakeNode) Wake() (<-chan struct{}, func())     { return f.wake, func() {} }
func (f *fakeNode) Stats() journal.Stats                { return journal.Stats{Records: 7} }
func (f *fakeNode) Fold() audit.NewFold                 { return nil }
func (f *fakeNode) Asked(audit.Question)                {}
func (f *fakeNode) Veil() *audit.Veil                   { return nil }
func (f *fakeNode) Databases() ([]string, error)        { return nil, nil }
func (f *fakeNode) Users() ([]string, error)            { return nil, nil }
func (f *fakeNode) Purge(context.Context, time.Time, bool) (Purged, error) {
	return Purged{}, nil
}
func (f *fakeNode) Row(journal.RowKey) ([]journal.Ref, error) {
	return nil, nil
}
func (f *fakeNode) Names() map[journal.NodeID]string {
	return map[journal.NodeID]string{{1}: "a"}
}

func (f *fakeNode) Scan(q journal.Filter) iter.Seq2[journal.Item, error] {
	f.asked = append(f.asked, q)
	return func(yield func(journal.Item, error) bool) {
		for i, it := range f.items {
			if it.Position <= q.After && q.After > 0 {
				continue
			}
			if !yield(it, nil) || i+1 == q.Limit {
				return
			}
		}
		if f.err != nil {
			yield(journal.Item{}, f.err)
		}
	}
}

func (f *fakeNode) Get(id journal.ID) (journal.Item, error) {
	for _, it := range f.items {
		if it.Record.ID == id {
			return it, nil
		}
	}
	return journal.Item{}, journal.ErrNotFound
}

func (f *fakeNode) Conflicts() iter.Seq2[journal.Conflict, error] {
	return func(yield func(journal.Conflict, error) bool) {
		yield(journal.Conflict{Kind: "update/update", Winner: journal.ID{Origin: journal.NodeID{1}, Seq: 1}, Loser: journal.ID{Origin: journal.NodeID{9}, Seq: 1}}, nil)
	}
}

func (f *fakeNode) Explain(_ context.Context, q ExplainQuery, report func(any) error) error {
	return report(q)
}

func (f *fakeNode) Doctor(_ context.Context, database string, report func(Finding) error) error {
	return report(Finding{Database: database})
}

func (f *fakeNode) Drain(_ context.Context, peer string, timeout time.Duration, report func(DrainProgress) error) error {
	for _, p := range f.drain {
		if err := report(p); err != nil {
			return err
		}
	}
	return Fail(ExitDifference, "look at status", "peer %s: not drained after %s", peer, timeout)
}

func (f *fakeNode) Verify(_ context.Context, database, table string, report func(VerifyProgress) error) error {
	return report(VerifyProgress{Database: database, Table: table, Equal: true})
}

// start serves a node in a folder and gives its client.
func start(t *testing.T, node Node, dir string) *Client {
	t.Helper()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(node, func() time.Time { return time.Unix(0, 0) })
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(filepath.Join(dir, SocketName)); !os.IsNotExist(err) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return NewClient(dir)
}

func record(seq uint64) journal.Item {
	return journal.Item{Position: seq, Outcome: journal.OutcomeCommitted, Record: &journal.Record{ID: journal.ID{Origin: journal.NodeID{1}, Seq: seq}, Kind: journal.KindTx,
		Tx: &journal.Tx{User: "<alice>", Statements: []journal.Statement{{Query: strings.Repeat("x", 10000)}}}}}
}

func TestSocketBelongsToItsOwner(t *testing.T) {
	dir := t.TempDir()
	start(t, &fakeNode{}, dir)
	info, err := os.Stat(filepath.Join(dir, SocketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := start(t, &fakeNode{}, dir)
	if s, _, err := c.Status(context.Background()); err != nil || s.Node != "a" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := os.Stat(filepath.Join(dir, SocketName)); err != nil {
		t.Error(err)
	}
}

func TestProfilesAreOnTheSocket(t *testing.T) {
	c := start(t, &fakeNode{}, t.TempDir())
	for _, path := range []string{"heap?debug=1", "cmdline", "goroutine?debug=1"} {
		res, err := c.http.Get("http://node/debug/pprof/" + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if res.Body.Close(); err != nil || res.StatusCode != http.StatusOK || len(body) == 0 {
			t.Errorf("%s: status %d, %d bytes, %v", path, res.StatusCode, len(body), err)
		}
	}
}

func TestNotRunning(t *testing.T) {
	dir := t.TempDir()
	c := NewClient(dir)
	if _, _, err := c.Status(context.Background()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	l, err := Listen(dir) // left over by a process that died
	if err != nil {
		t.Fatal(err)
	}
	l.(*listener).UnixListener.Close()
	if running, err := c.Running(); running || err != nil {
		t.Errorf("left-over socket: %v, %v", running, err)
	}
	if _, _, err := c.Status(context.Background()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("left-over socket: %v", err)
	}
	start(t, &fakeNode{}, dir) // takes the left-over's place
}

func TestJournalStreams(t *testing.T) {
	f := &fakeNode{}
	for seq := range uint64(50) {
		f.items = append(f.items, record(seq+1))
	}
	c := start(t, f, t.TempDir())
	var got []string
	q := JournalQuery{Query: audit.Query{Filter: journal.Filter{User: "u&x", Since: time.Unix(5, 7).UTC(), Forward: true}}}
	err := c.Journal(context.Background(), q, func(raw []byte) error {
		var tx audit.Transaction
		if err := json.Unmarshal(raw, &tx); err != nil {
			return err
		}
		got = append(got, tx.ID())
		if !strings.Contains(string(raw), `"<alice>"`) {
			t.Fatalf("escaped: %.100s", raw)
		}
		return nil
	})
	if err != nil || len(got) != 50 || got[49] != "a/50" {
		t.Errorf("%d transactions, %v", len(got), err)
	}
	if a := f.asked[0]; a.User != "u&x" || !a.Since.Equal(q.Since) || !a.Forward {
		t.Errorf("the node was asked for %+v", a)
	}
}

func TestQueryTravels(t *testing.T) {
	aborted := journal.OutcomeAborted
	q := JournalQuery{Follow: true, Query: audit.Query{All: true, Filter: journal.Filter{Since: time.Unix(1, 1).UTC(), Until: time.Unix(2, 0).UTC(), User: "u", Database: "d",
		Table: "t", Origin: "o", Outcome: &aborted, Limit: 3, Forward: true, After: 9}}}
	back, err := parseQuery(q.values())
	if err != nil || !reflect.DeepEqual(back, q) {
		t.Errorf("sent %+v, got %+v, %v", q, back, err)
	}
	for _, bad := range []string{"since=x", "limit=-1", "outcome=maybe", "after=x"} {
		k, v, _ := strings.Cut(bad, "=")
		values := q.values()
		values.Set(k, v)
		if _, err := parseQuery(values); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestErrorsTravel(t *testing.T) {
	f := &fakeNode{items: []journal.Item{record(1)}, err: fmt.Errorf("scan: %w", journal.ErrDamaged), drain: []DrainProgress{{Elapsed: 1}}}
	c := start(t, f, t.TempDir())
	n := 0
	err := c.Journal(context.Background(), JournalQuery{}, func([]byte) error { n++; return nil })
	if n != 1 || err == nil || !strings.Contains(err.Error(), "damaged") || AsError(err).Code != ExitError {
		t.Errorf("%d items, error %v", n, err)
	}
	var e *Error
	err = c.Drain(context.Background(), "b & c", time.Minute, func([]byte) error { return nil })
	if !errors.As(err, &e) || e.Code != ExitDifference || e.Hint != "look at status" || !strings.Contains(e.Message, "peer b & c: not drained after 1m0s") {
		t.Errorf("error %#v", err)
	}
	if _, err := c.Record(context.Background(), "zz", "1"); err == nil || !strings.Contains(err.Error(), `no node "zz"`) {
		t.Errorf("error %v", err)
	}
	if raw, err := c.Record(context.Background(), "a", "1"); err != nil || !strings.Contains(string(raw), `"origin":"a"`) {
		t.Errorf("%.50s, %v", raw, err)
	}
}

func TestFollowEndsWithTheReader(t *testing.T) {
	f := &fakeNode{items: []journal.Item{record(1)}, wake: make(chan struct{}, 1)}
	c := start(t, f, t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	err := c.Journal(ctx, JournalQuery{Follow: true, Query: audit.Query{Filter: journal.Filter{Limit: 5}}}, func([]byte) error { cancel(); return nil })
	if ctx.Err() == nil || err == nil {
		t.Errorf("ended with %v", err)
	}
}

func TestNodeThatDiesIsNoEnd(t *testing.T) {
	dir := t.TempDir()
	f := &fakeNode{items: []journal.Item{record(1)}, wake: make(chan struct{})}
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(f, time.Now)
	go func() { _ = s.Serve(l) }()
	err = NewClient(dir).Journal(context.Background(), JournalQuery{Follow: true, Query: audit.Query{Filter: journal.Filter{Limit: 5}}}, func([]byte) error { return s.Close() })
	if err == nil || !strings.Contains(err.Error(), "went away") {
		t.Errorf("ended with %v", err)
	}
}

func TestConflictsAndStats(t *testing.T) {
	c := start(t, &fakeNode{items: []journal.Item{record(1)}}, t.TempDir())
	var got []audit.Conflict
	err := c.Conflicts(context.Background(), 5, func(raw []byte) error {
		got = append(got, audit.Conflict{})
		return json.Unmarshal(raw, &got[len(got)-1])
	})
	if err != nil || len(got) != 1 || got[0].Winner.User != "<alice>" || got[0].Loser.Missing == "" {
		t.Errorf("%+v, %v", got, err)
	}
	if s, err := c.Stats(context.Background()); err != nil || s.Records != 7 {
		t.Errorf("%+v, %v", s, err)
	}
}
