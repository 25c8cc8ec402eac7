package journal

import (
	"errors"
	"fmt"
	"iter"
)

// AddConflict keeps a verdict, once per winner, loser, row and kind: another one is ignored. It is not waited for.
func (j *Journal) AddConflict(c Conflict) error {
	if err := j.usable(); err != nil {
		return err
	}
	e := conflictEntry(&c)
	known, err := j.knowsConflict(e.conflictKey)
	if err != nil {
		return fmt.Errorf("record conflict: %w", err)
	}
	if known {
		return nil
	}
	j.gate.Lock()
	defer j.gate.Unlock()
	if j.verdict[e.conflictKey] || j.inMemory(e.conflictKey) {
		return nil
	}
	if !j.queue.add(newTicket(false, e)) {
		return ErrClosed
	}
	j.verdict[e.conflictKey] = true
	return nil
}

// inMemory reports whether an unsealed segment holds the conflict.
func (s *shelf) inMemory(k conflictKey) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, g := range s.segments {
		if g.mem != nil {
			if _, ok := g.mem.conflicts[k]; ok {
				return true
			}
		}
	}
	return false
}

// knowsConflict reports whether a sealed segment holds the conflict.
func (s *shelf) knowsConflict(k conflictKey) (bool, error) {
	for _, g := range s.list() {
		s.mu.RLock()
		sealed := g.sealed
		s.mu.RUnlock()
		if sealed == nil {
			continue
		}
		if ok, err := sealed.hasConflict(g, k); ok || err != nil && !errors.Is(err, ErrPruned) {
			return ok, err
		}
	}
	return false, nil
}

// Conflicts gives all verdicts, the newest first.
func (s *shelf) Conflicts() iter.Seq2[Conflict, error] {
	return func(yield func(Conflict, error) bool) {
		w := walk{shelf: s, terms: []string{termConflict}}
		for e, err := range w.entries() {
			if err != nil {
				yield(Conflict{}, err)
				return
			}
			if !yield(*e.entry.conflict, nil) {
				return
			}
		}
	}
}
