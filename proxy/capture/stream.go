package capture

import (
	"fmt"

	"pgproxy/journal"
)

// A statement of many rows is captured block by block, and its changes go to the transaction's images at once, so that
// memory does not grow with it. What must see all rows of the statement together (whole) is held in memory and bounded.

// Images is where the changes of large statements go; *journal.ImageWriter implements it.
type Images interface {
	// Begin begins a statement; one that has not ended is forgotten.
	Begin() error
	Append(rel *journal.Relation, c *journal.Change) error
	// End gives where the changes since Begin are; nil if there are none.
	End() (*journal.Span, error)
	// Each reads the changes of a span back.
	Each(s *journal.Span, f func(*journal.Change) error) error
}

// stream makes changes go to the transaction's images from now on; false where it has none.
func (w *work) stream() (bool, error) {
	if w.tx.Images == nil {
		return false, nil
	}
	if err := w.tx.Images.Begin(); err != nil {
		return false, err
	}
	w.streaming, w.into = true, map[*relation]bool{}
	return true, nil
}

// streamEnd ends that, so that what comes now can look at the changes.
func (w *work) streamEnd() error {
	w.streaming = false
	span, err := w.tx.Images.End()
	if err != nil || span == nil {
		return err
	}
	w.effect.Stored = span
	for rel := range w.into {
		w.tx.log = append(w.tx.log, logged{rel: rel, span: span})
	}
	return nil
}

// streamRows is the number of rows from which what is read back goes to the transaction's images.
const streamRows = 2000

// streamed runs f, which records count changes; if they are many, they go to the images.
func (w *work) streamed(count int, f func() error) error {
	streaming, err := false, error(nil)
	if count >= streamRows {
		streaming, err = w.stream()
	}
	if err == nil {
		err = f()
	}
	if err == nil && streaming {
		err = w.streamEnd()
	}
	return err
}

// push adds changes of rel to the images.
func (w *work) push(rel *relation, changes []journal.Change) error {
	w.into[rel] = true
	for i := range changes {
		if err := w.tx.Images.Append(&rel.record, &changes[i]); err != nil {
			return err
		}
	}
	return nil
}

// whole reports whether a statement's rows must be looked at together: foreign keys act on them, or they may have changed
// their keys.
func (w *work) whole(rel *relation) bool {
	command := w.st.Targets[0].Command
	for _, k := range rel.Referenced {
		if !k.Child && (acts(k.OnDelete) && command != "INSERT" || acts(k.OnUpdate)) {
			return true
		}
	}
	switch {
	case command == "DELETE", command == "INSERT" && !w.plan.upsert:
		return false
	case command == "MERGE", len(rel.key) == 0:
		return true
	}
	return rel.triggered(triggerUpdate, true) || assignsAny(w.st, rel, rel.key)
}

// finishBlocks is finishRows for rows that were put aside.
func (w *work) finishBlocks() error {
	rel, err := w.targetOfBlocks()
	if err != nil {
		return err
	}
	home, err := w.relationOf(rel.OID)
	if err != nil {
		return err
	}
	streaming := false
	if !w.whole(rel) && !w.whole(home) {
		if streaming, err = w.stream(); err != nil {
			return err
		}
	}
	if !streaming {
		if limit := w.session.capturer.options.MaxBytes; w.spool.size > limit {
			return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
		}
		rows, err := w.spool.all()
		if err != nil {
			return err
		}
		return w.finishBlock(rows)
	}
	if err := w.spool.blocks(w.finishBlock); err != nil {
		return err
	}
	return w.streamEnd()
}

// targetOfBlocks is target, as the first row tells.
func (w *work) targetOfBlocks() (rel *relation, err error) {
	first := true
	err = w.spool.blocks(func(rows [][]byte) error {
		if first {
			first = false
			w.rows = rows
			rel, err = w.target()
		}
		return err
	})
	return rel, err
}

// copied records rows that a COPY has written.
func (w *work) copied(rel *relation, rows [][]journal.Value) error {
	changes := make([]journal.Change, len(rows))
	for i, row := range rows {
		changes[i] = journal.Change{Op: journal.OpInsert, After: row}
	}
	return w.record(rel, changes)
}
