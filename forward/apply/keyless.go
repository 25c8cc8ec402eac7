package apply

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// kin are the rows of a table without key that hang together, because changes took one and made another, with all those
// changes, this record's included.
type kin struct {
	keys    []journal.RowKey
	image   map[journal.RowKey][]journal.Value
	rel     map[journal.RowKey]*journal.Relation
	changes []conflict.Count
	own     map[*conflict.Change]bool // of this record
	coming  map[*conflict.Change]bool // of those, what has not been written as it stands: the table does not show it yet
}

// count makes the number of rows of each kind what the fold of all their changes says.
func (s *single) count(t conflict.Touch) error {
	k, err := s.kin(t)
	if err != nil {
		return err
	}
	now, err := s.lockEqual(k)
	if err != nil {
		return err
	}
	base, kept, err := s.bases(k, now)
	if err != nil {
		return err
	}
	if ends := s.d.ended(t.Change.Relation); len(ends) > 0 { // what was before the last of them has left nothing
		last := slices.MaxFunc(ends, conflict.Order)
		k.changes = slices.DeleteFunc(k.changes, func(c conflict.Count) bool { return !k.own[c.Change] && conflict.Order(c.Change, last) < 0 })
		k.changes = append(k.changes, conflict.Count{Change: last})
		for _, key := range k.keys {
			base[key], kept[key] = 0, true
		}
	}
	want, decisions := conflict.Counts(base, k.changes)
	f := &flight{}
	for _, key := range k.keys {
		tab, err := s.d.table(k.rel[key])
		if err != nil {
			return err
		}
		for n := now[key]; n < want[key]; n++ {
			if _, err := tab.insert(f, k.rel[key], k.image[key]); err != nil {
				return err
			}
		}
		for n := now[key]; n > want[key]; n-- {
			if _, err := tab.takeOne(f, k.rel[key], k.image[key], nil, nil); err != nil {
				return err
			}
		}
		if len(decisions) > 0 && !kept[key] {
			f.add("INSERT INTO pgproxy.keyless (row_key, base) VALUES ($1::bytea, $2::int8) ON CONFLICT DO NOTHING",
				journal.Text(keyHash(key)), journal.Text(strconv.Itoa(base[key])))
		}
	}
	if len(f.steps) > 0 {
		if err := s.d.s.do(f); err != nil {
			return err
		}
	}
	s.a.counts.Merged++
	for _, key := range k.keys {
		s.tell(key, decisions)
	}
	return nil
}

func keyHash(k journal.RowKey) string {
	sum := sha256.Sum256([]byte(k))
	return `\x` + hex.EncodeToString(sum[:])
}

// kin follows the changes from row to row.
func (s *single) kin(t conflict.Touch) (*kin, error) {
	k := &kin{image: map[journal.RowKey][]journal.Value{}, rel: map[journal.RowKey]*journal.Relation{}, own: map[*conflict.Change]bool{},
		coming: map[*conflict.Change]bool{}}
	type at struct {
		id    journal.ID
		place int
	}
	seen := map[at]bool{}
	k.meet(t)
	for i := 0; i < len(k.keys); i++ {
		key := k.keys[i]
		var refs map[journal.ID]bool
		var pending bool
		err := s.a.o.Journal.Gate(func(g *journal.Gate) error {
			refs, pending = s.refs(g, g.Applied(), key)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("look up row: %w", err)
		}
		if pending {
			return nil, errPending
		}
		s.folded[key] = refs
		for id := range refs {
			rec, err := s.a.record(id, []*item{{rec: s.rec}})
			if err != nil {
				return nil, fmt.Errorf("read record %s: %w", id, err)
			}
			touches, err := conflict.Of(rec, key)
			if err != nil {
				return nil, err
			}
			for _, o := range touches {
				if !o.Keyless || seen[at{id, o.Change.Place}] {
					continue
				}
				seen[at{id, o.Change.Place}] = true
				k.meet(o)
				shown := !s.d.judge.Verdict(id).Stands(o.Change).Void && (id != s.rec.ID || s.stood[o.Change.Place])
				o.Change = s.verdict(id).Stands(o.Change)
				k.changes = append(k.changes, conflict.CountOf(o))
				k.own[o.Change], k.coming[o.Change] = id == s.rec.ID, !shown
			}
		}
	}
	return k, nil
}

func (k *kin) meet(t conflict.Touch) {
	add := func(key journal.RowKey, image []journal.Value) {
		if key != "" && !slices.Contains(k.keys, key) {
			k.keys = append(k.keys, key)
			k.image[key], k.rel[key] = image, t.Change.Relation
		}
	}
	if t.Change.Op == journal.OpInsert {
		add(t.Key, t.Change.After)
		return
	}
	add(t.Key, t.Change.Before)
	add(t.Other, t.Change.After)
}

// lockEqual locks the rows and counts them.
func (s *single) lockEqual(k *kin) (map[journal.RowKey]int, error) {
	now := map[journal.RowKey]int{}
	for _, key := range k.keys {
		tab, err := s.d.table(k.rel[key])
		if err != nil {
			return nil, err
		}
		w := &writer{}
		w.s("SELECT FROM ", tab.only())
		if err := tab.equal(w, k.rel[key], k.image[key]); err != nil {
			return nil, err
		}
		w.s(" FOR UPDATE")
		f := &flight{}
		st := w.add(f)
		if err := s.d.s.do(f); err != nil {
			return nil, err
		}
		now[key] = int(st.tag)
	}
	return now, nil
}

// bases gives how many rows there were before the first change: what was kept, else the count of now less what the
// changes that are in the table added. That is exact as long as each of them found its row; the first that does not has it
// kept. What this transaction has already written as it stands is in the table too.
func (s *single) bases(k *kin, now map[journal.RowKey]int) (base map[journal.RowKey]int, kept map[journal.RowKey]bool, err error) {
	var in []conflict.Count
	for _, c := range k.changes {
		if !k.coming[c.Change] {
			in = append(in, c)
		}
	}
	net := conflict.Net(in)
	base, kept = map[journal.RowKey]int{}, map[journal.RowKey]bool{}
	for _, key := range k.keys {
		rows, err := s.d.s.query("SELECT base::text FROM pgproxy.keyless WHERE row_key = $1::bytea", journal.Text(keyHash(key)))
		if err != nil {
			return nil, nil, fmt.Errorf("read the count of a row without key: %w", err)
		}
		base[key] = max(now[key]-net[key], 0)
		if len(rows) == 1 {
			kept[key] = true
			if base[key], err = strconv.Atoi(string(rows[0][0])); err != nil {
				return nil, nil, fmt.Errorf("read the count of a row without key: %w", err)
			}
		}
	}
	return base, kept, nil
}
