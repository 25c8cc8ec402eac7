package conflict

import (
	"math/big"
	"strconv"
	"strings"

	"pgproxy/journal"
)

// decimal is an exact number as PostgreSQL's numeric writes it: digits and a scale.
type decimal struct {
	digits *big.Int // the value times ten to the scale
	scale  int
}

// maxDigits bounds the work on a hostile number: numeric has at most 131072 digits before and 16383 after the point.
const maxDigits = 131072 + 16383 + 2

func parseDecimal(v journal.Value) (decimal, bool) {
	s := v.Data
	if v.Kind != journal.ValueText || s == "" || len(s) > maxDigits {
		return decimal{}, false
	}
	whole, frac, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	if whole+frac == "" || strings.Trim(whole+frac, "0123456789") != "" {
		return decimal{}, false // NaN, Infinity, or no number
	}
	n, ok := new(big.Int).SetString(whole+frac, 10)
	if !ok {
		return decimal{}, false
	}
	if strings.HasPrefix(s, "-") {
		n.Neg(n)
	}
	return decimal{n, len(frac)}, true
}

func (a decimal) to(scale int) *big.Int {
	if scale == a.scale {
		return a.digits
	}
	f := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale-a.scale)), nil)
	return f.Mul(f, a.digits)
}

// add and sub keep the greater scale, as PostgreSQL does.
func (a decimal) add(b decimal) decimal {
	s := max(a.scale, b.scale)
	return decimal{new(big.Int).Add(a.to(s), b.to(s)), s}
}

func (a decimal) sub(b decimal) decimal {
	s := max(a.scale, b.scale)
	return decimal{new(big.Int).Sub(a.to(s), b.to(s)), s}
}

func (a decimal) String() string {
	s := new(big.Int).Abs(a.digits).String()
	if a.scale > 0 {
		if len(s) <= a.scale {
			s = strings.Repeat("0", a.scale-len(s)+1) + s
		}
		s = s[:len(s)-a.scale] + "." + s[len(s)-a.scale:]
	}
	if a.digits.Sign() < 0 {
		s = "-" + s
	}
	return s
}

// fits reports whether a column of the type can hold a. Types that are not known (domains) are left to the check.
func (a decimal) fits(typ string) bool {
	switch typ {
	case "smallint":
		return a.within(16)
	case "integer":
		return a.within(32)
	case "bigint":
		return a.within(64)
	}
	p, s, ok := precision(typ)
	if !ok {
		return true
	}
	if a.scale > s {
		return false // cannot be: its parts had the column's scale
	}
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(p)), nil)
	return new(big.Int).Abs(a.to(s)).Cmp(limit) < 0
}

func (a decimal) within(bits int) bool {
	if a.scale != 0 || !a.digits.IsInt64() {
		return false
	}
	n := a.digits.Int64()
	return n>>(bits-1) == 0 || n>>(bits-1) == -1
}

// precision reads numeric(p,s).
func precision(typ string) (p, s int, ok bool) {
	inner, found := strings.CutPrefix(typ, "numeric(")
	if !found {
		return 0, 0, false
	}
	left, right, _ := strings.Cut(strings.TrimSuffix(inner, ")"), ",")
	p, err := strconv.Atoi(left)
	if err != nil {
		return 0, 0, false
	}
	if s, err = strconv.Atoi(right); err != nil || s < 0 {
		return 0, 0, false
	}
	return p, s, true
}

// Difference gives after minus before as exact text, for a column that adds. It fails where either is no finite number.
func Difference(before, after journal.Value) (string, bool) {
	a, ok := parseDecimal(after)
	if !ok {
		return "", false
	}
	b, ok := parseDecimal(before)
	if !ok {
		return "", false
	}
	return a.sub(b).String(), true
}
