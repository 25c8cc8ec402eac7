package journal

import (
	"errors"
	"fmt"
	"iter"
)

// Images names the changes of a transaction that are too many to be held in memory: they lie in a file of their own
// beside the segments, and the transaction's record covers them by their hash.
type Images struct {
	Hash  [32]byte // SHA-256 of the file's head and pieces
	Bytes int64    // of head and pieces
	Count int64    // changes
}

// Span is the changes of one statement that are in its transaction's images.
type Span struct {
	Offset                     int64 // of its first piece in the file
	From                       int64 // number of its first change among all in the images
	Inserted, Updated, Deleted int64
	Relations                  []int // those that it changes: indexes into Tx.Relations, rising
}

// Count gives the number of changes.
func (s *Span) Count() int64 { return s.Inserted + s.Updated + s.Deleted }

// tally counts a change.
func (s *Span) tally(op Op) {
	switch op {
	case OpInsert:
		s.Inserted++
	case OpUpdate:
		s.Updated++
	case OpDelete:
		s.Deleted++
	}
}

// Count gives the number of the statement's changes, those in the images included.
func (s *Statement) Count() int64 {
	n := int64(len(s.Changes))
	if s.Stored != nil {
		n += s.Stored.Count()
	}
	return n
}

// errNoImages is returned where a transaction's images are asked for that was not read through a journal.
var errNoImages = errors.New("the transaction was not read from a journal: its images are not at hand")

// Each gives the changes of a statement of tx in their order, those in the images included, which are read piece by piece.
// A change is valid until the next one; its values may be kept. It fails with ErrDamaged, and ends there.
func (tx *Tx) Each(st *Statement) iter.Seq2[*Change, error] {
	return func(yield func(*Change, error) bool) {
		if st.Stored != nil {
			going := true
			var bad error
			err := tx.open(func(r *imageReader) error {
				return r.span(st.Stored, func(_ int64, c *Change) bool {
					if bad = tx.see(c); bad == nil {
						going = yield(c, nil)
					}
					return going && bad == nil
				})
			})
			if err = errors.Join(err, bad); err != nil && going {
				yield(nil, err)
				return
			}
			if !going {
				return
			}
		}
		for i := range st.Changes {
			if !yield(&st.Changes[i], nil) {
				return
			}
		}
	}
}

// EachOf gives those changes of a statement that are in the images and may be of the row k, with their number in the
// statement; others may be among them. Only the pieces that hold the row are read.
func (tx *Tx) EachOf(st *Statement, k RowKey, each func(number int64, c *Change) error) error {
	if st.Stored == nil {
		return nil
	}
	return tx.open(func(r *imageReader) error {
		offsets, err := r.find(k.hash())
		if err != nil {
			return err
		}
		for _, at := range offsets {
			p, err := r.piece(at)
			if err != nil {
				return err
			}
			if p.first < st.Stored.From || p.first >= st.Stored.From+st.Stored.Count() {
				continue
			}
			number := p.first - st.Stored.From
			var failed error
			if err := p.each(func(c *Change) bool {
				if failed = tx.see(c); failed == nil {
					failed = each(number, c)
				}
				number++
				return failed == nil
			}); err != nil || failed != nil {
				return errors.Join(failed, err)
			}
		}
		return nil
	})
}

// see checks a change that was read from the images.
func (tx *Tx) see(c *Change) error {
	if err := tx.validateChange(c); err != nil {
		return fmt.Errorf("change in images: %w: %w", ErrDamaged, err)
	}
	return nil
}

// MayChange reports whether a change in the images may be of the row k: one that shares a part of its hash is taken for it.
func (tx *Tx) MayChange(k RowKey) (bool, error) {
	if tx.Images == nil {
		return false, nil
	}
	if tx.shelf == nil {
		return false, errNoImages
	}
	return tx.shelf.changes(*tx.Images, k.hash())
}

// open runs f with the file of tx's images.
func (tx *Tx) open(f func(*imageReader) error) error {
	if tx.Images == nil || tx.shelf == nil {
		return errNoImages
	}
	return tx.shelf.read(*tx.Images, f)
}

// validateStored checks the spans of all statements against the images: together they are the whole of it.
func (t *Tx) validateStored() error {
	if t.Images != nil && (t.Images.Bytes <= imageHead || t.Images.Count <= 0) {
		return fmt.Errorf("images: %w", errMalformed)
	}
	least, from := int64(imageHead), int64(0)
	for i := range t.Statements {
		s := t.Statements[i].Stored
		if s == nil {
			continue
		}
		if t.Images == nil || s.Count() <= 0 || s.From != from || s.Offset < least || from == 0 && s.Offset > least || s.Offset >= t.Images.Bytes {
			return fmt.Errorf("statement %d: changes in images: %w", i, errMalformed)
		}
		if err := within("relation", s.Relations, len(t.Relations)); err != nil {
			return fmt.Errorf("statement %d: %w", i, err)
		}
		least, from = s.Offset+1, from+s.Count()
	}
	if t.Images != nil && from != t.Images.Count {
		return fmt.Errorf("images of %d changes for statements of %d: %w", t.Images.Count, from, errMalformed)
	}
	return nil
}

func (e *encoder) images(x *Images) {
	e.bool(x != nil)
	if x != nil {
		e.raw(x.Hash[:])
		e.uint(uint64(x.Bytes))
		e.uint(uint64(x.Count))
	}
}

func (d *decoder) images() *Images {
	if !d.bool() {
		return nil
	}
	return &Images{Hash: d.hash(), Bytes: d.int63(), Count: d.int63()}
}

func (e *encoder) span(s *Span) {
	e.bool(s != nil)
	if s != nil {
		for _, v := range [5]int64{s.Offset, s.From, s.Inserted, s.Updated, s.Deleted} {
			e.uint(uint64(v))
		}
		e.ints(s.Relations)
	}
}

func (d *decoder) span() *Span {
	if !d.bool() {
		return nil
	}
	return &Span{Offset: d.int63(), From: d.int63(), Inserted: d.int63(), Updated: d.int63(), Deleted: d.int63(), Relations: d.ints()}
}

// int63 reads a number that is not negative, and so small that a few may be added up.
func (d *decoder) int63() int64 {
	v := d.uint()
	if v > 1<<48 {
		d.fail()
		return 0
	}
	return int64(v)
}
