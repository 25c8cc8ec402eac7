package capture

import (
	"fmt"

	"pgproxy/journal"
)

// maxCandidates bounds the rows that are looked at one by one in a scan.
const maxCandidates = 500_000

// leaf is a table whose rows are rows of some relation: a partition, or the relation itself.
type leaf struct {
	oid   uint32
	name  string // quoted
	pages int64
}

const leavesQuery = `SELECT c.oid, pg_catalog.convert_to(n.nspname::pg_catalog.text, 'UTF8'), pg_catalog.convert_to(c.relname::pg_catalog.text, 'UTF8'),
pg_catalog.int8send(pg_catalog.pg_relation_size(c.oid) / 8192) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND (c.oid = $1::text::oid OR c.oid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree($1::text::oid) p))`

// leaves lists the tables that hold rel's rows, as the client's session sees them; why is set if they are too large to be
// read whole.
func (w *work) leaves(rel *relation) (list []leaf, why string, err error) {
	rows, err := w.session.inner.Query(w.ctx, leavesQuery, oidArg(rel.OID))
	if err != nil {
		return nil, "", fmt.Errorf("list partitions: %w", err)
	}
	total := int64(0)
	for _, r := range rows {
		total += int64(be64(r[3]))
		list = append(list, leaf{oid: be32(r[0]), name: quote(string(r[1])) + "." + quote(string(r[2])), pages: int64(be64(r[3]))})
	}
	w.pages = total
	if total > w.session.capturer.options.ScanPages {
		return nil, fmt.Sprintf("the table is too large (%d pages) to be searched for what the statement did", total), nil
	}
	return list, "", nil
}

// ownRow is true for a row that this very transaction wrote: its xmin is not older than the transaction's own id and is
// still in progress although the row is visible. The ages keep frozen rows of an earlier epoch away from
// pg_xact_status, which fails for ids of the future.
const ownRow = `pg_catalog.age(o.xmin) BETWEEN -1000000 AND 0 AND pg_catalog.pg_xact_status((SELECT (CASE WHEN x.m < x.t THEN x.m + 4294967296 ELSE x.m END)::pg_catalog.text::pg_catalog.xid8
FROM (SELECT y.t, (y.t >> 32 << 32) + o.xmin::pg_catalog.text::pg_catalog.int8 AS m FROM (SELECT pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text::pg_catalog.int8 AS t) y) x)) = 'in progress'`

// partPages is how much of a table is read at once; lastPage is MaxBlockNumber.
const (
	partPages = 256
	lastPage  = 4294967294
)

// tid is the place of a page's first row.
func tid(page int64) []byte { return fmt.Appendf(nil, "(%d,0)", page) }

// added reads the rows of rel that this transaction wrote and that are there now.
func (w *work) added(rel *relation, leaves []leaf) (found [][]journal.Value, err error) {
	err = w.eachAdded(rel, leaves, func(rows [][]journal.Value) error {
		found = append(found, rows...)
		return nil
	})
	return found, err
}

// eachAdded does so part by part, so that a large COPY is not held in memory. Own rows may lie past the size read, in the
// last part.
func (w *work) eachAdded(rel *relation, leaves []leaf, f func([][]journal.Value) error) error {
	sh := shapeOf(rel, w.who.Encoding)
	for _, l := range leaves {
		sql := fmt.Sprintf("SELECT %s FROM ONLY %s o WHERE o.ctid >= $1::pg_catalog.text::pg_catalog.tid AND o.ctid < $2::pg_catalog.text::pg_catalog.tid AND %s", sh.columns("o"), l.name, ownRow)
		for from := int64(0); from == 0 || from < l.pages; from += partPages {
			to := from + partPages
			if to >= l.pages {
				to = lastPage
			}
			rows, err := w.session.inner.Query(w.ctx, sql, tid(from), tid(to))
			if err != nil {
				return fmt.Errorf("read own rows of %s: %w", l.name, err)
			}
			found := make([][]journal.Value, len(rows))
			for i, r := range rows {
				if found[i], err = sh.decode(r[0], w.who.transcode); err != nil {
					return err
				}
			}
			if err := f(found); err != nil {
				return err
			}
		}
	}
	return nil
}

// removed reads the committed rows of rel that this transaction has deleted or overwritten: candidates are those that
// somebody has marked; the client's session no longer sees them where they stood, while our own still does, and could see them
// once: at REPEATABLE READ it never sees what others have written since.
func (w *work) removed(rel *relation, leaves []leaf) (found [][]journal.Value, why string, err error) {
	sh := shapeOf(rel, "UTF8")
	own := w.session.db.pool
	if w.unborn(rel) {
		return nil, "", nil
	}
	for _, l := range leaves {
		rows, err := own.Query(w.ctx, fmt.Sprintf("SELECT o.ctid::pg_catalog.text FROM ONLY %s o WHERE o.xmax <> '0'::pg_catalog.xid LIMIT %d", l.name, maxCandidates+1))
		if err != nil {
			return nil, "rows before could not be searched: " + err.Error(), nil
		}
		if len(rows) > maxCandidates {
			return nil, "too many rows are locked to find those that the statement removed", nil
		}
		if len(rows) == 0 {
			continue
		}
		open := make(map[string]bool, len(rows))
		for _, r := range rows {
			open[string(r[0])] = true
		}
		there, err := w.session.inner.Query(w.ctx, fmt.Sprintf(`SELECT o.ctid::pg_catalog.text, pg_catalog.pg_current_snapshot()::pg_catalog.text FROM ONLY %s o
WHERE o.ctid = ANY ($1::pg_catalog.text::pg_catalog.tid[])`, l.name), tidArray(open))
		if err != nil {
			return nil, "", fmt.Errorf("look for rows of %s: %w", l.name, err)
		}
		for _, r := range there {
			delete(open, string(r[0]))
		}
		if len(open) == 0 {
			continue
		}
		snap, err := w.snapshot()
		if err != nil {
			return nil, "", err
		}
		images, err := own.Query(w.ctx, fmt.Sprintf("SELECT %s, o.xmin::pg_catalog.text FROM ONLY %s o WHERE o.ctid = ANY ($1::pg_catalog.text::pg_catalog.tid[])", sh.columns("o"), l.name), tidArray(open))
		if err != nil {
			return nil, "rows before could not be read: " + err.Error(), nil
		}
		for _, r := range images {
			if !snap.saw(r[1]) {
				continue
			}
			v, err := sh.decode(r[0], nil)
			if err != nil {
				return nil, err.Error(), nil
			}
			found = append(found, v)
		}
	}
	return found, "", nil
}

func tidArray(tids map[string]bool) []byte {
	b := []byte{'{'}
	for t := range tids {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), t...), '"')
	}
	return append(b, '}')
}

// vanished finds the rows of rel that the statement removed by key: committed ones and own ones that are neither there
// any more nor explained by what is known already. others are this statement's changes, placed its rows at new keys.
func (w *work) vanished(rel *relation, others []journal.Change, placed [][]journal.Value) (gone [][]journal.Value, why string, err error) {
	leaves, why, err := w.leaves(rel)
	if err != nil || why != "" {
		return nil, why, err
	}
	state, err := w.tx.table(rel)
	if err != nil {
		return nil, "", err
	}
	here := map[string]bool{}
	for _, row := range placed {
		here[rel.rowKey(row)] = true
	}
	for _, c := range others {
		if c.After != nil {
			here[rel.rowKey(c.After)] = true
		}
		if c.Before != nil {
			here[rel.rowKey(c.Before)] = true
		}
	}
	if !state.truncated {
		rows, why, err := w.removed(rel, leaves)
		if err != nil || why != "" {
			return nil, why, err
		}
		for _, row := range rows {
			k := rel.rowKey(row)
			if _, known := state.rows[k]; !known && !here[k] {
				gone = append(gone, row)
			}
		}
	}
	var own [][]journal.Value
	for k, r := range state.rows {
		if r.current != nil && !here[k] {
			own = append(own, r.current)
		}
	}
	if len(own) == 0 {
		return gone, "", nil
	}
	now, err := w.current(rel, own)
	if err != nil {
		return nil, "", err
	}
	for _, row := range own {
		if _, there := now[rel.rowKey(row)]; !there {
			gone = append(gone, row)
		}
	}
	return gone, "", nil
}
