package wire

// Field is one field of an ErrorResponse or NoticeResponse.
type Field struct {
	Code  byte
	Value string
}

// Fields are the fields of an ErrorResponse or NoticeResponse, in their order on the wire.
type Fields []Field

// The codes of the fields that pgproxy looks at.
const (
	FieldSeverity  byte = 'V' // never translated, from 9.6
	FieldSQLState  byte = 'C'
	FieldMessage   byte = 'M'
	FieldDetail    byte = 'D'
	FieldHint      byte = 'H'
	FieldPosition  byte = 'P'
	FieldFile      byte = 'F'
	FieldRoutine   byte = 'R'
	FieldLocalised byte = 'S'
)

// DecodeFields reads an ErrorResponse or NoticeResponse body.
func DecodeFields(body []byte) (Fields, error) {
	c := cursor{b: body}
	var f Fields
	for len(c.b) > 0 {
		code := c.b[0]
		c.b = c.b[1:]
		if code == 0 {
			return f, c.end()
		}
		v := c.string()
		if c.bad {
			break
		}
		f = append(f, Field{code, v})
	}
	return f, ErrMalformed
}

// Get gives a field's value, or "".
func (f Fields) Get(code byte) string {
	for i := range f {
		if f[i].Code == code {
			return f[i].Value
		}
	}
	return ""
}

// With gives the fields with one set to value, in its place, or added at the end.
func (f Fields) With(code byte, value string) Fields {
	g := append(Fields(nil), f...)
	for i := range g {
		if g[i].Code == code {
			g[i].Value = value
			return g
		}
	}
	return append(g, Field{code, value})
}

// Fields writes an ErrorResponse ('E') or NoticeResponse ('N').
func (w *Writer) Fields(typ byte, f Fields) error {
	w.Start(typ)
	for i := range f {
		w.Byte(f[i].Code).String(f[i].Value)
	}
	return w.Byte(0).End()
}
