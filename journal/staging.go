package journal

import (
	"encoding/binary"
	"fmt"
	"os"
)

// formPiece is the form of a part of a record's images on its way to a peer:
//
//	form     1 byte   'P'
//	offset   8 bytes  of the part in the images
//	part     the rest
const formPiece byte = 'P'

// PieceBytes is how much of a record's images travels together.
const PieceBytes = 256 << 10

// Piece reports whether r is not a record but a part of the images of the record that it names.
func (r Raw) Piece() bool { return len(r.Bytes) > 9 && r.Bytes[0] == formPiece }

// Images gives the images that belong to a record in full form; nil if it has none.
func (r Raw) Images() *Images {
	f, err := parseFrame(r.Bytes)
	if err != nil || f.form != formFull || len(f.body) < 17 || f.body[16] == 0 {
		return nil
	}
	h, err := f.decodeHeader()
	if err != nil || h.Kind != KindTx {
		return nil
	}
	d := decoder{s: string(f.body[:min(len(f.body), 128)])}
	d.take(16)
	x := d.images()
	if d.err != nil {
		return nil
	}
	return x
}

// Pieces gives the images of r in the parts in which they travel before the record itself, until f fails.
func (s *shelf) Pieces(r Raw, f func(piece Raw) error) error {
	x := r.Images()
	if x == nil {
		return nil
	}
	return s.images.read(*x, func(file *imageReader) error {
		for at := int64(0); at < x.Bytes; at += PieceBytes {
			b := make([]byte, 9+min(PieceBytes, x.Bytes-at))
			b[0] = formPiece
			binary.BigEndian.PutUint64(b[1:], uint64(at))
			if _, err := file.r.ReadAt(b[9:], at); err != nil {
				return fmt.Errorf("read %s: %w", file.name, err)
			}
			if err := f(Raw{ID: r.ID, HLC: r.HLC, Bytes: b}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Staging takes in images that come from a peer, before the record that names them. Not safe for concurrent use.
type Staging struct {
	j    *Journal
	id   ID
	file *os.File
	end  int64
	done []Images // complete, and not known to be named by a record
}

// Stage begins to take in images.
func (j *Journal) Stage() *Staging { return &Staging{j: j} }

// Add takes in the next part. The first part of another record's images begins anew, whatever came before; what is here
// already is passed over. A part that does not go on where the last ended is ErrGap.
func (s *Staging) Add(piece Raw) error {
	at, part := int64(binary.BigEndian.Uint64(piece.Bytes[1:9])), piece.Bytes[9:]
	if s.file != nil && s.id == piece.ID && at >= 0 && at <= s.end-int64(len(part)) {
		return nil
	}
	if at == 0 {
		s.drop()
		f, err := s.j.images.create()
		if err != nil {
			return fmt.Errorf("store images: %w", s.j.classify(err))
		}
		s.id, s.file = piece.ID, f
	}
	if s.file == nil || s.id != piece.ID || at != s.end {
		return fmt.Errorf("images of %s from %d on: %w", piece.ID, at, ErrGap)
	}
	if err := s.j.room(int64(len(part))); err != nil {
		return fmt.Errorf("store images: %w", err)
	}
	err := s.j.o.disk("images")
	if err == nil {
		_, err = s.file.WriteAt(part, at)
	}
	if err != nil {
		return fmt.Errorf("store images: %w", s.j.classify(err))
	}
	s.end += int64(len(part))
	s.j.images.bytes.Add(int64(len(part)))
	return nil
}

// Complete checks the images against the record that names them, finds the rows that they change, and makes them durable:
// Store takes the record from then on. It does nothing for a record without images, or whose images are here already.
// ErrGap says that they did not come whole, ErrDamaged that they are wrong.
func (s *Staging) Complete(raw Raw) error {
	x := raw.Images()
	if x == nil || s.j.images.has(*x) {
		return nil
	}
	if s.file == nil || s.id != raw.ID || s.end != x.Bytes {
		return fmt.Errorf("images of record %s are not here: %w", raw.ID, ErrGap)
	}
	r, err := DecodeRaw(raw.Bytes)
	if err != nil {
		return err
	}
	rows, err := (&imageReader{r: s.file, name: "images of " + raw.ID.String(), images: *x}).verify(r.Tx)
	if err != nil {
		return err
	}
	if err := s.j.images.complete(s.file, *x, rows, s.j.o.NoSync); err != nil {
		return fmt.Errorf("store images: %w", s.j.classify(err))
	}
	s.file, s.end, s.done = nil, 0, append(s.done, *x)
	s.j.o.Fault("journal.images")
	return nil
}

// Discard gives up what no record has come to name.
func (s *Staging) Discard() {
	s.drop()
	for _, x := range s.done {
		s.j.dropImages(x.Hash)
	}
	s.done = nil
}

// drop gives up what is not complete.
func (s *Staging) drop() {
	if s.file != nil {
		s.j.images.discard(s.file)
		s.file, s.end = nil, 0
	}
}

// Stored tells that the records that were completed are stored.
func (s *Staging) Stored() { s.done = nil }
