package audit

import (
	"fmt"
	"io"
	"strings"
)

// Writer writes transactions in one of the forms people and programs read.
type Writer interface {
	Write(t *Transaction) error
	// Flush shows what was written so far; a follower calls it after each transaction.
	Flush() error
	// End writes what closes the form, such as a table's count.
	End() error
}

// Formats are the names NewWriter takes.
var Formats = []string{"table", "json", "csv"}

// NewWriter makes the writer of a format. columns is the terminal's width, which a table's last column fits itself into; 0
// leaves it whole.
func NewWriter(w io.Writer, format string, columns int) (Writer, error) {
	switch format {
	case "table":
		return newList(w, columns), nil
	case "json":
		return &jsonWriter{w}, nil
	case "csv":
		return csvForm{newCSV(w)}, nil
	}
	return nil, fmt.Errorf("format %q is none of %s", format, strings.Join(Formats, ", "))
}

type jsonWriter struct{ w io.Writer }

func (j *jsonWriter) Write(t *Transaction) error {
	b, err := marshal(t)
	if err != nil {
		return fmt.Errorf("write %s as JSON: %w", t.ID(), err)
	}
	_, err = j.w.Write(append(b, '\n'))
	return err
}
func (j *jsonWriter) Flush() error { return nil }
func (j *jsonWriter) End() error   { return nil }

type csvForm struct{ *csvWriter }

func (c csvForm) End() error {
	if err := c.Head(); err != nil {
		return err
	}
	return c.Flush()
}

// list is the table of journal ls: one line a statement, the transaction's columns on its first.
type list struct {
	*Table
	columns int
}

// listFixed is about what the columns before the statement take.
const listFixed = 88

func newList(w io.Writer, columns int) *list {
	text := 0
	if columns > 0 {
		text = max(columns-listFixed, 40)
	}
	return &list{NewTable(w, Head{Name: "time"}, Head{Name: "record"}, Head{Name: "outcome"}, Head{Name: "user", Max: 20},
		Head{Name: "database", Max: 20}, Head{Name: "client", Max: 24}, Head{Name: "rows", Right: true}, Head{Name: "statement", Max: text}), columns}
}

func (l *list) Write(t *Transaction) error {
	head := []string{t.Time.Format("2006-01-02 15:04:05.000"), t.ID(), t.Outcome, t.User, t.Database, t.Client, "", ""}
	if t.Seq == 0 {
		head[1] = t.Origin + "/-"
	}
	if len(t.Statements) == 0 {
		head[7] = "(" + t.Kind + ")"
		if t.Event != nil {
			head[7] = t.eventSummary()
		}
		if t.Member != nil {
			head[7] = fmt.Sprintf("(member %s is number %d)", t.Member.Name, t.Member.Number)
		}
		return l.Row(head...)
	}
	for i := range t.Statements {
		s := &t.Statements[i]
		if s.RowsAffected != nil {
			head[6] = fmt.Sprint(*s.RowsAffected)
		}
		head[7] = s.Summary()
		if err := l.Row(head...); err != nil {
			return err
		}
		head = make([]string, len(head))
	}
	return nil
}

func (l *list) End() error { return l.Flush() }

// Summary is the statement in one line: text with its parameters, and what a reader must not overlook.
func (s *Statement) Summary() string {
	text := Line(s.Query)
	if len(s.Params) > 0 {
		values := make([]string, len(s.Params))
		for i, p := range s.Params {
			values[i] = Cut(p.String(), 40)
		}
		text += "  [" + strings.Join(values, ", ") + "]"
	}
	switch {
	case s.SQLState != "":
		text = "ERROR " + s.SQLState + ": " + text
	case s.RolledBack:
		text = "(rolled back) " + text
	case s.Capture == "missing":
		text = "(not replicated) " + text
	}
	return text
}
