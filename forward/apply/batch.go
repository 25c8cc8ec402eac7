package apply

import (
	"errors"

	"pgproxy/journal"
)

// errLook is returned where a record cannot be written as it stands: it hit no row, or the index knows more by now.
var errLook = errors.New("the rows are not as the record expects")

// batch writes records in one transaction and sends its COMMIT. The answer is read by answered, with the next batch's, so
// that the server works while the next one is put together. If it fails nothing is written, and bad is the item that it
// failed at.
func (a *Applier) batch(d *database, items []*item) (bad int, err error) {
	f := &flight{}
	f.add("BEGIN")
	last, held := journal.Vector{}, map[string]bool{}
	for i, it := range items {
		it.first = len(f.steps)
		for _, t := range it.touches {
			tab, err := d.table(t.Change.Relation)
			if err == nil {
				err = d.hold(f, t, held)
			}
			if err == nil {
				_, err = tab.direct(f, t)
			}
			if err != nil {
				return i, err
			}
		}
		it.end = len(f.steps)
		if !a.passive(d, it.rec) {
			last[it.rec.Origin] = it.rec.Seq
		}
	}
	for origin, seq := range last {
		move(f, journal.ID{Origin: origin, Seq: seq})
	}
	a.o.Fault("apply.begun")
	if err := d.s.send(f); err != nil {
		return 0, err
	}
	if err := a.answered(d); err != nil {
		if !d.s.broken && d.s.receive() != errBroken {
			_ = d.s.rollback()
		}
		return 0, err
	}
	if err := d.s.receive(); err != nil {
		return a.undo(d, f, items, err)
	}
	for i, it := range items {
		for _, st := range f.steps[it.first:it.end] {
			if st.tag != 1 {
				return i, errors.Join(errLook, d.s.rollback())
			}
		}
	}
	a.o.Fault("apply.locked")
	return a.commit(d, items)
}

// undo ends a transaction that failed and finds the item at whose step it did.
func (a *Applier) undo(d *database, f *flight, items []*item, failed error) (int, error) {
	bad := 0
	for i, it := range items {
		for _, st := range f.steps[it.first:it.end] {
			if st.err != nil {
				bad = i
			}
		}
	}
	if d.s.broken {
		return bad, failed
	}
	return bad, errors.Join(failed, d.s.rollback())
}

// commit takes the last look, counts the records as applied and sends COMMIT, all under the locks of their rows.
func (a *Applier) commit(d *database, items []*item) (bad int, err error) {
	ids := make([]journal.ID, len(items))
	for i, it := range items {
		ids[i] = it.rec.ID
	}
	if err := a.follow(); err != nil {
		return 0, errors.Join(errLook, err, d.s.rollback())
	}
	err = a.o.Journal.Gate(func(g *journal.Gate) error {
		applied := g.Applied()
		for i, it := range items {
			s := a.look(g, applied, it)
			if s.pending || s.beyond || len(s.ended) > 0 || !s.within(it.concerns) {
				bad = i
				return errLook
			}
			applied[it.rec.Origin] = it.rec.Seq
		}
		g.MarkApplied(ids...)
		return nil
	})
	if err != nil {
		return bad, errors.Join(err, d.s.rollback())
	}
	a.o.Fault("apply.gate")
	return 0, a.sendCommit(d, ids)
}

// sendCommit sends COMMIT for records that count as applied already.
func (a *Applier) sendCommit(d *database, ids []journal.ID) error {
	f := &flight{}
	f.add("COMMIT")
	d.open = &commit{flight: f, records: ids}
	if err := d.s.send(f); err != nil {
		return errors.Join(err, a.answered(d))
	}
	a.o.Fault("apply.sent")
	return nil
}
