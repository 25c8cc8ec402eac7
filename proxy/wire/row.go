package wire

import (
	"encoding/binary"
	"math"
)

// Column gives column i of a DataRow body; nil is NULL. It aliases the body.
func Column(body []byte, i int) ([]byte, error) {
	c := cursor{b: body}
	n := int(uint16(c.int16()))
	if c.bad || i >= n {
		return nil, ErrMalformed
	}
	for ; ; i-- {
		size := c.int32()
		var v []byte
		if size != -1 {
			v = c.bytes(int(size))
		}
		if c.bad {
			return nil, ErrMalformed
		}
		if i == 0 {
			return v, nil
		}
	}
}

// Columns gives all columns of a DataRow body. They alias the body.
func Columns(body []byte) ([][]byte, error) {
	c := cursor{b: body}
	n := int(uint16(c.int16()))
	if n*4 > len(c.b) {
		return nil, ErrMalformed
	}
	cols := make([][]byte, n)
	for i := range cols {
		if size := c.int32(); size != -1 {
			cols[i] = c.bytes(int(size))
		}
		if c.bad {
			return nil, ErrMalformed
		}
	}
	return cols, c.end()
}

// SplitRow takes the last column from a DataRow body: rest is the encoding of the columns before it, without the count.
func SplitRow(body []byte) (count int, rest, last []byte, err error) {
	c := cursor{b: body}
	n := int(uint16(c.int16()))
	if c.bad || n == 0 {
		return 0, nil, nil, ErrMalformed
	}
	at := 2
	for i := range n {
		at = len(body) - len(c.b)
		size := c.int32()
		if size != -1 {
			last = c.bytes(int(size))
		} else {
			last = nil
		}
		if c.bad {
			return 0, nil, nil, ErrMalformed
		}
		_ = i
	}
	return n - 1, body[2:at], last, c.end()
}

// SplitDescription takes the last column from a RowDescription body, likewise.
func SplitDescription(body []byte) (count int, rest []byte, err error) {
	c := cursor{b: body}
	n := int(uint16(c.int16()))
	if c.bad || n == 0 {
		return 0, nil, ErrMalformed
	}
	at := 2
	for range n {
		at = len(body) - len(c.b)
		_ = c.string()
		c.bytes(18) // table, column, type, size, modifier, format
		if c.bad {
			return 0, nil, ErrMalformed
		}
	}
	return n - 1, body[2:at], c.end()
}

// Counted writes a message of a 16-bit count and rest: a DataRow or RowDescription that lost a column.
func (w *Writer) Counted(typ byte, count int, rest []byte) error {
	if len(rest) > math.MaxInt32-6 {
		return ErrTooLarge
	}
	var h [7]byte
	h[0] = typ
	binary.BigEndian.PutUint32(h[1:], uint32(6+len(rest)))
	binary.BigEndian.PutUint16(h[5:], uint16(count))
	if err := w.Write(h[:]); err != nil {
		return err
	}
	return w.Write(rest)
}
