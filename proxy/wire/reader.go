package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// BufferSize is the size in bytes that a Reader's and a Writer's buffer grows to.
	BufferSize = 16 << 10
	// firstBuffer is the size of a Reader's buffer in bytes as long as what comes in at once fits: a session that is idle,
	// or does small things, costs little.
	firstBuffer = 2 << 10
	// headerSize is the type byte and the length.
	headerSize = 5
	// keepScratch is the largest scratch buffer in bytes that a Reader keeps between frames.
	keepScratch = 64 << 10
)

// Errors of reading.
var (
	// ErrLength is returned when a frame's length cannot be right; the stream is unusable.
	ErrLength = errors.New("invalid message length")
	// ErrTooLarge is returned by Body when the frame is longer than its limit; the frame can still be forwarded or skipped.
	ErrTooLarge = errors.New("message too large")
	// ErrMalformed is returned by decoders when a body does not hold what it says.
	ErrMalformed = errors.New("malformed message")
)

// Reader reads frames from one direction of a connection. Not safe for concurrent use.
type Reader struct {
	// BeforeRead, if set, is called before each read of the source that may block: the place to flush what was written so
	// far.
	BeforeRead func() error

	src     io.Reader
	buf     []byte
	r, w    int // unread bytes are buf[r:w]
	head    int // where the current frame's header stands in buf; -1 once it is gone
	typ     byte
	left    int // bytes of the current body that were not consumed
	scratch []byte
}

// NewReader makes a Reader on src.
func NewReader(src io.Reader) *Reader {
	return &Reader{src: src, buf: make([]byte, firstBuffer), head: -1}
}

// Buffered gives the number of bytes that were read and not consumed.
func (r *Reader) Buffered() int { return r.w - r.r }

// Ready reports whether Next will find a whole header without reading.
func (r *Reader) Ready() bool { return r.w-r.r-r.left >= headerSize }

// NextIs reports whether the header of the frame behind the current one is here already, and of type typ.
func (r *Reader) NextIs(typ byte) bool { return r.Ready() && r.buf[r.r+r.left] == typ }

// fill reads until at least n bytes are unread in the buffer (n at most BufferSize, counted from r.r).
func (r *Reader) fill(n int) error {
	if r.r == r.w && r.head < 0 {
		r.r, r.w = 0, 0
	}
	for r.w-r.r < n {
		if len(r.buf)-r.r < n || r.w == len(r.buf) {
			r.makeRoom()
		}
		if r.BeforeRead != nil {
			if err := r.BeforeRead(); err != nil {
				return err
			}
		}
		m, err := r.src.Read(r.buf[r.w:])
		r.w += m
		if err != nil && r.w-r.r < n {
			return err
		}
	}
	return nil
}

// makeRoom moves what must be kept (the current header and the unread bytes) to the front of the buffer: of a larger one if
// the first was filled to its end.
func (r *Reader) makeRoom() {
	from := r.r
	if r.head >= 0 {
		from = r.head
	}
	kept := r.buf[from:r.w]
	if len(r.buf) < BufferSize {
		r.buf = make([]byte, BufferSize)
	}
	copy(r.buf, kept)
	r.w -= from
	r.r -= from
	if r.head >= 0 {
		r.head = 0
	}
}

// Next reads the next frame's header and gives its type and the length of its body. What is left of the frame before is
// skipped. io.EOF means that the stream ended between two frames. After a timeout Next may be called again.
func (r *Reader) Next() (typ byte, n int, err error) {
	if err := r.Skip(); err != nil {
		return 0, 0, err
	}
	r.head = -1
	if err := r.fill(headerSize); err != nil {
		if err == io.EOF && r.w > r.r {
			err = io.ErrUnexpectedEOF
		}
		return 0, 0, err
	}
	h := r.buf[r.r : r.r+headerSize]
	size := binary.BigEndian.Uint32(h[1:])
	if size < 4 || size > 1<<30+4 {
		return 0, 0, fmt.Errorf("message %q: %w %d", h[0], ErrLength, int32(size))
	}
	r.typ, r.left = h[0], int(size)-4
	r.head = r.r
	r.r += headerSize
	return r.typ, r.left, nil
}

// Peek gives the first n bytes of the current body (fewer if it is shorter or if the buffer is) without consuming them.
// They are valid until the next call.
func (r *Reader) Peek(n int) ([]byte, error) {
	n = min(n, r.left, BufferSize-headerSize)
	if err := r.fill(n); err != nil {
		return nil, unexpected(err)
	}
	return r.buf[r.r : r.r+n], nil
}

// Body consumes the current body whole. It is valid until the next call of Next. ErrTooLarge if it is longer than limit
// bytes; the frame is then untouched.
func (r *Reader) Body(limit int) ([]byte, error) {
	n := r.left
	if n > limit {
		return nil, ErrTooLarge
	}
	if n <= BufferSize-headerSize {
		if err := r.fill(n); err != nil {
			return nil, unexpected(err)
		}
		b := r.buf[r.r : r.r+n : r.r+n]
		r.r += n
		r.left = 0
		r.head = -1
		return b, nil
	}
	return r.large(n)
}

// large reads a body that is longer than the buffer. Memory grows with what arrives.
func (r *Reader) large(n int) ([]byte, error) {
	b := r.scratch[:0]
	r.scratch = nil
	r.head = -1
	for len(b) < n {
		if r.r == r.w {
			if err := r.fill(1); err != nil {
				return nil, unexpected(err)
			}
		}
		m := min(r.w-r.r, n-len(b))
		b = append(b, r.buf[r.r:r.r+m]...)
		r.r += m
		r.left -= m
	}
	if cap(b) <= keepScratch {
		r.scratch = b
	}
	return b, nil
}

// Forward passes the current frame on to w, header and what is left of the body, streaming.
func (r *Reader) Forward(w *Writer) error {
	if r.head >= 0 {
		if r.left <= r.w-r.r {
			err := w.Write(r.buf[r.head : r.r+r.left])
			r.r += r.left
			r.left, r.head = 0, -1
			return err
		}
		if err := w.Write(r.buf[r.head : r.head+headerSize]); err != nil {
			return err
		}
		r.head = -1
	}
	return r.ForwardRest(w)
}

// ForwardRest passes on what is left of the body, without the header. After a timeout it may be called again.
func (r *Reader) ForwardRest(w *Writer) error {
	r.head = -1
	for r.left > 0 {
		if r.r == r.w {
			if err := r.fill(1); err != nil {
				return unexpected(err)
			}
		}
		m := min(r.w-r.r, r.left)
		if err := w.Write(r.buf[r.r : r.r+m]); err != nil {
			return err
		}
		r.r += m
		r.left -= m
	}
	return nil
}

// Piece consumes what is buffered of the current body, at least one byte, and gives it; nil at its end.
func (r *Reader) Piece() ([]byte, error) {
	if r.left == 0 {
		return nil, nil
	}
	r.head = -1
	if r.r == r.w {
		if err := r.fill(1); err != nil {
			return nil, unexpected(err)
		}
	}
	m := min(r.w-r.r, r.left)
	b := r.buf[r.r : r.r+m]
	r.r += m
	r.left -= m
	return b, nil
}

// Skip drops what is left of the current body.
func (r *Reader) Skip() error {
	for r.left > 0 {
		if _, err := r.Piece(); err != nil {
			return err
		}
	}
	return nil
}

// Left gives the number of bytes of the current body that were not consumed.
func (r *Reader) Left() int { return r.left }

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Drain passes on everything that is buffered and then everything that comes, without looking at frames.
func (r *Reader) Drain(dst io.Writer) error {
	if r.w > r.r {
		if _, err := dst.Write(r.buf[r.r:r.w]); err != nil {
			return err
		}
		r.r, r.left, r.head = r.w, 0, -1
	}
	_, err := io.Copy(dst, r.src)
	return err
}
