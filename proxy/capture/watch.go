package capture

import (
	"errors"
	"fmt"

	"pgproxy/journal"
	"pgproxy/parser"
)

// finishScan captures a statement on one known table by comparing the table with what is known of it.
func (w *work) finishScan() error {
	rel, err := w.relationOf(w.plan.rel.OID)
	if err != nil {
		return err
	}
	return w.compare(rel, w.st.Assignments, grewUnknown)
}

// locksQuery lists the permanent tables that the client's transaction has locked for writing: whatever it wrote is
// among them. Beside each stand the backend's own counts of rows written, and the tables that are there no more.
const locksQuery = `SELECT l.relation, pg_catalog.bool_or(l.mode = 'AccessExclusiveLock'), c.oid IS NULL, pg_catalog.pg_stat_get_xact_tuples_inserted(l.relation),
pg_catalog.pg_stat_get_xact_tuples_updated(l.relation), pg_catalog.pg_stat_get_xact_tuples_deleted(l.relation),
pg_catalog.current_setting('track_counts') = 'on' FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE l.locktype = 'relation' AND l.pid = pg_catalog.pg_backend_pid() AND l.granted
AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
AND l.relation >= 16384 AND (l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') AND c.relkind = 'r' AND c.relpersistence = 'p'
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgproxy', 'pg_toast') OR c.oid IS NULL AND l.mode = 'AccessExclusiveLock') GROUP BY l.relation, c.oid`

// watch looks for what the statement wrote without its text saying so: in every table within reach that is locked for
// writing, the rows of this transaction are compared with what is known already.
func (w *work) watch(reach reach) error {
	rows, err := w.session.inner.Query(w.ctx, locksQuery)
	if err != nil {
		return fmt.Errorf("read own locks: %w", err)
	}
	dropped, emptied := false, ""
	altered := w.session.private != nil // by DDL that is known, which explains exclusive locks
	var tables []*relation
	var exclusive []string
	counts := map[uint32]tally{}
	counting := true
	for _, r := range rows {
		if isTrue(r[2]) {
			dropped = dropped || !altered
			continue
		}
		oid := be32(r[0])
		rel, err := w.relationOf(oid)
		if errors.Is(err, errNoRelation) && w.session.private == nil {
			w.session.AlteredSchema() // the statement has made it, and only this session can see it
			rel, err = w.relationOf(oid)
		}
		if err != nil {
			return err
		}
		if w.session.stays(rel) != "" || !reach.includes(rel) {
			continue
		}
		if isTrue(r[1]) {
			exclusive = append(exclusive, rel.full())
		}
		if isTrue(r[1]) && !altered && !w.tx.truncatedTable(rel) {
			emptied = rel.full() // by TRUNCATE or DDL in a function: our own session cannot look into it
			w.touch(emptied)
			continue
		}
		if _, seen := counts[rel.OID]; !seen {
			tables = append(tables, rel)
		}
		counts[rel.OID] = counts[rel.OID].plus(tally{be64(r[3]), be64(r[4]), be64(r[5])})
		counting = isTrue(r[6])
	}
	w.looked = true
	for _, rel := range tables {
		g := w.session.tallies.look(rel.OID, counts[rel.OID])
		if !counting {
			g = grewUnknown
		}
		if g == grewNot {
			continue
		}
		if err := w.compare(rel, nil, g); err != nil {
			return err
		}
	}
	w.looked = false
	if err := w.flush(); err != nil {
		return err
	}
	if !w.opaque() {
		if emptied != "" {
			w.lost(emptied, "locked exclusively by what the statement set off")
		}
		return nil
	}
	changed, err := w.hiddenDDL(dropped)
	if err == nil && (changed || emptied != "") {
		w.repeat(exclusive)
	}
	return err
}

func isTrue(b []byte) bool { return len(b) == 1 && b[0] == 1 }

// compare finds what happened to rel's rows since the transaction's last known state of them. If the backend's counts say
// that rows were added and no others touched, they are sought at the end of the table first.
func (w *work) compare(rel *relation, assigned []parser.Assignment, grown growth) error {
	cat, q := w.session.catalog()
	g, err := cat.grant(w.ctx, q, w.who.RoleOID, rel.OID)
	if err != nil {
		return err
	}
	if !g.Select || g.Hidden {
		w.lost(rel.full(), "the role may not see all rows of the table")
		return nil
	}
	leaves, why, err := w.leaves(rel)
	if err != nil {
		return err
	}
	if grown > 0 && len(leaves) <= 1 && w.pages > tailPages {
		done, err := w.tail(rel, int(grown))
		if err != nil || done {
			return err
		}
	}
	if why != "" {
		w.lost(rel.full(), "%s", why)
		return nil
	}
	state, err := w.tx.table(rel)
	if err != nil {
		return err
	}
	added, err := w.added(rel, leaves)
	if err != nil {
		return err
	}
	var removed [][]journal.Value
	if !state.truncated {
		if removed, why, err = w.removed(rel, leaves); err != nil {
			return err
		}
		if why != "" {
			w.lost(rel.full(), "%s", why)
			return nil
		}
	}
	var changes []journal.Change
	update := w.plan.how == howScan && w.st.Targets[0].Command == "UPDATE"
	if len(rel.key) > 0 {
		changes = differKeyed(rel, state, added, removed, assigned, update)
	} else {
		changes = differCounted(rel, state, added, removed, assigned, update)
	}
	return w.reveal(rel, changes)
}

// reveal records changes that the statement's text did not tell.
func (w *work) reveal(rel *relation, changes []journal.Change) error {
	if len(changes) > 0 && w.plan.how != howScan && w.effect.Capture != journal.CaptureStatement {
		w.effect.Capture = journal.CaptureHidden
	}
	return w.record(rel, changes)
}

// differKeyed compares a table with key: added are all own rows that are there, removed all committed ones that are not.
func differKeyed(rel *relation, state *tableState, added, removed [][]journal.Value, assigned []parser.Assignment, update bool) []journal.Change {
	old := map[string][]journal.Value{}
	for _, row := range removed {
		old[rel.rowKey(row)] = row
	}
	here := map[string]bool{}
	var updates []journal.Change
	var gone, fresh [][]journal.Value
	for _, row := range added {
		k := rel.rowKey(row)
		here[k] = true
		before := old[k]
		if own, ok := state.rows[k]; ok {
			before = own.current
		}
		switch {
		case before == nil:
			fresh = append(fresh, row)
		case allKey(before) != allKey(row):
			updates = append(updates, updateOf(rel, before, row, assigned))
		}
	}
	for k, row := range old {
		if _, known := state.rows[k]; !known && !here[k] {
			gone = append(gone, row)
		}
	}
	for k, r := range state.rows {
		if r.current != nil && !here[k] {
			gone = append(gone, r.current)
		}
	}
	return append(joined(rel, gone, fresh, assigned, update), updates...)
}

// differCounted compares a table without key: rows of one value are a count.
func differCounted(rel *relation, state *tableState, added, removed [][]journal.Value, assigned []parser.Assignment, update bool) []journal.Change {
	delta := map[string]int{} // how many more rows of this value there are than known
	image := map[string][]journal.Value{}
	for _, row := range added {
		k := allKey(row)
		delta[k]++
		image[k] = row
	}
	for _, row := range removed {
		k := allKey(row)
		delta[k]--
		image[k] = row
	}
	for k, n := range state.added {
		delta[k] -= n
	}
	for k, n := range state.removed {
		delta[k] += n
	}
	var gone, fresh [][]journal.Value
	for k, n := range delta {
		row := image[k]
		if row == nil && n != 0 {
			row = state.image(k)
		}
		for ; n > 0; n-- {
			fresh = append(fresh, row)
		}
		for ; n < 0; n++ {
			gone = append(gone, row)
		}
	}
	return joined(rel, gone, fresh, assigned, update)
}

// joined pairs removed and added rows where an UPDATE did both, else lists deletes before inserts.
func joined(rel *relation, gone, fresh [][]journal.Value, assigned []parser.Assignment, update bool) []journal.Change {
	if update {
		return pair(rel, gone, fresh, assigned)
	}
	var changes []journal.Change
	for _, row := range gone {
		changes = append(changes, journal.Change{Op: journal.OpDelete, Before: row})
	}
	for _, row := range fresh {
		changes = append(changes, journal.Change{Op: journal.OpInsert, After: row})
	}
	return changes
}
