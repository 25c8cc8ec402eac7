package apply

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// fold locks the row and writes what all its changes, with this record's, make of it.
func (s *single) fold(tab *table, t conflict.Touch) error {
	rel, key := t.Change.Relation, t.Change.After
	if t.Change.Op != journal.OpInsert && t.Change.Before != nil {
		key = t.Change.Before
	}
	f := &flight{}
	lock, err := tab.lock(f, rel, key)
	if err != nil {
		return err
	}
	if err := s.d.s.do(f); err != nil {
		return err
	}
	h, err := s.history(t.Key, s.d.ended(rel))
	if err != nil {
		return err
	}
	r, err := h.Result(s.d.checker(tab))
	if err != nil {
		s.d.histories.drop(t.Key)
		return err
	}
	f = &flight{}
	if _, err := tab.write(f, rel, key, r, lock.tag > 0); err != nil {
		gone, e := s.removed(t, err)
		if !gone {
			return errors.Join(err, e)
		}
		if _, err = tab.without().write(f, rel, key, r, lock.tag > 0); err != nil {
			return err
		}
	}
	if len(f.steps) > 0 {
		if err := s.d.s.do(f); err != nil {
			return err
		}
	}
	s.a.counts.Merged++
	s.tell(t.Key, h.Decisions(s.rec.ID))
	return nil
}

// checker asks the database whether it would take a row.
func (d *database) checker(tab *table) conflict.Check {
	if len(tab.checks) == 0 {
		return nil
	}
	return func(rel *journal.Relation, row conflict.Row) (bool, error) {
		w := &writer{}
		w.s("SELECT (")
		sep := ""
		for _, c := range tab.checks {
			w.s(sep, "(", c.expression, ") IS NOT FALSE")
			sep = " AND "
		}
		w.s(")::pg_catalog.text FROM (SELECT ")
		sep = ""
		for _, n := range slices.Sorted(maps.Keys(tab.columns)) {
			v, ok := row[n]
			if !ok {
				v = journal.Null()
			}
			w.s(sep, w.arg(v), "::", tab.columns[n].typ, " AS ", ident(n))
			sep = ", "
		}
		w.s(") AS ", ident(rel.Name))
		rows, err := d.s.query(w.b.String(), w.args...)
		if err != nil {
			return false, fmt.Errorf("ask for the checks of %s.%s: %w", rel.Schema, rel.Name, err)
		}
		return string(rows[0][0]) == "true", nil
	}
}

// refs gives the records that are in a row, with s's own, as the index knows them.
func (s *single) refs(g *journal.Gate, applied journal.Vector, k journal.RowKey) (refs map[journal.ID]bool, pending bool) {
	refs = map[journal.ID]bool{s.rec.ID: true}
	for _, ref := range g.Changes(k) {
		here, wait := s.a.here(ref, applied)
		if here {
			refs[ref.ID] = true
		}
		pending = pending || wait
	}
	return refs, pending
}

// history gives the row's changes up to now, and notes what they were.
func (s *single) history(k journal.RowKey, ends []*conflict.Change) (*conflict.History, error) {
	var refs map[journal.ID]bool
	var pending bool
	err := s.a.o.Journal.Gate(func(g *journal.Gate) error {
		refs, pending = s.refs(g, g.Applied(), k)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up row: %w", err)
	}
	if pending {
		return nil, errPending
	}
	all := maps.Clone(refs)
	for _, e := range ends {
		all[e.ID] = true
	}
	h := s.d.histories.get(k)
	if len(s.changed) > 0 || !h.Within(all) {
		h = conflict.NewHistory() // something in it was not applied after all
	}
	h.Add(ends...)
	for id := range refs {
		if h.Has(id) {
			continue
		}
		rec, err := s.a.record(id, []*item{{rec: s.rec}})
		if err != nil {
			return nil, fmt.Errorf("read record %s: %w", id, err)
		}
		touches, err := conflict.Of(rec, k)
		if err != nil {
			return nil, err
		}
		for _, t := range touches {
			if t.Key == k && !t.Keyless {
				h.Add(s.verdict(id).Stands(t.Change))
			}
		}
	}
	if len(s.changed) > 0 {
		s.d.histories.drop(k) // what is ruled is not so before COMMIT
	} else {
		s.d.histories.put(k, h)
	}
	s.folded[k] = refs
	return h, nil
}
