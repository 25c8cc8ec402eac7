package capture

import (
	"fmt"

	"pgproxy/journal"
)

// The backend counts the rows that it writes, table by table, and hands the counts over only between transactions. They
// tell without a look into a table whether it was written, and how many rows to look for.

// tally is the backend's counts for one table.
type tally struct{ inserted, updated, deleted uint64 }

func (t tally) plus(o tally) tally {
	return tally{t.inserted + o.inserted, t.updated + o.updated, t.deleted + o.deleted}
}

// tallies are what a session knows of the counts. A partition's counts are taken together with its topmost parent's.
type tallies struct {
	seen map[uint32]tally // the last look, in the open transaction
	// known is what has been recorded since the last look, or the transaction's beginning. The server's counts are not
	// taken back by ROLLBACK TO, nor are these.
	known map[uint32]tally
	// dirty are tables whose counts may not have been at zero when the transaction began.
	dirty   map[uint32]bool
	flushed bool // the counts are going to be handed over at the end of the transaction
}

// growth is what the counts say about a table since the last look: grewNot (nothing but what is known), grewUnknown, or
// how many more rows were inserted while no other was updated or deleted.
type growth int

const (
	grewNot     growth = 0
	grewUnknown growth = -1
)

// look takes the counts of a table and compares them with what they should be.
func (t *tallies) look(oid uint32, now tally) growth {
	last, seen := t.seen[oid]
	expected := last.plus(t.known[oid])
	if t.seen == nil {
		t.seen = map[uint32]tally{}
	}
	t.seen[oid] = now
	delete(t.known, oid)
	switch {
	case !seen && t.dirty[oid] && now != (tally{}):
		return grewUnknown
	case now == expected:
		return grewNot
	case now.inserted > expected.inserted && now.updated == expected.updated && now.deleted == expected.deleted:
		return growth(now.inserted - expected.inserted)
	}
	return grewUnknown
}

// count notes what was recorded of a table.
func (t *tallies) count(oid uint32, changes []journal.Change) {
	var n tally
	for i := range changes {
		switch changes[i].Op {
		case journal.OpInsert:
			n.inserted++
		case journal.OpUpdate:
			n.updated++
		case journal.OpDelete:
			n.deleted++
		}
	}
	if t.known == nil {
		t.known = map[uint32]tally{}
	}
	t.known[oid] = t.known[oid].plus(n)
}

// end is the end of a transaction: where the counts were handed over, all begin at zero again.
func (t *tallies) end() {
	if t.flushed {
		clear(t.dirty)
	} else if len(t.seen)+len(t.known) > 0 {
		if t.dirty == nil {
			t.dirty = map[uint32]bool{}
		}
		for oid := range t.seen {
			t.dirty[oid] = true
		}
		for oid := range t.known {
			t.dirty[oid] = true
		}
	}
	clear(t.seen)
	clear(t.known)
	t.flushed = false
}

// flush makes the backend hand over its counts at the end of the transaction (possible from 15 on), so that they begin
// at zero in the next.
func (w *work) flush() error {
	cat, q := w.session.catalog()
	version, err := cat.server(w.ctx, q)
	if err != nil || version < 150000 || w.session.tallies.flushed {
		return err
	}
	if _, err := w.session.inner.Query(w.ctx, "SELECT pg_catalog.pg_stat_force_next_flush()"); err != nil {
		return fmt.Errorf("flush counts: %w", err)
	}
	w.session.tallies.flushed = true
	return nil
}

// tailPages is how much of a table's end is looked through for rows that were just inserted.
const tailPages = 128

// tail finds n inserted rows at the end of the table: where the server puts new ones unless there is room before. It is
// false if they are not all there.
func (w *work) tail(rel *relation, n int) (bool, error) {
	sh := shapeOf(rel, w.who.Encoding)
	found, err := w.session.inner.Query(w.ctx, fmt.Sprintf("SELECT %s FROM ONLY %s o WHERE o.ctid >= $1::pg_catalog.text::pg_catalog.tid AND %s", sh.columns("o"), rel.quoted(), ownRow),
		tid(w.pages-tailPages))
	if err != nil {
		return false, fmt.Errorf("read own rows at the end of %s: %w", rel.full(), err)
	}
	state, err := w.tx.table(rel)
	if err != nil {
		return false, err
	}
	known := map[string]int{}
	for k, c := range state.added {
		known[k] = c
	}
	var changes []journal.Change
	for _, f := range found {
		row, err := sh.decode(f[0], w.who.transcode)
		if err != nil {
			return false, err
		}
		if len(rel.key) > 0 {
			if own, ok := state.rows[rel.rowKey(row)]; ok && own.current != nil {
				continue
			}
		} else if k := allKey(row); known[k] > 0 {
			known[k]--
			continue
		}
		changes = append(changes, journal.Change{Op: journal.OpInsert, After: row})
	}
	if len(changes) != n {
		return false, nil
	}
	return true, w.reveal(rel, changes)
}
