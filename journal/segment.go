package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Names inside a segment file. They are part of the format.
var (
	bucketEntries = []byte("entries") // position (8 bytes, big endian) -> stamped entry
	bucketSegment = []byte("segment") // "base", "acked", "rested", "sealed"
	keyBase       = []byte("base")    // the state before the first entry
	keyAcked      = []byte("acked")   // acknowledged vectors, replaced as they move
	keyRested     = []byte("rested")  // summary and state of a last segment at Close; its indexes are complete up to there
	keySealed     = []byte("sealed")  // summary; its presence means that the indexes are complete
)

// segmentSuffix ends the name of a segment's file; before it stands the first position, in 16 hexadecimal digits.
const segmentSuffix = ".segment"

// Permissions of the journal's files and folders: its content is as secret as the database's.
const (
	fileMode   = 0o600
	folderMode = 0o700
)

// segment is one file of the journal. Positions first up to, not including, next() are in it.
type segment struct {
	path  string
	first uint64
	db    *bolt.DB

	end    atomic.Uint64 // the next position, as far as it is durable
	pruned atomic.Bool   // it was deleted
	bytes  atomic.Int64  // used pages of the file

	// mem finds entries until the segment is sealed; then it is nil and sealed is set. Guarded by shelf.mu.
	mem    *index
	sealed *sealedIndex
	// rested is set in a last segment that is only read and whose indexes Close has left: the state behind its last entry.
	rested *state
}

func segmentName(first uint64) string { return fmt.Sprintf("%016x%s", first, segmentSuffix) }

// parseSegmentName gives the first position that a file's name says.
func parseSegmentName(name string) (uint64, bool) {
	hex, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	first, err := strconv.ParseUint(hex, 16, 64)
	return first, err == nil
}

// segmentPaths lists the segment files of a folder by first position. Leftovers of a creation that did not finish are
// not among them.
func segmentPaths(dir string) ([]string, error) {
	found, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var paths []string
	for _, f := range found {
		if _, ok := parseSegmentName(f.Name()); ok {
			paths = append(paths, filepath.Join(dir, f.Name()))
		}
	}
	slices.Sort(paths)
	return paths, nil
}

// boltOptions are the settings under which every file of the journal is opened.
func boltOptions(size int64, noSync bool) *bolt.Options {
	return &bolt.Options{
		Timeout: 100 * time.Millisecond,
		// The list of free pages is found again at opening instead of being written with every commit.
		NoFreelistSync: true,
		FreelistType:   bolt.FreelistMapType,
		// Room for the whole segment from the start: growing the map would have to wait for all readers.
		InitialMmapSize: int(size + size/2),
		// NoGrowSync stays off: it is safe only on some filesystems, and a file grows rarely.
		NoSync:       noSync,
		NoStatistics: true,
	}
}

// createSegment makes a segment file that begins with base. The file appears under its name only when it is complete
// and durable.
func createSegment(dir string, base *state, size int64, noSync bool) (*segment, error) {
	path := filepath.Join(dir, segmentName(base.next))
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	if err := fillSegment(temp, base, noSync); err != nil {
		os.Remove(temp) // the disk may be full: leave nothing behind
		return nil, fmt.Errorf("create segment: %w", err)
	}
	if err := os.Rename(temp, path); err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	if err := syncFolder(dir); err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	return openSegment(path, size, noSync)
}

func fillSegment(path string, base *state, noSync bool) error {
	db, err := bolt.Open(path, fileMode, boltOptions(0, noSync))
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		if _, err := tx.CreateBucket(bucketEntries); err != nil {
			return err
		}
		b, err := tx.CreateBucket(bucketSegment)
		if err != nil {
			return err
		}
		return b.Put(keyBase, base.encode())
	})
	return errors.Join(err, db.Close())
}

// openSegment opens a segment for writing. Its pages must have been checked.
func openSegment(path string, size int64, noSync bool) (*segment, error) {
	db, err := bolt.Open(path, fileMode, boltOptions(size, noSync))
	if err != nil {
		return nil, openError(path, err)
	}
	db.AllocSize = int(min(int64(db.AllocSize), max(size/4, 64<<10)))
	return newSegment(path, db)
}

// openSegmentReadOnly opens a segment that will not be written to. Its meta pages must have been checked.
func openSegmentReadOnly(path string) (*segment, error) {
	o := boltOptions(0, false)
	o.ReadOnly = true
	db, err := bolt.Open(path, fileMode, o)
	if err != nil {
		return nil, openError(path, err)
	}
	return newSegment(path, db)
}

func openError(path string, err error) error {
	if errors.Is(err, berrors.ErrTimeout) {
		return fmt.Errorf("open %s: %w", path, ErrLocked)
	}
	return fmt.Errorf("open %s: %w", path, err)
}

func newSegment(path string, db *bolt.DB) (*segment, error) {
	first, _ := parseSegmentName(filepath.Base(path))
	s := &segment{path: path, first: first, db: db}
	s.end.Store(first)
	return s, nil
}

// large gives the entries with images. The caller holds shelf.mu.
func (s *segment) large() []largeRef {
	if s.mem != nil {
		return s.mem.large
	}
	if s.sealed != nil {
		return s.sealed.large
	}
	return nil
}

func (s *segment) next() uint64 { return s.end.Load() }

// view runs f in a read transaction. What bbolt reports by a panic, or the kernel by a fault on the mapped file, is damage.
// f must not keep any bytes.
func (s *segment) view(f func(tx *bolt.Tx) error) error {
	err := guard(s.path, func() error { return s.db.View(f) })
	if errors.Is(err, berrors.ErrDatabaseNotOpen) && s.pruned.Load() {
		return fmt.Errorf("%s: %w", s.path, ErrPruned)
	}
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

// base reads the state before the segment's first entry.
func (s *segment) base() (*state, error) {
	var base *state
	err := s.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketSegment)
		if b == nil || tx.Bucket(bucketEntries) == nil {
			return fmt.Errorf("%s: %w: it is not a segment", s.path, ErrDamaged)
		}
		var err error
		if base, err = decodeState(b.Get(keyBase)); err != nil {
			return fmt.Errorf("%s: %w: base: %w", s.path, ErrDamaged, err)
		}
		if acked := b.Get(keyAcked); acked != nil {
			if base.acked, err = decodeAcked(acked); err != nil {
				return fmt.Errorf("%s: %w: acknowledged positions: %w", s.path, ErrDamaged, err)
			}
		}
		s.bytes.Store(tx.Size())
		return nil
	})
	if err == nil && base.next != s.first {
		err = fmt.Errorf("%s: %w: it begins at position %d", s.path, ErrDamaged, base.next)
	}
	return base, err
}

// read gives a copy of the stored entry at position p.
func (s *segment) read(p uint64) ([]byte, error) {
	var b []byte
	err := s.view(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketEntries).Get(positionKey(p))
		if v == nil {
			return fmt.Errorf("%s: %w: position %d is missing", s.path, ErrDamaged, p)
		}
		b = slices.Clone(v)
		return nil
	})
	return b, err
}

// each calls f with every stored entry, in order, and checks that no position is missing. f must not keep the bytes.
func (s *segment) each(f func(p uint64, stamped []byte) error) error {
	return s.view(func(tx *bolt.Tx) error {
		want := s.first
		c := tx.Bucket(bucketEntries).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if string(k) != string(positionKey(want)) {
				return fmt.Errorf("%s: %w: position %d is missing", s.path, ErrDamaged, want)
			}
			if err := f(want, v); err != nil {
				return err
			}
			want++
		}
		return nil
	})
}

func (s *segment) close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close %s: %w", s.path, err)
	}
	return nil
}
