package capture

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// quote makes an SQL identifier of any name. It is ASCII, so that our SQL reads the same in every client_encoding, and holds
// no backslash that standard_conforming_strings could turn into something else.
func quote(name string) string {
	if strings.IndexFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	var b strings.Builder
	b.WriteString(`U&"`)
	for _, r := range name {
		switch {
		case r == '"':
			b.WriteString(`""`)
		case r == '\\':
			b.WriteString(`\\`)
		case r < utf8.RuneSelf:
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\%04X`, r)
		default:
			fmt.Fprintf(&b, `\+%06X`, r)
		}
	}
	b.WriteString(`"`)
	return b.String()
}
