package conflict

import (
	"slices"

	"pgproxy/journal"
)

// view is what a transaction's author had, without the losers. Keys of rows and of values of unique keys are told apart by
// what they are made of.
type view interface {
	// row gives a row; known is false where the view has nothing about it, and then it is as the author saw it.
	row(k journal.RowKey) (f found, known bool, err error)
	// holders gives the rows that may hold a value of a unique key; refer those that may refer to a row or a value.
	// Both look at the transaction's own rows too.
	holders(value journal.RowKey) ([]journal.RowKey, error)
	refer(to journal.RowKey) ([]journal.RowKey, error)
}

// found is a row in a view.
type found struct {
	rel *journal.Relation
	s   *state
}

// recheck is rule V3: it judges a transaction in its author's eyes, with the losers gone.
type recheck struct {
	c    *Case
	v    *Verdict
	w    view
	r    *Rules
	rows map[journal.RowKey]found // those that the transaction changes, after it
}

// judge adds to the verdict until nothing is wrong with what is left.
func (k *recheck) judge() error {
	for !k.v.Aside {
		if ok, err := k.play(); err != nil || !ok {
			return err
		}
		for _, f := range []func() (bool, error){k.claims, k.needs} {
			if ok, err := f(); err != nil || !ok {
				return err
			}
		}
		more, err := k.deletes()
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// play does the transaction's changes in the view. It reports false where the transaction is set aside.
func (k *recheck) play() (bool, error) {
	k.rows = map[journal.RowKey]found{}
	for _, t := range k.c.Touches {
		if t.Keyless {
			continue
		}
		c := k.v.Stands(t.Change)
		f, ok := k.rows[t.Key]
		if !ok {
			seen, known, err := k.w.row(t.Key)
			if err != nil {
				return false, err
			}
			if f = seen; !known {
				f = found{c.Relation, start(Base(c))}
			}
			f.rel, f.s = c.Relation, f.s.clone()
			k.rows[t.Key] = f
		}
		if len(k.c.ends) > 0 && k.c.ended(t) {
			f.s.living, f.s.row = false, nil
		}
		switch {
		case c.Void:
			continue
		case c.Op == journal.OpUpdate && !f.s.living, c.Moved && !f.s.living:
			k.v.aside(k.c, Loss{Kind: opName(c) + "/loser", Rule: RuleKnewRow, Place: c.Place})
			return false, nil
		case c.Op == journal.OpInsert && c.Upsert == nil && f.s.living:
			k.v.aside(k.c, Loss{Kind: "insert/loser", Rule: RuleKnewKey, Place: c.Place})
			return false, nil
		}
		if err := f.s.step(c, nil, k.r.Check, &decisions{}); err != nil {
			return false, err
		}
	}
	return true, nil
}

// ended reports whether the transaction itself truncated the table of a row between its last change of it and t.
func (c *Case) ended(t Touch) bool {
	last := -1
	for _, o := range c.touchesOf[t.Key] {
		if o.Place < t.Change.Place {
			last = o.Place
		}
	}
	return slices.ContainsFunc(c.ends, func(e Ending) bool {
		return e.Table == t.Change.Relation.Schema+"."+t.Change.Relation.Name && e.Change.Place > last && e.Change.Place < t.Change.Place
	})
}

// at gives a row with the transaction's changes.
func (k *recheck) at(key journal.RowKey) (f found, known bool, err error) {
	if f, ok := k.rows[key]; ok {
		return f, true, nil
	}
	return k.w.row(key)
}

// holds reports whether a living row has a value under one of its keys.
func (k *recheck) holds(f found, value journal.RowKey) bool {
	if !f.s.living {
		return false
	}
	row := image(f)
	if key, ok := k.c.tx.UniqueKey(f.rel, f.rel.Key, row); ok && key == value {
		return true
	}
	for i := range f.rel.Uniques {
		if u := &f.rel.Uniques[i]; u.Plain() {
			if key, ok := k.c.tx.UniqueKey(f.rel, u.Columns, row); ok && key == value {
				return true
			}
		}
	}
	return false
}

// refers reports whether a living row refers to a row or value.
func (k *recheck) refers(f found, to journal.RowKey) bool {
	if !f.s.living {
		return false
	}
	row := image(f)
	for i := range f.rel.References {
		if key, ok := k.c.tx.ReferenceKey(f.rel, &f.rel.References[i], row); ok && key == to {
			return true
		}
	}
	return false
}

// image gives a row by column of its relation.
func image(f found) []journal.Value {
	out := make([]journal.Value, len(f.rel.Columns))
	for i, c := range f.rel.Columns {
		out[i] = f.s.row[c.Name]
	}
	return out
}

// claims sets the transaction aside where somebody else has a key that it takes.
func (k *recheck) claims() (bool, error) {
	for _, cl := range k.c.claims {
		if !cl.upsert && !k.holds(k.rows[cl.row], cl.key) || k.v.Stands(k.c.places[cl.place]).Void {
			continue
		}
		others, err := k.w.holders(cl.key)
		if err != nil {
			return false, err
		}
		for _, o := range others {
			f, known, err := k.at(o)
			if err != nil {
				return false, err
			}
			if o != cl.row && known && k.holds(f, cl.key) {
				k.v.aside(k.c, Loss{Kind: "unique/loser", Rule: RuleKnewKey, Place: cl.place})
				return false, nil
			}
		}
	}
	return true, nil
}

// needs sets the transaction aside where what it refers to is not there.
func (k *recheck) needs() (bool, error) {
	for _, n := range k.c.needs {
		if f, ok := k.rows[n.row]; !n.upsert && ok && !k.refers(f, n.key) || k.v.Stands(k.c.places[n.place]).Void {
			continue
		}
		there, err := k.there(n.key)
		if err != nil {
			return false, err
		}
		if !there {
			k.v.aside(k.c, Loss{Kind: "reference/loser", Rule: RuleKnewRef, Place: n.place})
			return false, nil
		}
	}
	return true, nil
}

func (k *recheck) there(key journal.RowKey) (bool, error) {
	may, err := k.w.holders(key)
	if err != nil {
		return false, err
	}
	any := false
	for _, o := range append(may, key) {
		f, known, err := k.at(o)
		if err != nil {
			return false, err
		}
		if any = any || known; known && k.holds(f, key) {
			return true, nil
		}
	}
	return !any, nil // nobody ever changed it: the author saw it
}

// deletes lets those lose that would leave somebody who refers to the row, and reports whether there were any.
func (k *recheck) deletes() (more bool, err error) {
	for _, g := range k.c.gone {
		if k.v.Stands(k.c.places[g.place]).Void {
			continue
		}
		if there, err := k.again(g.key); err != nil || there {
			if err != nil {
				return false, err
			}
			continue
		}
		children, err := k.w.refer(g.key)
		if err != nil {
			return false, err
		}
		for _, o := range children {
			f, known, err := k.at(o)
			if err != nil {
				return false, err
			}
			if !known || !k.refers(f, g.key) {
				continue
			}
			if !g.alone {
				k.v.aside(k.c, Loss{Kind: "move/loser", Rule: RuleChild, Place: g.place})
				return false, nil
			}
			more = k.v.lose(k.c, Loss{Kind: "delete/loser", Rule: RuleChild, Place: g.place}) || more
			break
		}
	}
	return more, nil
}

// again reports whether the transaction itself has made again what it took away.
func (k *recheck) again(key journal.RowKey) (bool, error) {
	if f, ok := k.rows[key]; ok && k.holds(f, key) {
		return true, nil
	}
	for _, cl := range k.c.claimsOf[key] {
		if f, ok := k.rows[cl.row]; ok && k.holds(f, key) {
			return true, nil
		}
	}
	return false, nil
}
