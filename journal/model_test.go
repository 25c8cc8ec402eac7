package journal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/journaltest"
)

// model is what a journal should hold, kept the plain way, next to a real one with small segments that is opened again
// now and then.
type model struct {
	t    *testing.T
	rnd  *rand.Rand
	o    journal.Options
	j    *journal.Journal
	wall atomic.Int64 // nanoseconds; the committer reads it too

	items   []item // in order of position
	open    []*journal.Intent
	verdict map[string]bool
	told    int              // conflicts, those that were pruned included
	gone    journal.Stats    // what was pruned
	floor   journal.Vector   // up to here records were pruned
	peer    *journal.Journal // writes as another node
}

type item struct {
	id      journal.ID // Seq 0: attempt
	tx      *journal.Tx
	outcome journal.Outcome
	at      time.Time
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), verdict: map[string]bool{}}
	m.wall.Store(time.Unix(1800000000, 0).UnixNano())
	now := m.now
	m.o = journal.Options{Dir: t.TempDir(), Node: "a", Now: now, NoSync: true, SegmentBytes: 64 << 10, CacheBytes: 64 << 10}
	m.peer = journaltest.Open(t, journal.Options{Node: "b", Now: now, NoSync: true})
	m.reopen()
	t.Cleanup(func() {
		if err := m.j.Close(); err != nil {
			t.Error(err)
		}
		journaltest.Check(t, m.o.Dir)
	})
	return m
}

func (m *model) now() time.Time { return time.Unix(0, m.wall.Load()) }

func (m *model) reopen() {
	if m.j != nil {
		if err := m.j.Close(); err != nil {
			m.t.Fatal(err)
		}
	}
	j, err := journal.Open(context.Background(), m.o)
	if err != nil {
		m.t.Fatal(err)
	}
	m.j = j
	m.open = j.InDoubt()
}

// tx makes a transaction of one of few users on few rows of few tables.
func (m *model) tx() *journal.Tx {
	tx := update(m.rnd.IntN(40), []string{"ann", "bob", "cid"}[m.rnd.IntN(3)])
	if m.rnd.IntN(20) == 0 {
		tx.User = "rare"
	}
	if m.rnd.IntN(3) == 0 {
		tx.Relations = slices.Clone(tx.Relations)
		tx.Relations[0].Schema = "archive"
		tx.Statements[0].Tables = []string{"archive.account"}
	}
	if m.rnd.IntN(30) == 0 {
		tx.Statements[0].Query += fmt.Sprintf("%0*d", m.rnd.IntN(20000), 1) // larger than a page
	}
	return tx
}

func (m *model) step() {
	m.wall.Add(int64(time.Duration(m.rnd.IntN(50)) * time.Millisecond))
	switch n := m.rnd.IntN(100); {
	case n < 55:
		tx := m.tx()
		in := seal(m.t, m.j, tx)
		m.items = append(m.items, item{in.ID(), tx, journal.OutcomeUnknown, in.Record().HLC.Wall()})
		m.open = append(m.open, in)
		if m.rnd.IntN(10) > 0 {
			m.decide(len(m.open) - 1)
		}
	case n < 65 && len(m.open) > 0:
		m.decide(m.rnd.IntN(len(m.open)))
	case n < 75:
		tx := m.tx()
		if err := m.j.Attempt(tx, journal.OutcomeAborted); err != nil {
			m.t.Fatal(err)
		}
		m.items = append(m.items, item{journal.ID{Origin: m.j.Identity().Node}, tx, journal.OutcomeAborted, m.now()})
	case n < 95:
		m.store()
	case n < 99:
		c := journal.Conflict{Kind: "k", Table: "t", Key: map[string]string{"id": fmt.Sprint(m.rnd.IntN(30))}}
		if !m.verdict[c.Key["id"]] {
			m.told++
		}
		m.verdict[c.Key["id"]] = true
		if err := m.j.AddConflict(c); err != nil {
			m.t.Fatal(err)
		}
	default:
		m.reopen()
	}
}

// prune deletes the oldest segments, and forgets what was in them.
func (m *model) prune() {
	for len(m.open) > 0 {
		m.decide(0)
	}
	m.flush()
	m.j.WaitSealed()
	before := m.j.Stats().Segments
	first, err := m.j.PurgeTo(3)
	if err != nil {
		m.t.Fatal(err)
	}
	m.flush()
	m.floor = m.j.Stored()
	every := []journal.Kind{journal.KindTx, journal.KindVoid, journal.KindMember, journal.KindBeat}
	for _, it := range all(m.t, m.j, journal.Filter{Kinds: every}) { // newest first
		if it.Position < first {
			m.t.Fatalf("position %d is left, the first should be %d", it.Position, first)
		}
		if id := it.Record.ID; id.Seq > 0 {
			m.floor[id.Origin] = id.Seq - 1
		}
	}
	left := len(all(m.t, m.j, journal.Filter{Kinds: []journal.Kind{journal.KindTx, journal.KindVoid}}))
	if before > 3 && left == len(m.items) {
		m.t.Errorf("%d segments and nothing was pruned", before)
	}
	for _, it := range m.items[:len(m.items)-left] {
		if it.id.Seq == 0 {
			m.gone.Attempts++
		} else if it.outcome == journal.OutcomeCommitted {
			m.gone.Transactions++
		}
	}
	m.items = m.items[len(m.items)-left:]
	clear(m.verdict)
	for c, err := range m.j.Conflicts() {
		if err != nil {
			m.t.Fatal(err)
		}
		m.verdict[c.Key["id"]] = true
	}
	if v, err := m.j.Verify(context.Background(), nil); err != nil || len(v.Findings) > 0 || v.From != first {
		m.t.Errorf("a purge is taken for an attack: %+v, %v", v, err)
	}
}

func (m *model) decide(i int) {
	in := m.open[i]
	m.open = slices.Delete(m.open, i, i+1)
	outcome := journal.OutcomeCommitted
	if m.rnd.IntN(4) == 0 {
		outcome = journal.OutcomeAborted
		abort(m.t, in, "reason "+in.ID().String())
	} else if err := in.Commit(); err != nil {
		m.t.Fatal(err)
	}
	for k := range m.items {
		if m.items[k].id == in.ID() {
			m.items[k].outcome = outcome
		}
	}
}

// store lets the peer write some and takes them over, with some that are here already.
func (m *model) store() {
	for range 1 + m.rnd.IntN(3) {
		tx := m.tx()
		in := seal(m.t, m.peer, tx)
		it := item{in.ID(), tx, journal.OutcomeCommitted, in.Record().HLC.Wall()}
		if m.rnd.IntN(5) == 0 {
			it.outcome, it.tx = journal.OutcomeAborted, nil
			abort(m.t, in, "")
		} else if err := in.Commit(); err != nil {
			m.t.Fatal(err)
		}
		m.items = append(m.items, it)
	}
	v := m.j.Stored()
	peer := m.peer.Identity().Node
	v[peer] -= min(v[peer], uint64(m.rnd.IntN(4)))
	recs, err := m.peer.After(v, 1<<20)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.j.Store(context.Background(), recs); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) check() {
	m.flush()
	m.checkScans()
	m.checkRows()
	m.checkAfter()
	var conflicts int
	for c, err := range m.j.Conflicts() {
		if err != nil {
			m.t.Fatal(err)
		}
		if !m.verdict[c.Key["id"]] {
			m.t.Errorf("conflict %v", c)
		}
		conflicts++
	}
	if conflicts != len(m.verdict) {
		m.t.Errorf("%d conflicts, want %d", conflicts, len(m.verdict))
	}
	m.checkStats()
}

// flush makes what is written lazily readable: a record that is waited for stands behind it.
func (m *model) flush() {
	if _, err := m.j.Beat(context.Background()); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) checkStats() {
	s := m.j.Stats()
	var committed, attempts int64
	for _, it := range m.items {
		if it.id.Seq == 0 {
			attempts++
		} else if it.outcome == journal.OutcomeCommitted {
			committed++
		}
	}
	committed, attempts = committed+m.gone.Transactions, attempts+m.gone.Attempts
	if s.Transactions != committed || s.Attempts != attempts || s.InDoubt != int64(len(m.open)) || s.Conflicts != int64(m.told) {
		m.t.Errorf("stats %+v: want %d committed, %d attempts, %d in doubt", s, committed, attempts, len(m.open))
	}
}

func (m *model) filters() []journal.Filter {
	aborted := journal.OutcomeAborted
	some := m.items[m.rnd.IntN(len(m.items))].at
	return []journal.Filter{
		{}, {User: "ann"}, {User: "rare"}, {User: "nobody"}, {Table: "account"}, {Table: "archive.account"}, {Table: "public.account", User: "bob"},
		{Origin: m.peer.Identity().Node.String()}, {Origin: "a", User: "cid"}, {Database: "bank", Outcome: &aborted}, {Limit: 7}, {User: "bob", Limit: 3},
		{Role: "ann", Client: "local"}, {Command: "UPDATE", Application: "psql", User: "bob"}, {SQLState: "23505"},
		{Rows: m.someRow(0)}, {Rows: slices.Concat(m.someRow(0), m.someRow(1)), User: "ann"}, {Rows: []journal.RowKey{"nothing"}},
		{Since: some}, {Until: some}, {Since: some.Add(-time.Second), Until: some, User: "ann"}, {Since: some.Add(-time.Millisecond), Until: some},
	}
}

// someRow gives the key of a row of the n-th table that something touched.
func (m *model) someRow(n int) []journal.RowKey {
	tx := update(m.rnd.IntN(40), "x")
	tx.Relations = slices.Clone(tx.Relations)
	tx.Relations[0].Schema = []string{"public", "archive"}[n]
	return tx.RowKeys()
}

func (m *model) checkScans() {
	for _, f := range m.filters() {
		for _, forward := range []bool{false, true} {
			f.Forward = forward
			f.Kinds = []journal.Kind{journal.KindTx, journal.KindVoid}
			got := all(m.t, m.j, f)
			want := m.want(f)
			if len(got) != len(want) {
				m.t.Fatalf("filter %+v: %d items, want %d", f, len(got), len(want))
			}
			for i := range got {
				m.same(got[i], want[i])
			}
			m.checkPages(f, got)
		}
	}
}

func (m *model) same(got journal.Item, want item) {
	m.t.Helper()
	switch {
	case got.Record.ID != want.id, got.Outcome != want.outcome, got.Record.HLC.Wall().Sub(want.at) > time.Second,
		(got.Record.Tx == nil) != (want.tx == nil), want.tx != nil && got.Record.Tx.User != want.tx.User:
		m.t.Fatalf("got %s %d %s, want %+v", got.Record.ID, got.Outcome, got.Record.HLC, want)
	}
}

func (m *model) want(f journal.Filter) (want []item) {
	self := m.j.Identity().Node
	for _, it := range m.items {
		if (f.User != "" || f.Table != "" || f.Database != "" || f.Role != "" || f.Command != "" || len(f.Rows) > 0) && it.tx == nil ||
			f.SQLState != "" || f.Role != "" && it.tx.Statements[0].Role != f.Role || len(f.Rows) > 0 && !slices.Contains(f.Rows, it.tx.RowKeys()[0]) || f.User != "" && it.tx.User != f.User ||
			f.Outcome != nil && it.outcome != *f.Outcome || !f.Since.IsZero() && it.at.Before(f.Since.Truncate(time.Millisecond)) ||
			!f.Until.IsZero() && it.at.After(f.Until) ||
			f.Table == "archive.account" && it.tx.Relations[0].Schema != "archive" || f.Table == "public.account" && it.tx.Relations[0].Schema != "public" ||
			f.Origin == "a" && it.id.Origin != self || len(f.Origin) > 1 && it.id.Origin == self {
			continue
		}
		want = append(want, it)
	}
	if !f.Forward {
		slices.Reverse(want)
	}
	if f.Limit > 0 && len(want) > f.Limit {
		want = want[:f.Limit]
	}
	return want
}

// checkPages reads the same in pages.
func (m *model) checkPages(f journal.Filter, whole []journal.Item) {
	if f.Limit > 0 {
		return
	}
	f.Limit = 1 + m.rnd.IntN(200)
	for len(whole) > 0 {
		page := all(m.t, m.j, f)
		if len(page) == 0 || len(page) > len(whole) {
			m.t.Fatalf("page of %d items, %d are left", len(page), len(whole))
		}
		for i := range page {
			if page[i].Position != whole[i].Position {
				m.t.Fatalf("filter %+v: position %d, want %d", f, page[i].Position, whole[i].Position)
			}
		}
		whole = whole[len(page):]
		f.After = page[len(page)-1].Position
	}
	if more := all(m.t, m.j, f); len(more) > 0 {
		m.t.Fatalf("filter %+v: more after the end", f)
	}
}

func (m *model) checkRows() {
	for id := range 40 {
		for _, schema := range []string{"public", "archive"} {
			tx := update(id, "x")
			tx.Relations = slices.Clone(tx.Relations)
			tx.Relations[0].Schema = schema
			key := tx.RowKeys()[0]
			want := map[journal.ID]journal.Outcome{}
			for _, it := range m.items {
				if it.id.Seq > 0 && it.tx != nil && it.outcome != journal.OutcomeAborted && it.tx.RowKeys()[0] == key {
					want[it.id] = it.outcome
				}
			}
			var refs []journal.Ref
			if err := m.j.Gate(func(g *journal.Gate) error { refs = g.Changes(key); return nil }); err != nil {
				m.t.Fatal(err)
			}
			m.checkSince(key, refs)
			if len(refs) != len(want) {
				m.t.Fatalf("row %d of %s: %d changes, want %d", id, schema, len(refs), len(want))
			}
			for i, r := range refs {
				if o, ok := want[r.ID]; !ok || o != r.Outcome {
					m.t.Fatalf("row %d: %+v, want outcome %d", id, r, o)
				}
				if i > 0 && journal.Order(refs[i-1].HLC, refs[i-1].ID, r.HLC, r.ID) >= 0 {
					m.t.Fatalf("row %d: changes are not in order", id)
				}
			}
		}
	}
}

// checkSince asks for the later changes of a row alone.
func (m *model) checkSince(key journal.RowKey, whole []journal.Ref) {
	if len(whole) == 0 {
		return
	}
	i := m.rnd.IntN(len(whole))
	if err := m.j.Gate(func(g *journal.Gate) error {
		if got := g.ChangesSince(key, whole[i].HLC); !slices.Equal(got, whole[i+1:]) {
			m.t.Errorf("changes since %s: %+v, want %+v", whole[i].HLC, got, whole[i+1:])
		}
		return nil
	}); err != nil {
		m.t.Fatal(err)
	}
}

// checkAfter reads the journal as a peer that lacks a random part of it.
func (m *model) checkAfter() {
	v := m.j.Stored()
	for n := range v {
		v[n] = m.rnd.Uint64N(v[n] + 1)
		if v[n] < m.floor[n] {
			if _, err := m.j.After(v, 1); !errors.Is(err, journal.ErrPruned) {
				m.t.Errorf("records of %s after %d: %v, up to %d were pruned", n, v[n], err, m.floor[n])
			}
			v[n] = m.floor[n]
		}
	}
	for {
		recs, err := m.j.After(v, 1+m.rnd.IntN(20000))
		if err != nil {
			m.t.Fatal(err)
		}
		if len(recs) == 0 {
			break
		}
		for _, raw := range recs {
			r, err := journal.DecodeRaw(raw.Bytes)
			if err != nil {
				m.t.Fatal(err)
			}
			if r.Seq != v[r.Origin]+1 {
				m.t.Fatalf("record %s after %d", r.ID, v[r.Origin])
			}
			v[r.Origin] = r.Seq
		}
	}
	if !v.Includes(m.j.Stored()) {
		m.t.Errorf("reached %v of %v", v, m.j.Stored())
	}
}

// TestModel compares a journal of many small segments with a plain list, through random writes and restarts.
func TestModel(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			m := newModel(t, seed)
			for i := range 900 {
				m.step()
				if i%300 == 299 {
					m.check()
				}
				if i%400 == 399 {
					m.prune()
					m.check()
				}
			}
			m.reopen()
			m.check()
			if len(m.floor) == 0 {
				t.Error("nothing was pruned")
			}
		})
	}
}
