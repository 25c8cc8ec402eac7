package parser

import (
	"fmt"
	"sync"
)

// Options bounds a Parser. Zero values mean the defaults.
type Options struct {
	CacheBytes int // bound of the cache, by estimate; DefaultCacheBytes
	MaxText    int // longer texts, in bytes, are Unread; DefaultMaxText
	MaxDepth   int // deeper nesting or longer operator chains are Unread; DefaultMaxDepth
}

// Parser takes texts apart. It is safe for concurrent use.
type Parser struct {
	maxText, maxDepth int
	texts             *cache[*Script]  // by text
	shapes            *cache[*reading] // by skeleton
	pool              sync.Pool        // of *reader
}

// New makes a parser.
func New(o Options) *Parser {
	p := &Parser{maxText: orDefault(o.MaxText, DefaultMaxText), maxDepth: orDefault(o.MaxDepth, DefaultMaxDepth)}
	bytes := orDefault(o.CacheBytes, DefaultCacheBytes)
	p.texts = newCache[*Script](bytes / 4 * 3)
	p.shapes = newCache[*reading](bytes / 4)
	p.pool.New = func() any { return &reader{depth: newDepth(p.maxDepth)} }
	return p
}

func orDefault(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}

// Parse never fails and never crashes: what cannot be read is a Script with Unread set. It is safe for concurrent use;
// the result is shared and read-only. sql must be UTF-8 (else Unread), and mean what it means with
// standard_conforming_strings on (see ParseEscaped). sql is kept by the result and by the cache.
func (p *Parser) Parse(sql string) *Script {
	if s, ok := p.texts.get(sql); ok {
		return s
	}
	s, cheap := p.read(sql)
	p.texts.put(sql, s, s.size(), cheap)
	return s
}

// reader is the working space of one reading.
type reader struct {
	tokens   []token
	pieces   []piece
	depth    *depth
	skeleton skeleton
	again    []token // of the skeleton
	secret   bool    // a comment may hold a secret
}

// piece is a range of tokens between top-level semicolons.
type piece struct{ from, to int }

// read takes a text apart; cheap reports that libpg_query was not needed.
func (p *Parser) read(sql string) (s *Script, cheap bool) {
	s = &Script{Text: sql}
	if err := checkText(sql, p.maxText); err != nil {
		s.Unread = err
		return s, true
	}
	r := p.pool.Get().(*reader)
	defer func() {
		// A mistake in this room must cost one text, not the process; the working space may be in any state then.
		if v := recover(); v != nil {
			s, cheap = &Script{Text: sql, Unread: fmt.Errorf("%w: %v", ErrInternal, v)}, false
			return
		}
		p.release(r)
	}()
	if err := r.scan(sql); err != nil {
		s.Unread = err
		return s, true
	}
	cheap = true
	for _, c := range r.pieces {
		hit, err := p.piece(s, r, r.tokens[c.from:c.to])
		cheap = cheap && hit
		if err != nil && len(r.pieces) > 1 {
			s.Statements = nil
			err = p.whole(s, r.tokens)
			if err == nil {
				return s, false
			}
		}
		if err != nil {
			s.Statements, s.Unread = nil, err
			if len(r.pieces) == 1 {
				s.Guess = guess(sql, r.tokens[c.from:c.to])
			}
			return s, false
		}
	}
	return s, cheap
}

// release keeps the working space, unless a giant made it large.
func (p *Parser) release(r *reader) {
	if cap(r.tokens) <= 1<<16 && cap(r.skeleton.key) <= 1<<20 {
		p.pool.Put(r)
	}
}

// scan splits a text into tokens and pieces, within the limits.
func (r *reader) scan(sql string) error {
	r.tokens, r.pieces = r.tokens[:0], r.pieces[:0]
	r.depth.reset()
	r.secret = false
	sc := scanner{text: sql, comments: true}
	from := 0
	var before token
	for t, ok := sc.next(); ok; t, ok = sc.next() {
		if t.kind == kindComment {
			r.secret = r.secret || secretComment(t.text(sql))
			continue
		}
		if t.kind == kindBad {
			return fmt.Errorf("%w: at byte %d", ErrLexical, t.from)
		}
		if t.is(sql, ';') && !r.depth.nested() {
			if from < len(r.tokens) {
				r.pieces = append(r.pieces, piece{from, len(r.tokens)})
			}
			r.tokens = append(r.tokens, t)
			from, before = len(r.tokens), t
			r.depth.reset()
			continue
		}
		if !r.depth.add(sql, t, before) {
			return fmt.Errorf("%w: at byte %d", ErrTooDeep, t.from)
		}
		r.tokens = append(r.tokens, t)
		before = t
	}
	if from < len(r.tokens) {
		r.pieces = append(r.pieces, piece{from, len(r.tokens)})
	}
	return nil
}

// piece reads what stands between two semicolons, and adds its statements to the script.
func (p *Parser) piece(s *Script, r *reader, tokens []token) (hit bool, err error) {
	k := &r.skeleton
	if !k.build(s.Text, tokens) {
		return false, p.whole(s, tokens)
	}
	found, hit := p.shapes.getBytes(k.key)
	if !hit {
		if err := checkTree(len(k.key), len(k.origin)); err != nil {
			return false, err
		}
		key := string(k.key)
		if found, err = r.shape(key, len(k.origin)); err != nil {
			return false, err
		}
		p.shapes.put(key, found, found.size()+len(key), false)
	}
	if len(found.statements) != 1 {
		return false, p.whole(s, tokens)
	}
	st := found.statements[0].copy()
	st.place(s.Text, found.marks[0], 0, func(i int) token { return tokens[k.origin[i]] })
	st.MaxParam = k.maxParam
	st.OldAlias, st.NewAlias = k.oldAlias, k.newAlias
	st.SecretCall = found.secret
	if found.secret || r.secret {
		st.secrets()
	}
	s.Statements = append(s.Statements, st)
	return hit, nil
}

// shape reads a skeleton.
func (r *reader) shape(key string, tokens int) (*reading, error) {
	r.again = r.again[:0]
	sc := scanner{text: key}
	for t, ok := sc.next(); ok; t, ok = sc.next() {
		r.again = append(r.again, t)
	}
	if len(r.again) != tokens {
		return nil, fmt.Errorf("%w: skeleton has %d tokens, not %d", ErrLexical, len(r.again), tokens)
	}
	found, err := analyse(source{key, r.again})
	if err == nil {
		found.secret = callsSecret(key, r.again)
	}
	return found, err
}

// whole reads tokens as they stand.
func (p *Parser) whole(s *Script, tokens []token) error {
	if len(tokens) == 0 {
		return nil
	}
	from, to := tokens[0].from, tokens[len(tokens)-1].to
	if err := checkTree(int(to-from), len(tokens)); err != nil {
		return err
	}
	moved := make([]token, len(tokens))
	for i, t := range tokens {
		moved[i] = token{t.from - from, t.to - from, t.kind}
	}
	found, err := analyse(source{s.Text[from:to], moved})
	if err != nil {
		return err
	}
	for i, st := range found.statements {
		st.place(s.Text, found.marks[i], 0, func(i int) token { return tokens[i] })
		st.secrets()
		s.Statements = append(s.Statements, st)
	}
	return nil
}

// checkTree bounds what libpg_query gets.
func checkTree(bytes, tokens int) error {
	if bytes > maxTree || tokens > maxTokens {
		return fmt.Errorf("%w: statement of %d bytes and %d tokens", ErrTooLong, bytes, tokens)
	}
	return nil
}
