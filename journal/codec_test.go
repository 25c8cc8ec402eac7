package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgproxy/journal/hlc"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write golden files anew (then the format has changed: raise its version)")

// published gives r's full form.
func published(r *Record) []byte {
	body := encodeBody(r)
	head, foot, _ := seal(r, body, sha256.Sum256(body))
	return bytes.Join([][]byte{head, body, foot}, nil)
}

// genRecord draws any record, with everything that tells nil from empty and one kind of value from another.
func genRecord() *rapid.Generator[*Record] {
	return rapid.Custom(func(t *rapid.T) *Record {
		r := &Record{
			ID: ID{genNode().Draw(t, "origin"), rapid.Uint64Range(1, 1<<40).Draw(t, "seq")}, Incarnation: rapid.Uint64().Draw(t, "incarnation"),
			HLC: hlc.Time(rapid.Uint64Min(1).Draw(t, "hlc")), Mark: hlc.Time(rapid.Uint64().Draw(t, "mark")),
			Knew: Vector(rapid.MapOfN(genNode(), rapid.Uint64Min(1), 0, 4).Draw(t, "knew")),
			Kind: rapid.SampledFrom([]Kind{KindTx, KindTx, KindTx, KindMember, KindBeat}).Draw(t, "kind"),
		}
		delete(r.Knew, r.Origin)
		if r.Seq > 1 {
			r.Prev = sha256.Sum256([]byte("before"))
			r.Knew[r.Origin] = r.Seq - 1
		}
		switch r.Kind {
		case KindTx:
			r.Tx = genTx().Draw(t, "tx")
		case KindMember:
			m := rapid.Make[Member]().Draw(t, "member")
			r.Member = &m
		case KindBeat:
			r.Want = hlc.Time(rapid.Uint64().Draw(t, "want"))
		}
		return r
	})
}

func genNode() *rapid.Generator[NodeID] {
	return rapid.Custom(func(t *rapid.T) (n NodeID) {
		n[0] = byte(rapid.IntRange(1, 5).Draw(t, "node"))
		return n
	})
}

func genTime() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		return time.Unix(0, rapid.Int64().Draw(t, "ns")).UTC()
	})
}

func genValue() *rapid.Generator[Value] {
	return rapid.Custom(func(t *rapid.T) Value {
		v := Value{Kind: ValueKind(rapid.IntRange(0, 5).Draw(t, "kind"))}
		if v.Kind == ValueText || v.Kind == ValueBinary {
			v.Data = rapid.String().Draw(t, "data")
		}
		return v
	})
}

// genSlice draws nil, empty, or some.
func genSlice[T any](g *rapid.Generator[T], most int) *rapid.Generator[[]T] {
	return rapid.OneOf(rapid.Just([]T(nil)), rapid.SliceOfN(g, 0, most))
}

func genTx() *rapid.Generator[*Tx] {
	return rapid.Custom(func(t *rapid.T) *Tx {
		tx := &Tx{
			Start: genTime().Draw(t, "start"), End: genTime().Draw(t, "end"), User: rapid.String().Draw(t, "user"),
			Database: rapid.String().Draw(t, "database"), Application: rapid.String().Draw(t, "application"),
			Client: rapid.String().Draw(t, "client"), Session: rapid.Uint64().Draw(t, "session"), XID: rapid.Uint64().Draw(t, "xid"),
			Backend: rapid.Uint32().Draw(t, "backend"),
		}
		tx.Marker[3] = 7
		tx.Relations = genSlice(genRelation(), 2).Draw(t, "relations")
		tx.Statements = genSlice(genStatement(tx.Relations), 3).Draw(t, "statements")
		return tx
	})
}

func genRelation() *rapid.Generator[Relation] {
	return rapid.Custom(func(t *rapid.T) Relation {
		columns := genSlice(rapid.Make[Column](), 4).Draw(t, "columns")
		ints := genSlice(rapid.IntRange(0, max(len(columns)-1, 0)), min(len(columns), 2))
		return Relation{
			Schema: rapid.String().Draw(t, "schema"), Name: rapid.String().Draw(t, "name"), Columns: columns, Key: ints.Draw(t, "key"),
			Groups: genSlice(ints, 2).Draw(t, "groups"),
			Uniques: genSlice(rapid.Custom(func(t *rapid.T) Unique {
				u := rapid.Make[Unique]().Draw(t, "unique")
				u.Columns = ints.Draw(t, "columns")
				return u
			}), 2).Draw(t, "uniques"),
			References: genSlice(rapid.Custom(func(t *rapid.T) Reference {
				r := rapid.Make[Reference]().Draw(t, "reference")
				r.Columns = ints.Draw(t, "columns")
				r.Foreign = genSlice(rapid.String(), 2).Draw(t, "foreign")
				return r
			}), 2).Draw(t, "references"),
		}
	})
}

func genStatement(relations []Relation) *rapid.Generator[Statement] {
	return rapid.Custom(func(t *rapid.T) Statement {
		params := genSlice(rapid.Custom(func(t *rapid.T) Param {
			return Param{Type: rapid.String().Draw(t, "type"), Value: genValue().Draw(t, "value")}
		}), 2)
		s := Statement{
			Query: rapid.String().Draw(t, "query"), Params: params.Draw(t, "params"), Command: rapid.String().Draw(t, "command"),
			Tables: genSlice(rapid.String(), 2).Draw(t, "tables"), Capture: Capture(rapid.IntRange(0, 6).Draw(t, "capture")),
			Note: rapid.String().Draw(t, "note"), RowsAffected: rapid.Int64().Draw(t, "rows"), Start: genTime().Draw(t, "start"),
			Duration: time.Duration(rapid.Int64().Draw(t, "duration")), SQLState: rapid.String().Draw(t, "state"),
			RolledBack: rapid.Bool().Draw(t, "rolled back"), NotExecuted: rapid.Bool().Draw(t, "not executed"),
			Class: Class(rapid.IntRange(0, 7).Draw(t, "class")), Role: rapid.String().Draw(t, "role"),
			RoleSource: RoleSource(rapid.IntRange(0, 4).Draw(t, "source")), Objects: genSlice(rapid.Make[Object](), 2).Draw(t, "objects"),
			Protocol: Protocol(rapid.IntRange(0, 3).Draw(t, "protocol")), Prepared: rapid.String().Draw(t, "prepared"),
			Portal: rapid.String().Draw(t, "portal"), Part: rapid.Uint32().Draw(t, "part"), Parts: rapid.Uint32().Draw(t, "parts"),
			Context: rapid.String().Draw(t, "context"), Redacted: Redaction(rapid.IntRange(0, 7).Draw(t, "redacted")),
		}
		if rapid.Bool().Draw(t, "copy") {
			s.Copy = &CopyData{Bytes: rapid.Int64().Draw(t, "bytes"), Messages: rapid.Int64().Draw(t, "messages"), SHA256: sha256.Sum256([]byte("data"))}
		}
		if len(relations) > 0 {
			s.Changes = genSlice(genChange(relations), 3).Draw(t, "changes")
		}
		if rapid.Bool().Draw(t, "replay") {
			s.Replay = &Replay{
				Text: rapid.String().Draw(t, "text"), Params: params.Draw(t, "params"), Role: rapid.String().Draw(t, "role"),
				Settings: rapid.OneOf(rapid.Just(map[string]string(nil)), rapid.MapOfN(rapid.String(), rapid.String(), 0, 3)).Draw(t, "settings"),
				Tables:   genSlice(rapid.String(), 2).Draw(t, "tables"), NoBlock: rapid.Bool().Draw(t, "no block"),
			}
		}
		return s
	})
}

func genChange(relations []Relation) *rapid.Generator[Change] {
	return rapid.Custom(func(t *rapid.T) Change {
		i := rapid.IntRange(0, len(relations)-1).Draw(t, "relation")
		n := len(relations[i].Columns)
		image := rapid.OneOf(rapid.Just([]Value(nil)), rapid.SliceOfN(genValue(), n, n))
		columns := genSlice(rapid.IntRange(0, max(n-1, 0)), min(n, 3))
		return Change{
			Relation: i, Op: rapid.SampledFrom([]Op{OpInsert, OpUpdate, OpDelete}).Draw(t, "op"),
			Before: image.Draw(t, "before"), After: image.Draw(t, "after"), Set: columns.Draw(t, "set"),
			Delta: columns.Draw(t, "delta"), Upsert: columns.Draw(t, "upsert"), Cascade: rapid.Bool().Draw(t, "cascade"),
		}
	})
}

// TestEverythingComesBack: decode(encode(x)) is x, and the void form has the same hash.
func TestEverythingComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := genRecord().Draw(t, "record")
		b := published(r)
		if !bytes.Equal(b, published(r)) {
			t.Fatal("not deterministic")
		}
		got, err := DecodeRaw(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, r) {
			t.Fatalf("got  %+v\nwant %+v", got, r)
		}
		if r.Kind != KindTx {
			return
		}
		f, err := parseFrame(b)
		if err != nil {
			t.Fatal(err)
		}
		void, err := DecodeRaw(f.void())
		if err != nil || void.Kind != KindVoid || void.Tx != nil || void.ID != r.ID || !reflect.DeepEqual(void.Knew, r.Knew) {
			t.Fatalf("void: %+v, %v", void, err)
		}
		if (Raw{Bytes: f.void()}).Hash() != (Raw{Bytes: b}).Hash() {
			t.Fatal("the void form has another hash")
		}
	})
}

// TestFlippedBitsAreNoticed: no change of one bit of a published record goes unnoticed.
func TestFlippedBitsAreNoticed(t *testing.T) {
	b := published(goldenTx())
	for i := range b {
		for bit := range 8 {
			bad := bytes.Clone(b)
			bad[i] ^= 1 << bit
			if _, err := DecodeRaw(bad); err == nil {
				t.Fatalf("bit %d of byte %d", bit, i)
			}
		}
		if _, err := DecodeRaw(b[:i]); err == nil {
			t.Fatalf("cut after %d bytes", i)
		}
	}
}

// TestStampedEntriesAreChecked: the same for what stands in a segment.
func TestStampedEntriesAreChecked(t *testing.T) {
	e := outcomeEntry(77, OutcomeAborted, 0, "deadlock detected")
	b := e.stamp(5, treeBefore(5))
	if got, err := readEntry(5, b); err != nil || got.seq != 77 || got.outcome != OutcomeAborted || got.reason != "deadlock detected" {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := readEntry(6, b); err == nil {
		t.Error("an entry at another position passes")
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 4
		if _, err := readEntry(5, bad); err == nil {
			t.Errorf("byte %d", i)
		}
	}
}

func goldenTx() *Record {
	r := goldenHeader(KindTx)
	r.Tx = &Tx{
		Marker: [16]byte{0: 0xaa, 15: 0xbb}, Start: time.Unix(1700000000, 1).UTC(), End: time.Unix(1700000001, 2).UTC(),
		User: "ann", Database: "bank", Application: "psql", Client: "10.0.0.7:40123", Session: 12, Backend: 4711, XID: 740,
		Relations: []Relation{{
			Schema: "public", Name: "account", Columns: []Column{{Name: "id", Type: "integer", NotNull: true, Identity: 'a'}, {Name: "balance", Type: "numeric(10,2)"}},
			Key: []int{0}, Groups: [][]int{{0, 1}}, Uniques: []Unique{{Name: "u", Columns: []int{1}, Definition: "CREATE UNIQUE INDEX", NullsNotDistinct: true}},
			References: []Reference{{Name: "f", Columns: []int{1}, Schema: "s", Table: "t", Foreign: []string{"x"}, OnDelete: 'c', OnUpdate: 'a', Deferrable: true}},
		}},
		Statements: []Statement{{
			Query: "UPDATE account SET balance = balance - $1", Command: "UPDATE", Class: ClassWrite, Role: "ann", RoleSource: RoleLogin, Tables: []string{"public.account"},
			Protocol: ProtocolExtended, Prepared: "s1", Portal: "p1", Context: "req=42", Redacted: RedactedPolicy,
			Params: []Param{{Type: "integer", Value: Text("1")}}, Capture: CaptureExact, RowsAffected: 1, Start: time.Unix(1700000000, 9).UTC(), Duration: 1234,
			Changes: []Change{{Op: OpUpdate, Before: []Value{Text("1"), Text("10.00")}, After: []Value{Text("1"), Null()}, Set: []int{1}, Delta: []int{1}}},
		}, {
			Query: "ALTER TABLE account ADD x int", Command: "ALTER TABLE", Class: ClassDDL, Objects: []Object{{"table", "public.account"}},
			Protocol: ProtocolSimple, Part: 1, Parts: 2, Copy: &CopyData{Bytes: 6, Messages: 1, SHA256: [32]byte{9}}, Capture: CaptureStatement, RowsAffected: -1,
			Replay: &Replay{Text: "ALTER TABLE account ADD x int", Settings: map[string]string{"search_path": "public", "TimeZone": "UTC"}, Role: "ann", Tables: []string{"public.account"}},
		}, {Query: "SELECT 1/0", SQLState: "22012", Message: "division by zero", RolledBack: true},
			{Query: "SELECT 2", Class: ClassRead, NotExecuted: true}},
	}
	return r
}

// treeBefore is some tree that ends before a position.
func treeBefore(position uint64) *frontier {
	t := &frontier{}
	for t.size+1 < position {
		t.grow(tlog.RecordHash([]byte{byte(t.size)}))
	}
	return t
}

func goldenHeader(k Kind) *Record {
	return &Record{ID: ID{NodeID{0: 1, 15: 2}, 7}, Incarnation: 3, HLC: 0x18bcfe568000002a, Mark: 0x18bcfe5600000000, Kind: k,
		Prev: sha256.Sum256([]byte("six")), Knew: Vector{{0: 1, 15: 2}: 6, {0: 9}: 300, {0: 8}: 1}}
}

// TestGolden: the format does not change by accident. A change of a golden file needs a new format version.
func TestGolden(t *testing.T) {
	member := goldenHeader(KindMember)
	member.Member = &Member{Cluster: NodeID{5}, Node: NodeID{0: 1, 15: 2}, Name: "a", Number: 3, FreeFrom: 4, FreeTo: 8, Retired: true}
	beat := goldenHeader(KindBeat)
	beat.Want = 0x18bcfe5700000000
	tx := published(goldenTx())
	f, err := parseFrame(tx)
	if err != nil {
		t.Fatal(err)
	}
	conflict := Conflict{Kind: "update/update", Time: time.Unix(1700000000, 0).UTC(), Database: "bank", Schema: "public", Table: "account",
		Key: map[string]string{"id": "1"}, Winner: ID{NodeID{1}, 2}, Loser: ID{NodeID{3}, 4}, Columns: []string{"owner"}, Rule: "newest", LoserSQL: "UPDATE"}
	st := newState(NodeID{1})
	st.play(recordEntry(entryForeign, member, nil, [32]byte{4}, 0))
	st.open[9] = true
	st.acked["b"] = Vector{{1}: 5}
	for name, b := range map[string][]byte{
		"tx": tx, "void": f.void(), "member": published(member), "beat": published(beat),
		"outcome": outcomeEntry(7, OutcomeCommitted, 2, "").stamp(3, treeBefore(3)), "attempt": attemptEntry(NodeID{1}, 99, 3, goldenTx().Tx, OutcomeAborted).stamp(4, treeBefore(4)),
		"conflict": conflictEntry(&conflict).stamp(5, treeBefore(5)), "state": st.encode(),
		"images":   goldenImages(t),
		"identity": encodeIdentity(Identity{Node: NodeID{1}, Name: "a", Incarnation: 2, Cluster: NodeID{3}, Number: 4, Journal: NodeID{5}}, reached{6, 7}),
	} {
		path := filepath.Join("testdata", "golden", name+".hex")
		if *update {
			if err := os.WriteFile(path, []byte(wrap(hex.EncodeToString(b))), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ReplaceAll(string(want), "\n", "") != hex.EncodeToString(b) {
			t.Errorf("%s: the format has changed: %x", name, b)
		}
	}
	got, err := decodeState(st.encode())
	if err != nil || !reflect.DeepEqual(got, st) {
		t.Errorf("state: %+v, %v", got, err)
	}
	e, err := readEntry(5, conflictEntry(&conflict).stamp(5, treeBefore(5)))
	if err != nil || !reflect.DeepEqual(*e.conflict, conflict) {
		t.Errorf("conflict: %+v, %v", e, err)
	}
	e, err = readEntry(4, attemptEntry(NodeID{1}, 99, 3, goldenTx().Tx, OutcomeAborted).stamp(4, treeBefore(4)))
	if err != nil || !reflect.DeepEqual(e.record.Tx, goldenTx().Tx) || e.outcome != OutcomeAborted || e.record.HLC != 99 {
		t.Errorf("attempt: %+v, %v", e, err)
	}
}

// wrap breaks a long line for the sake of whoever looks at a difference.
func wrap(s string) string {
	var b strings.Builder
	for len(s) > 64 {
		fmt.Fprintln(&b, s[:64])
		s = s[64:]
	}
	fmt.Fprintln(&b, s)
	return b.String()
}

// FuzzDecodeRaw: no bytes make the decoder panic, and what it reads is written the same way again. The hashes are made
// right, so that the fuzzer gets behind them.
func FuzzDecodeRaw(f *testing.F) {
	f.Add(published(goldenTx()))
	f.Add(published(goldenHeader(KindBeat)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := DecodeRaw(b); err == nil {
			_, _ = NewRaw(b)
		}
		fr, err := parseFrame(b)
		if err != nil {
			return
		}
		r, err := fr.decode()
		if err != nil || fr.form == formVoid {
			return
		}
		again := published(r)
		if !bytes.Equal(again[:len(again)-32], b[:len(b)-32]) {
			t.Fatalf("read\n%x\nwrote\n%x", b, again)
		}
	})
}

// FuzzEntry does the same for what stands in a segment.
func FuzzEntry(f *testing.F) {
	f.Add([]byte{byte(entryOutcome), 7, 1, 0, 0})
	f.Add(append([]byte{byte(entryAttempt)}, attemptEntry(NodeID{1}, 99, 3, goldenTx().Tx, OutcomeAborted).payload...))
	f.Add(append([]byte{byte(entryConflict)}, conflictEntry(&Conflict{Kind: "x", Key: map[string]string{"a": "b"}}).payload...))
	for _, e := range goldenEvents() {
		f.Add(append([]byte{byte(entryEvent)}, eventEntry(e).payload...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 0 {
			_, _ = parseEntry(entryKind(b[0]), b[1:])
		}
		_, _ = decodeState(b)
		_, _ = decodeSealed(b)
		_, _, _ = decodeIdentity(b)
		_, _ = decodeAcked(b)
		_, _ = decodeChunk(b)
	})
}
