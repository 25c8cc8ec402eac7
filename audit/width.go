package audit

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Width is the number of terminal cells that s takes: two for wide characters, none for combining ones.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Cut shortens s to at most cells terminal cells, ending in "…" if something was left out; cells <= 0 leaves it whole.
func Cut(s string, cells int) string {
	if cells <= 0 || Width(s) <= cells {
		return s
	}
	n := 0
	for i, r := range s {
		if n+runeWidth(r) > cells-1 {
			return s[:i] + "…"
		}
		n += runeWidth(r)
	}
	return s
}

// Line makes s safe to print in one line of a terminal: runs of white space become one space, other control characters
// are written as \x1b. What clients send must not move the reader's cursor.
func Line(s string) string {
	var b strings.Builder
	space := false
	for i, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case space:
			b.WriteByte(' ')
			space = false
		}
		b.WriteString(visible(r, s[i:]))
	}
	return b.String()
}

// Cell makes s safe to print like Line, but keeps its spaces: a value's blanks matter.
func Cell(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch r {
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		default:
			b.WriteString(visible(r, s[i:]))
		}
	}
	return b.String()
}

const hexDigits = "0123456789abcdef"

func visible(r rune, rest string) string {
	switch {
	case r == utf8.RuneError && !strings.HasPrefix(rest, string(utf8.RuneError)):
		return `\x` + string([]byte{hexDigits[rest[0]>>4], hexDigits[rest[0]&15]})
	case r < ' ' || r >= 0x7f && r < 0xa0:
		return `\x` + string([]byte{hexDigits[byte(r)>>4], hexDigits[byte(r)&15]})
	case unicode.Is(unicode.Cf, r): // marks that reorder or hide text
		return "·"
	}
	return string(r)
}
