package capture

import (
	"fmt"

	"pgproxy/journal"
)

// The backend counts the rows that it writes, table by table, and hands the counts over only between transactions. They
// tell without a look into a table whether it was written, and how many rows to look for.

// tally is the backend's counts for one table.
type tally struct{ inserted, updated, deleted uint64 }

// tallies are a session's last looks at the counts.
type tallies struct {
	seen map[uint32]looked // in the open transaction
	// dirty are tables whose counts may not have been at zero when the transaction began: written since the last
	// flush without a look at them. A partition is known by its topmost parent.
	dirty   map[uint32]bool
	flushed bool // the counts are going to be handed over at the end of the transaction
}

// looked is one table's counts at the last look.
type looked struct {
	tally
	root uint32
}

// growth is what the counts say about a table since the last look: grewNot, grewUnknown, or how many rows were inserted
// while none was updated or deleted.
type growth int

const (
	grewNot     growth = 0
	grewUnknown growth = -1
)

// look takes the counts of a table and compares them with the last ones.
func (t *tallies) look(oid, root uint32, now tally) growth {
	last, known := t.seen[oid]
	if t.seen == nil {
		t.seen = map[uint32]looked{}
	}
	t.seen[oid] = looked{now, root}
	switch {
	case !known && t.dirty[root] && now != (tally{}):
		return grewUnknown
	case now == last.tally:
		return grewNot
	case now.inserted > last.inserted && now.updated == last.updated && now.deleted == last.deleted:
		return growth(now.inserted - last.inserted)
	}
	return grewUnknown
}

// end is the end of a transaction: where the counts were handed over, all begin at zero again; else what it was looked
// at no longer tells where they begin.
func (t *tallies) end() {
	if t.flushed {
		clear(t.dirty)
	} else {
		for _, l := range t.seen {
			t.soil(l.root)
		}
	}
	clear(t.seen)
	t.flushed = false
}

func (t *tallies) soil(oid uint32) {
	if t.dirty == nil {
		t.dirty = map[uint32]bool{}
	}
	t.dirty[oid] = true
}

// counted notes that a table was written in a way that needs no look at the counts.
func (s *Session) counted(oid uint32) { s.tallies.soil(oid) }

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
		fmt.Appendf(nil, "(%d,0)", w.pages-tailPages))
	if err != nil {
		return false, fmt.Errorf("read own rows at the end of %s: %w", rel.full(), err)
	}
	state := w.tx.table(rel)
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
	w.reveal(rel, changes)
	return true, nil
}
