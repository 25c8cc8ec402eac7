package audit

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"
)

var csvHead = []string{
	"time", "origin", "seq", "outcome", "kind", "database", "user", "role", "application", "client", "session", "xid",
	"statement", "command", "tables", "capture", "rows_affected", "duration_us", "sqlstate", "message", "rolled_back",
	"query", "params", "rows", "class", "session_id", "not_executed", "context", "undo_of", "event",
}

// csvWriter writes one line a statement.
type csvWriter struct {
	w    *csv.Writer
	head bool
}

func newCSV(w io.Writer) *csvWriter { return &csvWriter{w: csv.NewWriter(w)} }

func (c *csvWriter) Write(t *Transaction) error {
	if err := c.Head(); err != nil {
		return err
	}
	statements := t.Statements
	if len(statements) == 0 {
		statements = []Statement{{}}
	}
	for i := range statements {
		line, err := csvLine(t, i, &statements[i])
		if err != nil {
			return err
		}
		if err := c.w.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// Head writes the first line, once.
func (c *csvWriter) Head() error {
	if c.head {
		return nil
	}
	c.head = true
	return c.w.Write(csvHead)
}

func (c *csvWriter) Flush() error {
	c.w.Flush()
	return c.w.Error()
}

func csvLine(t *Transaction, i int, s *Statement) ([]string, error) {
	params, err := marshal(s.Params)
	if err != nil {
		return nil, err
	}
	rows, err := marshal(s.Rows)
	if err != nil {
		return nil, err
	}
	affected := ""
	if s.RowsAffected != nil {
		affected = strconv.FormatInt(*s.RowsAffected, 10)
	}
	line := []string{
		t.Time.Format(time.RFC3339Nano), t.Origin, strconv.FormatUint(t.Seq, 10), t.Outcome, t.Kind, t.Database, t.User, s.Role,
		t.Application, t.Client, strconv.FormatUint(t.Session, 10), strconv.FormatUint(t.XID, 10), strconv.Itoa(i + 1), s.Command,
		strings.Join(s.Tables, " "), s.Capture, affected, strconv.FormatInt(s.DurationUS, 10), s.SQLState, s.Message,
		strconv.FormatBool(s.RolledBack), s.Query, nullIsEmpty(params), nullIsEmpty(rows), s.Class, t.SessionID, strconv.FormatBool(s.NotExecuted),
		s.Context, strings.Join(s.UndoOf, " "), "",
	}
	if t.Event != nil {
		line[len(line)-1] = string(raw(t.Event))
	}
	for n := range line {
		line[n] = Harmless(line[n])
	}
	return line, nil
}

func nullIsEmpty(b json.RawMessage) string {
	if string(b) == "null" {
		return "[]"
	}
	return string(b)
}

// Harmless keeps a spreadsheet from running a cell that a client wrote as a formula: such a cell gets a leading
// apostrophe. Plain numbers stay as they are.
func Harmless(s string) string {
	if s == "" || !strings.ContainsRune("=+-@\t\r|%", rune(s[0])) {
		return s
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return s
	}
	return "'" + s
}

func itoa(n int) string { return strconv.Itoa(n) }
