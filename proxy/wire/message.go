package wire

import (
	"bytes"
	"encoding/binary"
)

// cursor takes a body apart. After the first failure it gives zero values and bad is set.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) bytes(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad = true
		c.b = nil
		return nil
	}
	p := c.b[:n:n]
	c.b = c.b[n:]
	return p
}

func (c *cursor) int16() int16 {
	if p := c.bytes(2); p != nil {
		return int16(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (c *cursor) int32() int32 {
	if p := c.bytes(4); p != nil {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

func (c *cursor) string() string {
	i := bytes.IndexByte(c.b, 0)
	if i < 0 {
		c.bad = true
		c.b = nil
		return ""
	}
	s := string(c.b[:i])
	c.b = c.b[i+1:]
	return s
}

func (c *cursor) end() error {
	if c.bad || len(c.b) != 0 {
		return ErrMalformed
	}
	return nil
}

// Query gives the text of a Query body. It is a copy.
func Query(body []byte) (string, error) {
	c := cursor{b: body}
	s := c.string()
	return s, c.end()
}

// Parse is the body of a Parse message.
type Parse struct {
	Name  string
	Text  string
	Types []uint32 // parameter types; may be fewer than parameters, 0 is unspecified
}

// DecodeParse reads a Parse body. The result holds no reference to it.
func DecodeParse(body []byte) (Parse, error) {
	c := cursor{b: body}
	p := Parse{Name: c.string(), Text: c.string()}
	n := int(uint16(c.int16()))
	if n*4 != len(c.b) {
		return p, ErrMalformed
	}
	if n > 0 {
		p.Types = make([]uint32, n)
		for i := range p.Types {
			p.Types[i] = uint32(c.int32())
		}
	}
	return p, c.end()
}

// Parse writes a Parse message.
func (w *Writer) Parse(p Parse) error {
	w.Start('P').String(p.Name).String(p.Text).Int16(int16(len(p.Types)))
	for _, t := range p.Types {
		w.Int32(int32(t))
	}
	return w.End()
}

// Bind is the body of a Bind message.
type Bind struct {
	Portal, Statement string
	Formats           []int16  // of the parameters: none (all text), one for all, or one each
	Params            [][]byte // nil is NULL; they alias the body
	Results           []int16  // formats of the result columns, likewise
}

// DecodeBind reads a Bind body. Params alias it.
func DecodeBind(body []byte) (Bind, error) {
	c := cursor{b: body}
	b := Bind{Portal: c.string(), Statement: c.string()}
	b.Formats = c.int16s()
	n := int(uint16(c.int16()))
	if n*4 > len(c.b) {
		return b, ErrMalformed
	}
	if n > 0 {
		b.Params = make([][]byte, n)
	}
	for i := range b.Params {
		size := c.int32()
		if size == -1 {
			continue
		}
		b.Params[i] = c.bytes(int(size))
		if c.bad {
			return b, ErrMalformed
		}
	}
	b.Results = c.int16s()
	return b, c.end()
}

func (c *cursor) int16s() []int16 {
	n := int(uint16(c.int16()))
	if n*2 > len(c.b) {
		c.bad = true
		return nil
	}
	if n == 0 {
		return nil
	}
	v := make([]int16, n)
	for i := range v {
		v[i] = c.int16()
	}
	return v
}

// Format gives the format code of parameter i.
func (b *Bind) Format(i int) int16 {
	switch {
	case len(b.Formats) == 1:
		return b.Formats[0]
	case i < len(b.Formats):
		return b.Formats[i]
	}
	return 0
}

// Bind writes a Bind message.
func (w *Writer) Bind(b Bind) error {
	w.Start('B').String(b.Portal).String(b.Statement).Int16(int16(len(b.Formats)))
	for _, f := range b.Formats {
		w.Int16(f)
	}
	w.Int16(int16(len(b.Params)))
	for _, p := range b.Params {
		if p == nil {
			w.Int32(-1)
			continue
		}
		w.Int32(int32(len(p))).Bytes(p)
	}
	w.Int16(int16(len(b.Results)))
	for _, f := range b.Results {
		w.Int16(f)
	}
	return w.End()
}

// BindNames reads only the portal's and the statement's name from the beginning of a Bind body; ok is false if they do
// not stand in it.
func BindNames(body []byte) (portal, statement []byte, ok bool) {
	i := bytes.IndexByte(body, 0)
	if i < 0 {
		return nil, nil, false
	}
	j := bytes.IndexByte(body[i+1:], 0)
	if j < 0 {
		return nil, nil, false
	}
	return body[:i], body[i+1 : i+1+j], true
}

// SASLInitial reads a SASLInitialResponse body: the mechanism and the client's first message.
func SASLInitial(body []byte) (mechanism string, data []byte, ok bool) {
	c := cursor{b: body}
	mechanism = c.string()
	if n := c.int32(); n >= 0 {
		data = c.bytes(int(n))
	}
	return mechanism, data, c.end() == nil
}

// DecodeExecute reads an Execute body.
func DecodeExecute(body []byte) (portal string, rows int32, err error) {
	c := cursor{b: body}
	portal, rows = c.string(), c.int32()
	return portal, rows, c.end()
}

// Execute writes an Execute message; rows 0 is no limit.
func (w *Writer) Execute(portal string, rows int32) error {
	return w.Start('E').String(portal).Int32(rows).End()
}

// DecodeTarget reads a Describe or Close body: kind 'S' for a statement, 'P' for a portal.
func DecodeTarget(body []byte) (kind byte, name string, err error) {
	if len(body) == 0 {
		return 0, "", ErrMalformed
	}
	c := cursor{b: body[1:]}
	name = c.string()
	return body[0], name, c.end()
}

// Target writes a Describe ('D') or Close ('C') message of kind 'S' or 'P'.
func (w *Writer) Target(typ, kind byte, name string) error {
	return w.Start(typ).Byte(kind).String(name).End()
}

// Empty writes a message without a body: Sync, Flush, CopyDone, Terminate...
func (w *Writer) Empty(typ byte) error { return w.Start(typ).End() }

// DecodeParameterTypes reads a ParameterDescription body.
func DecodeParameterTypes(body []byte) ([]uint32, error) {
	c := cursor{b: body}
	n := int(uint16(c.int16()))
	if n*4 != len(c.b) {
		return nil, ErrMalformed
	}
	v := make([]uint32, n)
	for i := range v {
		v[i] = uint32(c.int32())
	}
	return v, c.end()
}

// DecodeParameterStatus reads a ParameterStatus body.
func DecodeParameterStatus(body []byte) (name, value string, err error) {
	c := cursor{b: body}
	name, value = c.string(), c.string()
	return name, value, c.end()
}

// Tag reads the command tag of a CommandComplete body.
func Tag(body []byte) (string, error) { return Query(body) }
