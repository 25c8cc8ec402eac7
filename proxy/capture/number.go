package capture

import (
	"bytes"
	"math"
	"math/big"
	"strconv"
)

func appendFloat4(dst, b []byte) []byte {
	return appendFloat(dst, float64(math.Float32frombits(be32(b))), 32)
}

func appendFloat8(dst, b []byte) []byte {
	return appendFloat(dst, math.Float64frombits(be64(b)), 64)
}

// appendFloat prints the shortest digits that read back the same, as the server does with extra_float_digits 1: fixed
// notation for exponents from -4 up to 6 (float4) or 15 (float8), else scientific with at least two exponent digits.
func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	case f == 0:
		if math.Signbit(f) {
			dst = append(dst, '-')
		}
		return append(dst, '0')
	}
	var buf [32]byte
	sci := shortest(buf[:0], f, bits)
	exp := 0
	for i := len(sci) - 1; i >= 0; i-- {
		if sci[i] == 'e' {
			exp, _ = strconv.Atoi(string(sci[i+1:]))
			break
		}
	}
	limit := 15
	if bits == 32 {
		limit = 6
	}
	if exp < -4 || exp >= limit {
		return append(dst, sci...)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, bits)
}

// shortest gives the fewest digits that lie strictly between the neighbours' midpoints. Go also takes a midpoint itself
// where reading would round it back (to even); the server does not. Only integers past the mantissa can be midpoints of so
// few digits.
func shortest(dst []byte, f float64, bits int) []byte {
	sci := strconv.AppendFloat(dst, f, 'e', -1, bits)
	integers := float64(1 << 53)
	if bits == 32 {
		integers = 1 << 24
	}
	if math.Abs(f) < integers {
		return sci
	}
	for digits := 0; onMidpoint(string(sci), f, bits); digits++ {
		if digits == 0 {
			digits = max(0, bytes.IndexByte(sci, 'e')-2)
			if f < 0 {
				digits--
			}
		}
		sci = strconv.AppendFloat(dst[:0], f, 'e', digits, bits)
	}
	return sci
}

// onMidpoint reports whether the decimal is exactly half-way between f and a neighbour.
func onMidpoint(decimal string, f float64, bits int) bool {
	d, ok := new(big.Rat).SetString(decimal)
	if !ok {
		return false
	}
	for _, towards := range []float64{math.Inf(1), math.Inf(-1)} {
		next := math.Nextafter(f, towards)
		if bits == 32 {
			next = float64(math.Nextafter32(float32(f), float32(towards)))
		}
		if math.IsInf(next, 0) {
			continue
		}
		sum := new(big.Rat).Add(new(big.Rat).SetFloat64(f), new(big.Rat).SetFloat64(next))
		if sum.Cmp(new(big.Rat).Add(d, d)) == 0 {
			return true
		}
	}
	return false
}

// The signs of numeric's binary form.
const (
	numericPositive = 0x0000
	numericNegative = 0x4000
	numericNaN      = 0xC000
	numericPInf     = 0xD000
	numericNInf     = 0xF000
)

// appendNumeric prints a numeric: base-10000 digits, weight of the first, sign, display scale.
func appendNumeric(dst, b []byte) ([]byte, error) {
	if len(b) < 8 {
		return dst, errBinary
	}
	n, weight, sign, scale := int(be16(b)), int(int16(be16(b[2:]))), be16(b[4:]), int(be16(b[6:]))
	digits := b[8:]
	switch sign {
	case numericNaN:
		return append(dst, "NaN"...), nil
	case numericPInf:
		return append(dst, "Infinity"...), nil
	case numericNInf:
		return append(dst, "-Infinity"...), nil
	case numericNegative:
		dst = append(dst, '-')
	case numericPositive:
	default:
		return dst, errBinary
	}
	if len(digits) != 2*n {
		return dst, errBinary
	}
	digit := func(i int) int { // of weight i
		if k := weight - i; k >= 0 && k < n {
			return int(be16(digits[2*k:]))
		}
		return 0
	}
	if weight < 0 {
		dst = append(dst, '0')
	}
	for i := weight; i >= 0; i-- {
		if i == weight {
			dst = strconv.AppendInt(dst, int64(digit(i)), 10)
		} else {
			dst = append4(dst, digit(i))
		}
	}
	if scale > 0 {
		dst = append(dst, '.')
		start := len(dst)
		for i := -1; len(dst)-start < scale; i-- {
			dst = append4(dst, digit(i))
		}
		dst = dst[:start+scale]
	}
	return dst, nil
}

func append4(dst []byte, d int) []byte {
	return append(dst, byte('0'+d/1000%10), byte('0'+d/100%10), byte('0'+d/10%10), byte('0'+d%10))
}
