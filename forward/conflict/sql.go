package conflict

import (
	"slices"
	"strings"

	"pgproxy/journal"
)

// SQL writes a change as a statement that a person can run to bring it back. The names are quoted, the values canonical.
func SQL(c *Change) string {
	rel := c.Relation
	table := Ident(rel.Schema) + "." + Ident(rel.Name)
	switch c.Op {
	case journal.OpInsert:
		var cols, vals []string
		for i, v := range c.After {
			if known(v) && !rel.Columns[i].Generated {
				cols, vals = append(cols, Ident(rel.Columns[i].Name)), append(vals, literal(v))
			}
		}
		return "INSERT INTO " + table + " (" + strings.Join(cols, ", ") + ") VALUES (" + strings.Join(vals, ", ") + ");"
	case journal.OpUpdate:
		var set []string
		for _, i := range c.Set {
			if i >= len(c.After) || !known(c.After[i]) || rel.Columns[i].Generated {
				continue
			}
			set = append(set, Ident(rel.Columns[i].Name)+" = "+assigned(c, i))
		}
		row := c.Before
		if row == nil {
			row = c.After
		}
		return "UPDATE " + table + " SET " + strings.Join(set, ", ") + " WHERE " + where(rel, row) + ";"
	}
	return "DELETE FROM " + table + " WHERE " + where(rel, c.Before) + ";"
}

func assigned(c *Change, i int) string {
	if slices.Contains(c.Delta, i) && i < len(c.Before) {
		if step, ok := Difference(c.Before[i], c.After[i]); ok {
			return Ident(c.Relation.Columns[i].Name) + " + (" + step + ")"
		}
	}
	return literal(c.After[i])
}

func where(rel *journal.Relation, row []journal.Value) string {
	cols := rel.Key
	if len(cols) == 0 {
		for i := range row {
			cols = append(cols, i)
		}
	}
	var terms []string
	for _, i := range cols {
		switch {
		case i >= len(row) || !known(row[i]):
		case row[i].Kind == journal.ValueNull:
			terms = append(terms, Ident(rel.Columns[i].Name)+" IS NULL")
		default:
			terms = append(terms, Ident(rel.Columns[i].Name)+" = "+literal(row[i]))
		}
	}
	if len(terms) == 0 {
		return "false"
	}
	return strings.Join(terms, " AND ")
}

// Ident quotes a name.
func Ident(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func literal(v journal.Value) string {
	const hex = "0123456789abcdef"
	switch v.Kind {
	case journal.ValueText:
		if strings.Contains(v.Data, `\`) {
			return `E'` + strings.ReplaceAll(strings.ReplaceAll(v.Data, `\`, `\\`), `'`, `''`) + `'`
		}
		return `'` + strings.ReplaceAll(v.Data, `'`, `''`) + `'`
	case journal.ValueBinary:
		var b strings.Builder
		b.WriteString(`'\x`)
		for i := range len(v.Data) {
			b.WriteByte(hex[v.Data[i]>>4])
			b.WriteByte(hex[v.Data[i]&15])
		}
		return b.String() + `' /* binary form */`
	}
	return "NULL"
}
