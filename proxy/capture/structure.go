package capture

import (
	"bytes"
	"strconv"
	"strings"
)

// field is one element of a record or array: its bytes, nil for NULL.
func takeField(b []byte) (field, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errBinary
	}
	n := int32(be32(b))
	b = b[4:]
	if n == -1 {
		return nil, b, nil
	}
	if n < 0 || int(n) > len(b) {
		return nil, nil, errBinary
	}
	return b[:n:n], b[n:], nil
}

// maxDimensions is MAXDIM of the server.
const maxDimensions = 6

// appendArray prints array_send's form as array_out does.
func appendArray(dst []byte, t *typ, b []byte, tc transcoder, depth int) ([]byte, error) {
	if len(b) < 12 {
		return dst, errBinary
	}
	dims := int(be32(b))
	if dims == 0 {
		return append(dst, "{}"...), nil
	}
	elem := t.tree.of(be32(b[8:]))
	b = b[12:]
	if dims < 0 || dims > maxDimensions || len(b) < 8*dims {
		return dst, errBinary
	}
	sizes, lower, total := make([]int, dims), false, 1
	for i := range dims {
		sizes[i] = int(int32(be32(b[8*i:])))
		if sizes[i] <= 0 || total > len(b) {
			return dst, errBinary
		}
		total *= sizes[i]
		lower = lower || int32(be32(b[8*i+4:])) != 1
	}
	if lower {
		for i := range dims {
			from := int64(int32(be32(b[8*i+4:])))
			dst = append(strconv.AppendInt(append(dst, '['), from, 10), ':')
			dst = append(strconv.AppendInt(dst, from+int64(sizes[i])-1, 10), ']')
		}
		dst = append(dst, '=')
	}
	p := arrayPrinter{elem: elem, sizes: sizes, rest: b[8*dims:], tc: tc, depth: depth + 1, delim: ','}
	if elem.Delim != "" {
		p.delim = elem.Delim[0]
	}
	return p.append(dst, 0)
}

// arrayPrinter walks the elements, which stand in row-major order.
type arrayPrinter struct {
	elem  *typ
	sizes []int
	rest  []byte
	tc    transcoder
	depth int
	delim byte
	buf   []byte
}

func (p *arrayPrinter) append(dst []byte, dim int) ([]byte, error) {
	dst = append(dst, '{')
	for i := range p.sizes[dim] {
		if i > 0 {
			dst = append(dst, p.delim)
		}
		var err error
		if dim+1 < len(p.sizes) {
			dst, err = p.append(dst, dim+1)
		} else {
			dst, err = p.element(dst)
		}
		if err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func (p *arrayPrinter) element(dst []byte) ([]byte, error) {
	f, rest, err := takeField(p.rest)
	if err != nil {
		return dst, err
	}
	p.rest = rest
	if f == nil {
		return append(dst, "NULL"...), nil
	}
	if p.buf, err = appendText(p.buf[:0], p.elem, f, p.tc, p.depth); err != nil {
		return dst, err
	}
	s := p.buf
	if len(s) > 0 && !strings.EqualFold(string(s), "null") && !bytes.ContainsAny(s, "\"\\{} \t\n\r\v\f"+string(p.delim)) {
		return append(dst, s...), nil
	}
	dst = append(dst, '"')
	for _, c := range s {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"'), nil
}

// appendVector prints int2vector and oidvector: one dimension, separated by spaces.
func appendVector(dst []byte, t *typ, b []byte, tc transcoder, depth int) ([]byte, error) {
	if len(b) < 12 {
		return dst, errBinary
	}
	if be32(b) == 0 {
		return dst, nil
	}
	elem := t.tree.of(be32(b[8:]))
	if len(b) < 20 {
		return dst, errBinary
	}
	for b = b[20:]; len(b) > 0; {
		f, rest, err := takeField(b)
		if err != nil {
			return dst, err
		}
		if dst, err = appendText(dst, elem, f, tc, depth+1); err != nil {
			return dst, err
		}
		if b = rest; len(b) > 0 {
			dst = append(dst, ' ')
		}
	}
	return dst, nil
}

// appendComposite prints record_send's form as record_out does.
func appendComposite(dst []byte, t *typ, b []byte, tc transcoder, depth int) ([]byte, error) {
	fields, err := recordFields(b)
	if err != nil {
		return dst, err
	}
	dst = append(dst, '(')
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		if f.data == nil {
			continue
		}
		text, err := appendText(nil, t.tree.of(f.oid), f.data, tc, depth+1)
		if err != nil {
			return dst, err
		}
		dst = appendQuoted(dst, text, "\"\\(), \t\n\r\v\f")
	}
	return append(dst, ')'), nil
}

// appendQuoted prints a composite's field or a range's bound, in quotes if it is empty or has one of special; quotes and
// backslashes are doubled.
func appendQuoted(dst, text []byte, special string) []byte {
	if len(text) > 0 && !bytes.ContainsAny(text, special) {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			dst = append(dst, c)
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// recordField is one field of a record's binary form; data is nil for NULL.
type recordField struct {
	oid  uint32
	data []byte
}

// maxColumns is MaxTupleAttributeNumber of the server.
const maxColumns = 1664

// recordFields takes record_send's form apart. The fields alias b.
func recordFields(b []byte) ([]recordField, error) {
	if len(b) < 4 {
		return nil, errBinary
	}
	n := int(be32(b))
	if n < 0 || n > maxColumns || n*8 > len(b)-4 {
		return nil, errBinary
	}
	b = b[4:]
	fields := make([]recordField, n)
	for i := range fields {
		if len(b) < 4 {
			return nil, errBinary
		}
		fields[i].oid = be32(b)
		var err error
		if fields[i].data, b, err = takeField(b[4:]); err != nil {
			return nil, err
		}
	}
	if len(b) != 0 {
		return nil, errBinary
	}
	return fields, nil
}

// The flags of a range's binary form.
const (
	rangeEmpty   = 0x01
	rangeLowInc  = 0x02
	rangeUpInc   = 0x04
	rangeLowInf  = 0x08
	rangeUpInf   = 0x10
	rangeLowNull = 0x20
	rangeUpNull  = 0x40
	rangeNoLow   = rangeEmpty | rangeLowInf | rangeLowNull
	rangeNoUpper = rangeEmpty | rangeUpInf | rangeUpNull
)

func appendRange(dst []byte, t *typ, b []byte, tc transcoder, depth int) ([]byte, error) {
	if len(b) < 1 {
		return dst, errBinary
	}
	flags, sub := b[0], t.tree.of(t.Sub)
	b = b[1:]
	if flags&rangeEmpty != 0 {
		return append(dst, "empty"...), nil
	}
	bound := func() error {
		f, rest, err := takeField(b)
		if err != nil {
			return err
		}
		b = rest
		text, err := appendText(nil, sub, f, tc, depth+1)
		dst = appendQuoted(dst, text, "\"\\(),[] \t\n\r\v\f")
		return err
	}
	if flags&rangeLowInc != 0 {
		dst = append(dst, '[')
	} else {
		dst = append(dst, '(')
	}
	if flags&rangeNoLow == 0 {
		if err := bound(); err != nil {
			return dst, err
		}
	}
	dst = append(dst, ',')
	if flags&rangeNoUpper == 0 {
		if err := bound(); err != nil {
			return dst, err
		}
	}
	if flags&rangeUpInc != 0 {
		return append(dst, ']'), nil
	}
	return append(dst, ')'), nil
}

func appendMultirange(dst []byte, t *typ, b []byte, tc transcoder, depth int) ([]byte, error) {
	if len(b) < 4 {
		return dst, errBinary
	}
	n, r := int(be32(b)), t.tree.of(t.Sub)
	b = b[4:]
	dst = append(dst, '{')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		f, rest, err := takeField(b)
		if err != nil {
			return dst, err
		}
		b = rest
		if dst, err = appendRange(dst, r, f, tc, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}
