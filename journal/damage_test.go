package journal_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgproxy/journal"
	"pgproxy/journal/journaltest"
)

// written makes a closed journal of several segments and gives its folder and their files.
func written(t *testing.T) (dir string, segments []string) {
	t.Helper()
	dir = t.TempDir()
	j, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a", NoSync: true, SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		commit(t, j, update(i, "ann"))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	segments, err = filepath.Glob(filepath.Join(dir, "segments", "*.segment"))
	if err != nil || len(segments) < 3 {
		t.Fatalf("%d segments, %v", len(segments), err)
	}
	slices.Sort(segments)
	return dir, segments
}

// change rewrites a file.
func change(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, f(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// text stands in every record, and so in every page of records, those that bbolt has left behind included.
const text = "UPDATE account SET"

// wipeRoot wipes the page from which bbolt reaches all others, as the newer meta page says.
func wipeRoot(b []byte) []byte {
	meta := b[16:]
	if binary.LittleEndian.Uint64(b[4096+64:]) > binary.LittleEndian.Uint64(b[64:]) {
		meta = b[4096+16:]
	}
	root := binary.LittleEndian.Uint64(meta[16:]) * 4096
	clear(b[root : root+4096])
	return b
}

// TestDamage: each kind of damage to each kind of file is refused or reported, with the file's name and the next command;
// nothing is made anew, and the process lives.
func TestDamage(t *testing.T) {
	kinds := map[string]func([]byte) []byte{
		"emptied":           func([]byte) []byte { return nil },
		"cut in half":       func(b []byte) []byte { return b[:len(b)/2] },
		"cut to a page":     func(b []byte) []byte { return b[:4096] },
		"meta page 0 wiped": func(b []byte) []byte { clear(b[:4096]); return b },
		"meta page 1 wiped": func(b []byte) []byte { clear(b[4096:8192]); return b },
		"root page wiped":   wipeRoot,
		"noise": func(b []byte) []byte {
			for i := range b {
				b[i] = byte(i * 7)
			}
			return b
		},
	}
	for name, damage := range kinds {
		for _, which := range []string{"first", "last", "identity"} {
			t.Run(name+" "+which, func(t *testing.T) {
				dir, segments := written(t)
				path := map[string]string{"first": segments[0], "last": segments[len(segments)-1], "identity": filepath.Join(dir, "identity.db")}[which]
				before := len(segments)
				change(t, path, damage)
				expectDamage(t, dir, filepath.Base(path))
				after, _ := filepath.Glob(filepath.Join(dir, "segments", "*.segment"))
				if len(after) != before {
					t.Errorf("%d segments, were %d", len(after), before)
				}
			})
		}
	}
}

// expectDamage expects that Check names the file, and that Open refuses or else reading does.
func expectDamage(t *testing.T, dir, file string) {
	t.Helper()
	r, err := journal.Check(dir)
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	if !strings.Contains(strings.Join(r.Problems, "\n"), file) {
		t.Errorf("check does not name %s: %q", file, r.Problems)
	}
	j, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a", SegmentBytes: 64 << 10})
	if err == nil {
		err = readAll(j)
		j.Close()
	} else if !strings.Contains(err.Error(), "data folder away") {
		t.Errorf("open does not say what to do: %v", err)
	}
	if !errors.Is(err, journal.ErrDamaged) || !strings.Contains(err.Error(), file) {
		t.Errorf("open and read: %v", err)
	}
}

// readAll reads everything in every way.
func readAll(j *journal.Journal) error {
	_, err := j.After(nil, 1<<30)
	for _, serr := range j.Scan(journal.Filter{User: "ann"}) {
		err = errors.Join(err, serr)
	}
	gerr := j.Gate(func(g *journal.Gate) error {
		for i := range 400 {
			g.Changes(update(i, "ann").RowKeys()[0])
		}
		return nil
	})
	return errors.Join(err, gerr)
}

// TestFlippedBitInAValue: bbolt has no checksum of its pages; ours of the entries finds the bit.
func TestFlippedBitInAValue(t *testing.T) {
	for _, which := range []int{0, -1} {
		dir, segments := written(t)
		path := segments[(which+len(segments))%len(segments)]
		change(t, path, func(b []byte) []byte {
			return []byte(strings.ReplaceAll(string(b), text, "UPDATF"+text[6:]))
		})
		expectDamage(t, dir, filepath.Base(path))
	}
}

func TestWipedPageOfRecords(t *testing.T) {
	for _, which := range []int{0, -1} {
		dir, segments := written(t)
		path := segments[(which+len(segments))%len(segments)]
		change(t, path, func(b []byte) []byte {
			for page := range slices.Chunk(b, 4096) {
				if strings.Contains(string(page), text) {
					clear(page)
				}
			}
			return b
		})
		expectDamage(t, dir, filepath.Base(path))
	}
}

func TestMissingFiles(t *testing.T) {
	dir, segments := written(t)
	copied := copyJournal(t, dir)
	if err := os.Remove(segments[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a"}); !errors.Is(err, journal.ErrDamaged) {
		t.Errorf("a segment in the middle is missing: %v", err)
	}
	if r, err := journal.Check(dir); err != nil || len(r.Problems) == 0 {
		t.Errorf("check: %+v, %v", r, err)
	}
	if err := os.Remove(filepath.Join(copied, "identity.db")); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Open(context.Background(), journal.Options{Dir: copied, Node: "a"}); !errors.Is(err, journal.ErrDamaged) {
		t.Errorf("the identity is missing: %v", err)
	}
	dir, segments = written(t)
	for _, s := range segments {
		if err := os.Remove(s); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a"}); !errors.Is(err, journal.ErrDamaged) {
		t.Errorf("all segments are missing: %v", err)
	}
	dir, segments = written(t)
	for _, s := range segments[len(segments)-2:] { // the end was cut off by a file: the counters say so
		if err := os.Remove(s); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a"}); !errors.Is(err, journal.ErrDamaged) {
		t.Errorf("the last segments are missing: %v", err)
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	j := journaltest.Open(t, journal.Options{Dir: dir, Node: "a"})
	commit(t, j, update(1, "ann"))
	for name, f := range map[string]func() error{
		"open": func() error {
			_, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a"})
			return err
		},
		"read":  func() error { _, err := journal.OpenReadOnly(dir); return err },
		"check": func() error { _, err := journal.Check(dir); return err },
	} {
		if err := f(); !errors.Is(err, journal.ErrLocked) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOtherNode(t *testing.T) {
	dir, _ := written(t)
	if _, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "b"}); !errors.Is(err, journal.ErrOtherNode) {
		t.Errorf("open: %v", err)
	}
	j := journaltest.Open(t, journal.Options{Dir: dir, Node: "a"}) // and the refusal has changed nothing
	if got := j.Identity().Incarnation; got != 2 {
		t.Errorf("incarnation %d", got)
	}
}

func TestFolderIsPrivate(t *testing.T) {
	dir, segments := written(t)
	for path, want := range map[string]os.FileMode{
		filepath.Join(dir, "segments"): 0o700, filepath.Join(dir, "identity.db"): 0o600, segments[0]: 0o600, filepath.Join(dir, "journal.lock"): 0o600,
	} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
}

// TestReadOnly reads a stopped node's journal, twice at once, and changes nothing.
func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a", NoSync: true, SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		in := seal(t, j, update(i, "ann"))
		switch i % 10 {
		case 0:
			abort(t, in, "deadlock")
		case 1:
		default:
			if err := in.Commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := all(t, j, journal.Filter{})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := journal.OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := journal.OpenReadOnly(dir)
	if err != nil {
		t.Fatalf("a second reader: %v", err)
	}
	defer second.Close()
	got := all(t, r, journal.Filter{})
	if len(got) != len(want) {
		t.Fatalf("%d items, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Position != want[i].Position || got[i].Outcome != want[i].Outcome || got[i].Record.ID != want[i].Record.ID {
			t.Fatalf("item %d: %+v, want %+v", i, got[i], want[i])
		}
	}
	if s := r.Stats(); s.Records != 300 || s.InDoubt != 30 || s.Transactions != 240 {
		t.Errorf("stats %+v", s)
	}
	if it, err := r.Get(got[len(got)-1].Record.ID); err != nil || it.Reason != "deadlock" {
		t.Errorf("get: %+v, %v", it, err)
	}
	if _, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a"}); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("the node starts while it is read: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := journal.OpenReadOnly(t.TempDir()); err == nil {
		t.Error("an empty folder is a journal")
	}
}
