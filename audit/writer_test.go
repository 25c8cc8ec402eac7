package audit

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"pgproxy/journal"
)

func TestTableIsAligned(t *testing.T) {
	var b bytes.Buffer
	table := NewTable(&b, Head{Name: "name"}, Head{Name: "qty", Right: true}, Head{Name: "note", Max: 6})
	for _, r := range [][]string{{"apple", "1", "x"}, {"日本", "1000", "too long a note"}, {"e\u0301", "", "a\tb\x1b[2J"}} {
		if err := table.Row(r...); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.End(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, l := range []string{
		" name  | qty  |  note",
		"-------+------+--------",
		" apple |    1 | x",
		" 日本  | 1000 | too l…",
		" e\u0301     |      | a\\tb\\…",
		"(3 rows)",
	} {
		if i >= len(lines) || lines[i] != l {
			t.Errorf("line %d is %q, want %q", i, lines[min(i, len(lines)-1)], l)
		}
	}
}

func TestTableOfManyRowsPrintsAsItGoes(t *testing.T) {
	var b bytes.Buffer
	table := NewTable(&b, Head{Name: "n"})
	for range tableSample {
		if err := table.Row("1"); err != nil {
			t.Fatal(err)
		}
	}
	if b.Len() == 0 {
		t.Fatal("nothing printed yet")
	}
	if err := table.Row("wide cell"); err != nil {
		t.Fatal(err)
	}
	if len(table.held) != 0 {
		t.Error("rows are held back after the widths are fixed")
	}
}

func TestTerminalIsSafe(t *testing.T) {
	for in, want := range map[string]string{
		"SELECT\n\t 1": "SELECT 1", "a\x1b[31mb": `a\x1b[31mb`, "x\xffy": `x\xffy`, "a\u202eb": "a·b", "\u0085x": "x", " a ": "a", "\ufffd": "\ufffd",
	} {
		if got := Line(in); got != want {
			t.Errorf("Line(%q) is %q, want %q", in, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\x1b\u202e\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, out := range []string{Line(s), Cell(s), Cut(Cell(s), 7)} {
			for _, r := range out {
				if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
					t.Fatalf("%q lets %q through", s, r)
				}
			}
		}
		if n := Width(Cut(Cell(s), 7)); n > 7 {
			t.Fatalf("cut to 7 cells is %d wide", n)
		}
	})
}

func TestCSVCannotRunFormulas(t *testing.T) {
	r := txRecord(nodeA, 1)
	r.Tx.User, r.Tx.Application = "=cmd|' /C calc'!A0", "@SUM(1)"
	r.Tx.Statements = append(r.Tx.Statements, journal.Statement{Query: "-- x\n\"quoted\", text", RowsAffected: -1})
	tx := NewTransaction(journal.Item{Record: r}, nil)
	var b bytes.Buffer
	w, err := NewWriter(&b, "csv", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&tx); err != nil {
		t.Fatal(err)
	}
	if err := w.End(); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(lines) != 3 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	get := func(line int, column string) string {
		for i, h := range csvHead {
			if h == column {
				return lines[line][i]
			}
		}
		t.Fatalf("no column %s", column)
		return ""
	}
	for column, want := range map[string]string{"user": "'=cmd|' /C calc'!A0", "application": "'@SUM(1)", "rows_affected": "1", "params": `["é<b>",null]`} {
		if got := get(1, column); got != want {
			t.Errorf("%s is %q, want %q", column, got, want)
		}
	}
	if got := get(2, "query"); got != "'-- x\n\"quoted\", text" {
		t.Errorf("query is %q", got)
	}
}

func TestShowKeepsValuesApart(t *testing.T) {
	var b bytes.Buffer
	tx := golden()
	if err := Show(&b, &tx); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"record       a/12", "$1 = é<b>", "$2 = NULL", "qty: 3 -> 2", "note: NULL -> ''", "secret: (redacted)", "later: (unchanged)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestListTellsWhatMustNotBeOverlooked(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(&b, "table", 0)
	if err != nil {
		t.Fatal(err)
	}
	r := txRecord(nodeA, 1)
	s := r.Tx.Statements[0]
	failed, back, lost := s, s, s
	failed.SQLState, back.RolledBack, lost.Capture = "23505", true, journal.CaptureMissing
	r.Tx.Statements = []journal.Statement{failed, back, lost}
	tx := NewTransaction(journal.Item{Record: r, Outcome: journal.OutcomeUnknown}, (&fakeReader{}).Names())
	if err := w.Write(&tx); err != nil {
		t.Fatal(err)
	}
	if err := w.End(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a/1", "unknown", "alice", "ERROR 23505: UPDATE", "(rolled back) UPDATE", "(not replicated) UPDATE", "[é<b>, NULL]"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}
