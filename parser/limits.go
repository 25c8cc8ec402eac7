package parser

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// The limits of what is handed to libpg_query, which recurses on the C stack without any check of its own: a sum of
// 64,000 terms is a segmentation fault that ends the process. TestStackEdge measures where that edge lies.
const (
	// DefaultMaxText is the default bound of a text, in bytes. Scanning is linear and cheap; what costs memory is the
	// tree, which maxTree bounds.
	DefaultMaxText = 64 << 20
	// DefaultMaxDepth is the default bound of the nesting of one statement, in the measure of depth. One unit costs up to
	// 400 bytes of C stack, so that this needs 800 KiB; glibc's threads have 8 MiB, 2 MiB with an unlimited stack.
	DefaultMaxDepth = 2000
	// maxTree bounds, in bytes, one statement as libpg_query gets it (lists of constants already folded).
	maxTree = 1 << 20
	// maxTokens bounds the same statement in tokens: a token costs up to 2 KiB of memory in C and in Go together.
	maxTokens = 100_000
)

// Why a text is Unread, beside the syntax errors that libpg_query reports.
var (
	ErrTooLong  = errors.New("text is too long to be read")
	ErrTooDeep  = errors.New("text is nested too deeply to be read")
	ErrEncoding = errors.New("text is not valid UTF-8")
	ErrInternal = errors.New("text ran into a mistake of the parser")
	ErrLexical  = errors.New("text cannot be split into tokens")
)

// checkText looks at what needs no scan.
func checkText(sql string, limit int) error {
	if len(sql) > limit {
		return fmt.Errorf("%w: %d bytes, limit %d", ErrTooLong, len(sql), limit)
	}
	for i := 0; i < len(sql); i++ {
		if sql[i] == 0 {
			return fmt.Errorf("%w: NUL at byte %d", ErrEncoding, i)
		}
	}
	if !utf8.ValidString(sql) {
		return ErrEncoding
	}
	return nil
}

// A depth bounds from above how deep the parse tree of a statement is, from its tokens alone.
//
// Within one pair of brackets every token may nest one level (a + b + c is a tree as deep as it is long, so is NOT NOT
// a), but the elements of a comma list stand beside each other, and so do the operands of AND and of OR, which libpg_query
// flattens, the arms of set operations and the conditions of joins. What nests across all of these is counted for the
// whole pair: the set operations and joins themselves. CASE .. END and BEGIN ATOMIC .. END are brackets.
type depth struct {
	limit  int
	levels []level
}

// level is what is open inside one pair of brackets.
type level struct {
	end     bool // closed by END, not by ) or ]
	chain   int  // tokens since the last comma, AND or OR
	inner   int  // deepest bracket since then
	deepest int  // deepest element so far
	across  int  // set operations and joins
	below   int  // sum of the open chains around it
}

func newDepth(limit int) *depth { return &depth{limit: limit, levels: make([]level, 1, 32)} }

// reset begins a new statement.
func (d *depth) reset() { d.levels = append(d.levels[:0], level{}) }

// nested reports whether a bracket is open.
func (d *depth) nested() bool { return len(d.levels) > 1 }

// add takes the next token; false if the statement is too deep.
func (d *depth) add(text string, t, before token) bool {
	l := &d.levels[len(d.levels)-1]
	switch t.kind {
	case kindMark:
		switch text[t.from] {
		case '(', '[':
			return d.open(false)
		case ')', ']':
			return d.close(false)
		case ',', ';':
			l.endElement()
			return true
		}
	case kindWord:
		if before.is(text, '.') {
			break // a name, whatever it looks like
		}
		switch keywordOf(t.text(text)) {
		case wordCase:
			return d.open(true)
		case wordAtomic:
			if before.word(text, "BEGIN") {
				return d.open(true)
			}
		case wordEnd:
			return d.close(true)
		case wordSet, wordJoin:
			l.endElement()
			l.across++
			return l.total() <= d.limit
		case wordAnd, wordOr:
			l.endElement()
			return true
		}
	}
	l.chain++
	return l.total() <= d.limit
}

// total bounds the level with all that is around it, as far as it is known.
func (l *level) total() int { return max(l.deepest, l.chain+l.inner) + l.across + l.below }

func (l *level) endElement() {
	l.deepest = max(l.deepest, l.chain+l.inner)
	l.chain, l.inner = 0, 0
}

func (d *depth) open(end bool) bool {
	l := &d.levels[len(d.levels)-1]
	l.chain++
	below := l.below + l.chain + l.across + 1
	d.levels = append(d.levels, level{end: end, below: below})
	return below <= d.limit
}

// close ends the innermost bracket. One that does not fit is left to libpg_query's grammar to refuse; END also ends
// transactions and stands in names.
func (d *depth) close(end bool) bool {
	n := len(d.levels)
	if n == 1 || d.levels[n-1].end != end {
		d.levels[n-1].chain++
		return true
	}
	l := &d.levels[n-1]
	l.endElement()
	total := l.deepest + l.across + 1
	d.levels = d.levels[:n-1]
	outer := &d.levels[n-2]
	outer.inner = max(outer.inner, total)
	return outer.total() <= d.limit
}

// sum gives the bound for everything seen since reset.
func (d *depth) sum() int {
	sum := 0
	for i := len(d.levels) - 1; i >= 0; i-- {
		l := d.levels[i]
		l.inner = max(l.inner, sum)
		l.endElement()
		sum = l.deepest + l.across + 1
	}
	return sum
}

// keyword is a word that matters to the depth of a statement.
type keyword uint8

const (
	wordOther keyword = iota
	wordCase
	wordAtomic
	wordEnd
	wordSet // UNION, INTERSECT, EXCEPT
	wordJoin
	wordAnd
	wordOr
)

// keywordOf recognizes them without a copy.
func keywordOf(w string) keyword {
	switch len(w) {
	case 2:
		if w[0]|0x20 == 'o' && w[1]|0x20 == 'r' {
			return wordOr
		}
	case 3:
		switch {
		case equalFold(w, "AND"):
			return wordAnd
		case equalFold(w, "END"):
			return wordEnd
		}
	case 4:
		switch {
		case equalFold(w, "CASE"):
			return wordCase
		case equalFold(w, "JOIN"):
			return wordJoin
		}
	case 5:
		if equalFold(w, "UNION") {
			return wordSet
		}
	case 6:
		switch {
		case equalFold(w, "ATOMIC"):
			return wordAtomic
		case equalFold(w, "EXCEPT"):
			return wordSet
		}
	case 9:
		if equalFold(w, "INTERSECT") {
			return wordSet
		}
	}
	return wordOther
}

// equalFold compares w with an upper-case ASCII word of the same length.
func equalFold(w, upper string) bool {
	for i := range len(upper) {
		c := w[i]
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != upper[i] {
			return false
		}
	}
	return true
}
