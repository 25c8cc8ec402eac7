package journal

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

// goldenImages is a file of images with two statements' changes in three pieces, and its transaction.
func goldenImagesOf() (*Tx, []byte) {
	tx := goldenTx().Tx
	c := tx.Statements[0].Changes[0]
	b := append([]byte(imageMagic), tx.Marker[:]...)
	var rows []imageRow
	add := func(first int64, n int) int64 {
		at := int64(len(b))
		e := encoder{}
		for range n {
			e.change(&c)
			rows = appendImageRows(rows, tx.Database, &tx.Relations[0], &c, at)
		}
		b = appendPiece(b, at, first, e.b)
		return at
	}
	tx.Statements[0].Changes, tx.Statements[0].Stored = nil, &Span{Offset: add(0, 2), Updated: 3, Relations: []int{0}}
	add(2, 1)
	tx.Statements[1].Stored = &Span{Offset: add(3, 1), From: 3, Updated: 1, Relations: []int{0}}
	tx.Images = &Images{Hash: sha256.Sum256(b), Bytes: int64(len(b)), Count: 4}
	var behind bytes.Buffer
	if _, err := appendRows(&behind, rows); err != nil {
		panic(err)
	}
	return tx, append(b, behind.Bytes()...)
}

func goldenImages(t *testing.T) []byte {
	tx, b := goldenImagesOf()
	if err := tx.validate(); err != nil {
		t.Fatal(err)
	}
	r := imageReader{r: bytes.NewReader(b), images: *tx.Images, rows: (int64(len(b)) - tx.Images.Bytes - imageTrailer) / imageRowSize}
	if _, err := r.verify(tx); err != nil {
		t.Fatal(err)
	}
	if at, err := r.find(tx.RowKey(&tx.Relations[0], []Value{Text("1"), {}}).hash()); err != nil || len(at) != 3 {
		t.Errorf("offsets of the row: %v, %v", at, err)
	}
	e := encoder{b}
	e.tx(tx)
	return e.b
}

// FuzzImages: no bytes in the place of images make the reader panic or run for ever, whatever the record says of them.
func FuzzImages(f *testing.F) {
	tx, b := goldenImagesOf()
	f.Add(b, int64(2), int64(24), int64(1))
	f.Add(b, int64(3), int64(70), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, rows, offset, from int64) {
		x := *tx
		rest := int64(len(b)) - imageTrailer
		if rows = min(max(rows, 0), rest/imageRowSize); rest-rows*imageRowSize < imageHead {
			return
		}
		size := rest - rows*imageRowSize
		x.Images = &Images{Bytes: size, Count: 4, Hash: sha256.Sum256(b[:size])}
		r := imageReader{r: bytes.NewReader(b), images: *x.Images, rows: rows}
		_, _ = r.verify(&x)
		_ = r.span(&Span{Offset: offset, From: from, Inserted: 4}, func(int64, *Change) bool { return true })
		_, _ = r.find(rowHash{1})
		_, _ = Raw{Bytes: b}, Raw{Bytes: b}.Images()
		d := decoder{s: string(b)}
		_ = d.tx()
	})
}
