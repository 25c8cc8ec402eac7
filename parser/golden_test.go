package parser

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden reads every text of testdata/*.golden and compares what it means with what stands below it. An entry is a
// text, a line "----", its meaning, and a line "====".
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	p := New(Options{})
	for _, file := range files {
		var out strings.Builder
		for _, e := range goldenEntries(t, file) {
			got := describe(p.Parse(e.text))
			if again := describe(p.Parse(e.text)); again != got {
				t.Errorf("%s: from the cache\n%s\nbefore\n%s", e.text, again, got)
			}
			if got != e.meaning && !*update {
				t.Errorf("%s:\n%s\ngot\n%swant\n%s", file, e.text, got, e.meaning)
			}
			fmt.Fprintf(&out, "%s\n----\n%s====\n", e.text, got)
		}
		if *update {
			if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

type goldenEntry struct{ text, meaning string }

func goldenEntries(t testing.TB, file string) []goldenEntry {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []goldenEntry
	for _, e := range strings.Split(string(b), "====\n") {
		if strings.TrimSpace(e) == "" {
			continue
		}
		text, meaning, _ := strings.Cut(e, "\n----\n")
		all = append(all, goldenEntry{strings.TrimSuffix(text, "\n"), meaning})
	}
	return all
}

// corpus gives every text of the golden files.
func corpus(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		for _, e := range goldenEntries(t, f) {
			all = append(all, e.text)
		}
	}
	return all
}

var classNames = map[Class]string{ClassRead: "read", ClassWrite: "write", ClassCopyFrom: "copy-from", ClassTruncate: "truncate",
	ClassDDL: "ddl", ClassTransaction: "transaction", ClassSession: "session", ClassOpaque: "opaque",
	ClassMaintenance: "maintenance", ClassPrepare: "prepare", ClassCursor: "cursor"}

var transactionNames = map[Transaction]string{Begin: "begin", Commit: "commit", Rollback: "rollback", Savepoint: "savepoint",
	Release: "release", RollbackTo: "rollback-to", PrepareTransaction: "prepare", CommitPrepared: "commit-prepared",
	RollbackPrepared: "rollback-prepared", SetTransaction: "set"}

// describe writes a script's meaning for people to review.
func describe(s *Script) string {
	if s.Unread != nil {
		var b strings.Builder
		fmt.Fprintf(&b, "unread: %v\n", s.Unread)
		if s.Guess != nil {
			describeStatement(&b, s.Guess, "? ")
		}
		return b.String()
	}
	if len(s.Statements) == 0 {
		return "empty\n"
	}
	var b strings.Builder
	for _, st := range s.Statements {
		describeStatement(&b, st, "")
	}
	return b.String()
}

func describeStatement(b *strings.Builder, st *Statement, indent string) {
	fmt.Fprintf(b, "%s%s %s", indent, classNames[st.Class], st.Command)
	word := func(yes bool, s string) {
		if yes {
			b.WriteString(" " + s)
		}
	}
	word(st.Transaction != NoTransaction, "tx="+transactionNames[st.Transaction])
	word(st.AndChain, "and-chain")
	word(st.ReadOnly, "read-only")
	word(st.Name != "", fmt.Sprintf("name=%q", st.Name))
	word(st.Setting != "", "setting="+st.Setting)
	word(st.Local, "local")
	word(st.Conflict, "on-conflict")
	word(st.Returning, "returning")
	word(st.RefusesBlock, "refuses-block")
	word(st.AltersSession, "alters-session")
	word(st.AltersSchema, "alters-schema")
	word(st.Temporary, "temporary")
	word(st.Unlogged, "unlogged")
	word(st.DropsPrepared, "drops-prepared")
	word(st.CopyStdin, "stdin")
	word(st.CopyFormat != "", "format="+st.CopyFormat)
	word(st.MaxParam > 0, fmt.Sprintf("params=%d", st.MaxParam))
	word(st.Cursor != "", "current-of="+st.Cursor)
	word(st.OldAlias != "", "old="+st.OldAlias)
	word(st.NewAlias != "", "new="+st.NewAlias)
	b.WriteString("\n")
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "%s  %s: %s\n", indent, name, value)
		}
	}
	line("at", fmt.Sprintf("%d+%d", st.Offset, len(st.Text)))
	for _, t := range st.Targets {
		line("target", describeTarget(st, t))
	}
	line("objects", describeNames(st.Objects))
	line("reads", describeNames(st.Reads))
	line("functions", describeNames(st.Functions))
	line("set", describeAssignments(st.Assignments))
	line("do update", describeAssignments(st.DoUpdate))
	line("pinned", strings.Join(st.Pinned, ", "))
	line("columns", strings.Join(st.CopyColumns, ", "))
	if st.CopyOptions != nil {
		line("options", fmt.Sprintf("%v", st.CopyOptions))
	}
	line("splice", splice(st.Text, st.SpliceAt))
	if st.MainAt >= 0 {
		line("main", splice(st.Text, st.MainAt))
	}
	if st.Password != nil {
		line("password", fmt.Sprintf("%s of %s at %s", st.Password.Value, st.Password.Role, st.Text[st.Password.From:st.Password.To]))
	}
	if st.Secrets != nil {
		line("redacted", oneLine(st.Redact()))
	}
	if st.Inner != nil {
		describeStatement(b, st.Inner, indent+"  > ")
	}
}

func describeTarget(st *Statement, t Target) string {
	s := t.Command + " " + describeNames([]Name{t.Name})
	if t.Alias != t.Name.Name {
		s += " as " + t.Alias
	}
	if t.Only {
		s += " only"
	}
	if t.InCTE {
		s += " in " + t.CTE
	}
	if t.Returning {
		s += " returning"
	}
	if t.Exposed {
		s += " exposed"
	}
	return s + " " + splice(st.Text, t.SpliceAt)
}

// splice shows the place in the text.
func splice(text string, at int) string {
	if at < 0 {
		return ""
	}
	return oneLine("..." + text[max(0, at-12):at] + "^" + text[at:min(len(text), at+12)])
}

func oneLine(s string) string {
	return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(s)
}

func describeNames(names []Name) string {
	var all []string
	for _, n := range names {
		if n.Schema != "" {
			all = append(all, n.Schema+"."+n.Name)
		} else {
			all = append(all, n.Name)
		}
	}
	return strings.Join(all, ", ")
}

func describeAssignments(list []Assignment) string {
	var all []string
	for _, a := range list {
		all = append(all, a.Column+[]string{"", " delta", " delta-unless-null"}[a.Intent])
	}
	return strings.Join(all, ", ")
}
