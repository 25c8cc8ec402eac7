package audit

import (
	"bufio"
	"io"
	"strings"
)

// tableSample is how many rows a table looks at to choose its columns' widths before it prints the first.
const tableSample = 200

// Table prints rows as psql does. It holds back the first rows to choose the widths, then prints as rows come, so that its
// memory does not grow; a later cell that is too wide pushes its row to the right.
type Table struct {
	w       *bufio.Writer
	heads   []Head
	widths  []int
	held    [][]string
	started bool
	rows    int
}

// Head is one column of a Table.
type Head struct {
	Name  string
	Right bool // numbers
	Max   int  // cells are cut to it; 0: never
}

// NewTable makes a table that is printed to w.
func NewTable(w io.Writer, heads ...Head) *Table {
	t := &Table{w: bufio.NewWriter(w), heads: heads, widths: make([]int, len(heads))}
	for i, h := range heads {
		t.widths[i] = Width(h.Name)
	}
	return t
}

// Row adds one row; cells are made safe for a terminal.
func (t *Table) Row(cells ...string) error {
	row := make([]string, len(t.heads))
	for i := range row {
		if i < len(cells) {
			row[i] = Cut(Cell(cells[i]), t.heads[i].Max)
		}
		if !t.started {
			t.widths[i] = max(t.widths[i], Width(row[i]))
		}
	}
	t.rows++
	if t.started {
		return t.print(row)
	}
	if t.held = append(t.held, row); len(t.held) >= tableSample {
		return t.Flush()
	}
	return nil
}

// Flush prints what is held back; from then on widths are fixed.
func (t *Table) Flush() error {
	if !t.started {
		t.started = true
		t.head()
		for _, r := range t.held {
			if err := t.print(r); err != nil {
				return err
			}
		}
		t.held = nil
	}
	return t.w.Flush()
}

// End prints the rest and the count of rows.
func (t *Table) End() error {
	if err := t.Flush(); err != nil {
		return err
	}
	t.w.WriteString(plural(t.rows))
	return t.w.Flush()
}

func plural(n int) string {
	if n == 1 {
		return "(1 row)\n"
	}
	return "(" + itoa(n) + " rows)\n"
}

func (t *Table) head() {
	for i, h := range t.heads {
		if i > 0 {
			t.w.WriteByte('|')
		}
		pad := t.widths[i] - Width(h.Name)
		t.w.WriteString(" " + strings.Repeat(" ", pad/2) + h.Name)
		if i < len(t.heads)-1 {
			t.w.WriteString(strings.Repeat(" ", pad-pad/2) + " ")
		}
	}
	t.w.WriteByte('\n')
	for i := range t.heads {
		if i > 0 {
			t.w.WriteByte('+')
		}
		t.w.WriteString(strings.Repeat("-", t.widths[i]+2))
	}
	t.w.WriteByte('\n')
}

func (t *Table) print(row []string) error {
	for i, c := range row {
		if i > 0 {
			t.w.WriteByte('|')
		}
		pad := strings.Repeat(" ", max(0, t.widths[i]-Width(c)))
		switch {
		case t.heads[i].Right:
			t.w.WriteString(" " + pad + c)
		case i == len(row)-1:
			t.w.WriteString(" " + c)
			continue
		default:
			t.w.WriteString(" " + c + pad)
		}
		if i < len(row)-1 {
			t.w.WriteByte(' ')
		}
	}
	return t.w.WriteByte('\n')
}
