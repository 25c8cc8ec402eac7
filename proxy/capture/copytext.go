package capture

import (
	"bytes"
	"slices"
	"strings"

	"pgproxy/journal"
	"pgproxy/parser"
)

// maxCopyBytes is the most that is kept of a COPY's keys: beyond, the table is searched instead.
const maxCopyBytes = 64 << 20

// copyKeys collects the key values that a COPY's stream brings, as the client wrote them. It is fed with the stream in
// pieces of any size. When anything is unusual, failed is set and the rows are found another way.
type copyKeys struct {
	columns []int // for each key column its place in the stream
	types   []*typ
	keys    [][]journal.Value // the last ones, one per row, in the order of columns
	batches [][][]byte        // of keyBatch keys each: an array literal per column
	count   int               // of all
	size    int
	failed  bool

	csv, binary, header  bool
	delim, quote, escape byte
	null                 string

	raw     []byte   // the field under way; binary: what is not taken apart yet
	fields  [][]byte // the record's fields so far, nil for NULL
	quoted  bool     // CSV: inside quotes
	was     bool     // CSV: the field had quotes
	pending bool     // text: the byte before was a backslash; CSV: an escape or quote inside quotes
	cr      bool     // the byte before ended a line with a carriage return
	started bool     // binary: past the header
	ended   bool
}

// newCopyKeys decides whether the stream's keys can be read: every key column is in it, and its options are known.
func newCopyKeys(st *parser.Statement, rel *relation, encoding string) *copyKeys {
	c := &copyKeys{csv: st.CopyFormat == "csv", binary: st.CopyFormat == "binary", delim: '\t', null: `\N`, quote: '"'}
	if c.csv {
		c.delim, c.null = ',', ""
	}
	if !st.CopyStdin || len(rel.key) == 0 || encoding != "UTF8" || !c.options(st.CopyOptions) {
		return &copyKeys{failed: true}
	}
	names := st.CopyColumns
	if len(names) == 0 {
		for i, col := range rel.Columns {
			if !rel.record.Columns[i].Generated {
				names = append(names, col.Name)
			}
		}
	}
	for _, k := range rel.key {
		at := -1
		for i, n := range names {
			if n == rel.Columns[k].Name {
				at = i
			}
		}
		if at < 0 || c.binary && !rel.types[k].known() {
			return &copyKeys{failed: true}
		}
		c.columns, c.types = append(c.columns, at), append(c.types, rel.types[k])
	}
	return c
}

// options takes those that it understands; the others make it give up.
func (c *copyKeys) options(options []parser.Option) bool {
	one := func(to *byte, v string) bool {
		if len(v) == 1 {
			*to = v[0]
		}
		return len(v) == 1
	}
	ok := true
	for _, o := range options {
		switch strings.ToLower(o.Name) {
		case "freeze", "on_error", "log_verbosity":
		case "delimiter":
			ok = ok && one(&c.delim, o.Value)
		case "quote":
			ok = ok && one(&c.quote, o.Value)
		case "escape":
			ok = ok && one(&c.escape, o.Value)
		case "null":
			c.null = o.Value
		case "header":
			c.header = true
			ok = ok && (o.Value == "" || strings.EqualFold(o.Value, "true") || strings.EqualFold(o.Value, "on") || o.Value == "1" || strings.EqualFold(o.Value, "match"))
		default:
			ok = false
		}
	}
	if c.escape == 0 {
		c.escape = c.quote
	}
	return ok
}

// Write takes the next piece of the stream.
func (c *copyKeys) Write(data []byte) {
	if c.failed || c.ended {
		return
	}
	switch {
	case c.binary:
		c.raw = append(c.raw, data...)
		c.takeBinary()
	case c.csv:
		for _, b := range data {
			c.takeCSV(b)
		}
	default:
		for _, b := range data {
			c.takeText(b)
		}
	}
	if c.size+len(c.raw) > maxCopyBytes {
		*c = copyKeys{failed: true}
	}
}

// close tells that the stream is complete.
func (c *copyKeys) close() {
	if c.failed || c.ended || c.binary {
		return
	}
	if len(c.raw) > 0 || len(c.fields) > 0 || c.was {
		c.endField()
		c.endRecord()
	}
}

func (c *copyKeys) takeText(b byte) {
	if c.cr && b == '\n' {
		c.cr = false
		return
	}
	c.cr = false
	switch {
	case c.pending:
		c.raw = append(c.raw, b)
		c.pending = false
	case b == '\\':
		c.raw = append(c.raw, b)
		c.pending = true
	case b == c.delim:
		c.endField()
	case b == '\n' || b == '\r':
		c.cr = b == '\r'
		c.endField()
		c.endRecord()
	default:
		c.raw = append(c.raw, b)
	}
}

func (c *copyKeys) takeCSV(b byte) {
	if c.cr && b == '\n' {
		c.cr = false
		return
	}
	c.cr = false
	if c.quoted {
		switch {
		case c.pending && (b == c.quote || b == c.escape):
			c.raw = append(c.raw, b)
			c.pending = false
			return
		case c.pending && c.escape != c.quote:
			c.raw = append(c.raw, c.escape)
			c.pending = false
		case c.pending: // the quote before ended the quoted part
			c.quoted, c.pending = false, false
		}
	}
	switch {
	case c.quoted && b == c.escape:
		c.pending = true
	case c.quoted && b == c.quote:
		c.quoted = false
	case c.quoted:
		c.raw = append(c.raw, b)
	case b == c.quote:
		c.quoted, c.was = true, true
	case b == c.delim:
		c.endField()
	case b == '\n' || b == '\r':
		c.cr = b == '\r'
		c.endField()
		c.endRecord()
	default:
		c.raw = append(c.raw, b)
	}
}

// endField closes the field under way.
func (c *copyKeys) endField() {
	field := bytes.Clone(c.raw)
	if field == nil {
		field = []byte{}
	}
	switch {
	case !c.was && string(field) == c.null:
		field = nil
	case !c.csv && !(string(field) == `\.` && len(c.fields) == 0):
		field = unescape(field)
	}
	c.fields = append(c.fields, field)
	c.raw, c.was, c.quoted, c.pending = c.raw[:0], false, false, false
}

// endRecord takes the key out of the record.
func (c *copyKeys) endRecord() {
	fields := c.fields
	c.fields = nil
	if c.header {
		c.header = false
		return
	}
	if len(fields) == 1 && string(fields[0]) == `\.` {
		c.ended = true
		return
	}
	key := make([]journal.Value, len(c.columns))
	for i, at := range c.columns {
		if at >= len(fields) || fields[at] == nil {
			c.failed = true
			return
		}
		key[i] = journal.Text(string(fields[at]))
	}
	c.add(key)
}

// add takes the key of a row.
func (c *copyKeys) add(key []journal.Value) {
	c.keys = append(c.keys, key)
	if c.count++; len(c.keys) == keyBatch {
		c.batch()
	}
}

// batch makes the keys that are collected so far one batch.
func (c *copyKeys) batch() {
	if len(c.keys) == 0 {
		return
	}
	literals := make([][]byte, len(c.columns))
	for i := range literals {
		literals[i] = slices.Clip(arrayLiteral(c.keys, i))
		c.size += len(literals[i])
	}
	c.batches = append(c.batches, literals)
	c.keys = c.keys[:0]
}

// unescape resolves the backslash sequences of COPY's text format.
func unescape(field []byte) []byte {
	if bytes.IndexByte(field, '\\') < 0 {
		return field
	}
	out := field[:0]
	for i := 0; i < len(field); i++ {
		if field[i] != '\\' || i+1 == len(field) {
			out = append(out, field[i])
			continue
		}
		i++
		switch b := field[i]; b {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'v':
			out = append(out, '\v')
		case '0', '1', '2', '3', '4', '5', '6', '7':
			v, n := 0, 0
			for ; n < 3 && i+n < len(field) && field[i+n] >= '0' && field[i+n] <= '7'; n++ {
				v = v<<3 + int(field[i+n]-'0')
			}
			out = append(out, byte(v))
			i += n - 1
		case 'x':
			v, n := 0, 0
			for ; n < 2 && i+1+n < len(field) && hexDigit(field[i+1+n]) >= 0; n++ {
				v = v<<4 + hexDigit(field[i+1+n])
			}
			if n == 0 {
				out = append(out, b)
				continue
			}
			out = append(out, byte(v))
			i += n
		default:
			out = append(out, b)
		}
	}
	return out
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// copySignature begins a COPY stream in binary format; flags and an extension follow.
const copySignature = "PGCOPY\n\xff\r\n\x00"

func (c *copyKeys) takeBinary() {
	if !c.started {
		head := len(copySignature) + 8
		if len(c.raw) < head || len(c.raw)-head < int(be32(c.raw[head-4:])) {
			return
		}
		if string(c.raw[:len(copySignature)]) != copySignature {
			c.failed = true
			return
		}
		c.raw = c.raw[head+int(be32(c.raw[head-4:])):]
		c.started = true
	}
	for {
		n, ok := c.tuple()
		if !ok {
			break
		}
		c.raw = c.raw[n:]
	}
	c.raw = bytes.Clone(c.raw)
}

// tuple takes one tuple from the front of raw, and gives its length; false if it is not whole yet, or the end.
func (c *copyKeys) tuple() (int, bool) {
	if c.failed || c.ended || len(c.raw) < 2 {
		return 0, false
	}
	count := int(int16(be16(c.raw)))
	if count < 0 {
		c.ended = true
		return 0, false
	}
	at := 2
	fields := make([][]byte, 0, min(count, maxColumns))
	for range count {
		if len(c.raw)-at < 4 {
			return 0, false
		}
		n := int(int32(be32(c.raw[at:])))
		at += 4
		if n == -1 {
			fields = append(fields, nil)
			continue
		}
		if n < 0 {
			c.failed = true
			return 0, false
		}
		if len(c.raw)-at < n {
			return 0, false
		}
		fields = append(fields, c.raw[at:at+n:at+n])
		at += n
	}
	key := make([]journal.Value, len(c.columns))
	for i, column := range c.columns {
		if column >= len(fields) || fields[column] == nil {
			c.failed = true
			return 0, false
		}
		text, err := appendText(nil, c.types[i], fields[column], nil, 0)
		if err != nil {
			c.failed = true
			return 0, false
		}
		key[i] = journal.Text(string(text))
	}
	c.add(key)
	return at, true
}
