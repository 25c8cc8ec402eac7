package capture

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
)

// The oids of the built-in types that the code names.
const (
	oidBool, oidBytea, oidChar, oidName, oidInt8, oidInt2, oidInt2vector, oidInt4 = 16, 17, 18, 19, 20, 21, 22, 23
	oidRegproc, oidText, oidOID, oidTID, oidXID, oidCID, oidOidvector, oidJSON    = 24, 25, 26, 27, 28, 29, 30, 114
	oidXML, oidPoint, oidLseg, oidPath, oidBox, oidPolygon, oidLine, oidCIDR      = 142, 600, 601, 602, 603, 604, 628, 650
	oidFloat4, oidFloat8, oidUnknown, oidCircle, oidMacaddr8, oidMacaddr, oidInet = 700, 701, 705, 718, 774, 829, 869
	oidBpchar, oidVarchar, oidDate, oidTime, oidTimestamp, oidTimestamptz         = 1042, 1043, 1082, 1083, 1114, 1184
	oidInterval, oidTimetz, oidBit, oidVarbit, oidNumeric, oidRefcursor           = 1186, 1266, 1560, 1562, 1700, 1790
	oidRecord, oidCstring, oidUUID, oidLSN, oidJSONB, oidJSONPath, oidXID8        = 2249, 2275, 2950, 3220, 3802, 4072, 5069
)

var errBinary = errors.New("malformed binary value")

// maxNesting bounds arrays in composites in arrays.
const maxNesting = 50

// transcoder turns text of the client's encoding into UTF-8.
type transcoder = func([]byte) ([]byte, error)

// baseTexts makes the canonical text of the built-in base types: what the server would print with DateStyle ISO,
// IntervalStyle postgres, TimeZone UTC, bytea_output hex and extra_float_digits 1.
var baseTexts = map[uint32]func(dst, b []byte) ([]byte, error){
	oidBool: fixed(1, func(dst, b []byte) []byte {
		if b[0] != 0 {
			return append(dst, 't')
		}
		return append(dst, 'f')
	}),
	oidChar: fixed(1, appendChar),
	oidBytea: func(dst, b []byte) ([]byte, error) {
		return hex.AppendEncode(append(dst, `\x`...), b), nil
	},
	oidInt2:     fixed(2, func(dst, b []byte) []byte { return strconv.AppendInt(dst, int64(int16(be16(b))), 10) }),
	oidInt4:     fixed(4, func(dst, b []byte) []byte { return strconv.AppendInt(dst, int64(int32(be32(b))), 10) }),
	oidInt8:     fixed(8, func(dst, b []byte) []byte { return strconv.AppendInt(dst, int64(be64(b)), 10) }),
	oidOID:      fixed(4, func(dst, b []byte) []byte { return strconv.AppendUint(dst, uint64(be32(b)), 10) }),
	oidXID:      fixed(4, func(dst, b []byte) []byte { return strconv.AppendUint(dst, uint64(be32(b)), 10) }),
	oidCID:      fixed(4, func(dst, b []byte) []byte { return strconv.AppendUint(dst, uint64(be32(b)), 10) }),
	oidXID8:     fixed(8, func(dst, b []byte) []byte { return strconv.AppendUint(dst, be64(b), 10) }),
	oidTID:      fixed(6, func(dst, b []byte) []byte { return fmt.Appendf(dst, "(%d,%d)", be32(b), be16(b[4:])) }),
	oidLSN:      fixed(8, func(dst, b []byte) []byte { return fmt.Appendf(dst, "%X/%X", be32(b), be32(b[4:])) }),
	oidUUID:     fixed(16, appendUUID),
	oidFloat4:   fixed(4, appendFloat4),
	oidFloat8:   fixed(8, appendFloat8),
	oidNumeric:  appendNumeric,
	oidJSONB:    versioned,
	oidJSONPath: versioned,

	oidDate:        fixed(4, appendDate),
	oidTime:        fixed(8, appendTime),
	oidTimetz:      fixed(12, appendTimetz),
	oidTimestamp:   fixed(8, appendTimestamp),
	oidTimestamptz: fixed(8, appendTimestamptz),
	oidInterval:    fixed(16, appendInterval),

	oidInet:     appendInet,
	oidCIDR:     appendInet,
	oidMacaddr:  fixed(6, appendMAC),
	oidMacaddr8: fixed(8, appendMAC),
	oidBit:      appendBits,
	oidVarbit:   appendBits,

	oidPoint:   fixed(16, appendPoint),
	oidLseg:    fixed(32, appendLseg),
	oidBox:     fixed(32, appendBox),
	oidLine:    fixed(24, appendLine),
	oidCircle:  fixed(24, appendCircle),
	oidPath:    appendPath,
	oidPolygon: appendPolygon,
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
func be64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

// fixed checks the length for types that have only one.
func fixed(n int, f func(dst, b []byte) []byte) func(dst, b []byte) ([]byte, error) {
	return func(dst, b []byte) ([]byte, error) {
		if len(b) != n {
			return dst, errBinary
		}
		return f(dst, b), nil
	}
}

// appendText appends the canonical text of a binary value of type t.
func appendText(dst []byte, t *typ, b []byte, tc transcoder, depth int) ([]byte, error) {
	if depth > maxNesting {
		return dst, errBinary
	}
	t = t.base()
	switch {
	case t.OID == oidInt2vector || t.OID == oidOidvector:
		return appendVector(dst, t, b, tc, depth)
	case t.array():
		return appendArray(dst, t, b, tc, depth)
	case t.Kind == "r":
		return appendRange(dst, t, b, tc, depth)
	case t.Kind == "m":
		return appendMultirange(dst, t, b, tc, depth)
	case t.Kind == "c" || t.OID == oidRecord:
		return appendComposite(dst, t, b, tc, depth)
	case t.textual():
		if tc == nil {
			return append(dst, b...), nil
		}
		u, err := tc(b)
		return append(dst, u...), err
	}
	f := baseTexts[t.OID]
	if f == nil {
		return dst, fmt.Errorf("type %s (oid %d) has no known binary form", t.Name, t.OID)
	}
	start := len(dst)
	dst, err := f(dst, b)
	if err == nil && tc != nil && (t.OID == oidJSONB || t.OID == oidJSONPath) {
		u, err := tc(dst[start:])
		return append(dst[:start:start], u...), err
	}
	return dst, err
}

// versioned strips the version byte of jsonb and jsonpath.
func versioned(dst, b []byte) ([]byte, error) {
	if len(b) == 0 || b[0] != 1 {
		return dst, errBinary
	}
	return append(dst, b[1:]...), nil
}

// appendChar prints "char": a byte above 127 as octal since 15 and 14 alike print differently, bytes as they are below.
func appendChar(dst, b []byte) []byte {
	switch c := b[0]; {
	case c == 0:
		return dst
	case c >= 0x80:
		return fmt.Appendf(dst, `\%03o`, c)
	default:
		return append(dst, c)
	}
}

func appendUUID(dst, b []byte) []byte {
	for i, part := range [][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

func appendBits(dst, b []byte) ([]byte, error) {
	if len(b) < 4 || be32(b) > uint32(len(b)-4)*8 {
		return dst, errBinary
	}
	n := int(be32(b))
	b = b[4:]
	for i := range n {
		dst = append(dst, '0'+b[i/8]>>(7-i%8)&1)
	}
	return dst, nil
}
