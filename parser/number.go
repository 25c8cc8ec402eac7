package parser

import "strings"

// number scans a numeric constant. Anything like an identifier right behind it is junk, since PostgreSQL 15.
func (s *scanner) number() token {
	if n := s.radix(); n > 0 {
		return s.endNumber(n, kindNumber)
	}
	n, k := 0, kindInteger
	if s.at(0) != '.' {
		n = s.digits(0)
		if n > 9 || strings.IndexByte(s.text[s.pos:s.pos+n], '_') >= 0 {
			k = kindNumber
		}
	}
	if s.at(n) == '.' && s.at(n+1) != '.' {
		n, k = n+1, kindNumber
		n += s.digits(n)
	}
	if c := s.at(n); c == 'e' || c == 'E' {
		sign := 0
		if c := s.at(n + 1); c == '+' || c == '-' {
			sign = 1
		}
		if d := s.digits(n + 1 + sign); d > 0 {
			n, k = n+1+sign+d, kindNumber
		} else if sign == 1 {
			return s.junk(n + 2)
		}
	}
	return s.endNumber(n, k)
}

func (s *scanner) endNumber(n int, k kind) token {
	if isIdentStart(s.at(n)) {
		return s.junk(n)
	}
	return s.take(n, k)
}

// radix gives the length of a hexadecimal, octal or binary integer, 0 if there is none.
func (s *scanner) radix() int {
	if s.at(0) != '0' {
		return 0
	}
	var digit func(byte) bool
	switch s.at(1) {
	case 'x', 'X':
		digit = isHex
	case 'o', 'O':
		digit = func(c byte) bool { return c >= '0' && c <= '7' }
	case 'b', 'B':
		digit = func(c byte) bool { return c == '0' || c == '1' }
	default:
		return 0
	}
	n := 2
	for digit(s.at(n)) || s.at(n) == '_' && digit(s.at(n+1)) {
		n++
	}
	if n == 2 {
		return 0
	}
	return n
}

// digits gives how many bytes from n on are decimal digits, single underscores between them included.
func (s *scanner) digits(n int) int {
	i := n
	for isDigit(s.at(i)) || i > n && s.at(i) == '_' && isDigit(s.at(i+1)) {
		i++
	}
	return i - n
}

// junk takes n bytes and everything like an identifier behind them.
func (s *scanner) junk(n int) token {
	for isIdentPart(s.at(n)) {
		n++
	}
	return s.take(n, kindBad)
}
