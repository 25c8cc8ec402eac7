package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sort"
)

// A file of images:
//
//	head      "pgimage1", marker of the transaction
//	pieces    each: length and CRC32C of what follows (4 bytes each), number of its first change (8 bytes), changes
//	rows      rising: the first 10 bytes of a row's hash, 6 bytes: the offset of a piece that changes the row
//	trailer   number of rows (8 bytes), CRC32C of rows and number (4 bytes)
//
// Head and pieces are what the record's hash covers and what peers get. The rows are derived from them by each node: they are
// the row index of the transaction, so that a million rows cost no memory and no place in the segments' indexes.
const (
	imageMagic   = "pgimage1"
	imageHead    = 8 + 16
	pieceHead    = 4 + 4 + 8
	imageTrailer = 8 + 4
	imageRowSize = 16
	rowPrefix    = 10
)

// pieceTarget is the size at which a piece ends: what is read to get at one row.
const pieceTarget = 64 << 10

// imageRow says that a piece changes a row.
type imageRow [imageRowSize]byte

func newImageRow(h rowHash, offset int64) (r imageRow) {
	copy(r[:], h[:rowPrefix])
	for i := range imageRowSize - rowPrefix {
		r[imageRowSize-1-i] = byte(offset >> (8 * i))
	}
	return r
}

func (r imageRow) offset() (v int64) {
	for _, b := range r[rowPrefix:] {
		v = v<<8 | int64(b)
	}
	return v
}

func compareImageRows(a, b imageRow) int { return bytes.Compare(a[:], b[:]) }

// appendPiece frames changes as a piece that lies at offset.
func appendPiece(b []byte, offset, first int64, changes []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(8+len(changes)))
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(first))
	b = append(b, changes...)
	binary.BigEndian.PutUint32(b[start+4:], pieceSum(offset, b[start+8:]))
	return b
}

func pieceSum(offset int64, b []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, binary.BigEndian.AppendUint64(nil, uint64(offset))), castagnoli, b)
}

// appendRows writes what stands behind the pieces. It sorts rows.
func appendRows(w io.Writer, rows []imageRow) (int64, error) {
	slices.SortFunc(rows, compareImageRows)
	rows = slices.Compact(rows)
	sum := uint32(0)
	buffer := make([]byte, 0, 64<<10)
	write := func() error {
		sum = crc32.Update(sum, castagnoli, buffer)
		_, err := w.Write(buffer)
		buffer = buffer[:0]
		return err
	}
	for i := range rows {
		if buffer = append(buffer, rows[i][:]...); len(buffer) == cap(buffer) {
			if err := write(); err != nil {
				return 0, err
			}
		}
	}
	buffer = binary.BigEndian.AppendUint64(buffer, uint64(len(rows)))
	if err := write(); err != nil {
		return 0, err
	}
	_, err := w.Write(binary.BigEndian.AppendUint32(nil, sum))
	return int64(len(rows))*imageRowSize + imageTrailer, err
}

// imageReader reads a file of images.
type imageReader struct {
	r      io.ReaderAt
	name   string
	images Images
	rows   int64
	fence  []imageRow // every fenceStep-th of the rows; nil until it is needed
}

// fenceStep is how many rows are read at once to find one.
const fenceStep = 256

func (r *imageReader) damaged(format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s", r.name, ErrDamaged, fmt.Sprintf(format, args...))
}

// imagePiece is a piece that was read and whose sum is right.
type imagePiece struct {
	offset, end int64
	first       int64
	changes     string
}

func (r *imageReader) piece(offset int64) (p imagePiece, err error) {
	var head [8]byte
	if offset < imageHead || offset > r.images.Bytes-pieceHead {
		return p, r.damaged("no piece at offset %d", offset)
	}
	if _, err := r.r.ReadAt(head[:], offset); err != nil {
		return p, fmt.Errorf("read %s: %w", r.name, err)
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n < 8 || n > r.images.Bytes-offset-8 {
		return p, r.damaged("piece of %d bytes at offset %d", n, offset)
	}
	b := make([]byte, n)
	if _, err := r.r.ReadAt(b, offset+8); err != nil {
		return p, fmt.Errorf("read %s: %w", r.name, err)
	}
	if pieceSum(offset, b) != binary.BigEndian.Uint32(head[4:]) {
		return p, r.damaged("checksum of the piece at offset %d does not match", offset)
	}
	return imagePiece{offset: offset, end: offset + 8 + n, first: int64(binary.BigEndian.Uint64(b)), changes: string(b[8:])}, nil
}

// each gives the changes of a piece until f returns false.
func (p *imagePiece) each(f func(*Change) bool) error {
	d := decoder{s: p.changes}
	for d.s != "" {
		var c Change
		d.change(&c)
		if d.err != nil {
			return fmt.Errorf("piece at offset %d: %w: %w", p.offset, ErrDamaged, d.err)
		}
		if !f(&c) {
			return nil
		}
	}
	return nil
}

// span gives the changes of a statement, with their number in it, until f returns false.
func (r *imageReader) span(s *Span, f func(number int64, c *Change) bool) error {
	for at, number := s.Offset, int64(0); number < s.Count(); {
		p, err := r.piece(at)
		if err != nil {
			return err
		}
		if p.first != s.From+number {
			return r.damaged("the piece at offset %d begins with change %d, not %d", at, p.first, s.From+number)
		}
		before, going := number, true
		if err := p.each(func(c *Change) bool {
			if number == s.Count() {
				number++ // too many
				return false
			}
			going = f(number, c)
			number++
			return going
		}); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if !going {
			return nil
		}
		if number == before || number > s.Count() {
			return r.damaged("the piece at offset %d does not hold the changes of its statement", at)
		}
		at = p.end
	}
	return nil
}

// find gives the offsets of the pieces that change a row, or one that shares the first part of its hash.
func (r *imageReader) find(h rowHash) ([]int64, error) {
	if err := r.loadFence(); err != nil {
		return nil, err
	}
	low := newImageRow(h, 0)
	i := sort.Search(len(r.fence), func(i int) bool { return compareImageRows(r.fence[i], low) >= 0 })
	var offsets []int64
	for at := max(int64(i-1), 0) * fenceStep; at < r.rows; at += fenceStep {
		rows, err := r.readRows(at, min(fenceStep, r.rows-at))
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if c := bytes.Compare(row[:rowPrefix], low[:rowPrefix]); c > 0 {
				return offsets, nil
			} else if c == 0 {
				offsets = append(offsets, row.offset())
			}
		}
	}
	return offsets, nil
}

// readRows reads n rows from the at-th on.
func (r *imageReader) readRows(at, n int64) ([]imageRow, error) {
	b := make([]byte, n*imageRowSize)
	if _, err := r.r.ReadAt(b, r.images.Bytes+at*imageRowSize); err != nil {
		return nil, fmt.Errorf("read %s: %w", r.name, err)
	}
	rows := make([]imageRow, n)
	for i := range rows {
		copy(rows[i][:], b[i*imageRowSize:])
	}
	return rows, nil
}

// loadFence reads all rows once, and checks their sum.
func (r *imageReader) loadFence() error {
	if r.fence != nil {
		return nil
	}
	fence := make([]imageRow, 0, r.rows/fenceStep+1)
	err := r.eachRow(func(i int64, row imageRow) error {
		if i%fenceStep == 0 {
			fence = append(fence, row)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.fence = fence
	return nil
}

// eachRow gives the rows in their order, and fails at the end if their sum does not match.
func (r *imageReader) eachRow(f func(i int64, row imageRow) error) error {
	sum := uint32(0)
	b := make([]byte, 64<<10)
	for at := int64(0); at < r.rows; {
		n := min(int64(len(b)/imageRowSize), r.rows-at)
		part := b[:n*imageRowSize]
		if _, err := r.r.ReadAt(part, r.images.Bytes+at*imageRowSize); err != nil {
			return fmt.Errorf("read %s: %w", r.name, err)
		}
		sum = crc32.Update(sum, castagnoli, part)
		for i := range n {
			if err := f(at+i, imageRow(part[i*imageRowSize:])); err != nil {
				return err
			}
		}
		at += n
	}
	var trailer [imageTrailer]byte
	if _, err := r.r.ReadAt(trailer[:], r.images.Bytes+r.rows*imageRowSize); err != nil {
		return fmt.Errorf("read %s: %w", r.name, err)
	}
	sum = crc32.Update(sum, castagnoli, trailer[:8])
	if binary.BigEndian.Uint64(trailer[:]) != uint64(r.rows) || sum != binary.BigEndian.Uint32(trailer[8:]) {
		return r.damaged("the index of its rows does not match its checksum")
	}
	return nil
}

// verify reads the head and the pieces through: hash, sums, and that they are the changes that tx tells of. It gives the
// rows that they change, in no order.
func (r *imageReader) verify(tx *Tx) ([]imageRow, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(r.r, 0, r.images.Bytes)); err != nil {
		return nil, fmt.Errorf("read %s: %w", r.name, err)
	}
	if [32]byte(sum.Sum(nil)) != r.images.Hash {
		return nil, r.damaged("hash does not match")
	}
	var head [imageHead]byte
	if _, err := r.r.ReadAt(head[:], 0); err != nil {
		return nil, fmt.Errorf("read %s: %w", r.name, err)
	}
	if string(head[:8]) != imageMagic || [16]byte(head[8:]) != tx.Marker {
		return nil, r.damaged("it does not begin as the images of its transaction")
	}
	var rows []imageRow
	at := int64(imageHead)
	for i := range tx.Statements {
		s := tx.Statements[i].Stored
		if s == nil {
			continue
		}
		if s.Offset != at {
			return nil, r.damaged("statement %d: its changes do not begin at offset %d", i, s.Offset)
		}
		got := Span{Offset: s.Offset, From: s.From}
		for got.Count() < s.Count() {
			p, err := r.piece(at)
			if err != nil {
				return nil, err
			}
			if p.first != s.From+got.Count() {
				return nil, r.damaged("the piece at offset %d begins with change %d", at, p.first)
			}
			if rows, err = p.check(tx, s, &got, rows); err != nil {
				return nil, fmt.Errorf("%s: %w", r.name, err)
			}
			at = p.end
		}
		if got.Inserted != s.Inserted || got.Updated != s.Updated || got.Deleted != s.Deleted {
			return nil, r.damaged("statement %d: it has not the changes that its record tells", i)
		}
	}
	if at != r.images.Bytes {
		return nil, r.damaged("%d bytes belong to no statement", r.images.Bytes-at)
	}
	return rows, nil
}

// check looks at the changes of a piece, counts them and appends the rows that they change.
func (p *imagePiece) check(tx *Tx, s *Span, got *Span, rows []imageRow) ([]imageRow, error) {
	var failed error
	err := p.each(func(c *Change) bool {
		if failed = tx.validateChange(c); failed == nil && !slices.Contains(s.Relations, c.Relation) {
			failed = errMalformed
		}
		if failed != nil {
			return false
		}
		got.tally(c.Op)
		rows = appendImageRows(rows, tx.Database, &tx.Relations[c.Relation], c, p.offset)
		return true
	})
	if err == nil && (failed != nil || p.changes == "") {
		err = fmt.Errorf("piece at offset %d: %w: %w", p.offset, ErrDamaged, failed)
	}
	return rows, err
}

func appendImageRows(rows []imageRow, database string, rel *Relation, c *Change, offset int64) []imageRow {
	tx := Tx{Database: database}
	var last imageRow
	for _, row := range [2][]Value{c.Before, c.After} {
		if row == nil {
			continue
		}
		if r := newImageRow(tx.RowKey(rel, row).hash(), offset); r != last {
			rows, last = append(rows, r), r
		}
	}
	claims := map[RowKey]bool{}
	tx.claims(rel, c, claims)
	for k := range claims {
		rows = append(rows, newImageRow(k.hash(), offset))
	}
	return rows
}
