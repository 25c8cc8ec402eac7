package capture

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgproxy/parser"
)

// TestCopyByKey: a small COPY into a large table is read back by the keys of its stream, in every format.
func TestCopyByKey(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b = newBench(t, b.dsn, func(o *Options) { o.ScanPages = 10 })
		c := b.client()
		c.plain(`CREATE TABLE t (a text, v text, b int, PRIMARY KEY (b, a)); INSERT INTO t SELECT i, repeat('x', 100), i FROM generate_series(1, 10000) i;
CREATE TABLE src (a text, v text, b int); INSERT INTO src SELECT coalesce(nullif(chr(i), chr(92)), E'\\t"x') || E'\n,' || i, 'v', -i FROM generate_series(1, 200) i`)
		for _, options := range []string{"", "(DELIMITER '|', NULL 'x')", "(FORMAT csv)", "(FORMAT csv, HEADER, QUOTE '''', DELIMITER ';', ESCAPE '!')", "(FORMAT csv, QUOTE '~', ESCAPE '~')", "(FORMAT binary)"} {
			var out bytes.Buffer
			if _, err := c.conn.CopyTo(t.Context(), &out, "COPY src TO STDOUT "+options); err != nil {
				t.Fatal(err)
			}
			e, err := c.copyIn("COPY t FROM STDIN "+options, out.String())
			if err != nil || len(e.Changes) != 200 {
				t.Errorf("%s: %v, %d changes, note %s", options, err, len(e.Changes), e.Note)
			}
			c.plain("DELETE FROM t WHERE b < 0")
		}
		e, err := c.copyIn("COPY t (b, v, a) FROM STDIN", "-1\t\\N\tx\\x41\\101\\\\\n-2\tq\t\\\ty\n\\.\n")
		if got, want := strings.Join(describe(c.last, e), "|"), "I t +(\ty,q,-2)|I t +(xAA\\,~,-1)"; err != nil || got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	})
}

// FuzzCopyKeys: the stream in pieces gives what it gives whole, and nothing crashes.
func FuzzCopyKeys(f *testing.F) {
	f.Add([]byte("1\ta\\tb\\N\n2\t\\N\n\\.\n"), uint64(1), uint8(0))
	f.Add([]byte("1,\"a\"\"b\nc\"\r\n,\"\"\n"), uint64(2), uint8(1))
	f.Add([]byte(copySignature+"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\x07\xff\xff"), uint64(3), uint8(2))
	rel := &relation{relationData: relationData{Columns: []columnData{{Number: 1, Name: "a", Type: oidInt4, NotNull: true}},
		Indexes: []indexData{{Name: "p", Primary: true, Unique: true, Immediate: true, Keys: []int{1}, Ops: []string{"="}}},
		Types:   []typeData{{OID: oidInt4, Kind: "b", Len: 4, Send: true, Catalog: true}}}}
	rel.derive()
	f.Fuzz(func(t *testing.T, data []byte, seed uint64, format uint8) {
		st := &parser.Statement{CopyStdin: true, CopyFormat: []string{"text", "csv", "binary"}[format%3]}
		whole, pieces := newCopyKeys(st, rel, "UTF8"), newCopyKeys(st, rel, "UTF8")
		whole.Write(data)
		whole.close()
		r := rand.New(rand.NewPCG(seed, 0))
		for rest := data; len(rest) > 0; {
			n := 1 + r.IntN(len(rest))
			pieces.Write(rest[:n])
			rest = rest[n:]
		}
		pieces.close()
		if whole.failed != pieces.failed || !whole.failed && fmt.Sprint(whole.keys) != fmt.Sprint(pieces.keys) {
			t.Errorf("%q: %v %v, in pieces %v %v", data, whole.keys, whole.failed, pieces.keys, pieces.failed)
		}
	})
}
