package audit

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Show writes everything about one transaction for people.
func Show(w io.Writer, t *Transaction) error {
	p := &printer{w: w}
	p.line("record       %s  (%s)", t.ID(), t.OriginID)
	if t.Event == nil {
		p.line("outcome      %s", t.Outcome)
	}
	p.line("time         %s", t.Time.Format(time.RFC3339Nano))
	p.line("hlc          %s", t.HLC)
	p.line("user         %s", Cell(t.User))
	p.line("database     %s", Cell(t.Database))
	p.line("application  %s", Cell(t.Application))
	p.line("client       %s", Cell(t.Client))
	if t.SessionID != "" {
		p.line("session      %s", t.SessionID)
	}
	if t.Backend != 0 {
		p.line("backend      %d", t.Backend)
	}
	if t.Event == nil {
		p.line("xid          %d", t.XID)
	}
	if len(t.UndoOf) > 0 {
		p.line("undo of      %s", Line(strings.Join(t.UndoOf, ", ")))
	}
	if t.Reason != "" {
		p.line("reason       %s", Line(t.Reason))
	}
	if t.Kind != "transaction" {
		p.line("kind         %s", t.Kind)
	}
	if t.Event != nil {
		p.line("event        %s", t.eventSummary())
		for _, table := range t.Event.Tables {
			p.line("             %s", Cell(table))
		}
	}
	for i := range t.Statements {
		p.statement(i, &t.Statements[i])
	}
	return p.err
}

type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) statement(i int, s *Statement) {
	p.line("")
	p.line("%d. %s  (%scaptured: %s, %d us)", i+1, s.Command, s.manner(), s.Capture, s.DurationUS)
	if s.RowsAffected != nil {
		p.line("   rows affected  %d", *s.RowsAffected)
	}
	for _, l := range strings.Split(s.Query, "\n") {
		p.line("   %s", Cell(strings.TrimRight(l, "\r")))
	}
	for n, v := range s.Params {
		p.line("   $%d = %s", n+1, Cell(v.String()))
	}
	for _, o := range s.Objects {
		p.line("   object  %s", Line(o.Type+" "+o.Name))
	}
	if s.Role != "" {
		p.line("   role  %s", Cell(s.Role))
	}
	if s.Context != "" {
		p.line("   context  %s  (as the client claims)", Cell(s.Context))
	}
	if len(s.Redacted) > 0 {
		p.line("   redacted: %s", strings.Join(s.Redacted, ", "))
	}
	if s.Copy != nil {
		p.line("   copied  %d bytes, sha256 %s", s.Copy.Bytes, s.Copy.SHA256)
	}
	if s.SQLState != "" {
		p.line("   ERROR %s: %s", s.SQLState, Cell(s.Message))
	}
	if s.NotExecuted {
		p.line("   not executed: it was sent behind one that failed")
	}
	if s.RolledBack {
		p.line("   rolled back: it has no effect")
	}
	if s.Note != "" {
		p.line("   note  %s", Cell(s.Note))
	}
	for n := range s.Rows {
		p.row(&s.Rows[n])
	}
	if s.RowsOmitted > 0 {
		p.line("   ... and %d more; \"pgproxy audit history\" finds any row", s.RowsOmitted)
	}
}

// manner is class and protocol, as far as they are known.
func (s *Statement) manner() string {
	out := ""
	for _, part := range []string{s.Class, s.Protocol} {
		if part != "" && part != "UNKNOWN" {
			out += part + ", "
		}
	}
	if s.Parts > 0 {
		out += fmt.Sprintf("%d of %d, ", s.Part, s.Parts)
	}
	return out
}

func (p *printer) row(r *Row) {
	p.line("   %s %s.%s", opName(r.Op), Cell(r.Schema), Cell(r.Table))
	before, after := map[string]Value{}, map[string]Value{}
	var names []string
	for _, side := range []struct {
		from *Columns
		to   map[string]Value
	}{{r.Before, before}, {r.After, after}} {
		if side.from == nil {
			continue
		}
		for _, c := range *side.from {
			if _, seen := before[c.Name]; !seen {
				names = append(names, c.Name)
			}
			side.to[c.Name] = c.Value
		}
	}
	for _, n := range names {
		b, hasBefore := before[n]
		a, hasAfter := after[n]
		switch {
		case hasBefore && hasAfter && a == b:
			p.line("     %s: %s", Cell(n), Cell(a.String()))
		case hasBefore && hasAfter:
			p.line("     %s: %s -> %s", Cell(n), Cell(b.String()), Cell(a.String()))
		case hasAfter:
			p.line("     %s: %s", Cell(n), Cell(a.String()))
		default:
			p.line("     %s: %s", Cell(n), Cell(b.String()))
		}
	}
}

func opName(op string) string {
	switch op {
	case "I":
		return "insert"
	case "U":
		return "update"
	case "D":
		return "delete"
	}
	return op
}

// Summary is the row's change in one line: changed columns as old -> new, or the whole row.
func (r *Row) Summary() string {
	var parts []string
	old := map[string]Value{}
	if r.Before != nil {
		for _, c := range *r.Before {
			old[c.Name] = c.Value
		}
	}
	show := r.After
	if show == nil {
		show = r.Before
	}
	if show == nil {
		return opName(r.Op)
	}
	for _, c := range *show {
		before, known := old[c.Name]
		switch {
		case r.Op != "U":
			parts = append(parts, c.Name+"="+c.Value.String())
		case known && before != c.Value:
			parts = append(parts, c.Name+": "+before.String()+" -> "+c.Value.String())
		case !known:
			parts = append(parts, c.Name+": "+c.Value.String())
		}
	}
	return opName(r.Op) + " " + strings.Join(parts, ", ")
}
