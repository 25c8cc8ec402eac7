package journal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgproxy/journal"
	"pgproxy/journal/journaltest"
)

// accountRow is a row of account.
func accountRow(id int, balance string) []journal.Value {
	return []journal.Value{journal.Text(fmt.Sprint(id)), journal.Text("owner of it"), journal.Text(balance)}
}

// inserted is an insert into account.
func inserted(id int) *journal.Change {
	return &journal.Change{Op: journal.OpInsert, After: accountRow(id, "1")}
}

// append adds n inserts as one statement.
func appendInserts(w *journal.ImageWriter, from, n int) (*journal.Span, error) {
	if err := w.Begin(); err != nil {
		return nil, err
	}
	for i := range n {
		if err := w.Append(&account, inserted(from+i)); err != nil {
			return nil, err
		}
	}
	return w.End()
}

// collect gives tx a second statement of n inserts, in images.
func collect(j *journal.Journal, tx *journal.Tx, from, n int) (*journal.ImageWriter, error) {
	w := j.NewImages(tx.Marker, tx.Database)
	s, err := appendInserts(w, from, n)
	if err != nil {
		return nil, err
	}
	tx.Statements = append(tx.Statements, journal.Statement{Command: "COPY", Capture: journal.CaptureCopy, Stored: s, RowsAffected: int64(n)})
	tx.Collected(w)
	return w, nil
}

// large is a transaction of n rows from "from" on.
func large(t testing.TB, j *journal.Journal, from, n int) (*journal.Tx, *journal.ImageWriter) {
	t.Helper()
	tx := update(1, "ann")
	w, err := collect(j, tx, from, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Discard)
	return tx, w
}

func ids(t testing.TB, tx *journal.Tx, statement int) (out []string) {
	t.Helper()
	for c, err := range tx.Each(&tx.Statements[statement]) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c.After[0].Data)
	}
	return out
}

func known(t testing.TB, j *journal.Journal, id int) (found []journal.ID) {
	t.Helper()
	err := j.Gate(func(g *journal.Gate) error {
		for _, r := range g.Changes(update(1, "").RowKey(&account, accountRow(id, ""))) {
			found = append(found, r.ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestImages: changes in images are read back, found by row while pending, durable, reopened and sealed, and get to a peer.
func TestImages(t *testing.T) {
	o := journal.Options{Dir: t.TempDir(), Node: "a", NoSync: true, SegmentBytes: 64 << 10}
	j := journaltest.Open(t, o)
	tx := update(1, "ann")
	w := j.NewImages(tx.Marker, tx.Database)
	first, err := appendInserts(w, 1000, 3000)
	if err != nil {
		t.Fatal(err)
	}
	back, err := appendInserts(w, 50000, 2500)
	if err != nil {
		t.Fatal(err)
	}
	w.Back(back) // ROLLBACK TO a savepoint
	second, err := appendInserts(w, 9000, 10)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := w.Each(first, func(c *journal.Change) error { n++; return nil }); err != nil || n != 3000 {
		t.Errorf("read back while it is open: %d, %v", n, err)
	}
	tx.Statements = append(tx.Statements, journal.Statement{Command: "COPY", Stored: first}, journal.Statement{Command: "INSERT", Stored: second,
		Changes: []journal.Change{*inserted(9010)}})
	tx.Collected(w)
	in := commit(t, j, tx)
	w.Discard()

	peer := journaltest.Open(t, journal.Options{Node: "b", NoSync: true})
	pull(t, peer, j)
	check := func(j *journal.Journal, when string) {
		t.Helper()
		r, err := j.Record(in.ID())
		if err != nil {
			t.Fatal(err)
		}
		if got := ids(t, r.Tx, 1); len(got) != 3000 || got[0] != "1000" || got[2999] != "3999" {
			t.Errorf("%s: %d changes", when, len(got))
		}
		if got := ids(t, r.Tx, 2); len(got) != 11 || got[10] != "9010" {
			t.Errorf("%s: %v", when, got)
		}
		for id, want := range map[int]bool{1: true, 999: false, 1000: true, 2500: true, 3999: true, 9009: true, 9010: true, 50000: false} {
			if got := slices.Contains(known(t, j, id), in.ID()); got != want {
				t.Errorf("%s: row %d is found: %v", when, id, got)
			}
		}
		k := r.Tx.RowKey(&account, accountRow(2500, ""))
		number := int64(-1)
		if err := r.Tx.EachOf(&r.Tx.Statements[1], k, func(n int64, c *journal.Change) error {
			if c.After[0].Data == "2500" {
				number = n
			}
			return nil
		}); err != nil || number != 1500 {
			t.Errorf("%s: row 2500 is change %d, %v", when, number, err)
		}
	}
	check(j, "durable")
	check(peer, "at the peer")
	for i := range 300 {
		commit(t, j, update(i+100000, "bob"))
	}
	if j.Stats().Segments < 2 {
		t.Fatal("the segment is not sealed")
	}
	check(j, "sealed")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = journaltest.Open(t, o)
	check(j, "opened again")
	if got := all(t, j, journal.Filter{Table: "public.account", Limit: 1000}); len(got) != 301 {
		t.Errorf("%d transactions of the table", len(got))
	}
}

// TestAbandonedImages: what no record names is gone, at once or at the next start; an attempt keeps its own.
func TestAbandonedImages(t *testing.T) {
	o := journal.Options{Dir: t.TempDir(), Node: "a", NoSync: true}
	j := journaltest.Open(t, o)
	files := func() int {
		found, err := os.ReadDir(filepath.Join(o.Dir, "images"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	_, w := large(t, j, 1, 500)
	if w.Discard(); files() != 0 {
		t.Errorf("%d files are left", files())
	}
	tx, w := large(t, j, 1, 500)
	tx.Statements[1].RolledBack = true
	if err := j.Attempt(tx, journal.OutcomeAborted); err != nil {
		t.Fatal(err)
	}
	w.Discard()
	large(t, j, 1, 500) // not discarded: as after a crash
	if files() != 2 {
		t.Errorf("%d files, of an attempt and an open transaction", files())
	}
	if len(known(t, j, 7)) != 0 {
		t.Error("an attempt changes rows")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = journaltest.Open(t, o)
	if files() != 1 {
		t.Errorf("%d files after the next start", files())
	}
	items := all(t, j, journal.Filter{Limit: 10})
	if len(items) != 1 || len(ids(t, items[0].Record.Tx, 1)) != 500 {
		t.Errorf("attempts: %+v", items)
	}
}

// TestImagesCount: images count against the disk budget, and what they took is given back.
func TestImagesCount(t *testing.T) {
	j := journaltest.Open(t, journal.Options{NoSync: true, MaxBytes: 4 << 20})
	tx := update(1, "ann")
	if _, err := collect(j, tx, 1, 200_000); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("a transaction larger than the budget: %v", err)
	}
	used := j.Stats().Bytes
	tx, w := large(t, j, 1, 20_000)
	if got := j.Stats().Bytes; got < used+1<<19 {
		t.Errorf("%d bytes are used, %d before", got, used)
	}
	_ = tx
	w.Discard()
	if got := j.Stats().Bytes; got != used {
		t.Errorf("%d bytes are used, %d before", got, used)
	}
}

// TestDamagedImages: damage is told by whoever reads, and by Check; a file that is missing stops the start.
func TestDamagedImages(t *testing.T) {
	for name, harm := range map[string]func([]byte) []byte{
		"piece": func(b []byte) []byte { b[100] ^= 1; return b },
		"head":  func(b []byte) []byte { b[10] ^= 1; return b },
		"rows":  func(b []byte) []byte { b[len(b)-20] ^= 1; return b },
		"cut":   func(b []byte) []byte { return b[:len(b)-16] },
		"gone":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			o := journal.Options{Dir: t.TempDir(), Node: "a", NoSync: true}
			j, err := journal.Open(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			tx, _ := large(t, j, 1, 2000)
			commit(t, j, tx)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			files, _ := filepath.Glob(filepath.Join(o.Dir, "images", "*"))
			if len(files) != 1 {
				t.Fatalf("%d files", len(files))
			}
			if harm == nil {
				os.Remove(files[0])
			} else {
				change(t, files[0], harm)
			}
			r, err := journal.Check(o.Dir)
			if err != nil || len(r.Problems) == 0 {
				t.Errorf("check: %+v, %v", r, err)
			}
			v, err := journal.Verify(context.Background(), o.Dir, nil)
			if err != nil || len(v.Findings) == 0 {
				t.Errorf("verify: %+v, %v", v, err)
			}
			j, err = journal.Open(context.Background(), o)
			if name == "gone" {
				if !errors.Is(err, journal.ErrDamaged) {
					t.Errorf("open: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			rec, err := j.Record(journal.ID{Origin: j.Identity().Node, Seq: 1})
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range rec.Tx.Each(&rec.Tx.Statements[1]) {
				if err != nil && (name != "piece" || !errors.Is(err, journal.ErrDamaged)) {
					t.Errorf("read: %v", err)
				}
				if err == nil && name == "piece" {
					t.Fatal("a damaged piece was read")
				}
			}
			err = j.Gate(func(g *journal.Gate) error {
				g.Changes(tx.RowKey(&account, accountRow(77, "")))
				return nil
			})
			if (name == "rows" || name == "cut") != errors.Is(err, journal.ErrDamaged) {
				t.Errorf("look up: %v", err)
			}
		})
	}
}

// TestStagedImages: images that are wrong, cut off or missing do not get in, nor does their record.
func TestStagedImages(t *testing.T) {
	from := journaltest.Open(t, journal.Options{Node: "a", NoSync: true})
	to := journaltest.Open(t, journal.Options{Node: "b", NoSync: true})
	tx, _ := large(t, from, 1, 20_000)
	commit(t, from, tx)
	recs, err := from.After(nil, 1)
	if err != nil || len(recs) != 1 || recs[0].Images() == nil {
		t.Fatalf("%v, %v", recs, err)
	}
	var pieces []journal.Raw
	if err := from.Pieces(recs[0], func(p journal.Raw) error { pieces = append(pieces, p); return nil }); err != nil || len(pieces) < 3 {
		t.Fatalf("%d pieces, %v", len(pieces), err)
	}
	if err := to.Store(context.Background(), recs); !errors.Is(err, journal.ErrGap) {
		t.Errorf("a record without its images: %v", err)
	}
	s := to.Stage()
	defer s.Discard()
	if err := errors.Join(s.Add(pieces[0]), s.Add(pieces[2])); !errors.Is(err, journal.ErrGap) {
		t.Errorf("a piece is missing: %v", err)
	}
	if err := s.Complete(recs[0]); !errors.Is(err, journal.ErrGap) {
		t.Errorf("complete without the rest: %v", err)
	}
	bad := pieces[1]
	bad.Bytes = slices.Clone(bad.Bytes)
	bad.Bytes[1000] ^= 1
	for i, p := range pieces {
		if i == 1 {
			p = bad
		}
		if err := s.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Complete(recs[0]); !errors.Is(err, journal.ErrDamaged) {
		t.Errorf("a wrong piece: %v", err)
	}
	s.Discard()
	pull(t, to, from)
	if r, err := to.Record(recs[0].ID); err != nil || len(ids(t, r.Tx, 1)) != 20_000 {
		t.Errorf("in the end: %v", err)
	}
}
