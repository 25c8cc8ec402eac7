package audit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"pgproxy/journal"
)

// Row is the effect of a statement on one row.
//
// Before is null in JSON for an insert and After for a delete: there is no such row. The key is missing where the row
// could not be captured.
type Row struct {
	Op      string   // I, U, D
	Schema  string   //
	Table   string   //
	Key     Columns  // by which the row is known; empty for a table without key
	Before  *Columns // nil: not captured, or no such row (see Op)
	After   *Columns
	Delta   []string // columns that fold as after minus before
	Cascade bool     // done by a foreign key's action, not by the statement itself
}

// Columns is a row's columns in the table's order. Columns that were not captured are not in it.
type Columns []Column

// Column is one column's name and value.
type Column struct {
	Name  string
	Value Value
}

// Value is one value in its JSON form: text as a string (numbers too: JSON's would lose digits), NULL as null, else an
// object: {"binary": hex}, {"unchanged": true}, {"redacted": true}, {"absent": true}.
type Value journal.Value

func newRow(tx *journal.Tx, c *journal.Change) Row {
	row := Row{Op: string(c.Op), Cascade: c.Cascade, Key: Columns{}}
	if c.Relation < 0 || c.Relation >= len(tx.Relations) {
		return row
	}
	rel := &tx.Relations[c.Relation]
	row.Schema, row.Table = rel.Schema, rel.Name
	row.Before, row.After = columns(rel, c.Before), columns(rel, c.After)
	from := c.Before
	if from == nil {
		from = c.After
	}
	for _, k := range rel.Key {
		if k < len(from) && k < len(rel.Columns) && from[k].Kind != journal.ValueAbsent {
			row.Key = append(row.Key, Column{rel.Columns[k].Name, Value(from[k])})
		}
	}
	for _, d := range c.Delta {
		if d < len(rel.Columns) {
			row.Delta = append(row.Delta, rel.Columns[d].Name)
		}
	}
	return row
}

func columns(rel *journal.Relation, values []journal.Value) *Columns {
	if values == nil {
		return nil
	}
	out := make(Columns, 0, len(values))
	for i, v := range values {
		if i < len(rel.Columns) && v.Kind != journal.ValueAbsent {
			out = append(out, Column{rel.Columns[i].Name, Value(v)})
		}
	}
	return &out
}

// rowJSON is Row as JSON writes it; Before and After are raw so that null and absent stay apart.
type rowJSON struct {
	Op      string          `json:"op"`
	Schema  string          `json:"schema"`
	Table   string          `json:"table"`
	Key     Columns         `json:"key"`
	Before  json.RawMessage `json:"before,omitempty"`
	After   json.RawMessage `json:"after,omitempty"`
	Delta   []string        `json:"delta,omitempty"`
	Cascade bool            `json:"cascade,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (r Row) MarshalJSON() ([]byte, error) {
	side := func(c *Columns, none string) (json.RawMessage, error) {
		switch {
		case c != nil:
			return json.Marshal(*c)
		case r.Op == none:
			return json.RawMessage("null"), nil
		}
		return nil, nil
	}
	before, err := side(r.Before, "I")
	if err != nil {
		return nil, err
	}
	after, err := side(r.After, "D")
	if err != nil {
		return nil, err
	}
	return marshal(rowJSON{r.Op, r.Schema, r.Table, r.Key, before, after, r.Delta, r.Cascade})
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Row) UnmarshalJSON(b []byte) error {
	var j rowJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*r = Row{Op: j.Op, Schema: j.Schema, Table: j.Table, Key: j.Key, Delta: j.Delta, Cascade: j.Cascade}
	for _, s := range []struct {
		raw json.RawMessage
		to  **Columns
	}{{j.Before, &r.Before}, {j.After, &r.After}} {
		if len(s.raw) == 0 || string(s.raw) == "null" {
			continue
		}
		*s.to = &Columns{}
		if err := json.Unmarshal(s.raw, *s.to); err != nil {
			return err
		}
	}
	return nil
}

// MarshalJSON writes an object with the columns in the table's order.
func (c Columns) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, col := range c {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := marshal(col.Name)
		if err != nil {
			return nil, err
		}
		value, err := col.Value.MarshalJSON()
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads an object and keeps the order of its keys.
func (c *Columns) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return errors.New("a row's columns are not a JSON object")
	}
	*c = Columns{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var v Value
		if err := d.Decode(&v); err != nil {
			return err
		}
		*c = append(*c, Column{fmt.Sprint(name), v})
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.Kind {
	case journal.ValueNull:
		return []byte("null"), nil
	case journal.ValueText:
		return marshal(v.Data)
	case journal.ValueBinary:
		return marshal(map[string]string{"binary": hex.EncodeToString([]byte(v.Data))})
	case journal.ValueUnchanged:
		return []byte(`{"unchanged":true}`), nil
	case journal.ValueRedacted:
		return []byte(`{"redacted":true}`), nil
	case journal.ValueAbsent:
		return []byte(`{"absent":true}`), nil
	}
	return nil, fmt.Errorf("value of unknown kind %d", v.Kind)
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *Value) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	switch {
	case string(b) == "null":
		*v = Value{Kind: journal.ValueNull}
		return nil
	case len(b) > 0 && b[0] == '"':
		v.Kind = journal.ValueText
		return json.Unmarshal(b, &v.Data)
	}
	var o struct {
		Binary                      *string
		Unchanged, Redacted, Absent bool
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return err
	}
	switch {
	case o.Binary != nil:
		data, err := hex.DecodeString(*o.Binary)
		*v = Value{journal.ValueBinary, string(data)}
		return err
	case o.Unchanged:
		*v = Value{Kind: journal.ValueUnchanged}
	case o.Redacted:
		*v = Value{Kind: journal.ValueRedacted}
	case o.Absent:
		*v = Value{Kind: journal.ValueAbsent}
	default:
		return fmt.Errorf("value %s is none of text, null, binary, unchanged, redacted, absent", b)
	}
	return nil
}

// marshal writes JSON without HTML's escapes: SQL is full of < and >.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// String shows the value to people, as SQL would write it where that keeps different things apart.
func (v Value) String() string {
	switch v.Kind {
	case journal.ValueNull:
		return "NULL"
	case journal.ValueText:
		switch v.Data {
		case "", "NULL", "(unchanged)", "(redacted)":
			return "'" + v.Data + "'"
		}
		return v.Data
	case journal.ValueBinary:
		return "\\x" + hex.EncodeToString([]byte(v.Data))
	case journal.ValueUnchanged:
		return "(unchanged)"
	case journal.ValueRedacted:
		return "(redacted)"
	}
	return "(not captured)"
}
