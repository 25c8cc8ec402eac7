package wire

import (
	"encoding/binary"
	"io"
)

// Writer writes frames to one direction of a connection. Its first error sticks. Not safe for concurrent use.
type Writer struct {
	dst   io.Writer
	buf   []byte
	start int // where the message begun by Start stands in buf
	err   error
}

// NewWriter makes a Writer on dst.
func NewWriter(dst io.Writer) *Writer {
	return &Writer{dst: dst}
}

// Write takes bytes of frames that are complete or will be completed by more calls of Write.
func (w *Writer) Write(p []byte) error {
	if len(w.buf)+len(p) <= BufferSize {
		w.buf = append(w.buf, p...)
		return nil
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(p) < BufferSize {
		w.buf = append(w.buf, p...)
		return nil
	}
	_, w.err = w.dst.Write(p)
	return w.err
}

// Buffered gives the number of bytes that wait for Flush.
func (w *Writer) Buffered() int { return len(w.buf) }

// Flush sends what is buffered.
func (w *Writer) Flush() error {
	if w.err != nil || len(w.buf) == 0 {
		return w.err
	}
	_, w.err = w.dst.Write(w.buf)
	if cap(w.buf) > keepScratch {
		w.buf = nil
	}
	w.buf = w.buf[:0]
	return w.err
}

// Start begins a message of type typ; it must be completed by End before anything else.
func (w *Writer) Start(typ byte) *Writer {
	if len(w.buf) > BufferSize/2 {
		_ = w.Flush() // sticks
	}
	w.start = len(w.buf)
	w.buf = append(w.buf, typ, 0, 0, 0, 0)
	return w
}

// Byte, Int16, Int32, String and Bytes add to the message begun by Start. String adds the closing NUL.
func (w *Writer) Byte(b byte) *Writer { w.buf = append(w.buf, b); return w }

// Int16 adds two bytes.
func (w *Writer) Int16(v int16) *Writer {
	w.buf = binary.BigEndian.AppendUint16(w.buf, uint16(v))
	return w
}

// Int32 adds four bytes.
func (w *Writer) Int32(v int32) *Writer {
	w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(v))
	return w
}

// String adds s and a NUL.
func (w *Writer) String(s string) *Writer { w.buf = append(append(w.buf, s...), 0); return w }

// Bytes adds p as it is.
func (w *Writer) Bytes(p []byte) *Writer { w.buf = append(w.buf, p...); return w }

// End completes the message begun by Start.
func (w *Writer) End() error {
	binary.BigEndian.PutUint32(w.buf[w.start+1:], uint32(len(w.buf)-w.start-1))
	if len(w.buf) > BufferSize {
		return w.Flush()
	}
	return w.err
}

// Header writes the header of a message whose body of n bytes follows by Write.
func (w *Writer) Header(typ byte, n int) error {
	var h [headerSize]byte
	h[0] = typ
	binary.BigEndian.PutUint32(h[1:], uint32(4+n))
	return w.Write(h[:])
}

// Frame writes a whole message.
func (w *Writer) Frame(typ byte, body []byte) error {
	if err := w.Header(typ, len(body)); err != nil {
		return err
	}
	return w.Write(body)
}

// AppendFrame appends a whole message to b.
func AppendFrame(b []byte, typ byte, body []byte) []byte {
	b = append(b, typ)
	b = binary.BigEndian.AppendUint32(b, uint32(4+len(body)))
	return append(b, body...)
}
