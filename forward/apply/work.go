package apply

import (
	"context"
	"errors"
	"fmt"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// item is a record on its way into its database.
type item struct {
	rec      *journal.Record
	d        *database
	touches  []conflict.Touch
	own      *conflict.Case                     // see judged
	large    bool                               // it has changes in images, and nobody unaware of it has written: they are read block by block, and touches is empty
	met      bool                               // something unaware of it was sealed while it was written
	replays  bool                               // it has statements to run again
	concerns map[journal.RowKey]map[string]bool // see look
	since    hlc.Time                           // all concerns are after it
	first    int                                // its first step in the batch's flight
	end      int
}

// maxDirect is the number of changes up to which a record may share a transaction with others.
const maxDirect = maxFlight / 2

// apply works through fetched records and gives how many are applied now. Origins that cannot go on are blocked.
func (a *Applier) apply(ctx context.Context, recs []*journal.Record, blocked map[journal.NodeID]bool) (int, error) {
	done := 0
	for len(recs) > 0 && ctx.Err() == nil {
		d, items, taken, err := a.take(ctx, recs, blocked)
		if err != nil {
			return done, err
		}
		recs = recs[taken:]
		if len(items) > 0 {
			done += a.work(ctx, d, items, blocked)
		}
	}
	return done, nil
}

// take gathers records for one database, as many as may be in one transaction; taken counts those it looked at.
func (a *Applier) take(ctx context.Context, recs []*journal.Record, blocked map[journal.NodeID]bool) (d *database, items []*item, taken int, err error) {
	applied, steps := a.appliedNow(), 0
	for _, rec := range recs {
		if blocked[rec.Origin] || rec.Seq <= applied[rec.Origin] {
			taken++
			continue
		}
		if rec.Seq != applied[rec.Origin]+1 {
			return d, items, taken + 1, nil // the ones before it were blocked or lost: they are fetched again
		}
		if !a.ready(rec, applied) {
			if len(items) > 0 {
				break // what was gathered goes first: a blocked origin would hold up its own earlier records
			}
			blocked[rec.Origin] = true
			taken++
			continue
		}
		it := &item{rec: rec}
		if rec.Kind == journal.KindTx {
			if d != nil && d.name != rec.Tx.Database {
				break
			}
			it.large, it.replays, it.since = rec.Tx.Images != nil && !a.unaware(applied, rec), replays(rec), a.since(rec, applied)
			if !it.large {
				if it.touches, err = conflict.Whole(rec); err != nil {
					a.halt(rec, err)
					blocked[rec.Origin] = true
					taken++
					continue
				}
			}
			if d == nil {
				d = a.database(rec.Tx.Database)
				if err := a.reach(ctx, d); err != nil {
					a.halt(rec, err)
					blocked[rec.Origin] = true
					d, taken = nil, taken+1
					continue
				}
			}
			it.d = d
			if steps += len(it.touches); it.large {
				steps += maxDirect + 1
			}
			if len(items) > 0 && steps > maxDirect {
				break
			}
		}
		items = append(items, it)
		applied[rec.Origin] = rec.Seq
		taken++
		if len(items) >= a.o.BatchRecords || it.replays {
			break
		}
	}
	return d, items, taken, nil
}

func replays(rec *journal.Record) bool {
	for i := range rec.Tx.Statements {
		if st := &rec.Tx.Statements[i]; runs(st) {
			return true
		}
	}
	return false
}

// runs reports whether a statement is to be run again here.
func runs(st *journal.Statement) bool {
	return st.Replay != nil && st.Capture == journal.CaptureStatement && !st.RolledBack && st.SQLState == ""
}

// reach connects to a database that is not connected, after the fate of the last COMMIT there is dealt with.
func (a *Applier) reach(ctx context.Context, d *database) error {
	if d.s != nil && !d.s.broken {
		return nil
	}
	_ = a.answered(d)
	if err := d.connect(ctx, &a.o); err != nil {
		return err
	}
	if err := a.putBack(d); err != nil {
		d.s.broken = true // connect and look once more: nothing may be applied on top of what is lost
		return err
	}
	return nil
}

// work applies the items of one database in order, together where that is right and one by one where it is not. It gives how
// many are applied now.
func (a *Applier) work(ctx context.Context, d *database, items []*item, blocked map[journal.NodeID]bool) (done int) {
	limit := len(items)
	for len(items) > 0 && ctx.Err() == nil {
		it := items[0]
		if blocked[it.rec.Origin] || !a.next(it.rec) {
			items, limit = items[1:], max(limit-1, 0)
			continue
		}
		if a.passive(d, it.rec) {
			a.mark(it.rec.ID)
			delete(a.stops, it.rec.Origin)
			items, limit = items[1:], max(limit-1, 0)
			done++
			continue
		}
		n := 0
		if d.wary == 0 {
			n = a.directs(d, items[:min(limit, len(items))], blocked)
		}
		if n == 0 {
			if d.wary > 0 {
				d.wary--
			}
			if err := a.single(ctx, d, it); err != nil {
				a.halt(it.rec, err)
				blocked[it.rec.Origin] = true
			} else {
				a.resume(it.rec)
				done++
			}
			items, limit = items[1:], len(items)-1
			continue
		}
		bad, err := a.batch(d, items[:n])
		switch {
		case err == nil:
			for _, i := range items[:n] {
				a.resume(i.rec)
			}
			done += n
			items, limit = items[n:], len(items)-n
		case d.s == nil || d.s.broken || errors.Is(err, errCommit):
			for _, i := range items { // whatever it was, it was not a record: all of them wait
				a.halt(i.rec, err)
				blocked[i.rec.Origin] = true
			}
			return done
		default:
			limit = min(bad, limit-1) // those before it once more, then that one alone
		}
	}
	return done
}

// next reports whether rec is the next of its origin: one before it may have failed.
func (a *Applier) next(rec *journal.Record) bool {
	return a.o.Journal.Applied()[rec.Origin]+1 == rec.Seq
}

// passive reports whether a record has nothing to do in its database: it is of no transaction, or the database has it.
func (a *Applier) passive(d *database, rec *journal.Record) bool {
	return rec.Kind != journal.KindTx || rec.Tx == nil || d.positions[rec.Origin] >= rec.Seq
}

func (a *Applier) mark(ids ...journal.ID) {
	_ = a.o.Journal.Gate(func(g *journal.Gate) error {
		g.MarkApplied(ids...)
		return nil
	})
}

// errCommit is returned for a COMMIT that failed: its records are not applied, and none of them is to blame yet.
var errCommit = errors.New("commit failed")

// answered reads the answer to the COMMIT that is on its way. If it failed, its records count as not applied again.
func (a *Applier) answered(d *database) error {
	c := d.open
	if c == nil {
		return nil
	}
	d.open = nil
	for !c.flight.done && d.s != nil && !d.s.broken {
		_ = d.s.receive() // its error stays with its step
	}
	answer := c.flight.steps[0]
	if c.flight.done && answer.word == "COMMIT" {
		for _, id := range c.records {
			d.positions[id.Origin] = max(d.positions[id.Origin], id.Seq)
		}
		d.dirty = true
		a.counts.Records += int64(len(c.records))
		if len(c.records) > 1 {
			a.counts.Batches++
		}
		a.o.Fault("apply.committed")
		return nil
	}
	d.wary = len(c.records)
	_ = a.o.Journal.Gate(func(g *journal.Gate) error {
		g.UnmarkApplied(c.records...)
		return nil
	})
	if answer.err != nil {
		return fmt.Errorf("%w: %w", errCommit, answer.err)
	}
	return fmt.Errorf("%w: %w", errCommit, errBroken)
}

// directs gives how many of the leading items can be written as they stand, together.
func (a *Applier) directs(d *database, items []*item, blocked map[journal.NodeID]bool) int {
	n := 0
	for _, it := range items {
		if blocked[it.rec.Origin] || it.replays || it.large || len(it.touches) > maxDirect {
			break
		}
		for _, t := range it.touches {
			_, _ = d.table(t.Change.Relation) // what is wrong with it, the write will say
		}
		n++
	}
	items = items[:n]
	if n == 0 {
		return 0
	}
	if err := a.follow(); err != nil {
		return 0
	}
	var looks []*seen
	_ = a.o.Journal.Gate(func(g *journal.Gate) error {
		applied := g.Applied()
		for _, it := range items {
			looks = append(looks, a.look(g, applied, it))
			applied[it.rec.Origin] = it.rec.Seq
		}
		return nil
	})
	for i, it := range items {
		if looks[i].pending || looks[i].beyond || len(looks[i].ended) > 0 || a.suspect(d, it) || !a.commutes(d, it, looks[i], items[:i]) {
			return i
		}
		it.concerns = looks[i].ids()
	}
	return n
}
