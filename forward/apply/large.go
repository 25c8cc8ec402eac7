package apply

import (
	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// A record with changes in images whose author knew everything that is here is written block by block, in one transaction: its
// rows are never in memory together. Nothing unaware of it may have been sealed here by the time of its COMMIT. If something
// was, or if a row is not as it should be, it is begun again with all its changes in memory, where the rules can look at them.

// blockTouches is how many changes are written together.
const blockTouches = maxFlight / 2

// statement writes the changes of the record's i-th statement. place counts on over the statements; look is what was seen
// of the whole record.
func (s *single) statement(i int, place *int, look *seen) error {
	n := 0
	for t, err := range conflict.OfStatement(s.rec, i, place) {
		if err == nil {
			err = s.touch(t, look)
		}
		if err != nil {
			return err
		}
		if n++; s.it.large && n%blockTouches == 0 {
			if err := s.flush(); err != nil {
				return err
			}
			s.a.o.Fault("apply.block")
		}
	}
	return nil
}

// maxAsked bounds the records that are looked at to tell whether any is a transaction.
const maxAsked = 10_000

// unaware reports whether a transaction is applied or published here that the author of rec did not know; what idle nodes say
// to each other does not count. If it cannot be told, there is one.
func (a *Applier) unaware(applied journal.Vector, rec *journal.Record) bool {
	for origin, seq := range applied {
		knew := rec.Knew[origin]
		if origin == rec.Origin {
			continue
		}
		if seq > knew && seq-knew > maxAsked {
			return true
		}
		for at := knew + 1; at <= seq; at++ {
			if r, err := a.o.Journal.Record(journal.ID{Origin: origin, Seq: at}); err != nil || r.Tx != nil {
				return true
			}
		}
	}
	return false
}

// bring reads the changes of a record that cannot be written block by block.
func (it *item) bring() (err error) {
	if it.large {
		it.large, it.own = false, nil
		it.touches, err = conflict.Whole(it.rec)
	}
	return err
}
