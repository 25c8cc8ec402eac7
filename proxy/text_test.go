package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"

	"pgproxy/journal"
	"pgproxy/test/harness"
)

// TestHowTextsAreWritten: whatever the session's encoding and string syntax, writes are captured exactly, and the journal
// has their texts and parameters as UTF-8.
func TestHowTextsAreWritten(t *testing.T) {
	for _, major := range harness.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			pg := harness.Postgres(t, harness.Major(major))
			exec(t, pg, "postgres", `CREATE TABLE "café" (id serial PRIMARY KEY, "größe" text)`)
			r := newRig(t, pg, nil)
			for _, c := range []struct {
				name, set string
				enc       encoding.Encoding
				text      string
				want      string
			}{
				{"latin1", "SET client_encoding = LATIN1", charmap.ISO8859_1, `INSERT INTO "café" ("größe") VALUES ('é')`, "é"},
				{"latin1 returning", "SET client_encoding = LATIN1", charmap.ISO8859_1, `UPDATE "café" SET "größe" = 'ü' WHERE id = 1 RETURNING "größe"`, "ü"},
				{"sjis", "SET client_encoding = SJIS", japanese.ShiftJIS, `INSERT INTO t (v) VALUES ('表示能力')`, "表示能力"}, // second bytes are backslashes
				{"several", "SET client_encoding = WIN1252", charmap.Windows1252, `INSERT INTO t (v) VALUES ('€'); SELECT 'é'`, "€"},
				{"escapes", "SET standard_conforming_strings = off; SET escape_string_warning = off", nil, `INSERT INTO t (v) VALUES ('it\'s; \\')`, `it's; \`},
				{"escapes latin1", "SET standard_conforming_strings = off; SET escape_string_warning = off; SET client_encoding = LATIN1", charmap.ISO8859_1, `INSERT INTO t (v) VALUES ('\'é\'')`, `'é'`},
			} {
				for _, extended := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s %v", c.name, extended), func(t *testing.T) {
						if extended && strings.Contains(c.text, "SELECT") {
							t.Skip("two statements")
						}
						exec(t, pg, "postgres", "DROP TABLE IF EXISTS t; CREATE TABLE t (id serial PRIMARY KEY, v text)")
						before := len(r.records())
						sent := c.text
						if c.enc != nil {
							sent, _ = c.enc.NewEncoder().String(c.text)
						}
						p := dialPeer(t, "tcp", r.addr, "postgres")
						defer p.close()
						say(p, "Q", c.set)
						if extended {
							_ = p.w.Start('P').String("").String(sent).Int16(0).End()
							p.do(`B "" ""`)
							p.do(`E "" 0`)
							p.do("S")
							p.do("wait Z")
						} else {
							say(p, "Q", sent)
						}
						if got := strings.Join(p.log, "\n"); strings.Contains(got, "\nE ") {
							t.Fatalf("failed:\n%s", got)
						}
						await(t, "a record", func() bool { return len(r.records()) > before })
						st := r.records()[before].Record.Tx.Statements[0]
						want, _, _ := strings.Cut(c.text, ";  ")
						want = strings.TrimSuffix(want, "; SELECT 'é'")
						if st.Capture != journal.CaptureExact || st.Query != want {
							t.Errorf("capture %v of %q: %s", st.Capture, st.Query, st.Note)
						}
						if len(st.Changes) != 1 || st.Changes[0].After[1] != journal.Text(c.want) {
							t.Errorf("changes: %+v", st.Changes)
						}
					})
				}
			}
		})
	}
}

// TestParameterOfAnotherEncoding: the journal has text parameters as UTF-8.
func TestParameterOfAnotherEncoding(t *testing.T) {
	pg := harness.Postgres(t)
	exec(t, pg, "postgres", "CREATE TABLE t (id serial PRIMARY KEY, v text)")
	r := newRig(t, pg, nil)
	p := dialPeer(t, "tcp", r.addr, "postgres", "client_encoding", "LATIN1")
	defer p.close()
	for _, line := range []string{`P "" "INSERT INTO t (v) VALUES ($1)"`, `B "" "" "\xe9"`, `E "" 0`, "S", "wait Z"} {
		p.do(line)
	}
	await(t, "a record", func() bool { return len(r.records()) == 1 })
	st := r.records()[0].Record.Tx.Statements[0]
	if st.Params[0].Value != journal.Text("é") || st.Changes[0].After[1] != journal.Text("é") {
		t.Errorf("parameters %+v, changes %+v", st.Params, st.Changes)
	}
}

// TestEncodingChangedInASegment: what the server will read otherwise than it was said so far still has its effect captured.
func TestEncodingChangedInASegment(t *testing.T) {
	pg := harness.Postgres(t)
	exec(t, pg, "postgres", "CREATE TABLE t (id serial PRIMARY KEY, v text)")
	r := newRig(t, pg, nil)
	p := dialPeer(t, "tcp", r.addr, "postgres")
	defer p.close()
	for _, line := range []string{`P "" "SET client_encoding = LATIN1"`, `B "" ""`, `E "" 0`,
		`P "" "INSERT INTO t (v) VALUES ('\xe9')"`, `B "" ""`, `E "" 0`, "S", "wait Z"} {
		p.do(line)
	}
	await(t, "a record", func() bool { return len(r.records()) == 1 })
	st := r.records()[0].Record.Tx.Statements
	if last := st[len(st)-1]; len(last.Changes) != 1 || last.Changes[0].After[1] != journal.Text("é") {
		t.Errorf("statements: %+v\n%s", st, strings.Join(p.log, "\n"))
	}
}

// say sends a message of one string and waits for ReadyForQuery.
func say(p *peer, typ, text string) {
	_ = p.w.Start(typ[0]).String(text).End()
	p.do("wait Z")
}
