package journal

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"pgproxy/journal/hlc"
)

// Gate is what apply may see and do while nothing can be sealed or stored. It must not be kept.
type Gate struct {
	j      *Journal
	err    error // of the index: what Changes gave may be too little
	marked []ID
	moved  bool // the applied vector
}

// Gate runs f while nothing can be sealed. f must not block on anything, and must not call the journal but through g. If the
// row index could not be read, Gate says so whatever f returned, and what f marked as applied is taken back.
func (j *Journal) Gate(f func(g *Gate) error) error {
	if err := j.usable(); err != nil {
		return err
	}
	j.gate.Lock()
	defer j.gate.Unlock()
	g := &Gate{j: j}
	err := f(g)
	if g.err != nil {
		g.UnmarkApplied(g.marked...)
		err = errors.Join(err, g.err)
	}
	if g.moved {
		j.watchers.notify()
	}
	return err
}

// Ref is a record that changes a row.
type Ref struct {
	ID      ID
	HLC     hlc.Time
	Outcome Outcome // OutcomeUnknown: pending, or in doubt
}

// Changes lists what is known of a row: every record that changes it and did not abort, own (pending ones too) and
// others' that are stored, in the global order. A record that does not change the row may be among them, because the
// index keeps only a hash of the key: the record itself decides.
func (g *Gate) Changes(k RowKey) []Ref { return g.ChangesSince(k, 0) }

// ChangesSince is Changes without those at or before t.
func (g *Gate) ChangesSince(k RowKey, t hlc.Time) []Ref {
	h := k.hash()
	j := g.j
	found := later(nil, j.pending[h], t)
	large := laterLarge(nil, maps.Values(j.large), t)
	var sealed []*segment
	j.mu.RLock()
	for _, s := range j.segments {
		large = laterLarge(large, slices.Values(s.large()), t)
		if s.mem != nil {
			found = later(found, s.mem.rows[h], t)
		} else {
			sealed = append(sealed, s)
		}
	}
	j.mu.RUnlock()
	for _, s := range sealed {
		refs, err := s.sealed.refs(s, h, t)
		if err != nil && !errors.Is(err, ErrPruned) {
			g.err = errors.Join(g.err, fmt.Errorf("look up row: %w", err))
		}
		found = append(found, refs...)
	}
	found, err := j.images.refs(found, large, h)
	if err != nil {
		g.err = errors.Join(g.err, fmt.Errorf("look up row: %w", err))
	}
	return j.refs(found)
}

// laterLarge appends those after t that have a place in a stream.
func laterLarge(found []largeRef, refs iter.Seq[largeRef], t hlc.Time) []largeRef {
	for l := range refs {
		if l.hlc > t && l.id.Seq > 0 {
			found = append(found, l)
		}
	}
	return found
}

// later appends the refs after t.
func later(found, refs []rowRef, t hlc.Time) []rowRef {
	i := len(refs)
	for i > 0 && refs[i-1].hlc > t {
		i--
	}
	return append(found, refs[i:]...)
}

// refs leaves out what did not commit and says what became of the rest.
func (s *shelf) refs(found []rowRef) []Ref {
	s.mu.RLock()
	defer s.mu.RUnlock()
	refs := make([]Ref, 0, len(found))
	durable := s.durable.tails[s.self].seq
	for _, r := range found {
		ref := Ref{ID: r.id, HLC: r.hlc, Outcome: s.outcomeOf(r.id, KindTx)}
		if r.id.Origin == s.self && r.id.Seq > durable {
			ref.Outcome = OutcomeUnknown
		}
		if ref.Outcome != OutcomeAborted {
			refs = append(refs, ref)
		}
	}
	return refs
}

// Applied gives the applied vector as the next sealed record will know it.
func (g *Gate) Applied() Vector {
	v := g.j.applied.vector.Clone()
	if seq := g.j.tails[g.j.self].seq; seq > 0 {
		v[g.j.self] = seq
	}
	return v
}

// MarkApplied counts records as applied, before the COMMIT that applies them is sent: what is sealed from now on knows them.
func (g *Gate) MarkApplied(ids ...ID) {
	for _, id := range ids {
		if id.Origin != g.j.self {
			g.j.applied.mark(id)
			g.marked = append(g.marked, id)
			g.moved = true
		}
	}
}

// UnmarkApplied takes MarkApplied back: the COMMIT failed.
func (g *Gate) UnmarkApplied(ids ...ID) {
	for _, id := range ids {
		if id.Origin != g.j.self {
			g.j.applied.unmark(id)
			g.moved = true
		}
	}
}
