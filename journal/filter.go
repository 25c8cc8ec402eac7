package journal

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"pgproxy/journal/hlc"
)

// Reader reads a journal: that of a running node, or a stopped one's.
type Reader interface {
	// Scan gives the records, attempts and, on request, events that pass the filter, newest first unless f.Forward, "newest"
	// being the order in which they came to this journal. It reads little more than what it gives, in bounded memory, and
	// ends with the first error. What is written after it has begun may be left out.
	Scan(f Filter) iter.Seq2[Item, error]
	// Get reads one record with its outcome.
	Get(id ID) (Item, error)
	// Names gives the names of all nodes that the journal knows.
	Names() map[NodeID]string
	// Row lists the records that change a row and did not abort, in the global order. One that does not change it may be
	// among them, because the index keeps only a hash of the key.
	Row(k RowKey) ([]Ref, error)
	// Databases and Users list those that any entry names.
	Databases() ([]string, error)
	Users() ([]string, error)
	Stats() Stats
}

var (
	_ Reader = (*Journal)(nil)
	_ Reader = (*ReadOnly)(nil)
)

// Filter says what to scan for. Empty fields ask for nothing.
type Filter struct {
	// Since and Until bound the record's HLC (for an attempt, when it was recorded), both included.
	Since, Until   time.Time
	User, Database string
	Table          string // "name" in any schema, or "schema.name"
	Origin         string // a node's name or id
	// Application, Role (of a statement), SQLState (of a failure) and Command are whole names. Client is an address, with or
	// without the port.
	Application, Client, Role, SQLState, Command string
	Session                                      *SessionID
	Class                                        *Class // of a statement
	// Rows asks for what touched any of these rows, also by what was rolled back.
	Rows    []RowKey
	Outcome *Outcome
	// Match looks at what passes everything else; nil takes all. It must not keep the item.
	Match func(*Item) bool

	// Events are the kinds of events that are given as well; OnlyEvents leaves out everything else. No event passes a filter
	// that asks for what only a transaction has: outcome, table, rows, role, SQLSTATE, command, class.
	Events     []EventKind
	OnlyEvents bool
	Kinds      []Kind // empty: all but beats
	Limit      int    // 0: no limit
	Forward    bool   // oldest first
	// After is the Position of the item to go on behind, in the direction of the scan; 0 is the start.
	After uint64

	read *atomic.Int64 // counts the entries read: for tests
}

// Item is a record as the journal keeps it.
type Item struct {
	Position uint64
	Event    *Event  // then there is no Record
	Record   *Record // an own transaction that aborted, and an attempt (Seq 0), are of KindTx and have their Tx
	Outcome  Outcome
	Reason   string // why an own transaction aborted; filled by Get
}

// Scan gives the records and attempts that pass the filter.
func (s *shelf) Scan(f Filter) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		w, err := s.plan(f)
		if err != nil {
			yield(Item{}, err)
			return
		}
		given := 0
		for e, err := range w.entries() {
			if err != nil {
				yield(Item{}, fmt.Errorf("scan journal: %w", err))
				return
			}
			item, ok := s.item(e)
			if !ok || !f.passes(&item) {
				continue
			}
			if given++; !yield(item, nil) || given == f.Limit {
				return
			}
		}
	}
}

// plan turns a filter into terms.
func (s *shelf) plan(f Filter) (*walk, error) {
	w := &walk{shelf: s, forward: f.Forward, after: f.After, read: f.read}
	if f.User != "" {
		w.terms = append(w.terms, term(termUser, f.User))
	}
	if f.Database != "" {
		w.terms = append(w.terms, term(termDatabase, f.Database))
	}
	if f.Table != "" {
		letter := termName
		if strings.Contains(f.Table, ".") {
			letter = termTable
		}
		w.terms = append(w.terms, term(letter, f.Table))
	}
	for _, t := range []struct{ letter, name string }{
		{termApplication, f.Application}, {termClient, Host(f.Client)}, {termRole, f.Role}, {termState, f.SQLState}, {termAction, f.Command},
	} {
		if t.name != "" {
			w.terms = append(w.terms, term(t.letter, t.name))
		}
	}
	if f.Session != nil {
		w.terms = append(w.terms, f.Session.term())
	}
	if f.Class != nil {
		w.terms = append(w.terms, termClass+f.Class.String())
	}
	if f.OnlyEvents {
		w.terms = append(w.terms, termEvent)
		if len(f.Events) == 1 {
			w.terms = append(w.terms, termEventKind+f.Events[0].String())
		}
	}
	for _, k := range f.Rows {
		w.rows = append(w.rows, k.hash())
	}
	if f.Origin != "" {
		n, err := s.node(f.Origin)
		if err != nil {
			return nil, err
		}
		w.terms = append(w.terms, originTerm(n))
	}
	if f.Outcome != nil && *f.Outcome == OutcomeUnknown {
		w.only, w.narrow = s.undecidedPositions(), true
	}
	if !f.Since.IsZero() || !f.Until.IsZero() {
		w.since, w.until = math.MinInt64, math.MaxInt64
		if !f.Since.IsZero() {
			w.since = f.Since.UnixMilli()
		}
		if !f.Until.IsZero() {
			w.until = f.Until.UnixMilli()
		}
	}
	return w, nil
}

// undecidedPositions gives where the intents without outcome stand.
func (s *shelf) undecidedPositions() sorted {
	s.mu.RLock()
	seqs := sortedSeqs(s.undecided)
	s.mu.RUnlock()
	var at sorted
	for _, seq := range seqs {
		if _, p, err := s.locate(ID{s.self, seq}); err == nil {
			at = append(at, p)
		}
	}
	return at
}

// node finds a node by name or id.
func (s *shelf) node(name string) (NodeID, error) {
	for n, label := range s.Names() {
		if label == name {
			return n, nil
		}
	}
	n, err := ParseNodeID(name)
	if err != nil {
		return n, fmt.Errorf("origin %q is neither the name of a node in this journal nor a node id", name)
	}
	return n, nil
}

// item makes an item of an entry; false if it is none.
func (s *shelf) item(e walked) (Item, bool) {
	item := Item{Position: e.position, Record: e.entry.record}
	switch e.entry.kind {
	case entryOwn, entryForeign:
		s.mu.RLock()
		item.Outcome = s.outcomeOf(e.entry.record.ID, e.entry.record.Kind)
		s.mu.RUnlock()
	case entryAttempt:
		item.Outcome = e.entry.outcome
	case entryEvent:
		item.Event = e.entry.event
	default:
		return item, false
	}
	return item, true
}

// passes looks at the item itself: the indexes only narrow down.
func (f *Filter) passes(it *Item) bool {
	if it.Event != nil {
		return f.passesEvent(it.Event) && (f.Match == nil || f.Match(it))
	}
	r := it.Record
	switch {
	case f.OnlyEvents,
		len(f.Kinds) > 0 && !slices.Contains(f.Kinds, r.Kind),
		len(f.Kinds) == 0 && r.Kind == KindBeat,
		f.Outcome != nil && it.Outcome != *f.Outcome,
		!f.within(r.HLC):
		return false
	}
	return f.passesTx(r) && (f.Match == nil || f.Match(it))
}

// within reports whether a time lies in the filter's span.
func (f *Filter) within(t hlc.Time) bool {
	return (f.Since.IsZero() || t.Millis() >= f.Since.UnixMilli()) && (f.Until.IsZero() || t.Millis() <= f.Until.UnixMilli())
}

func (f *Filter) passesEvent(e *Event) bool {
	switch {
	case !slices.Contains(f.Events, e.Kind), !f.within(e.Time),
		f.Outcome != nil, f.Table != "", len(f.Rows) > 0, f.Role != "", f.SQLState != "", f.Command != "", f.Class != nil,
		f.User != "" && e.Who.User != f.User,
		f.Database != "" && e.Who.Database != f.Database,
		f.Application != "" && e.Who.Application != f.Application,
		f.Client != "" && e.Who.Client != f.Client && Host(e.Who.Client) != f.Client,
		f.Session != nil && e.Session() != *f.Session:
		return false
	}
	return true
}

// passesTx looks at what only a transaction has.
func (f *Filter) passesTx(r *Record) bool {
	if !f.asksTx() {
		return true
	}
	tx := r.Tx
	switch {
	case tx == nil,
		f.User != "" && tx.User != f.User,
		f.Database != "" && tx.Database != f.Database,
		f.Application != "" && tx.Application != f.Application,
		f.Client != "" && tx.Client != f.Client && Host(tx.Client) != f.Client,
		f.Session != nil && r.Session() != *f.Session,
		f.Role != "" && !tx.has(func(s *Statement) bool { return s.Role == f.Role }),
		f.SQLState != "" && !tx.has(func(s *Statement) bool { return s.SQLState == f.SQLState }),
		f.Command != "" && !tx.has(func(s *Statement) bool { return s.Command == f.Command }),
		f.Class != nil && !tx.has(func(s *Statement) bool { return s.Class == *f.Class }),
		len(f.Rows) > 0 && !tx.touchesRow(f.Rows):
		return false
	}
	return f.Table == "" || f.touches(tx)
}

func (f *Filter) asksTx() bool {
	return f.User != "" || f.Database != "" || f.Table != "" || f.Application != "" || f.Client != "" || f.Session != nil ||
		f.Role != "" || f.SQLState != "" || f.Command != "" || f.Class != nil || len(f.Rows) > 0
}

func (tx *Tx) has(is func(*Statement) bool) bool {
	for i := range tx.Statements {
		if is(&tx.Statements[i]) {
			return true
		}
	}
	return false
}

// touchesRow reports whether a statement of tx, also one that was rolled back, changes one of these rows.
func (tx *Tx) touchesRow(keys []RowKey) bool {
	return tx.has(func(s *Statement) bool {
		return slices.ContainsFunc(s.Changes, func(c Change) bool {
			rel := &tx.Relations[c.Relation]
			return c.Before != nil && slices.Contains(keys, tx.RowKey(rel, c.Before)) ||
				c.After != nil && slices.Contains(keys, tx.RowKey(rel, c.After))
		})
	})
}

func (f *Filter) touches(tx *Tx) bool {
	for t := range tx.tables() {
		if t == f.Table || bareName(t) == f.Table {
			return true
		}
	}
	return false
}

// Get reads one record with its outcome.
func (s *shelf) Get(id ID) (Item, error) {
	g, p, err := s.locate(id)
	if err != nil {
		return Item{}, err
	}
	r, err := s.written(id)
	if err != nil {
		return Item{}, err
	}
	s.mu.RLock()
	item := Item{Position: p, Record: r, Outcome: s.outcomeOf(id, r.Kind)}
	s.mu.RUnlock()
	if id.Origin == s.self && item.Outcome == OutcomeAborted && r.Kind == KindTx {
		item.Reason, err = s.reason(g, id.Seq)
	}
	return item, err
}

// reason reads why an own record aborted. Its outcome stands in its own segment or a later one; one that is not durable
// yet has none to read.
func (s *shelf) reason(from *segment, seq uint64) (string, error) {
	for _, g := range s.list() {
		if g.first < from.first {
			continue
		}
		p, ok, err := s.outcomePosition(g, seq)
		if err != nil {
			return "", err
		}
		if !ok {
			continue
		}
		b, err := g.read(p)
		if err != nil {
			return "", err
		}
		e, err := readEntry(p, b)
		if err != nil {
			return "", err
		}
		return e.reason, nil
	}
	return "", nil
}

func (s *shelf) outcomePosition(g *segment, seq uint64) (uint64, bool, error) {
	s.mu.RLock()
	if g.mem != nil {
		defer s.mu.RUnlock()
		p, ok := g.mem.outcomes[seq]
		return p, ok, nil
	}
	s.mu.RUnlock()
	return g.sealed.outcomePosition(g, seq)
}
