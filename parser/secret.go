package parser

import (
	"strconv"
	"strings"
)

// What makes a literal a secret:
//
//   - its place: PASSWORD '..' of a role, CONNECTION '..' of a subscription, the options of servers and user mappings
//     (all but those known to be harmless), the value of a setting whose name sounds like a secret, the arguments of a
//     function whose name does;
//   - its content: a connection string with a password in it, a URL with one, SQL that sets one. SQL that sets a
//     password makes every literal of its statement a secret: it may be put together from them.
//
// Bodies of functions and DO are searched the same way, one level down.

// grade is what the content of a literal says about it.
type grade uint8

const (
	gradeNone      grade = iota
	gradeSelf            // the literal is a secret
	gradeStatement       // every literal of its statement may be one
)

// sounds are the parts of names that stand for something secret, lower case.
var sounds = []string{"passw", "passphr", "passfile", "pwd", "secret", "credential", "api_key", "apikey", "private_key", "crypt", "hmac", "token"}

// soundsSecret reports whether a name, or a text, mentions something secret.
func soundsSecret(name string) bool {
	for _, s := range sounds {
		if containsFold(name, s) {
			return true
		}
	}
	return false
}

// secretLiteral reports whether the content of a literal makes it a secret, or others beside it.
func secretLiteral(literal string) bool { return gradeOf(literal) != gradeNone }

// gradeOf judges a literal as it is written.
func gradeOf(literal string) grade {
	if len(literal) < 8 {
		return gradeNone
	}
	if containsFold(literal, "password") && mentionsAccount(literal) {
		return gradeStatement
	}
	switch {
	case strings.IndexByte(literal, '=') >= 0 && assignsPassword(literal), urlWithPassword(literal):
		return gradeSelf
	case (literal[0]|0x20 == 'e' || literal[0]|0x20 == 'u') && strings.IndexByte(literal, '\\') >= 0 && hidesLetters(literal):
		return gradeSelf
	}
	return gradeNone
}

// mentionsAccount reports whether a text that mentions a password also mentions whose.
func mentionsAccount(s string) bool {
	for _, w := range []string{"role", "user", "group", "server", "mapping", "subscription", "alter", "create"} {
		if containsFold(s, w) {
			return true
		}
	}
	return false
}

// assignsPassword recognizes password=.., passwd = .., pwd=..
func assignsPassword(s string) bool {
	for _, name := range []string{"password", "passwd", "passfile", "pwd", "secret", "token"} {
		for rest := s; ; {
			i := indexFold(rest, name)
			if i < 0 {
				break
			}
			rest = rest[i+len(name):]
			if strings.HasPrefix(strings.TrimLeft(rest, " \t\r\n\"'"), "=") {
				return true
			}
		}
	}
	return false
}

// urlWithPassword recognizes scheme://user:password@host.
func urlWithPassword(s string) bool {
	for {
		i := strings.Index(s, "://")
		if i < 0 {
			return false
		}
		s = s[i+3:]
		authority := s
		if j := strings.IndexAny(s, "/ \t\r\n'\""); j >= 0 {
			authority = s[:j]
		}
		if at := strings.LastIndexByte(authority, '@'); at >= 0 && strings.IndexByte(authority[:at], ':') >= 0 {
			return true
		}
	}
}

// hidesLetters reports whether a literal writes ordinary letters as escapes, as only somebody who hides a word would:
// E'\x61', E'\141', E'\u0061', U&'\0061', U&'\+000061'.
func hidesLetters(literal string) bool {
	unicode := literal[0]|0x20 == 'u'
	for i := 0; i+1 < len(literal); i++ {
		if literal[i] != '\\' {
			continue
		}
		i++
		rest := literal[i:]
		var c uint64
		switch {
		case unicode && rest[0] == '+':
			c = leading(rest[1:], 6, 16)
		case unicode:
			c = leading(rest, 4, 16)
		case rest[0] == 'x':
			c = leading(rest[1:], 2, 16)
		case rest[0] == 'u':
			c = leading(rest[1:], 4, 16)
		case rest[0] == 'U':
			c = leading(rest[1:], 8, 16)
		case isDigit(rest[0]):
			c = leading(rest, 3, 8)
		}
		if c < 0x80 && isIdentStart(byte(c)) {
			return true
		}
	}
	return false
}

// leading reads up to n digits; 0 if there are none.
func leading(s string, n, base int) uint64 {
	n = min(n, len(s))
	for i := range n {
		if !isHex(s[i]) {
			n = i
			break
		}
	}
	for ; n > 0; n-- {
		if v, err := strconv.ParseUint(s[:n], base, 32); err == nil {
			return v
		}
	}
	return 0
}

// callsSecret reports whether a text calls a function that sounds secret.
func callsSecret(text string, tokens []token) bool {
	for i := range tokens {
		if secretCall(text, tokens, i) {
			return true
		}
	}
	return false
}

// secretCall reports whether the token at i is the name of such a function.
func secretCall(text string, tokens []token, i int) bool {
	t := tokens[i]
	if t.kind != kindWord && t.kind != kindQuoted || i+1 >= len(tokens) || !tokens[i+1].is(text, '(') {
		return false
	}
	if t.word(text, "SET_CONFIG") && i+2 < len(tokens) && tokens[i+2].literal() {
		return secretSetting(tokens[i+2].text(text))
	}
	return soundsSecret(t.text(text))
}

// SecretText reports whether a value, of a parameter for instance, is or holds a secret by what it says: a connection string or
// URL with a password, SQL that sets one.
func SecretText(value string) bool {
	return containsFold(value, "password") && mentionsAccount(value) || containsFold(value, "passw") && RedactUnread(value) != value ||
		strings.IndexByte(value, '=') >= 0 && assignsPassword(value) || urlWithPassword(value)
}

// secretComment reports whether a comment may hold a secret.
func secretComment(c string) bool { return soundsSecret(c) || urlWithPassword(c) }

// containsFold reports whether s contains the lower-case ASCII word, whatever the case.
func containsFold(s, word string) bool { return indexFold(s, word) >= 0 }

func indexFold(s, word string) int {
	lower, upper := word[0], word[0]
	if lower >= 'a' && lower <= 'z' {
		upper -= 'a' - 'A'
	}
	for i := 0; i+len(word) <= len(s); i++ {
		if c := s[i]; (c == lower || c == upper) && strings.EqualFold(s[i:i+len(word)], word) {
			return i
		}
	}
	return -1
}
