package capture

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"pgproxy/journal"
	"pgproxy/parser"
)

// planCopy is for COPY .. FROM STDIN, a file or a program.
func (s *Session) planCopy(ctx context.Context, st *parser.Statement) (*Plan, error) {
	w, err := s.learn(ctx)
	if err != nil {
		return nil, err
	}
	if len(st.Targets) != 1 {
		return watched(st, ""), nil
	}
	rel, why, err := s.targetOf(ctx, w, st.Targets[0].Name)
	switch {
	case err != nil:
		return nil, err
	case why != "":
		return local(st, why), nil
	case rel == nil || rel.Kind != "r" && rel.Kind != "p":
		return watched(st, ""), nil
	}
	watch, err := s.loud(ctx, rel, triggerInsert)
	if err != nil {
		return nil, err
	}
	return &Plan{Capture: journal.CaptureCopy, Hold: true, Text: st.Text, how: howCopy, rel: rel, watch: watch}, nil
}

// Copy takes the payload of one CopyData message of the client, or a piece of it, before the server has judged it.
func (e *Execution) Copy(data []byte) {
	if e.plan.how != howCopy || e.st == nil || e.session.who == nil {
		return
	}
	if e.keys == nil {
		e.keys = newCopyKeys(e.st, e.plan.rel, e.session.who.Encoding)
	}
	e.keys.Write(data)
}

// finishCopy reads the copied rows back.
func (w *work) finishCopy(tag string) error {
	rel, err := w.relationOf(w.plan.rel.OID)
	if err != nil {
		return err
	}
	cat, q := w.session.catalog()
	g, err := cat.grant(w.ctx, q, w.who.RoleOID, rel.OID)
	if err != nil {
		return err
	}
	if !g.Select || g.Hidden {
		w.lost(rel.full(), "the role may not read back what it copied")
		return nil
	}
	count, _ := strconv.Atoi(strings.TrimPrefix(tag, "COPY "))
	if count == 0 {
		return nil
	}
	return w.streamed(count, func() error {
		ok, err := w.copiedByKey(rel, count)
		if err == nil && !ok {
			err = w.copiedByScan(rel)
		}
		return err
	})
}

// smallCopy is the number of pages per copied row beyond which a table is not read whole if the keys are known.
const smallCopy = 1.0 / 8

// copiedByKey reads the rows whose keys were in the stream; false where they were not, where a trigger may have changed
// them (another number of rows is found), or where reading the whole table is cheaper.
func (w *work) copiedByKey(rel *relation, count int) (bool, error) {
	c := w.keys
	if c == nil || rel.OID != w.plan.rel.OID {
		return false, nil
	}
	c.close()
	if c.failed || c.count < count {
		return false, nil
	}
	_, tooLarge, err := w.leaves(rel)
	if err != nil || tooLarge == "" && w.pages < int64(float64(count)*smallCopy)+64 {
		return false, err
	}
	sh := shapeOf(rel, w.who.Encoding)
	sql := byKeyQuery(sh, false) + " AND " + ownRow
	c.batch()
	var held [][]journal.Value
	tally, read := w.session.tallies.known[rel.OID], 0
	for _, literals := range c.batches {
		found, err := w.session.inner.Query(w.ctx, sql, literals...)
		if err != nil {
			return false, fmt.Errorf("read copied rows by key: %w", err)
		}
		rows := make([][]journal.Value, len(found))
		for i, f := range found {
			if rows[i], err = sh.decode(f[0], w.who.transcode); err != nil {
				return false, err
			}
		}
		read += len(rows)
		if !w.streaming {
			held = append(held, rows...)
		} else if err := w.copied(rel, rows); err != nil {
			return false, err
		}
	}
	if read == count {
		return true, w.copied(rel, held)
	}
	if w.streaming && read > 0 { // all over again
		w.session.tallies.known[rel.OID] = tally
		_, err = w.stream()
	}
	return false, err
}

// copiedByScan reads all own rows of the table and leaves out those that are known already.
func (w *work) copiedByScan(rel *relation) error {
	leaves, why, err := w.leaves(rel)
	if err != nil {
		return err
	}
	if why != "" {
		w.lost(rel.full(), "%s", why)
		return nil
	}
	if !w.tx.touched(rel) {
		return w.eachAdded(rel, leaves, func(rows [][]journal.Value) error { return w.copied(rel, rows) })
	}
	state, err := w.tx.table(rel)
	if err != nil {
		return err
	}
	counts := maps.Clone(state.added)
	return w.eachAdded(rel, leaves, func(added [][]journal.Value) error {
		var rows [][]journal.Value
		for _, row := range added {
			if len(rel.key) > 0 {
				if own, known := state.rows[rel.rowKey(row)]; known && own.current != nil {
					continue
				}
			} else if k := allKey(row); counts[k] > 0 {
				counts[k]--
				continue
			}
			rows = append(rows, row)
		}
		return w.copied(rel, rows)
	})
}
