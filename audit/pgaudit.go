package audit

import (
	"fmt"
	"io"
	"strings"

	"pgproxy/journal"
)

// pgaudit writes what pgAudit would have written into the server's log, one entry a statement: in CSV behind "AUDIT: ". As in
// that log, a line break within a text is followed by a tab, so that no text can begin an entry.
type pgaudit struct{ w io.Writer }

func (p pgaudit) Write(t *Transaction) error {
	for i := range t.Statements {
		s := &t.Statements[i]
		kind, object := "", ""
		if len(s.Tables) > 0 {
			kind, object = "TABLE", s.Tables[0]
		} else if len(s.Objects) > 0 {
			kind, object = strings.ToUpper(s.Objects[0].Type), s.Objects[0].Name
		}
		class := s.Class
		if class == "" {
			class = "UNKNOWN"
		}
		entry := strings.Join([]string{"SESSION", fmt.Sprint(t.Position), fmt.Sprint(i + 1), class, cellCSV(s.Command), cellCSV(kind), cellCSV(object), cellCSV(s.Query),
			cellCSV(paramsCSV(s.Params))}, ",")
		head := fmt.Sprintf("%s [%d] %s@%s %s %s %s LOG:  AUDIT: ", s.Started.UTC().Format("2006-01-02 15:04:05.000 UTC"), t.Backend, Cell(t.User), Cell(t.Database),
			Cell(t.Client), t.ID(), statementOutcome(t, s))
		if _, err := io.WriteString(p.w, head+logLines(entry)+"\n"); err != nil {
			return err
		}
	}
	return nil
}

func (p pgaudit) Flush() error { return nil }
func (p pgaudit) End() error   { return nil }

// statementOutcome is what became of one statement.
func statementOutcome(t *Transaction, s *Statement) string {
	switch {
	case s.SQLState != "":
		return "failed:" + s.SQLState
	case s.NotExecuted:
		return "not_executed"
	case s.RolledBack:
		return "rolled_back"
	}
	return t.Outcome
}

// logLines makes s safe to stand in a log: a line that it begins is indented, whatever kind of line break it uses, and what would
// move a terminal's cursor is shown.
func logLines(s string) string {
	var b strings.Builder
	s = strings.ReplaceAll(s, "\r\n", "\n")
	for i, r := range s {
		switch r {
		case '\n', '\r', '\v', '\f', 0x85, 0x2028, 0x2029:
			b.WriteString("\n\t")
		case '\t':
			b.WriteByte('\t')
		default:
			b.WriteString(visible(r, s[i:]))
		}
	}
	return b.String()
}

// cellCSV quotes a cell where it must be; empty is not quoted.
func cellCSV(s string) string {
	if !strings.ContainsAny(s, "\",\n\r") {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}

// paramsCSV lists parameters as pgAudit does, with NULL and empty kept apart: NULL is nothing between the commas, empty is "".
func paramsCSV(params []Value) string {
	if len(params) == 0 {
		return "<none>"
	}
	cells := make([]string, len(params))
	for i, p := range params {
		switch {
		case p.Kind == journal.ValueNull:
		case p.Kind == journal.ValueText && (p.Data == "" || strings.HasPrefix(p.Data, "<")):
			cells[i] = `"` + strings.ReplaceAll(p.Data, `"`, `""`) + `"`
		case p.Kind == journal.ValueText:
			cells[i] = cellCSV(p.Data)
		case p.Kind == journal.ValueRedacted:
			cells[i] = "<redacted>"
		default:
			cells[i] = "<" + p.String() + ">"
		}
	}
	return strings.Join(cells, ",")
}
