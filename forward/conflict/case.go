package conflict

import (
	"slices"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// Case is a transaction as the rules beyond one row see it. It is read-only once it is made.
type Case struct {
	ID      journal.ID
	HLC     hlc.Time
	Knew    journal.Vector
	Touches []Touch
	Binding bool // it cannot be taken back: it has statements that are run again

	tx     *journal.Tx
	ends   []Ending
	claims []claim
	needs  []need
	gone   []gone
	rows   []journal.RowKey // that it changes, each once
	places map[int]*Change
	// The same by what they are about.
	touchesOf map[journal.RowKey][]*Change
	claimsOf  map[journal.RowKey][]claim
	goneOf    map[journal.RowKey][]gone
	parts     map[int][]int // what goes with a delete, if it loses: by place, the places
}

// claim is a value of a unique key that a change gives its row.
type claim struct {
	key    journal.RowKey
	row    journal.RowKey
	place  int
	rel    *journal.Relation
	unique *journal.Unique
	upsert bool // an ON CONFLICT DO UPDATE: it takes the value or leaves it, by whether the row lives where it is played
}

// need is a row, or a value of a unique key, that a change's row refers to from now on.
type need struct {
	key   journal.RowKey
	row   journal.RowKey
	place int
	// upsert is as with claim.
	upsert bool
}

// gone is a row, or a value of a unique key, that a change takes away from whoever refers to it.
type gone struct {
	key   journal.RowKey
	row   journal.RowKey
	place int
	alone bool // a delete, which can lose alone; else a changed key
}

// NewCase reads a record, whose touches Whole gives. It has none if the record is of no transaction.
func NewCase(rec *journal.Record, touches []Touch) *Case {
	c := &Case{ID: rec.ID, HLC: rec.HLC, Knew: rec.Knew, tx: rec.Tx, Touches: touches, ends: Endings(rec), parts: map[int][]int{}, places: map[int]*Change{},
		touchesOf: map[journal.RowKey][]*Change{}, claimsOf: map[journal.RowKey][]claim{}, goneOf: map[journal.RowKey][]gone{}}
	if rec.Tx == nil {
		return c
	}
	for i := range rec.Tx.Statements {
		st := &rec.Tx.Statements[i]
		c.Binding = c.Binding || st.Replay != nil && st.Capture == journal.CaptureStatement && !st.RolledBack && st.SQLState == ""
	}
	seen := map[journal.RowKey]bool{}
	for _, t := range c.Touches {
		for _, k := range [2]journal.RowKey{t.Key, t.Other} {
			if k != "" && !seen[k] {
				seen[k] = true
				c.rows = append(c.rows, k)
			}
		}
		c.places[t.Change.Place] = t.Change
		if !t.Keyless {
			c.touchesOf[t.Key] = append(c.touchesOf[t.Key], t.Change)
		}
	}
	for _, t := range c.Touches {
		c.read(t)
	}
	for _, cl := range c.claims {
		c.claimsOf[cl.key] = append(c.claimsOf[cl.key], cl)
	}
	for _, g := range c.gone {
		c.goneOf[g.key] = append(c.goneOf[g.key], g)
	}
	c.cascades()
	return c
}

// Rows lists the rows that c changes, each once.
func (c *Case) Rows() []journal.RowKey { return c.rows }

// Beyond lists the keys of the row index, but for those of its rows, under which stands what c may clash with.
func (c *Case) Beyond() []journal.RowKey {
	var keys []journal.RowKey
	for _, cl := range c.claims {
		keys = append(keys, cl.key.Claimed())
	}
	for _, n := range c.needs {
		keys = append(keys, n.key.Released())
	}
	for _, g := range c.gone {
		keys = append(keys, g.key.Referenced())
	}
	return keys
}

// knows reports whether the author of c knew d.
func (c *Case) knows(id journal.ID) bool { return c.ID == id || c.Knew.Covers(id) }

// unaware reports whether neither knew the other.
func unaware(a, b *Case) bool { return !a.knows(b.ID) && !b.knows(a.ID) }

func orderCases(a, b *Case) int { return journal.Order(a.HLC, a.ID, b.HLC, b.ID) }

// held gives the values of unique keys that a touch's row holds before or after it, and what it refers to.
func (c *Case) held(t Touch) (values, refers []journal.RowKey) {
	rel := t.Change.Relation
	for _, row := range [2][]journal.Value{t.Change.Before, t.Change.After} {
		for i := range rel.Uniques {
			if u := &rel.Uniques[i]; u.Plain() {
				if k, ok := c.tx.UniqueKey(rel, u.Columns, row); ok {
					values = append(values, k)
				}
			}
		}
		for i := range rel.References {
			if k, ok := c.tx.ReferenceKey(rel, &rel.References[i], row); ok {
				refers = append(refers, k)
			}
		}
	}
	return values, refers
}

func (c *Case) read(t Touch) {
	ch, rel := t.Change, t.Change.Relation
	if !t.Keyless && ch.Op == journal.OpDelete {
		c.gone = append(c.gone, gone{t.Key, t.Key, ch.Place, !ch.Moved})
	}
	for i := range rel.Uniques {
		if u := &rel.Uniques[i]; u.Plain() && !t.Keyless {
			c.readUnique(t, u)
		}
	}
	for i := range rel.References {
		ref := &rel.References[i]
		now, has := c.tx.ReferenceKey(rel, ref, ch.After)
		if has && (ch.Op == journal.OpInsert || ch.Op == journal.OpUpdate && ch.sets(ref.Columns)) {
			row := t.Key
			if t.Other != "" {
				row = t.Other
			}
			c.needs = append(c.needs, need{now, row, ch.Place, c.open(t, ref.Columns)})
		}
	}
}

func (c *Case) readUnique(t Touch, u *journal.Unique) {
	ch := t.Change
	old, had := c.tx.UniqueKey(ch.Relation, u.Columns, ch.Before)
	now, has := c.tx.UniqueKey(ch.Relation, u.Columns, ch.After)
	if has && (ch.Op == journal.OpInsert || ch.Op == journal.OpUpdate && ch.sets(u.Columns)) {
		c.claims = append(c.claims, claim{now, t.Key, ch.Place, ch.Relation, u, c.open(t, u.Columns)})
	}
	if had && (!has || old != now) {
		c.gone = append(c.gone, gone{old, t.Key, ch.Place, ch.Op == journal.OpDelete && !ch.Moved})
	}
}

// open reports whether t is an ON CONFLICT DO UPDATE after which the transaction leaves the columns of its row alone.
func (c *Case) open(t Touch, columns []int) bool {
	return t.Change.Op == journal.OpInsert && t.Change.Upsert != nil && !slices.ContainsFunc(c.touchesOf[t.Key], func(o *Change) bool {
		return o.Place > t.Change.Place && (o.Op != journal.OpUpdate || o.sets(columns))
	})
}

// sets reports whether an update sets one of the columns.
func (c *Change) sets(columns []int) bool {
	return slices.ContainsFunc(columns, func(i int) bool { return slices.Contains(c.Set, i) })
}

// cascades finds what each delete stands and falls with: what its own cascade did, and the deletes of the rows that its
// row refers to.
func (c *Case) cascades() {
	if len(c.gone) == 0 {
		return
	}
	for _, t := range c.Touches {
		ch := t.Change
		if ch.Op == journal.OpInsert || !ch.Cascade && ch.Op != journal.OpDelete {
			continue
		}
		for i := range ch.Relation.References {
			key, ok := c.tx.ReferenceKey(ch.Relation, &ch.Relation.References[i], ch.Before)
			if !ok {
				continue
			}
			for _, parent := range c.goneOf[key] {
				if parent.alone && ch.Cascade {
					c.parts[parent.place] = append(c.parts[parent.place], ch.Place)
				}
				if parent.alone && ch.Op == journal.OpDelete {
					c.parts[ch.Place] = append(c.parts[ch.Place], parent.place)
				}
			}
		}
	}
}
