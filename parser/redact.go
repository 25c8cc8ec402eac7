package parser

import "strings"

// hidden is what stands for a secret literal: SQL, and no longer a secret.
const (
	hidden        = "'***'"
	hiddenComment = "/***/"
)

// Redact gives the statement's text without its secrets: each literal is replaced by '***', nothing else changes.
func (s *Statement) Redact() string { return s.replaceSecrets(s.Secrets, "") }

// ReplaceSecret gives the statement's text with the clear password replaced by a verifier, as a plain literal, and all
// else as it is: what may be sent to a peer. It gives the text itself where Password is nil.
func (s *Statement) ReplaceSecret(verifier string) string {
	if s.Password == nil {
		return s.Text
	}
	return s.replaceSecrets([]Span{s.Password.Span}, "'"+strings.ReplaceAll(verifier, "'", "''")+"'")
}

func (s *Statement) replaceSecrets(spans []Span, with string) string {
	if len(spans) == 0 {
		return s.Text
	}
	var b strings.Builder
	at := 0
	for _, p := range spans {
		b.WriteString(s.Text[at:p.From])
		switch {
		case with != "":
			b.WriteString(with)
		case strings.HasPrefix(s.Text[p.From:], "--"), strings.HasPrefix(s.Text[p.From:], "/*"):
			b.WriteString(hiddenComment)
		default:
			b.WriteString(hidden)
		}
		at = p.To
	}
	b.WriteString(s.Text[at:])
	return b.String()
}

// RedactUnread gives a text that could not be read, without anything that might be a secret, as valid UTF-8. Where
// nothing in the text sounds like a secret it is kept whole, but for a literal that does not end; otherwise it is kept
// up to the first literal, or the first word that sounds like one, whichever comes first: quotes in a text that is no
// SQL say nothing about what stands between them.
func RedactUnread(sql string) string {
	sc := scanner{text: sql}
	if !suspicious(sql) {
		for t, ok := sc.next(); ok; t, ok = sc.next() {
			if t.kind == kindBad && strings.ContainsAny(t.text(sql), "'\"$") {
				return cut(sql, int(t.from))
			}
		}
		return strings.ToValidUTF8(sql, "\uFFFD")
	}
	sc.comments = true
	for t, ok := sc.next(); ok; t, ok = sc.next() {
		if t.literal() || t.kind == kindBad || t.kind == kindComment && suspicious(t.text(sql)) {
			return cut(sql, int(t.from))
		}
		if t.kind == kindQuoted && soundsSecret(t.text(sql)) {
			return cut(sql, int(t.from)) // who knows where it ought to end
		}
		if t.kind == kindWord && soundsSecret(t.text(sql)) {
			return cut(sql, int(t.to))
		}
	}
	return strings.ToValidUTF8(sql, "\uFFFD") // what sounded like one stands between words, as in "OPTIONS ()"
}

func cut(sql string, at int) string {
	return strings.ToValidUTF8(strings.TrimRight(sql[:at], " \t\r\n"), "\uFFFD") + " " + hidden
}

// suspicious reports whether a text mentions anything that secrets stand beside.
func suspicious(sql string) bool {
	// Letters written as escapes may spell any of the words.
	return suspiciousWords(sql) || containsFold(sql, "u&'") || strings.Contains(sql, `\`) && containsFold(sql, "e'")
}

func suspiciousWords(sql string) bool {
	if soundsSecret(sql) || urlWithPassword(sql) || containsFold(sql, "conninfo") {
		return true
	}
	for _, w := range []string{"options", "connection", "mapping", "program"} {
		if containsFold(sql, w) {
			return true
		}
	}
	return false
}
