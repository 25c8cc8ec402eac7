package journal

import (
	"bytes"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// findRows makes touched the positions in g of the entries that touch any of w's rows, with effect or without.
func (w *walk) findRows(g *segment) error {
	if len(w.rows) == 0 {
		return nil
	}
	w.shelf.mu.RLock()
	mem, sealed, large := g.mem, g.sealed, g.large()
	var at sorted
	for _, h := range w.rows {
		if mem == nil {
			break
		}
		at = append(at, mem.terms[rowTerm(h)]...)
		for _, ref := range mem.rows[h] {
			at = append(at, mem.positions(ref.id)[0])
		}
	}
	w.shelf.mu.RUnlock()
	if mem == nil {
		if w.touchedIn == g {
			return nil // what is sealed never changes
		}
		for _, h := range w.rows {
			more, err := sealed.touched(g, h)
			if err != nil {
				return err
			}
			at = append(at, more...)
		}
	}
	for _, l := range large {
		for _, h := range w.rows {
			ok, err := w.shelf.images.changes(l.images, h)
			if err != nil {
				return err
			}
			if ok {
				at = append(at, l.position)
			}
		}
	}
	slices.Sort(at)
	w.touched, w.touchedIn = slices.Compact(at), g
	return nil
}

// touched gives the positions in g, whose index s is, that touch a row; in no order.
func (s *sealedIndex) touched(g *segment, h rowHash) ([]uint64, error) {
	var at []uint64
	err := g.view(func(tx *bolt.Tx) error {
		c := &termChunks{cursor: tx.Bucket(bucketTerms).Cursor(), term: rowTerm(h)}
		for p, ok := c.next(g.first, true); ok; p, ok = c.next(p+1, true) {
			at = append(at, p)
		}
		return c.err
	})
	if err != nil {
		return nil, err
	}
	refs, err := s.refs(g, h, 0)
	if err != nil {
		return nil, err
	}
	for _, r := range refs {
		run, err := s.positions(g, r.id)
		if err != nil {
			return nil, err
		}
		if len(run) > 0 {
			at = append(at, run[0])
		}
	}
	return at, nil
}

// Row lists the records that change a row and did not abort, in the global order; of this node's, those that are durable.
func (s *shelf) Row(k RowKey) ([]Ref, error) {
	h := k.hash()
	var found []rowRef
	var sealed []*segment
	var large []largeRef
	s.mu.RLock()
	for _, g := range s.segments {
		large = laterLarge(large, slices.Values(g.large()), 0)
		if g.mem != nil {
			found = append(found, g.mem.rows[h]...)
		} else {
			sealed = append(sealed, g)
		}
	}
	s.mu.RUnlock()
	for _, g := range sealed {
		refs, err := g.sealed.refs(g, h, 0)
		if err != nil {
			return nil, err
		}
		found = append(found, refs...)
	}
	found, err := s.images.refs(found, large, h)
	if err != nil {
		return nil, err
	}
	return s.refs(found), nil
}

// Databases lists the databases that any entry names.
func (s *shelf) Databases() ([]string, error) { return s.names(termDatabase) }

// Users lists the login users that any entry names.
func (s *shelf) Users() ([]string, error) { return s.names(termUser) }

// names lists the names that have terms of a letter, in order; those that are too long to be terms are not among them.
func (s *shelf) names(letter string) ([]string, error) {
	set := map[string]bool{}
	for _, g := range s.list() {
		s.mu.RLock()
		mem := g.mem
		if mem != nil {
			for t := range mem.terms {
				if len(t) > len(letter) && t[:len(letter)] == letter {
					set[t[len(letter):]] = true
				}
			}
		}
		s.mu.RUnlock()
		if mem != nil {
			continue
		}
		err := g.view(func(tx *bolt.Tx) error {
			c := tx.Bucket(bucketTerms).Cursor()
			k, _ := c.Seek([]byte(letter))
			for bytes.HasPrefix(k, []byte(letter)) {
				end := bytes.IndexByte(k, 0)
				if end < 0 {
					return ErrDamaged
				}
				name := string(k[len(letter):end])
				set[name] = true
				k, _ = c.Seek([]byte(letter + name + "\x01"))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return sortedNames(set), nil
}
