package capture

import (
	"unicode/utf8"

	"pgproxy/journal"
)

// paramTypes are the names of the types that clients bind most, as SQL writes them.
var paramTypes = map[uint32]string{
	oidBool: "boolean", oidBytea: "bytea", oidChar: `"char"`, oidName: "name", oidInt8: "bigint", oidInt2: "smallint", oidInt4: "integer",
	oidText: "text", oidOID: "oid", oidTID: "tid", oidXID: "xid", oidCID: "cid", oidJSON: "json", oidXML: "xml", oidPoint: "point", oidLseg: "lseg",
	oidPath: "path", oidBox: "box", oidPolygon: "polygon", oidLine: "line", oidCIDR: "cidr", oidFloat4: "real", oidFloat8: "double precision",
	oidCircle: "circle", oidMacaddr8: "macaddr8", oidMacaddr: "macaddr", oidInet: "inet", oidBpchar: "character", oidVarchar: "character varying",
	oidDate: "date", oidTime: "time without time zone", oidTimestamp: "timestamp without time zone", oidTimestamptz: "timestamp with time zone",
	oidInterval: "interval", oidTimetz: "time with time zone", oidBit: "bit", oidVarbit: "bit varying", oidNumeric: "numeric", oidUUID: "uuid",
	oidLSN: "pg_lsn", oidJSONB: "jsonb", oidJSONPath: "jsonpath", oidXID8: "xid8",
	1000: "boolean[]", 1001: "bytea[]", 1005: "smallint[]", 1007: "integer[]", 1009: "text[]", 1014: "character[]", 1015: "character varying[]",
	1016: "bigint[]", 1021: "real[]", 1022: "double precision[]", 1115: "timestamp without time zone[]", 1182: "date[]",
	1185: "timestamp with time zone[]", 1231: "numeric[]", 2951: "uuid[]", 199: "json[]", 3807: "jsonb[]",
}

// paramElements are the element types of the array types above.
var paramElements = map[uint32]uint32{1000: oidBool, 1001: oidBytea, 1005: oidInt2, 1007: oidInt4, 1009: oidText, 1014: oidBpchar, 1015: oidVarchar,
	1016: oidInt8, 1021: oidFloat4, 1022: oidFloat8, 1115: oidTimestamp, 1182: oidDate, 1185: oidTimestamptz, 1231: oidNumeric, 2951: oidUUID, 199: oidJSON, 3807: oidJSONB}

// ParamValue gives a bound parameter in canonical form; oid 0 means unspecified. A parameter in text format stays as the
// client wrote it: what it means is the server's secret (DateStyle and the like).
func ParamValue(oid uint32, format int16, data []byte, null bool) journal.Param {
	p := journal.Param{Type: paramTypes[oid]}
	switch {
	case null:
		p.Value = journal.Null()
	case format == 0:
		p.Value = textValue(data)
	default:
		p.Value = journal.Value{Kind: journal.ValueBinary, Data: string(data)}
		t := &typ{typeData: typeData{OID: oid, Kind: "b", Len: -1, Catalog: true, Elem: paramElements[oid]}, tree: &types{}}
		if t.Elem != 0 {
			t.Category = "A"
		}
		if t.Elem != 0 || t.textual() || baseTexts[oid] != nil {
			if text, err := appendText(nil, t, data, nil, 0); err == nil && utf8.Valid(text) {
				p.Value = journal.Text(string(text))
			}
		}
	}
	return p
}

func textValue(b []byte) journal.Value {
	if !utf8.Valid(b) {
		return journal.Value{Kind: journal.ValueBinary, Data: string(b)}
	}
	return journal.Text(string(b))
}
