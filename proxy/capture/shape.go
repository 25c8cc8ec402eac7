package capture

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"pgproxy/journal"
)

// shape is how a row of a relation is asked for, and read back: as one record of the row's own type wherever every type's
// binary form is known, else column by column, with the others as text.
type shape struct {
	rel   *relation
	whole bool
	modes []mode // by column, unless whole
}

// mode is how one column travels.
type mode uint8

const (
	modeBinary mode = iota // the type's own binary form
	modeText               // the server's text
	modeUTF8               // the text's bytes in UTF-8, whatever the client's encoding
)

// shapeOf picks the shape of rel's rows in a session of that client_encoding. A session that cannot show every character
// would fail on the first one it cannot, so there text is turned into UTF-8 bytes by the server.
func shapeOf(rel *relation, encoding string) shape {
	s := shape{rel: rel, whole: true, modes: make([]mode, len(rel.Columns))}
	foreign := encoding != "UTF8" && encoding != "SQL_ASCII"
	for i, t := range rel.types {
		b := t.base()
		switch {
		case foreign && (b.textual() || !b.known() || b.OID == oidJSONB || b.OID == oidJSONPath || b.array() && b.tree.of(b.Elem).base().textual()):
			s.modes[i] = modeUTF8
		case !b.known():
			s.modes[i] = modeText
		default:
			continue
		}
		s.whole = false
	}
	return s
}

// sql is the expression that gives a row of alias as a record: never alias.* alone (a prepared statement must survive
// ADD COLUMN), never the bare alias (a column may be called so). It must not be a result column itself, only part of one: to the
// server its type is still the table's own, and the statement would not survive DROP and CREATE TABLE.
func (s shape) sql(alias string) string {
	if s.whole {
		return "(" + alias + ".*)::record"
	}
	return s.columns(alias)
}

// columns is sql column by column: for a partition, whose own row type may have another order, and where the record is the
// result column itself.
func (s shape) columns(alias string) string {
	var b strings.Builder
	b.WriteString("ROW(")
	for i, c := range s.rel.Columns {
		if i > 0 {
			b.WriteString(", ")
		}
		name := alias + "." + quote(c.Name)
		switch s.modes[i] {
		case modeBinary:
			b.WriteString(name)
		case modeText:
			b.WriteString("(" + name + ")::pg_catalog.text")
		case modeUTF8:
			b.WriteString("pg_catalog.convert_to((" + name + ")::pg_catalog.text, 'UTF8')")
		}
	}
	b.WriteString(")")
	return b.String()
}

// shapeError says that a record does not look like the relation: the catalog is out of date.
type shapeError struct{ table, detail string }

func (e *shapeError) Error() string {
	return fmt.Sprintf("row of %s does not match the catalog: %s", e.table, e.detail)
}

// decode turns a record's binary form into values by column. It checks the number and types of the columns.
func (s shape) decode(b []byte, tc transcoder) ([]journal.Value, error) {
	fields, err := recordFields(b)
	if err != nil {
		return nil, err
	}
	if len(fields) != len(s.rel.Columns) {
		return nil, &shapeError{s.rel.full(), fmt.Sprintf("%d columns instead of %d", len(fields), len(s.rel.Columns))}
	}
	values := make([]journal.Value, len(fields))
	ends := make([]int, len(fields))
	text := make([]byte, 0, len(b))
	for i, f := range fields {
		if want := s.wire(i); f.oid != want {
			return nil, &shapeError{s.rel.full(), fmt.Sprintf("column %d has type %d instead of %d", i+1, f.oid, want)}
		}
		switch {
		case f.data == nil:
		case s.modes[i] != modeBinary:
			text = append(text, f.data...)
		default:
			if text, err = appendText(text, s.rel.types[i], f.data, tc, 0); err != nil {
				return nil, fmt.Errorf("decode %s.%s: %w", s.rel.full(), s.rel.Columns[i].Name, err)
			}
		}
		ends[i] = len(text)
	}
	all, from := string(text), 0 // the values of a row share their memory
	for i, f := range fields {
		part := all[from:ends[i]]
		from = ends[i]
		switch {
		case f.data == nil:
			values[i] = journal.Null()
		case !utf8.ValidString(part):
			values[i] = journal.Value{Kind: journal.ValueBinary, Data: string(f.data)}
		default:
			values[i] = journal.Text(part)
		}
	}
	return values, nil
}

// wire is the type that column i has in the record.
func (s shape) wire(i int) uint32 {
	switch s.modes[i] {
	case modeText:
		return oidText
	case modeUTF8:
		return oidBytea
	}
	return s.rel.Columns[i].Type
}
