package journal

import (
	"bufio"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"os"
	"slices"
)

// ImageWriter collects changes of one open transaction that are too many to be held in memory. They go to a file that
// counts for nothing until the transaction's record names it. Each statement's changes are between Begin and End. Not safe
// for concurrent use.
type ImageWriter struct {
	j        *Journal
	marker   [16]byte
	database string

	file    *os.File // nil: nothing was written yet
	sum     hash.Hash
	end     int64  // of the pieces that are in the file
	changes []byte // of the piece that is being filled
	frame   []byte
	number  int64      // of the next change
	first   int64      // number of the first of changes
	rows    []imageRow // 16 bytes a row: all the memory that grows
	marks   []imageMark
	open    *Span // the statement under way

	done   *Images // once it is complete
	failed error
}

// imageMark is the writer's state where a statement began.
type imageMark struct {
	offset, number int64
	rows           int
	sum            []byte
}

// NewImages begins to collect images of a transaction. Nothing is on the disk before the first change is.
func (j *Journal) NewImages(marker [16]byte, database string) *ImageWriter {
	return &ImageWriter{j: j, marker: marker, database: database}
}

// Begin begins a statement.
func (w *ImageWriter) Begin() error {
	if w.failed == nil && w.file == nil {
		w.failed = w.create()
	}
	if w.failed != nil {
		return w.failed
	}
	if w.open != nil {
		w.Back(w.open)
	}
	state, err := w.sum.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return w.fail(err)
	}
	w.marks = append(w.marks, imageMark{w.end, w.number, len(w.rows), state})
	w.open = &Span{Offset: w.end, From: w.number}
	return nil
}

func (w *ImageWriter) create() error {
	if err := w.j.usable(); err != nil {
		return err
	}
	f, err := w.j.images.create()
	if err != nil {
		return w.fail(err)
	}
	w.file, w.sum = f, sha256.New()
	return w.write(append([]byte(imageMagic), w.marker[:]...))
}

// Append adds a change of the statement under way; rel is the relation that it names.
func (w *ImageWriter) Append(rel *Relation, c *Change) error {
	if w.failed != nil {
		return w.failed
	}
	if i, known := slices.BinarySearch(w.open.Relations, c.Relation); !known {
		w.open.Relations = slices.Insert(w.open.Relations, i, c.Relation)
	}
	w.open.tally(c.Op)
	w.rows = appendImageRows(w.rows, w.database, rel, c, w.end)
	e := encoder{w.changes}
	e.change(c)
	w.changes = e.b
	w.number++
	if len(w.changes) >= pieceTarget {
		return w.flush()
	}
	return nil
}

// End ends the statement and says where its changes are; nil if it has none.
func (w *ImageWriter) End() (*Span, error) {
	if err := w.flush(); err != nil {
		return nil, err
	}
	s := w.open
	w.open = nil
	if s.Count() == 0 {
		w.marks = w.marks[:len(w.marks)-1]
		return nil, nil
	}
	return s, nil
}

// flush writes the piece that is being filled.
func (w *ImageWriter) flush() error {
	if w.failed != nil || len(w.changes) == 0 {
		return w.failed
	}
	w.frame = appendPiece(w.frame[:0], w.end, w.first, w.changes)
	w.changes, w.first = w.changes[:0], w.number
	if err := w.j.room(int64(len(w.frame)) + int64(len(w.rows))*imageRowSize); err != nil {
		return w.fail(err)
	}
	return w.write(w.frame)
}

func (w *ImageWriter) write(b []byte) error {
	err := w.j.o.disk("images")
	if err == nil {
		_, err = w.file.WriteAt(b, w.end)
	}
	if err != nil {
		return w.fail(err)
	}
	w.sum.Write(b)
	w.end += int64(len(b))
	w.j.images.bytes.Add(int64(len(b)))
	return nil
}

// fail makes err the answer to everything from now on: the transaction cannot be recorded.
func (w *ImageWriter) fail(err error) error {
	w.failed = fmt.Errorf("write images: %w", w.j.classify(err))
	return w.failed
}

// Err gives what has made the images useless: the transaction cannot be sealed. Nil: nothing has.
func (w *ImageWriter) Err() error { return w.failed }

// Back takes the statement of s and all that came after it back.
func (w *ImageWriter) Back(s *Span) {
	i := slices.IndexFunc(w.marks, func(m imageMark) bool { return m.offset == s.Offset })
	if i < 0 || w.failed != nil {
		return
	}
	m := w.marks[i]
	w.changes, w.open = w.changes[:0], nil
	w.marks = w.marks[:i]
	w.number, w.first, w.rows = m.number, m.number, w.rows[:m.rows]
	err := errors.Join(w.sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(m.sum), w.file.Truncate(m.offset))
	if err != nil {
		w.fail(err)
		return
	}
	w.j.images.bytes.Add(m.offset - w.end)
	w.end = m.offset
}

// Each reads back the changes of a statement that has ended. A change is valid until the next one; its values may be kept.
func (w *ImageWriter) Each(s *Span, f func(*Change) error) error {
	if w.failed != nil {
		return w.failed
	}
	r := &imageReader{r: w.file, name: w.file.Name(), images: Images{Bytes: w.end}}
	var failed error
	err := r.span(s, func(_ int64, c *Change) bool {
		failed = f(c)
		return failed == nil
	})
	return errors.Join(failed, err)
}

// finish makes the images complete and durable; nil if there are none. It may be asked again.
func (w *ImageWriter) finish() (*Images, error) {
	if w.done != nil || w.failed != nil {
		return w.done, w.failed
	}
	if w.open != nil {
		w.Back(w.open)
	}
	if w.number == 0 || w.failed != nil {
		return nil, w.failed
	}
	x := Images{Bytes: w.end, Count: w.number}
	w.sum.Sum(x.Hash[:0])
	if err := w.j.o.disk("images"); err != nil {
		return nil, w.fail(err)
	}
	if err := w.j.images.complete(w.file, x, w.rows, w.j.o.NoSync); err != nil {
		return nil, w.fail(err)
	}
	w.rows, w.done = nil, &x
	w.j.o.Fault("journal.images")
	return w.done, nil
}

// Discard must be called when the transaction has ended: it removes what no record or attempt has come to name.
func (w *ImageWriter) Discard() {
	if w.done != nil {
		w.j.dropImages(w.done.Hash)
	} else if w.file != nil {
		w.j.images.discard(w.file)
		w.file = nil
		w.failed = errors.Join(w.failed, ErrClosed)
	}
}

// complete writes the rows behind the pieces and keeps the file. It closes f unless it fails before that.
func (s *imageStore) complete(f *os.File, x Images, rows []imageRow, noSync bool) error {
	if _, err := f.Seek(x.Bytes, 0); err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 64<<10)
	n, err := appendRows(b, rows)
	if err = errors.Join(err, b.Flush()); err != nil {
		return err
	}
	s.bytes.Add(n)
	return s.keep(f, x.Hash, noSync)
}

// dropImages removes complete images that no entry names, on the disk or on its way there.
func (j *Journal) dropImages(hash [32]byte) {
	j.gate.Lock()
	defer j.gate.Unlock()
	if _, waiting := j.large[hash]; waiting {
		return
	}
	j.mu.RLock()
	named := j.namedImages()
	j.mu.RUnlock()
	if !named[hash] {
		j.images.remove(hash)
	}
}

// namedImages gives the images that durable entries name. The caller holds mu.
func (s *shelf) namedImages() map[[32]byte]bool {
	named := map[[32]byte]bool{}
	for _, g := range s.segments {
		for _, l := range g.large() {
			named[l.images.Hash] = true
		}
	}
	return named
}
