package capture

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"pgproxy/journal"
)

// seedOf is fixed: a failure names the value, and every run tries the same ones.
func seedOf() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// valueCases are SQL expressions that give values of a type; {r} is a random number from 0 to 1, {i} an integer.
var valueCases = map[string][]string{
	"bool": {"true", "false"}, "int2": {"-32768", "32767", "0"}, "int4": {"-2147483648", "{i}"}, "int8": {"-9223372036854775808", "{i}::int8 * {i}"},
	"float4":  {"'NaN'", "'-Infinity'", "0", "'-0'", "{r}", "{r} * 1e-6", "{r} * 1e30", "1e6", "999999", "100000", "123456.7", "1e-5", "0.0001", "3.4e38", "1e-45", "16777216", "({r} * 2e9)::int4", "({r} * 1e18)::int8", "(33554432 + {i} % 10000000)::int4"},
	"float8":  {"'NaN'", "'Infinity'", "'-0'", "{r}", "{r} * 1e-300", "{r} * 1e300", "1e15", "1e14", "999999999999999", "123456789012345678", "0.0001", "0.00001", "5e-324", "1.7976931348623157e308", "9007199254740993", "{r} * 1e16", "{r} * 1e15", "({r} * 1.8e19)::int8", "9007199254740993::int8 + {i}"},
	"numeric": {"'NaN'", "0", "0.00", "1.10", "-0.0001", "1e20", "1e-20", "'Infinity'", "'-Infinity'", "{r}::numeric * 1e30", "{r}::numeric", "{i} / 7.0", "10000", "100000000", "1.00000000", "12345678901234567890.000001", "0.00010000"},
	"text":    {"''", "'a\"b\\c'", "'äöü 日本'", "'{r}'"}, "varchar(10)": {"'abc'"}, "char(5)": {"'ab'"}, "name": {"'n'"}, `"char"`: {"'a'", "''"},
	"bytea":       {`'\x'`, `'\x00ff'`, "decode(md5('{r}'), 'hex')"},
	"date":        {"'infinity'", "'-infinity'", "'2000-01-01'", "'0001-01-01 BC'", "'4713-01-01 BC'", "'5874897-12-31'", "'10000-01-01'", "date '2000-01-01' + {i} % 800000", "'2024-02-29'", "'1900-03-01'", "'0044-03-15 BC'"},
	"time":        {"'24:00'", "'00:00'", "'12:34:56.789'", "'23:59:59.999999'", "'00:00:00.00001'"},
	"timetz":      {"'12:34:56.7+02'", "'00:00-05:30'", "'24:00+15:59:59'"},
	"timestamp":   {"'infinity'", "'-infinity'", "'2000-01-01 00:00:00'", "'4713-01-01 BC'", "'294276-12-31 23:59:59.999999'", "timestamp '2000-01-01' + {i} * interval '1.000123 s'", "'1999-12-31 23:59:59.5'", "'0100-01-01 12:00 BC'"},
	"timestamptz": {"'infinity'", "'2024-07-01 12:00+02'", "timestamptz '2000-01-01' + {i} * interval '1.3 s'", "'0044-03-15 12:00 BC'"},
	"interval": {"'0'", "'1 year 2 mons 3 days 04:05:06.789'", "'-1 year -2 mons +3 days -04:05:06.789'", "'1 mon -1 day'", "'-1 day'", "'-0.5 s'", "'1 day -00:00:01'", "'178000000 years'", "'-1 year 1 day'", "'13 mons'", "'-13 mons'",
		"{i} * interval '1.01 s'", "'1 year'", "'-1 year'", "'2 years -1 mon 00:00:01'", "'-1 mon +1 day +01:00'", "'1 day'", "'-2 days'", "'9223372036854775807 usecs'", "'-9223372036854775807 usecs'"},
	"uuid": {"md5('{r}')::uuid"}, "json": {`'{"a": [1, 2.0, null]}'`}, "jsonb": {`'{"b": 1, "a": [1, "x"]}'`, "'1'", `'"ä"'`}, "jsonpath": {"'$.a[*] ? (@ > 1)'"}, "xml": {"'<a>b</a>'"},
	"inet": {"'1.2.3.4'", "'1.2.3.4/24'", "'::1'", "'2001:db8::1/64'", "'::'", "'::ffff:1.2.3.4'", "'::1.2.3.4'", "'1:0:0:2::3'", "'fe80::1:0:0:1'", "'::2/128'", "'::1:2'", "'1::'", "'0:0:1::'", "'::ffff:0:0'", "'1:0:0:0:0:0:0:0/12'", "'::5:6:7'", "'0:1:0:1:0:1:0:1'"},
	"cidr": {"'10.0.0.0/8'", "'1.2.3.4/32'", "'2001:db8::/32'", "'::/0'"}, "macaddr": {"'08:00:2b:01:02:03'"}, "macaddr8": {"'08:00:2b:01:02:03:04:05'"},
	"bit(5)": {"B'10110'"}, "varbit": {"B''", "B'1'", "B'101010101010'"}, "oid": {"4000000000"}, "xid": {"'77'"}, "xid8": {"'5000000000'"}, "pg_lsn": {"'16/B374D848'", "'0/0'"}, "tid": {"'(1,2)'"}, "cid": {"'5'"},
	"point": {"'(1,2.5)'", "'(-0,1e-300)'"}, "lseg": {"'[(1,2),(3,4)]'"}, "box": {"'((1,2),(3,4))'"}, "path": {"'[(1,2),(3,4)]'", "'((1,2),(3,4),(5,6))'"}, "polygon": {"'((1,2),(3,4),(5,6))'"}, "circle": {"'<(1,2),3>'"}, "line": {"'{1,2,3}'"},
	"int4[]": {"'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'", "'[0:1]={1,2}'", "'[2:3][-1:0]={{1,2},{3,4}}'"},
	"text[]": {`ARRAY['a', '', 'NULL', 'null', NULL, 'a b', 'a"b', 'a\b', '{x}', 'a,b', 'ä', E'\t', 'nulls']`}, "box[]": {"ARRAY['((1,2),(3,4))'::box, '((0,0),(1,1))']"}, "timestamptz[]": {"ARRAY['2024-07-01 12:00+02'::timestamptz]"},
	"int2vector": {"'1 2 3'"}, "oidvector": {"'1 2'"}, "tsvector": {"'a:1 b:2'"}, "tsquery": {"'a & b'"}, "money": {"'12.34'"}, "regclass": {"'pg_class'"}, "pg_snapshot": {"'10:20:10,14'"},
	"int4range": {"'empty'", "'[1,5)'", "'(,5)'", "'[1,)'", "'(,)'"}, "numrange": {"'[1.50,2]'"}, "tstzrange": {"'[2024-01-01 00:00+00,infinity)'"}, "daterange": {"'[2024-01-01,2024-02-01]'"},
	"int4multirange": {"'{}'", "'{[1,2],[5,9)}'"}, "nummultirange": {"'{[1.5,2],(7,)}'"},
	"dom": {"'abc'"}, "mood": {"'sad'", "'so \"so'"}, "comp": {`ROW(1, 'a b', NULL)`, `ROW(NULL, '', 'sad')`, `ROW(1, 'a"b\(c),', 'so "so')`, "ROW(NULL, NULL, NULL)"}, "comp[]": {`ARRAY[ROW(1, 'a"b', 'sad')::comp, NULL]`}, "mood[]": {`ARRAY['sad'::mood, 'so "so']`},
	"textrange": {`textrange('a b', 'c"d\e')`, "textrange('', 'x[y')"}, "dom[]": {"ARRAY['a'::dom]"}, "nested": {`ROW(ROW(1, 'x y', 'sad')::comp, ARRAY[1,2])`},
}

// TestValues compares canonical text with the server's own, under the settings that make it canonical.
func TestValues(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		c.plain(`CREATE DOMAIN dom AS varchar(5) CHECK (value <> ''); CREATE TYPE mood AS ENUM ('sad', 'so "so'); CREATE TYPE comp AS (a int, b text, c mood);
CREATE TYPE textrange AS RANGE (subtype = text); CREATE TYPE nested AS (c comp, d int[]);
SET DateStyle = ISO; SET IntervalStyle = postgres; SET TimeZone = 'UTC'; SET bytea_output = hex; SET extra_float_digits = 1; SET search_path = pg_catalog, public`)
		for typ, exprs := range valueCases {
			c.plain(fmt.Sprintf("DROP TABLE IF EXISTS public.v; CREATE TABLE public.v (id int PRIMARY KEY, v %s)", typ))
			c.capturer.Invalidate("postgres")
			random := seedOf()
			id := 0
			for round := range 30 {
				for _, e := range exprs {
					if round > 0 && !strings.Contains(e, "{") {
						continue
					}
					e = strings.NewReplacer("{r}", fmt.Sprint(random.Float64()-0.5), "{i}", fmt.Sprint(random.IntN(2_000_000_000)-1_000_000_000)).Replace(e)
					id++
					compareText(t, c, id, typ, e)
				}
			}
		}
	})
}

func compareText(t *testing.T, c *client, id int, typ, expr string) {
	t.Helper()
	e, err := c.try(fmt.Sprintf("INSERT INTO public.v SELECT %d, (%s)::%s", id, expr, typ))
	if err != nil {
		t.Logf("%s %s: %v", typ, expr, err)
		return
	}
	r := c.conn.ExecParams(context.Background(), fmt.Sprintf("SELECT format('%%s', v) FROM public.v WHERE id = %d", id), nil, nil, nil, nil).Read()
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if len(e.Changes) != 1 {
		t.Fatalf("%s %s: %d changes, note %s", typ, expr, len(e.Changes), e.Note)
	}
	want := string(r.Rows[0][0])
	if got := e.Changes[0].After[1]; got != journal.Text(want) {
		t.Errorf("%s %s: got %d %q, want %q", typ, expr, got.Kind, got.Data, want)
	}
}

// TestEncodings: what was captured does not depend on the session's settings.
func TestEncodings(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		c.plain(`CREATE TABLE v (id int PRIMARY KEY, s text, a text[], d timestamptz, j jsonb, b bytea, f float8, i interval); INSERT INTO v VALUES (1, '日本', '{日}', '2024-01-02 03:04:05+00', '{"a": "é"}', '\x01', 0.1, '-1 day')`)
		c.run(`SET standard_conforming_strings = off; SET client_encoding = LATIN1; SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Tokyo'; SET bytea_output = escape; SET extra_float_digits = -5; SET IntervalStyle = sql_standard`)
		c.run(`CREATE TABLE "pä" ("kéy" text PRIMARY KEY, "ñ" int); CREATE TABLE "ç" (id int PRIMARY KEY, "pä" text REFERENCES "pä" ON DELETE CASCADE ON UPDATE CASCADE);
INSERT INTO "pä" VALUES ('é', 1), ('ü', 2); INSERT INTO "ç" VALUES (1, 'é'), (2, 'ü')`)
		c.expect(t, `UPDATE "pä" SET "kéy" = 'ö', "ñ" = "ñ" + 1 WHERE "kéy" = 'é'`, `exact [public.pä public.ç] U pä -(é,1) +(ö,2) set kéy,ñ delta ñ|U ç -(1,é) +(1,ö) set pä cascade`)
		c.expect(t, `DELETE FROM "pä" WHERE "kéy" = 'ü'`, `exact [public.pä public.ç] D pä -(ü,2)|D ç -(2,ü) cascade`)
		e := c.run(`UPDATE v SET f = 0.3`)
		if got, want := show(e.Changes[0].Before), `(1,日本,{日},2024-01-02 03:04:05+00,{"a": "é"},\x01,0.1,-1 days)`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// FuzzRecord: no bytes of the server may crash us.
func FuzzRecord(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 23, 0, 0, 0, 4, 0, 0, 0, 7})
	f.Add(binary.BigEndian.AppendUint32(nil, 1664))
	tree := newTypes([]typeData{{OID: 23, Kind: "b", Len: 4, Send: true}, {OID: 1007, Kind: "b", Category: "A", Len: -1, Elem: 23, Send: true},
		{OID: 3904, Kind: "r", Sub: 23, Send: true}, {OID: 4451, Kind: "m", Sub: 3904, Send: true}, {OID: 5000, Kind: "c", Send: true}})
	for oid := range baseTexts {
		if tree.byOID[oid] == nil {
			tree.byOID[oid] = &typ{typeData: typeData{OID: oid, Kind: "b", Send: true}, tree: tree}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = recordFields(b)
		for _, x := range tree.byOID {
			text, err := appendText(nil, x, b, nil, 0)
			if err == nil && x.OID < 5000 && x.OID != oidChar && !x.textual() && x.OID != oidJSONB && x.OID != oidJSONPath && !utf8.Valid(text) {
				t.Errorf("type %d: %q", x.OID, text)
			}
		}
	})
}
