package apply

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// writer collects a statement's text and parameters.
type writer struct {
	b    strings.Builder
	args []journal.Value
}

func (w *writer) s(parts ...string) {
	for _, p := range parts {
		w.b.WriteString(p)
	}
}

func (w *writer) arg(v journal.Value) string {
	w.args = append(w.args, v)
	return "$" + strconv.Itoa(len(w.args))
}

func (w *writer) add(f *flight) *step { return f.add(w.b.String(), w.args...) }

// known reports whether v is a value, as opposed to a remark about one.
func known(v journal.Value) bool {
	return v.Kind == journal.ValueNull || v.Kind == journal.ValueText || v.Kind == journal.ValueBinary
}

// refusal is a record that this database cannot take as it is.
type refusal struct {
	state, table, reason string
	column               string // that is not here
}

func (r *refusal) Error() string { return r.reason }

func missingColumn(rel *journal.Relation, name string) error {
	return &refusal{state: "42703", table: rel.Schema + "." + rel.Name, column: name,
		reason: fmt.Sprintf("column %q of table %s.%s does not exist here", name, rel.Schema, rel.Name)}
}

// writable gives the columns of an image that are to be written, by index; a column that is not here is an error.
func (t *table) writable(rel *journal.Relation, image []journal.Value, columns []int) ([]int, error) {
	out := make([]int, 0, len(image))
	for _, i := range columns {
		if i >= len(image) || !known(image[i]) {
			if i < len(image) && image[i].Kind == journal.ValueRedacted {
				return nil, &refusal{state: "XX000", table: rel.Schema + "." + rel.Name, reason: "the value of column " + rel.Columns[i].Name + " was redacted"}
			}
			continue
		}
		c, ok := t.columns[rel.Columns[i].Name]
		switch {
		case !ok && (rel.Columns[i].Generated || t.lenient), c.generated:
		case !ok:
			return nil, missingColumn(rel, rel.Columns[i].Name)
		default:
			out = append(out, i)
		}
	}
	return out, nil
}

func everyColumn(rel *journal.Relation) []int {
	all := make([]int, len(rel.Columns))
	for i := range all {
		all[i] = i
	}
	return all
}

func keyNames(rel *journal.Relation) []string {
	var names []string
	for _, k := range rel.Key {
		names = append(names, rel.Columns[k].Name)
	}
	return names
}

// direct writes one change as it stands. It hits one row, or the change must be looked at again.
func (t *table) direct(f *flight, touch conflict.Touch) (*step, error) {
	c := touch.Change
	switch {
	case c.Op == journal.OpInsert:
		return t.insert(f, c.Relation, c.After)
	case touch.Keyless && c.Op == journal.OpDelete:
		return t.takeOne(f, c.Relation, c.Before, nil, nil)
	case touch.Keyless:
		set, err := t.writable(c.Relation, c.After, c.Set)
		if err != nil {
			return nil, err
		}
		return t.takeOne(f, c.Relation, c.Before, c.After, set)
	case c.Op == journal.OpUpdate:
		return t.update(f, c)
	case c.Op == journal.OpDelete:
		w := &writer{}
		w.s("DELETE FROM ", t.only())
		if err := t.where(w, c.Relation, c.Before); err != nil {
			return nil, err
		}
		return w.add(f), nil
	}
	return nil, fmt.Errorf("unknown operation %q", c.Op)
}

// insert adds the row; where its key is taken it adds nothing.
func (t *table) insert(f *flight, rel *journal.Relation, image []journal.Value) (*step, error) {
	cols, err := t.writable(rel, image, everyColumn(rel))
	if err != nil {
		return nil, err
	}
	w := &writer{}
	w.s("INSERT INTO ", t.quoted)
	if len(cols) == 0 {
		w.s(" DEFAULT VALUES")
		return w.add(f), nil
	}
	sep := " ("
	for _, i := range cols {
		w.s(sep, ident(rel.Columns[i].Name))
		sep = ", "
	}
	sep = ") OVERRIDING SYSTEM VALUE VALUES ("
	for _, i := range cols {
		w.s(sep, w.arg(image[i]))
		sep = ", "
	}
	w.s(")")
	if names := keyNames(rel); len(names) > 0 && t.arbiter(names) {
		sep = " ON CONFLICT ("
		for _, n := range names {
			w.s(sep, ident(n))
			sep = ", "
		}
		w.s(") DO NOTHING")
	}
	return w.add(f), nil
}

// update sets the changed columns; those that add are added.
func (t *table) update(f *flight, c *conflict.Change) (*step, error) {
	rel := c.Relation
	set, err := t.writable(rel, c.After, c.Set)
	if err != nil {
		return nil, err
	}
	w := &writer{}
	w.s("UPDATE ", t.only())
	sep := " SET "
	for _, i := range set {
		name := ident(rel.Columns[i].Name)
		w.s(sep, name, " = ")
		sep = ", "
		if d, cast, ok := t.difference(c, i); ok {
			w.s(name, " + ", w.arg(journal.Text(d)), cast)
		} else {
			w.s(w.arg(c.After[i]))
		}
	}
	row := c.Before
	if row == nil {
		row = c.After
	}
	if len(set) == 0 { // nothing that is stored here: look whether the row is there
		w = &writer{}
		w.s("SELECT FROM ", t.only())
		if err := t.where(w, rel, row); err != nil {
			return nil, err
		}
		w.s(" FOR UPDATE")
		return w.add(f), nil
	}
	if err := t.where(w, rel, row); err != nil {
		return nil, err
	}
	return w.add(f), nil
}

// difference gives what a column of c adds, and the cast that makes the sum exact.
func (t *table) difference(c *conflict.Change, i int) (d, cast string, ok bool) {
	if !slices.Contains(c.Delta, i) || i >= len(c.Before) {
		return "", "", false
	}
	if d, ok = conflict.Difference(c.Before[i], c.After[i]); !ok {
		return "", "", false
	}
	switch t.columns[c.Relation.Columns[i].Name].typ {
	case "smallint", "integer", "bigint":
		if _, err := strconv.ParseInt(d, 10, 64); err != nil {
			return d, "::pg_catalog.numeric", true
		}
		return d, "::pg_catalog.int8", true
	}
	return d, "::pg_catalog.numeric", true
}

// where finds a row by its key.
func (t *table) where(w *writer, rel *journal.Relation, row []journal.Value) error {
	sep := " WHERE "
	for _, k := range rel.Key {
		name := rel.Columns[k].Name
		if _, ok := t.columns[name]; !ok {
			return missingColumn(rel, name)
		}
		if k >= len(row) || row[k].Kind != journal.ValueText && row[k].Kind != journal.ValueBinary {
			return &refusal{state: "XX000", table: rel.Schema + "." + rel.Name, reason: "key column " + name + " has no value in the record"}
		}
		w.s(sep, ident(name), " = ", w.arg(row[k]))
		sep = " AND "
	}
	return nil
}

// takeOne deletes one row that equals the image, or, with after, sets columns of it; it only locks that row if there is
// nothing to set.
func (t *table) takeOne(f *flight, rel *journal.Relation, image, after []journal.Value, set []int) (*step, error) {
	w := &writer{}
	switch {
	case after == nil:
		w.s("DELETE FROM ", t.only())
	case len(set) == 0:
		w.s("SELECT FROM ", t.only())
	default:
		w.s("UPDATE ", t.only())
		sep := " SET "
		for _, i := range set {
			w.s(sep, ident(rel.Columns[i].Name), " = ", w.arg(after[i]))
			sep = ", "
		}
	}
	id := "ctid"
	if t.kind == 'p' {
		id = "(tableoid, ctid)"
	}
	w.s(" WHERE ", id, " = (SELECT ", strings.Trim(id, "()"), " FROM ", t.only())
	if err := t.equal(w, rel, image); err != nil {
		return nil, err
	}
	w.s(" LIMIT 1 FOR UPDATE)")
	return w.add(f), nil
}

// equal finds the rows that equal an image, as far as it shows them.
func (t *table) equal(w *writer, rel *journal.Relation, image []journal.Value) error {
	sep := " WHERE "
	for i, v := range image {
		if !known(v) || rel.Columns[i].Generated {
			continue
		}
		c, ok := t.columns[rel.Columns[i].Name]
		if !ok && t.lenient {
			continue
		}
		if !ok {
			return missingColumn(rel, rel.Columns[i].Name)
		}
		name := ident(rel.Columns[i].Name)
		switch {
		case v.Kind == journal.ValueNull:
			w.s(sep, name, " IS NULL")
		case c.comparable:
			w.s(sep, name, " = ", w.arg(v))
		default:
			w.s(sep, name, "::pg_catalog.text = ", w.arg(v), "::", c.typ, "::pg_catalog.text")
		}
		sep = " AND "
	}
	return nil
}

// lock takes the row's lock and reads nothing.
func (t *table) lock(f *flight, rel *journal.Relation, row []journal.Value) (*step, error) {
	w := &writer{}
	w.s("SELECT FROM ", t.only())
	if err := t.where(w, rel, row); err != nil {
		return nil, err
	}
	w.s(" FOR UPDATE")
	return w.add(f), nil
}

// write makes a row what the fold says: there is whether it is in the table now.
func (t *table) write(f *flight, rel *journal.Relation, key []journal.Value, r conflict.Result, there bool) (*step, error) {
	if !r.Living {
		if !there {
			return nil, nil
		}
		w := &writer{}
		w.s("DELETE FROM ", t.only())
		if err := t.where(w, rel, key); err != nil {
			return nil, err
		}
		return w.add(f), nil
	}
	names, err := t.stored(rel, r.Row)
	if err != nil {
		return nil, err
	}
	w := &writer{}
	if there {
		keys := keyNames(rel)
		names = slices.DeleteFunc(names, func(n string) bool { return t.columns[n].always || slices.Contains(keys, n) })
		if len(names) == 0 {
			return nil, nil
		}
		w.s("UPDATE ", t.only())
		sep := " SET "
		for _, n := range names {
			w.s(sep, ident(n), " = ", w.arg(r.Row[n]))
			sep = ", "
		}
		if err := t.where(w, rel, key); err != nil {
			return nil, err
		}
		return w.add(f), nil
	}
	w.s("INSERT INTO ", t.quoted)
	sep := " ("
	for _, n := range names {
		w.s(sep, ident(n))
		sep = ", "
	}
	sep = ") OVERRIDING SYSTEM VALUE VALUES ("
	for _, n := range names {
		w.s(sep, w.arg(r.Row[n]))
		sep = ", "
	}
	w.s(")")
	return w.add(f), nil
}

// stored gives the columns of a folded row that this table stores, in a fixed order.
func (t *table) stored(rel *journal.Relation, row conflict.Row) ([]string, error) {
	var names []string
	for _, n := range slices.Sorted(maps.Keys(row)) {
		c, ok := t.columns[n]
		if !ok {
			i := slices.IndexFunc(rel.Columns, func(c journal.Column) bool { return c.Name == n })
			if i < 0 || rel.Columns[i].Generated || t.lenient {
				continue // an older record's column, gone since
			}
			return nil, missingColumn(rel, n)
		}
		if !c.generated {
			names = append(names, n)
		}
	}
	return names, nil
}
