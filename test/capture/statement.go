package capture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// step is one message to the server.
type step struct {
	sql      string
	data     string // COPY FROM STDIN: what is sent
	extended bool   // by Parse, Bind, Execute; else as a simple Query
}

// script draws transactions.
type script struct {
	*schema
	r    *rand.Rand
	more int // columns and tables made on the way
}

// writable draws a table that clients write to.
func (s *script) writable() *table {
	for {
		if t := s.tables[s.r.IntN(len(s.tables))]; !t.hidden {
			return t
		}
	}
}

func (s *script) key() int { return s.r.IntN(span) }

// value draws a value for a column.
func (s *script) value(c column) string {
	switch {
	case c.name == "k":
		return fmt.Sprint(s.key())
	case c.name == "n":
		return []string{fmt.Sprint(s.key()), "NULL", "DEFAULT"}[min(s.r.IntN(8), 2)]
	case !c.notNull && s.r.IntN(6) == 0:
		return "NULL"
	case s.r.IntN(8) == 0 && (c.fallback != "" || !c.notNull):
		return "DEFAULT"
	}
	return c.kind.literal(s.r)
}

// columns draws the columns of an INSERT: those that must be there, and some others.
func (s *script) columns(t *table) []int {
	var out []int
	for i, c := range t.columns {
		if !c.generated && (slices.Contains(t.key, i) || c.notNull && c.fallback == "" || s.r.IntN(3) > 0 || c.name == "k") {
			out = append(out, i)
		}
	}
	return out
}

func (s *script) row(t *table, columns []int) string {
	var out []string
	for _, i := range columns {
		out = append(out, s.value(t.columns[i]))
	}
	return "(" + strings.Join(out, ", ") + ")"
}

func (s *script) insert() string {
	t := s.writable()
	columns := s.columns(t)
	var rows []string
	for range 1 + s.r.IntN(4) {
		rows = append(rows, s.row(t, columns))
	}
	sql := fmt.Sprintf("INSERT INTO %s (%s) VALUES %s", t.name, t.list(columns), strings.Join(rows, ", "))
	if len(t.key) > 0 && t.name != `"x.y"` { // a rule refuses ON CONFLICT
		switch s.r.IntN(4) {
		case 0:
			sql += " ON CONFLICT DO NOTHING"
		case 1:
			sql += fmt.Sprintf(" ON CONFLICT (%s) DO UPDATE SET n = %s", t.list(t.key), []string{"excluded.n", t.name + ".n + 1", "NULL"}[s.r.IntN(3)])
			if s.r.IntN(3) == 0 {
				sql += " WHERE excluded.k < 15"
			}
		}
	}
	return sql + s.returning()
}

func (s *script) returning() string {
	return []string{"", "", " RETURNING *", " RETURNING k, n"}[s.r.IntN(4)]
}

// assignment draws one SET clause.
func (s *script) assignment(t *table) string {
	for {
		i := s.r.IntN(len(t.columns))
		c := t.columns[i]
		switch {
		case c.generated:
		case c.name == "k":
			if s.r.IntN(6) == 0 {
				return fmt.Sprintf("k = k + %d", 1000*(1+s.r.IntN(3)))
			}
		case c.kind.add && s.r.IntN(2) == 0:
			return fmt.Sprintf("%s = %s %s %d", quote(c.name), quote(c.name), []string{"+", "-"}[s.r.IntN(2)], 1+s.r.IntN(3))
		case s.r.IntN(8) == 0:
			return quote(c.name) + " = " + quote(c.name)
		default:
			return quote(c.name) + " = " + s.value(c)
		}
	}
}

// where draws a condition on a table, or on an alias of it.
func (s *script) where(of string) string {
	k := s.key()
	switch s.r.IntN(6) {
	case 0:
		return fmt.Sprintf("%s.k BETWEEN %d AND %d", of, k, k+s.r.IntN(4))
	case 1:
		return fmt.Sprintf("%s.k IN (SELECT u.k FROM plain u WHERE u.k > %d)", of, span-3)
	case 2:
		return fmt.Sprintf("%s.n IS NULL AND %s.k > %d", of, of, k)
	case 3:
		return fmt.Sprintf("%s.k %% 7 = %d", of, s.r.IntN(7))
	}
	return fmt.Sprintf("%s.k = %d", of, k)
}

func (s *script) update() string {
	t := s.writable()
	only := ""
	if s.r.IntN(8) == 0 {
		only = "ONLY "
	}
	set := s.assignment(t)
	if other := s.assignment(t); strings.Split(other, " = ")[0] != strings.Split(set, " = ")[0] {
		set += ", " + other
	}
	switch s.r.IntN(8) {
	case 0:
		return fmt.Sprintf("UPDATE %s%s AS z SET n = u.k FROM (VALUES (%d), (%d)) u(k) WHERE z.k = u.k%s", only, t.name, s.key(), span+s.key(), "")
	case 1:
		return fmt.Sprintf("UPDATE %s%s z SET (n) = (SELECT max(u.k) FROM plain u WHERE u.k <= z.k) WHERE %s", only, t.name, s.where("z"))
	}
	return fmt.Sprintf("UPDATE %s%s AS z SET %s WHERE %s%s", only, t.name, set, s.where("z"), s.returning())
}

func (s *script) remove() string {
	t := s.writable()
	if s.r.IntN(5) == 0 {
		return fmt.Sprintf("DELETE FROM %s z USING (VALUES (%d), (%d)) u(k) WHERE z.k = u.k", t.name, s.key(), s.key())
	}
	return fmt.Sprintf("DELETE FROM %s z WHERE %s%s", t.name, s.where("z"), s.returning())
}

// copyIn draws a COPY FROM STDIN in text or csv.
func (s *script) copyIn() step {
	t := s.writable()
	columns := slices.DeleteFunc(s.columns(t), func(i int) bool {
		c := t.columns[i]
		return c.name != "k" && c.name != "n" && (!c.notNull || c.fallback != "") && !slices.Contains(t.key, i)
	})
	if slices.ContainsFunc(columns, func(i int) bool { return t.columns[i].kind.name != "int" && t.columns[i].kind.name != "text" }) {
		return step{sql: s.insert()}
	}
	csv, rows := s.r.IntN(2) == 0, []string{}
	for range 1 + s.r.IntN(5) {
		var fields []string
		for _, i := range columns {
			switch c := t.columns[i]; {
			case c.name == "k":
				fields = append(fields, fmt.Sprint(s.key()))
			case c.kind.name == "int":
				fields = append(fields, fmt.Sprint(s.key()))
			case csv:
				fields = append(fields, `"a ""b"", c`+"\n"+`d"`)
			default:
				fields = append(fields, `tab\there\\ \N`)
			}
		}
		rows = append(rows, strings.Join(fields, map[bool]string{true: ",", false: "\t"}[csv]))
	}
	with := map[bool]string{true: " WITH (FORMAT csv)", false: ""}[csv]
	if s.r.IntN(5) == 0 {
		with += " WHERE k < 20"
	}
	return step{sql: fmt.Sprintf("COPY %s (%s) FROM STDIN%s", t.name, t.list(columns), with), data: strings.Join(rows, "\n") + "\n"}
}
