package journal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// imagesFolder holds the files of images, imageSuffix ends their names; before it stands their hash. partSuffix ends the
// names of those that are not complete: the next start removes them.
const (
	imagesFolder = "images"
	imageSuffix  = ".images"
	partSuffix   = ".part"
)

// maxFences bounds the files whose fences are kept in memory (a 4000th of the file's rows each).
const maxFences = 64

// imageStore is the folder of images.
type imageStore struct {
	dir    string
	bytes  atomic.Int64 // of all files in it
	number atomic.Uint64

	mu     sync.Mutex
	fences map[[32]byte][]imageRow
}

func newImageStore(dir string) *imageStore {
	return &imageStore{dir: filepath.Join(dir, imagesFolder), fences: map[[32]byte][]imageRow{}}
}

func (s *imageStore) path(hash [32]byte) string {
	return filepath.Join(s.dir, hex.EncodeToString(hash[:])+imageSuffix)
}

// create makes a file for images that are not complete yet.
func (s *imageStore) create() (*os.File, error) {
	if err := os.MkdirAll(s.dir, folderMode); err != nil {
		return nil, err
	}
	path := filepath.Join(s.dir, strconv.FormatUint(s.number.Add(1), 10)+partSuffix)
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, fileMode)
}

// Spool makes a file for what a client's transaction has no room for in memory. It has no name, and is gone when it is
// closed, or when the process ends.
func (j *Journal) Spool() (*os.File, error) {
	f, err := j.images.create()
	if err != nil {
		return nil, fmt.Errorf("make a file for large rows: %w", err)
	}
	return f, os.Remove(f.Name())
}

// keep makes a complete file durable under its hash. It closes f.
func (s *imageStore) keep(f *os.File, hash [32]byte, noSync bool) error {
	var err error
	if !noSync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if st, err := os.Stat(s.path(hash)); err == nil { // another link was faster
		s.bytes.Add(-st.Size())
	}
	if err := os.Rename(f.Name(), s.path(hash)); err != nil {
		return err
	}
	if noSync {
		return nil
	}
	return errors.Join(syncFolder(s.dir), syncFolder(filepath.Dir(s.dir)))
}

// discard removes a file that is not complete. It closes f.
func (s *imageStore) discard(f *os.File) {
	if st, err := f.Stat(); err == nil {
		s.bytes.Add(-st.Size())
	}
	_ = f.Close()
	_ = os.Remove(f.Name()) // else the next start does
}

// remove deletes a complete file that no entry names.
func (s *imageStore) remove(hash [32]byte) {
	if st, err := os.Stat(s.path(hash)); err == nil && os.Remove(s.path(hash)) == nil {
		s.bytes.Add(-st.Size())
	}
	s.mu.Lock()
	delete(s.fences, hash)
	s.mu.Unlock()
}

// has reports whether the images are there, by name and size.
func (s *imageStore) has(x Images) bool {
	_, err := s.size(x)
	return err == nil
}

// size gives the number of rows that a file's size tells.
func (s *imageStore) size(x Images) (rows int64, err error) {
	st, err := os.Stat(s.path(x.Hash))
	if err != nil {
		return 0, fmt.Errorf("images: %w: %w", ErrDamaged, err)
	}
	rest := st.Size() - x.Bytes - imageTrailer
	if rest < 0 || rest%imageRowSize != 0 {
		return 0, fmt.Errorf("%s: %w: it has %d bytes", s.path(x.Hash), ErrDamaged, st.Size())
	}
	return rest / imageRowSize, nil
}

// read runs f with a complete file.
func (s *imageStore) read(x Images, f func(*imageReader) error) error {
	rows, err := s.size(x)
	if err != nil {
		return err
	}
	file, err := os.Open(s.path(x.Hash))
	if err != nil {
		return fmt.Errorf("read images: %w", err)
	}
	defer file.Close()
	s.mu.Lock()
	r := &imageReader{r: file, name: file.Name(), images: x, rows: rows, fence: s.fences[x.Hash]}
	s.mu.Unlock()
	known := r.fence != nil
	err = f(r)
	if !known && r.fence != nil {
		s.mu.Lock()
		if len(s.fences) >= maxFences {
			clear(s.fences)
		}
		s.fences[x.Hash] = r.fence
		s.mu.Unlock()
	}
	return err
}

// changes reports whether the images may change a row.
func (s *imageStore) changes(x Images, h rowHash) (found bool, err error) {
	err = s.read(x, func(r *imageReader) error {
		offsets, err := r.find(h)
		found = len(offsets) > 0
		return err
	})
	return found, err
}

// check reads the images that an entry names through.
func (s *imageStore) check(e *entry) error {
	x := e.images()
	if x == nil {
		return nil
	}
	return s.read(*x, func(r *imageReader) error {
		rows, err := r.verify(e.record.Tx)
		if err != nil {
			return err
		}
		slices.SortFunc(rows, compareImageRows)
		rows = slices.Compact(rows)
		same := int64(len(rows)) == r.rows
		err = r.eachRow(func(i int64, row imageRow) error {
			same = same && rows[i] == row
			return nil
		})
		if err == nil && !same {
			err = r.damaged("the index of its rows is not that of its changes")
		}
		return err
	})
}

// refs adds to found those of large that may change a row, and brings all into their order.
func (s *imageStore) refs(found []rowRef, large []largeRef, h rowHash) ([]rowRef, error) {
	for _, l := range large {
		ok, err := s.changes(l.images, h)
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, l.rowRef)
		}
	}
	slices.SortFunc(found, orderRefs)
	return slices.Compact(found), nil // inline and in the images
}

// tidy removes what no entry names: files that were not completed, and those whose entry never became durable.
func (s *imageStore) tidy(named map[[32]byte]bool) error {
	files, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	for _, f := range files {
		name, complete := strings.CutSuffix(f.Name(), imageSuffix)
		var hash [32]byte
		b, err := hex.DecodeString(name)
		known := complete && err == nil && copy(hash[:], b) == len(hash) && named[hash]
		if complete && !known || strings.HasSuffix(f.Name(), partSuffix) {
			if err := os.Remove(filepath.Join(s.dir, f.Name())); err != nil {
				return fmt.Errorf("remove abandoned images: %w", err)
			}
		}
	}
	return nil
}

// measure sums up the files.
func (s *imageStore) measure() error {
	files, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	total := int64(0)
	for _, f := range files {
		if st, err := f.Info(); err == nil {
			total += st.Size()
		}
	}
	s.bytes.Store(total)
	return nil
}
