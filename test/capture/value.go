package capture

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// kind is a type that columns have, and how its values are written.
type kind struct {
	name    string
	literal func(r *rand.Rand) string
	add     bool // values can be added to
	key     bool // it can stand in a key
}

// types are the types and domains that the script makes for itself.
const types = `CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE TYPE pair AS (x int, "y y" text)`

// words have what is hard to carry: quotes, backslashes, line ends, control characters, what only UTF-8 has, nothing.
func words() []string {
	return []string{"", " ", "a", "it''s", "two words", "NULL", "tab\there", "line\nend", "{1,2}", `"quoted"`, "été", "日本", "x,y;z", "$1", "\u0001", "a'' --b"}
}

func text(r *rand.Rand) string { return "'" + words()[r.IntN(len(words()))] + "'" }

func cast(name string, values ...string) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return "'" + values[r.IntN(len(values))] + "'::" + name }
}

func number(format string, n int) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return fmt.Sprintf(format, r.IntN(2*n)-n) }
}

// kinds lists the types. No literal depends on a setting of the session.
func kinds() []kind {
	return []kind{
		{name: "int", literal: number("%d", 1000), add: true, key: true},
		{name: "bigint", literal: number("%d000000007", 1000), add: true, key: true},
		{name: "smallint", literal: number("%d::smallint", 90), add: true},
		{name: "numeric(12,3)", literal: number("%d.125", 1000), add: true},
		{name: "numeric", literal: cast("numeric", "0", "-1.50", "1e30", "NaN", "0.000000000000000001", "99999999999999999999999")},
		{name: "real", literal: cast("real", "0", "-0", "1.1", "3.4e38", "NaN", "Infinity", "1e-30")},
		{name: "double precision", literal: cast("float8", "0", "0.1", "-1e300", "NaN", "-Infinity", "123456789.123456789")},
		{name: "text", literal: text, key: true},
		{name: "varchar(20)", literal: text},
		{name: "char(8)", literal: cast("char(8)", "", "a", "abc  ", "ete")},
		{name: "bytea", literal: func(r *rand.Rand) string { return fmt.Sprintf("decode('%0*x', 'hex')", 2*r.IntN(9), 0) }},
		{name: "boolean", literal: cast("bool", "t", "f")},
		{name: "date", literal: cast("date", "2020-02-29", "0001-01-01", "infinity", "1999-12-31"), key: true},
		{name: "time", literal: cast("time", "00:00", "24:00", "12:34:56.789")},
		{name: "timetz", literal: cast("timetz", "12:34:56+02", "00:00-08")},
		{name: "timestamp", literal: cast("timestamp", "2020-02-29 12:00:00.000001", "-infinity", "4713-01-01 00:00 BC")},
		{name: "timestamptz", literal: cast("timestamptz", "2020-06-01 12:00+00", "1970-01-01 00:00:00.5+05:30", "infinity")},
		{name: "interval", literal: cast("interval", "P1Y2M3DT4H5M6.7S", "P-1D", "PT0S")},
		{name: "uuid", literal: cast("uuid", "00000000-0000-0000-0000-000000000001", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), key: true},
		{name: "json", literal: cast("json", `{"a":  1, "b": null}`, `[]`, `"x"`, `null`)},
		{name: "jsonb", literal: cast("jsonb", `{"b": 2, "a": [1, "é"]}`, `1.00`, `null`)},
		{name: "int[]", literal: cast("int[]", "{}", "{1,NULL,3}", "{{1,2},{3,4}}", "[2:3]={5,6}")},
		{name: "text[]", literal: cast("text[]", `{}`, `{"",NULL,"a,b"}`, `{"{",été}`)},
		{name: "inet", literal: cast("inet", "10.0.0.1", "10.0.0.0/8", "::1")},
		{name: "bit(4)", literal: cast("bit(4)", "0000", "1010")},
		{name: "varbit", literal: cast("varbit", "", "101")},
		{name: "int4range", literal: cast("int4range", "empty", "[1,5)", "(,3)")},
		{name: "tstzrange", literal: cast("tstzrange", "[2020-01-01 00:00+00,2020-02-01 00:00+00)", "(,)")},
		{name: "point", literal: cast("point", "(1,2)", "(0.1,-1e10)")},
		{name: "mood", literal: cast("mood", "sad", "ok", "happy")},
		{name: "percent", literal: number("%d", 60)},
		{name: "pair", literal: func(r *rand.Rand) string {
			return fmt.Sprintf("ROW(%d, %s)::pair", r.IntN(9), strings.ReplaceAll(text(r), "\u0001", ""))
		}},
		{name: "tsvector", literal: cast("tsvector", "a b:2", "")},
		{name: "oid", literal: number("abs(%d)::oid", 5)},
	}
}
