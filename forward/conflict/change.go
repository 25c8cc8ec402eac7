package conflict

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// Change is what one record does to one row, at one place in the record.
type Change struct {
	ID    journal.ID
	HLC   hlc.Time
	Knew  journal.Vector
	Place int // among the record's changes

	Relation      *journal.Relation
	Op            journal.Op
	Before, After []journal.Value // by column of Relation; nil where there is none
	Set           []int           // OpUpdate
	Delta         []int           // OpUpdate, and OpInsert with Upsert: the columns that add
	Upsert        []int           // OpInsert: the columns of its DO UPDATE
	Moved         bool            // OpDelete: half of a changed key
	Ends          bool            // OpDelete of all rows: TRUNCATE. It never loses, and has no Relation
	Cascade       bool
	Void          bool // it does not stand: nothing is played
}

// knows reports whether the author of c knew d when it wrote c. A transaction knows itself.
func (c *Change) knows(d *Change) bool { return c.ID == d.ID || c.Knew.Covers(d.ID) }

// Order compares two changes in the global order.
func Order(a, b *Change) int {
	if o := journal.Order(a.HLC, a.ID, b.HLC, b.ID); o != 0 {
		return o
	}
	return a.Place - b.Place
}

// Touch is a change with the row that it is about.
type Touch struct {
	Key     journal.RowKey
	Keyless bool           // a table without key: Change is the whole change, and Other its second row where it is an update
	Other   journal.RowKey // "" where there is none
	Change  *Change
}

// Touches gives a transaction's changes by row, in order, without those in its images (All gives them too). What was rolled
// back is left out. An update that changes the key is two touches: the delete of the old row, the insert of the new one.
func Touches(rec *journal.Record) []Touch {
	if rec.Tx == nil {
		return nil
	}
	var out []Touch
	place := 0
	for i := range rec.Tx.Statements {
		st := &rec.Tx.Statements[i]
		if begin(st, &place) {
			for j := range st.Changes {
				out = appendTouches(out, rec, &st.Changes[j], place+places*j)
			}
			place += places * len(st.Changes)
		}
	}
	return out
}

// places is how many places in a record a change takes: a changed key is two touches.
const places = 2

// begin moves place to the first of a statement's changes, past those in images; false if the statement has no effect.
func begin(st *journal.Statement, place *int) bool {
	if st.RolledBack || st.SQLState != "" {
		return false
	}
	if truncates(st) {
		*place += places
	}
	if st.Stored != nil {
		*place += places * int(st.Stored.Count())
	}
	return true
}

// All gives the touches of a transaction, those of changes in its images too, which are read on the way.
func All(rec *journal.Record) iter.Seq2[Touch, error] {
	return func(yield func(Touch, error) bool) {
		if rec.Tx == nil {
			return
		}
		place := 0
		for i := range rec.Tx.Statements {
			for t, err := range OfStatement(rec, i, &place) {
				if !yield(t, err) || err != nil {
					return
				}
			}
		}
	}
}

// Whole gives the touches of a transaction all together, those of changes in its images too.
func Whole(rec *journal.Record) ([]Touch, error) {
	if rec.Tx == nil || rec.Tx.Images == nil {
		return Touches(rec), nil
	}
	var out []Touch
	for t, err := range All(rec) {
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// OfStatement gives the touches of one statement; place counts on over the statements of a record.
func OfStatement(rec *journal.Record, statement int, place *int) iter.Seq2[Touch, error] {
	return func(yield func(Touch, error) bool) {
		st := &rec.Tx.Statements[statement]
		if !begin(st, place) {
			return
		}
		*place += places * len(st.Changes)
		at := *place - places*int(st.Count())
		var out []Touch
		for c, err := range rec.Tx.Each(st) {
			if err != nil {
				yield(Touch{}, fmt.Errorf("read record %s: %w", rec.ID, err))
				return
			}
			out = appendTouches(out[:0], rec, c, at)
			at += places
			for _, t := range out {
				if !yield(t, nil) {
					return
				}
			}
		}
	}
}

// Of gives the touches of one row. Of a transaction with images only the parts that hold the row are read.
func Of(rec *journal.Record, k journal.RowKey) (of []Touch, err error) {
	add := func(touches []Touch) {
		for _, t := range touches {
			if t.Key == k || t.Other == k {
				of = append(of, t)
			}
		}
	}
	if rec.Tx == nil || rec.Tx.Images == nil {
		add(Touches(rec))
		return of, nil
	}
	place := 0
	for i := range rec.Tx.Statements {
		st := &rec.Tx.Statements[i]
		if !begin(st, &place) {
			continue
		}
		if st.Stored != nil {
			from := place - places*int(st.Stored.Count())
			err := rec.Tx.EachOf(st, k, func(number int64, c *journal.Change) error {
				add(appendTouches(nil, rec, c, from+places*int(number)))
				return nil
			})
			if err != nil {
				return nil, fmt.Errorf("read record %s: %w", rec.ID, err)
			}
		}
		for j := range st.Changes {
			add(appendTouches(nil, rec, &st.Changes[j], place+places*j))
		}
		place += places * len(st.Changes)
	}
	return of, nil
}

// Ending is a TRUNCATE of one table: a delete of every row that was born before it.
type Ending struct {
	Table  string // schema.table, as the statement's author saw it
	Change *Change
}

// Endings gives the tables that a transaction truncated.
func Endings(rec *journal.Record) []Ending {
	if rec.Tx == nil {
		return nil
	}
	var out []Ending
	place := 0
	for i := range rec.Tx.Statements {
		st := &rec.Tx.Statements[i]
		at := place
		if begin(st, &place); truncates(st) && !st.RolledBack && st.SQLState == "" {
			for _, t := range st.Replay.Tables {
				out = append(out, Ending{t, &Change{ID: rec.ID, HLC: rec.HLC, Knew: rec.Knew, Place: at, Op: journal.OpDelete, Ends: true}})
			}
		}
		if !st.RolledBack && st.SQLState == "" {
			place += places * len(st.Changes)
		}
	}
	return out
}

func truncates(st *journal.Statement) bool {
	return st.Replay != nil && strings.HasPrefix(st.Command, "TRUNCATE")
}

func appendTouches(out []Touch, rec *journal.Record, ch *journal.Change, place int) []Touch {
	rel := &rec.Tx.Relations[ch.Relation]
	c := &Change{ID: rec.ID, HLC: rec.HLC, Knew: rec.Knew, Place: place, Relation: rel, Op: ch.Op,
		Before: ch.Before, After: ch.After, Set: ch.Set, Delta: ch.Delta, Upsert: ch.Upsert, Cascade: ch.Cascade}
	together(c)
	old, now := ch.Before, ch.After
	if now != nil && old != nil {
		now = whole(old, now)
		c.After = now
	}
	if old == nil {
		old = now
	}
	if now == nil {
		now = old
	}
	t := Touch{Keyless: len(rel.Key) == 0, Change: c, Key: rec.Tx.RowKey(rel, old)}
	if ch.Op != journal.OpUpdate || ch.Before == nil || sameKey(rel, old, now) {
		return append(out, t)
	}
	if t.Other = rec.Tx.RowKey(rel, now); t.Other == t.Key || t.Keyless {
		return append(out, t)
	}
	gone, come := *c, *c
	gone.Op, gone.After, gone.Set, gone.Delta, gone.Moved = journal.OpDelete, nil, nil, nil, true
	come.Op, come.Before, come.Set, come.Delta, come.Place = journal.OpInsert, nil, nil, nil, place+1
	return append(out, Touch{Key: t.Key, Change: &gone}, Touch{Key: t.Other, Change: &come})
}

// together sets whole what stands in one unique or foreign key, so that no row ends with a value of it that nobody wrote.
func together(c *Change) {
	rel := c.Relation
	if len(rel.Uniques) == 0 && len(rel.References) == 0 {
		return
	}
	keyed := func(i int) bool {
		return slices.ContainsFunc(rel.Uniques, func(u journal.Unique) bool { return slices.Contains(u.Columns, i) }) ||
			slices.ContainsFunc(rel.References, func(r journal.Reference) bool { return slices.Contains(r.Columns, i) })
	}
	if slices.ContainsFunc(c.Set, keyed) {
		c.Set = rel.Closed(c.Set)
	}
	if slices.ContainsFunc(c.Upsert, keyed) {
		c.Upsert = rel.Closed(c.Upsert)
	}
	if slices.ContainsFunc(c.Delta, keyed) {
		c.Delta = slices.DeleteFunc(slices.Clone(c.Delta), keyed)
	}
}

// whole fills what an after-image leaves out as unchanged from the before-image.
func whole(before, after []journal.Value) []journal.Value {
	if len(before) != len(after) || !slices.ContainsFunc(after, func(v journal.Value) bool { return v.Kind == journal.ValueUnchanged }) {
		return after
	}
	full := slices.Clone(after)
	for i, v := range full {
		if v.Kind == journal.ValueUnchanged {
			full[i] = before[i]
		}
	}
	return full
}

func sameKey(rel *journal.Relation, a, b []journal.Value) bool {
	if len(rel.Key) == 0 {
		return slices.Equal(a, b)
	}
	for _, k := range rel.Key {
		if k >= len(a) || k >= len(b) || a[k] != b[k] {
			return false
		}
	}
	return true
}
