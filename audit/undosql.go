package audit

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"pgproxy/journal"
)

// UndoMark begins the comment that stands behind the first word of each statement of an undo, by which the journal knows it again.
// (What stands before a statement is not part of it.)
const UndoMark = "/* pgproxy undo of "

// undoOf gives the transactions that a statement says it undoes. A client can say so too: it is a claim, like application_name.
func undoOf(query string) []string {
	verb, rest, ok := strings.Cut(query, " "+UndoMark)
	if !ok || !slices.Contains([]string{"INSERT", "UPDATE", "DELETE"}, verb) {
		return nil
	}
	names, _, ok := strings.Cut(rest, " */")
	if !ok {
		return nil
	}
	return strings.Fields(names)
}

// emit gives the statements that take one transaction back: its changes in the reverse order, so that each finds what it needs.
func (u *undoer) emit(it journal.Item, give func(any) error) error {
	tx := it.Record.Tx
	done := map[journal.RowKey]bool{} // rows that were taken back in one
	for i := len(tx.Statements) - 1; i >= 0; i-- {
		st := &tx.Statements[i]
		if st.RolledBack || st.SQLState != "" {
			continue
		}
		for _, c := range backwards(tx, st) {
			s, err := u.statement(it, c, done)
			if err != nil {
				return err
			}
			if s == nil {
				continue
			}
			if err := give(*s); err != nil {
				return err
			}
		}
	}
	return nil
}

// backwards lists a statement's changes in the order of their undoing. What foreign keys' actions did comes after what they
// followed from, because a child needs its parent; where the key was changed, they bring it back themselves.
func backwards(tx *journal.Tx, st *journal.Statement) []*journal.Change {
	var own, followed []*journal.Change
	moved := false
	for k := range st.Changes {
		c := &st.Changes[k]
		if c.Cascade {
			followed = append(followed, c)
			continue
		}
		own = append(own, c)
		rel := &tx.Relations[c.Relation]
		moved = moved || c.Op == journal.OpUpdate && c.Before != nil && tx.RowKey(rel, c.Before) != tx.RowKey(rel, filled(c))
	}
	slices.Reverse(own)
	if moved {
		followed = slices.DeleteFunc(followed, func(c *journal.Change) bool { return c.Op == journal.OpUpdate })
	}
	return append(own, followed...)
}

// filled is the after-image with what it leaves out as unchanged.
func filled(c *journal.Change) []journal.Value {
	if c.After == nil || len(c.Before) != len(c.After) {
		return c.After
	}
	out := slices.Clone(c.After)
	for i, v := range out {
		if v.Kind == journal.ValueUnchanged {
			out[i] = c.Before[i]
		}
	}
	return out
}

// statement makes the statement that takes one change back; nil where nothing is left to do.
func (u *undoer) statement(it journal.Item, c *journal.Change, done map[journal.RowKey]bool) (*UndoStatement, error) {
	tx := it.Record.Tx
	rel := &tx.Relations[c.Relation]
	w := undoWriter{rel: rel, force: u.mode == UndoForce, before: c.Before, after: filled(c), delta: c.Delta, op: c.Op}
	if len(rel.Key) > 0 {
		row := w.after
		if row == nil {
			row = w.before
		}
		k := tx.RowKey(rel, row)
		x := u.rows[k]
		if done[k] || x == nil || x.later && u.mode == UndoNonconflict {
			return nil, nil
		}
		w.loose = x.loose
		s, ok := x.steps[it.Record.ID]
		moved := w.before != nil && w.after != nil && tx.RowKey(rel, w.before) != k
		if !ok || !moved && len(cells(rel, s.before, s.after)) == 0 {
			return nil, nil // others' changes have left nothing of it
		}
		if !moved && !agrees(tx, rel, k, s) {
			done[k] = true
			w.net(s, addedColumns(tx, rowOf{tx.Database, rel, []journal.RowKey{k}}))
		}
	}
	sql, where, expect, err := w.sql()
	if err != nil {
		return nil, fmt.Errorf("undo %s: table %s.%s: %w", u.h.id(it.Record.ID), rel.Schema, rel.Name, err)
	}
	if sql == "" {
		return nil, nil
	}
	verb, rest, _ := strings.Cut(sql, " ")
	return &UndoStatement{SQL: verb + " " + UndoMark + u.h.id(it.Record.ID) + " */ " + rest, Expect: expect, Undoes: u.h.id(it.Record.ID), Schema: rel.Schema,
		Table: rel.Name, Where: where}, nil
}

// agrees reports whether what the transaction saw of the row is what it is by now known to have been: nobody unaware of it wrote
// the same columns before it.
func agrees(tx *journal.Tx, rel *journal.Relation, k journal.RowKey, s step) bool {
	var first, last []journal.Value
	for _, c := range effective(tx) {
		r := &tx.Relations[c.Relation]
		if r.Schema != rel.Schema || r.Name != rel.Name {
			continue
		}
		if after := filled(c); after != nil && tx.RowKey(r, after) == k || c.Before != nil && tx.RowKey(r, c.Before) == k {
			if first == nil && last == nil {
				first = c.Before
			}
			last = after
		}
	}
	for _, c := range cells(rel, s.before, s.after) {
		i := slices.IndexFunc(rel.Columns, func(col journal.Column) bool { return col.Name == c.Column })
		if i < 0 || !sameCell(first, i, c.Old) || !sameCell(last, i, c.New) {
			return false
		}
	}
	return true
}

func sameCell(row []journal.Value, i int, v Maybe) bool {
	if row == nil || i >= len(row) {
		return !v.There
	}
	return v.There && row[i] == journal.Value(v.Value)
}

// undoWriter writes the statement that turns after into before.
type undoWriter struct {
	rel           *journal.Relation
	op            journal.Op
	before, after []journal.Value
	delta         []int
	loose         map[string]bool
	force         bool
}

// net takes the whole of what a step did for the change; to the columns in added it only added.
func (w *undoWriter) net(s step, added map[string]bool) {
	w.before, w.after, w.delta = valuesOf(w.rel, s.before), valuesOf(w.rel, s.after), nil
	for i, c := range w.rel.Columns {
		if added[c.Name] {
			w.delta = append(w.delta, i)
		}
	}
	switch {
	case s.before == nil:
		w.op = journal.OpInsert
	case s.after == nil:
		w.op = journal.OpDelete
	default:
		w.op = journal.OpUpdate
	}
}

func valuesOf(rel *journal.Relation, row map[string]journal.Value) []journal.Value {
	if row == nil {
		return nil
	}
	out := make([]journal.Value, len(rel.Columns))
	for i, c := range rel.Columns {
		out[i] = row[c.Name]
	}
	return out
}

func (w *undoWriter) sql() (sql, where, expect string, err error) {
	table := Ident(w.rel.Schema) + "." + Ident(w.rel.Name)
	switch w.op {
	case journal.OpInsert:
		where, err = w.where(table, func(int) bool { return true })
		return "DELETE FROM " + table + " WHERE " + where + ";", where, "DELETE 1", err
	case journal.OpDelete:
		sql, err = w.insert(table)
		return sql, "", "INSERT 0 1", err
	}
	set, err := w.set()
	if err != nil || set == "" {
		return "", "", "", err
	}
	where, err = w.where(table, w.changed)
	return "UPDATE " + table + " SET " + set + " WHERE " + where + ";", where, "UPDATE 1", err
}

// changed reports whether the change wrote column i.
func (w *undoWriter) changed(i int) bool {
	return i < len(w.before) && i < len(w.after) && w.before[i] != w.after[i] && !w.rel.Columns[i].Generated
}

func (w *undoWriter) insert(table string) (string, error) {
	var names, values []string
	overriding := ""
	for i, v := range w.before {
		col := w.rel.Columns[i]
		if col.Generated || v.Kind == journal.ValueAbsent {
			continue
		}
		text, err := Literal(v)
		if err != nil {
			return "", fmt.Errorf("column %s: %w", col.Name, err)
		}
		if col.Identity == 'a' {
			overriding = "OVERRIDING SYSTEM VALUE "
		}
		names, values = append(names, Ident(col.Name)), append(values, text)
	}
	if names == nil {
		return "", fmt.Errorf("the row is not known")
	}
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") " + overriding + "VALUES (" + strings.Join(values, ", ") + ");", nil
}

func (w *undoWriter) set() (string, error) {
	if w.before == nil {
		return "", fmt.Errorf("what the row was before is not known")
	}
	var set []string
	for i := range w.rel.Columns {
		if !w.changed(i) {
			continue
		}
		name := Ident(w.rel.Columns[i].Name)
		if step, ok := difference(w.after[i], w.before[i]); ok && slices.Contains(w.delta, i) {
			set = append(set, name+" = "+name+" + ("+step+")")
			continue
		}
		text, err := Literal(w.before[i])
		if err != nil {
			return "", fmt.Errorf("column %s: %w", w.rel.Columns[i].Name, err)
		}
		set = append(set, name+" = "+text)
	}
	return strings.Join(set, ", "), nil
}

// where finds the row as it was left: by its key, and by the columns that the change wrote.
func (w *undoWriter) where(table string, wrote func(int) bool) (string, error) {
	if len(w.rel.Key) == 0 {
		terms, err := w.terms(func(int) bool { return true })
		return "ctid = (SELECT ctid FROM " + table + " WHERE " + terms + " LIMIT 1)", err
	}
	return w.terms(func(i int) bool {
		return slices.Contains(w.rel.Key, i) || !w.force && wrote(i) && !w.loose[w.rel.Columns[i].Name]
	})
}

func (w *undoWriter) terms(take func(int) bool) (string, error) {
	var terms []string
	for i := range w.rel.Columns {
		if i >= len(w.after) || !take(i) || w.rel.Columns[i].Generated {
			continue
		}
		key := slices.Contains(w.rel.Key, i)
		v := w.after[i]
		text, err := Literal(v)
		switch {
		case err != nil && !key:
			continue // it cannot be compared; the other columns are
		case err != nil:
			return "", fmt.Errorf("key column %s: %w", w.rel.Columns[i].Name, err)
		}
		name := Ident(w.rel.Columns[i].Name)
		switch {
		case v.Kind == journal.ValueNull:
			terms = append(terms, name+" IS NULL")
		case !key && !comparable(w.rel.Columns[i].Type):
			terms = append(terms, name+"::text = "+text)
		default:
			terms = append(terms, name+" = "+text)
		}
	}
	if terms == nil {
		return "", fmt.Errorf("there is nothing by which to find the row")
	}
	return strings.Join(terms, " AND "), nil
}

// comparable reports whether equal values of the type are equal as texts and by its own operator: not so for types that have no
// equality, or one that compares an area.
func comparable(typ string) bool {
	base, _, _ := strings.Cut(strings.TrimSuffix(typ, "[]"), "(")
	return !slices.Contains([]string{"json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle", "txid_snapshot"}, base)
}

// Ident quotes a name for SQL.
func Ident(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// Literal writes a value for SQL. Remarks in place of values (redacted, unchanged, not captured), and values known in binary only,
// cannot be written.
func Literal(v journal.Value) (string, error) {
	switch v.Kind {
	case journal.ValueNull:
		return "NULL", nil
	case journal.ValueText:
		return quoted(v.Data), nil
	case journal.ValueBinary:
		return "", fmt.Errorf("its value is known in binary only: \\x%s", Cut(hex.EncodeToString([]byte(v.Data)), 40))
	case journal.ValueRedacted:
		return "", fmt.Errorf("its value was redacted")
	}
	return "", fmt.Errorf("its value was not captured")
}

func quoted(s string) string {
	s = strings.ReplaceAll(s, `'`, `''`)
	if strings.Contains(s, `\`) {
		return `E'` + strings.ReplaceAll(s, `\`, `\\`) + `'`
	}
	return `'` + s + `'`
}

// difference gives b - a of two numbers in decimal notation.
func difference(a, b journal.Value) (string, bool) {
	if a.Kind != journal.ValueText || b.Kind != journal.ValueText || strings.ContainsAny(a.Data+b.Data, "eE/NI") {
		return "", false
	}
	x, okX := new(big.Rat).SetString(a.Data)
	y, okY := new(big.Rat).SetString(b.Data)
	if !okX || !okY {
		return "", false
	}
	return y.Sub(y, x).FloatString(max(scale(a.Data), scale(b.Data))), true
}

// scale is the number of digits behind the point.
func scale(s string) int {
	_, digits, _ := strings.Cut(s, ".")
	return len(digits)
}
