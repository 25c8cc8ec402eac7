package apply

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"pgproxy/journal"
)

// A COMMIT of apply's is not synced: a crash of the server takes the last of them away, with their positions, while this
// process goes on. So what is applied is settled a moment later: one synced transaction in each database that was written to
// moves its positions to where the journal counts. Where that fails, because the connection broke meanwhile, apply
// connects, looks what is lost, and applies it again, whether more comes or not. What is settled is safe: no crash takes it
// away, so nobody needs to look for it any more, and the marks of this node speak of it (journal.SetSafe).

// settleLag is by how many records the positions of a database may stay behind because none of them was for it.
const settleLag = 1000

// settling is how far the databases hold what is applied, whatever happens to their server.
type settling struct {
	safe journal.Vector
	at   time.Time // when to settle; zero: nothing is to be settled
	wait time.Duration
}

// settle makes safe what is applied, some time after it was. Where it cannot, it says so and comes again.
func (a *Applier) settle(ctx context.Context) {
	now := a.o.Now()
	if a.settling.at.IsZero() {
		if !a.unsettled() {
			return
		}
		a.settling.at = now.Add(a.o.Settle)
	}
	if a.settling.at.After(now) {
		return
	}
	err := a.settleNow(ctx)
	if err == nil {
		a.settling.at, a.settling.wait = time.Time{}, 0
		return
	}
	if ctx.Err() != nil {
		return
	}
	if a.settling.wait == 0 {
		a.o.Logger.Warn("what is applied cannot be made safe: connecting again", "error", err)
	}
	a.settling.wait = min(max(a.settling.wait*2, a.o.Retry), a.o.RetryMax)
	a.settling.at = now.Add(a.settling.wait + time.Duration(a.o.Rand()*float64(a.settling.wait)/2))
}

func (a *Applier) unsettled() bool {
	for _, d := range a.databases {
		if d.dirty {
			return true
		}
	}
	return !a.settling.safe.Includes(a.appliedOfOthers())
}

func (a *Applier) appliedOfOthers() journal.Vector {
	v := a.o.Journal.Applied()
	delete(v, a.own)
	return v
}

func (a *Applier) settleNow(ctx context.Context) error {
	for _, d := range a.databases {
		if err := a.answered(d); err != nil {
			return err
		}
		if !d.dirty {
			continue
		}
		switch err := a.reach(ctx, d); {
		case sqlState(err) == "3D000":
			d.dirty = false // the database was dropped: there is nothing to lose any more
		case err != nil:
			return err
		}
	}
	// A server that crashes from here on breaks each connection that anything was written on, and the synced transaction on
	// it fails. One that crashed before was looked at when the connection was made.
	applied := a.appliedOfOthers()
	for _, d := range a.databases {
		if !d.dirty && !d.lags(applied) {
			continue
		}
		if err := a.reach(ctx, d); err != nil {
			if !d.dirty {
				continue // it is only slower to look through later
			}
			return err
		}
		if err := d.settle(a.own, applied); err != nil {
			return err
		}
	}
	if err := a.o.Journal.SetSafe(applied); err != nil {
		return err
	}
	a.settling.safe = applied
	final := a.o.Journal.Final()
	for _, d := range a.databases {
		d.histories.forget(final)
	}
	return nil
}

// lags reports whether the positions of d, though nothing is missing there, are far behind.
func (d *database) lags(applied journal.Vector) bool {
	for origin, seq := range applied {
		if seq > d.positions[origin]+settleLag {
			return true
		}
	}
	return false
}

// settle moves the positions of d, which has all of applied that is for it, in one synced transaction.
func (d *database) settle(own journal.NodeID, applied journal.Vector) error {
	if d.s == nil || d.s.broken {
		return errBroken
	}
	f := &flight{}
	f.add("BEGIN")
	f.add("SET LOCAL synchronous_commit = local")
	f.add(syncSQL, journal.Text(own.String()))
	for n, seq := range applied {
		if seq > d.positions[n] {
			move(f, journal.ID{Origin: n, Seq: seq})
		}
	}
	commit := f.add("COMMIT")
	if err := d.s.do(f); err != nil {
		if !d.s.broken {
			err = errors.Join(err, d.s.rollback())
		}
		return fmt.Errorf("sync database %s: %w", d.name, err)
	}
	if commit.word != "COMMIT" {
		return fmt.Errorf("sync database %s: %s", d.name, commit.word)
	}
	for n, seq := range applied {
		d.positions[n] = max(d.positions[n], seq)
	}
	d.kept, d.dirty = d.positions.Clone(), false
	return nil
}

// syncSQL writes something, so that there is a COMMIT to be synced.
const syncSQL = `INSERT INTO pgproxy.applied AS a (origin, seq) VALUES ($1::uuid, 0) ON CONFLICT (origin) DO UPDATE SET seq = a.seq`

// putBack counts as not applied again what the database does not have any more. Records that are safe are looked for only
// if the database is not even where it was left: then it was put back from a backup.
func (a *Applier) putBack(d *database) error {
	for origin, seq := range a.o.Journal.Applied() {
		if origin == a.own {
			continue
		}
		from := d.positions[origin]
		if from >= d.kept[origin] {
			from = max(from, a.settling.safe[origin])
		}
		lost, err := a.firstLost(d, origin, from, seq)
		if err != nil {
			return err
		}
		if lost == 0 {
			continue
		}
		var ids []journal.ID
		for at := lost; at <= seq; at++ {
			ids = append(ids, journal.ID{Origin: origin, Seq: at})
		}
		if err := a.o.Journal.Gate(func(g *journal.Gate) error {
			g.UnmarkApplied(ids...)
			return nil
		}); err != nil {
			return fmt.Errorf("count what the database lost as not applied: %w", err)
		}
		a.o.Logger.Warn("the database has lost what was applied: it is applied again", "database", d.name, "origin", origin,
			"from", strconv.FormatUint(lost, 10), "records", len(ids))
	}
	return nil
}

// firstLost gives the first record past from, up to seq, that is for the database; zero if there is none.
func (a *Applier) firstLost(d *database, origin journal.NodeID, from, seq uint64) (uint64, error) {
	for at := from + 1; at <= seq; at++ {
		rec, err := a.o.Journal.Record(journal.ID{Origin: origin, Seq: at})
		if errors.Is(err, journal.ErrPruned) {
			continue // it was pruned when the databases had it for good
		}
		if errors.Is(err, journal.ErrNotFound) {
			return 0, nil
		}
		if err != nil {
			return 0, fmt.Errorf("read record %s: %w", journal.ID{Origin: origin, Seq: at}, err)
		}
		if rec.Tx != nil && rec.Tx.Database == d.name {
			return at, nil
		}
	}
	return 0, nil
}
