package apply

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// Applier writes what the journal has stored, and this node's databases have not, into the databases. Prepare, then Run;
// Status and Kick may be called at any time.
type Applier struct {
	o         Options
	own       journal.NodeID
	databases map[string]*database
	stops     map[journal.NodeID]*stop
	stands    map[journal.NodeID]*stand
	waits     map[journal.NodeID]uint64 // origins that wait for a stopped one, and the record that does
	strided   atomic.Uint64             // the node number that the sequences follow, plus one
	restride  time.Time                 // when to try again
	sequences []string                  // that do not follow it, with the reason
	times     map[journal.ID]hlc.Time
	followed  uint64            // own records up to here were searched for TRUNCATE
	kept      uint64            // as far as the databases say
	unkept    []*journal.Record // own ones with TRUNCATE that the databases do not say
	settling  settling
	counts    Counts
	manners   manners
	kick      chan struct{}

	mu     sync.Mutex // guards status
	status Status
}

// New makes an Applier; it connects to nothing.
func New(o Options) (*Applier, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Applier{o: o, own: o.Journal.Identity().Node, databases: map[string]*database{}, stops: map[journal.NodeID]*stop{},
		stands: map[journal.NodeID]*stand{}, waits: map[journal.NodeID]uint64{}, times: map[journal.ID]hlc.Time{}, kick: make(chan struct{}, 1)}, nil
}

// Prepare makes what apply needs in every replicated database, reads the positions there and tells the journal what is
// applied. The pending rows of transactions in doubt are known to the journal by then; no client needs to wait for it.
func (a *Applier) Prepare(ctx context.Context) error {
	names, err := a.o.Databases(ctx)
	if err != nil {
		return fmt.Errorf("list databases: %w", err)
	}
	applied := journal.Vector{}
	a.followed, a.unkept = math.MaxUint64, nil
	for _, n := range names {
		d := a.database(n)
		if err := d.connect(ctx, &a.o); err != nil {
			return err
		}
		a.followed = min(a.followed, d.positions[a.own])
		for origin, seq := range d.positions {
			applied[origin] = max(applied[origin], seq)
		}
	}
	if len(names) == 0 {
		a.followed = 0
	}
	a.kept = a.followed
	delete(applied, a.own)
	if err := a.rewind(applied); err != nil {
		return err
	}
	a.o.Journal.SetApplied(applied)
	if _, err := a.stride(ctx); err != nil {
		return err
	}
	for _, d := range a.databases { // Run connects anew, under its own context
		d.disconnect()
		d.dirty = true // whoever wrote the positions
	}
	a.publish()
	return nil
}

// rewind lowers the vector to before the first record that its database does not have. A database is behind the others
// only if it was put back in time: records are applied in order, whichever database they are for.
func (a *Applier) rewind(applied journal.Vector) error {
	for origin, seq := range applied {
		least := seq
		for _, d := range a.databases {
			if p, ok := d.positions[origin]; ok {
				least = min(least, p)
			}
		}
		for at := least + 1; at <= seq; at++ {
			rec, err := a.o.Journal.Record(journal.ID{Origin: origin, Seq: at})
			if errors.Is(err, journal.ErrPruned) {
				continue // it was pruned when the databases had it for good
			}
			if errors.Is(err, journal.ErrNotFound) {
				break // the journal is behind the database: what it will be sent again is recognised by its position
			}
			if err != nil {
				return fmt.Errorf("read record %s: %w", journal.ID{Origin: origin, Seq: at}, err)
			}
			if rec.Tx == nil {
				continue
			}
			if d := a.databases[rec.Tx.Database]; d != nil && d.positions[origin] < at {
				applied[origin] = at - 1
				break
			}
		}
	}
	return nil
}

func (a *Applier) database(name string) *database {
	d := a.databases[name]
	if d == nil {
		d = &database{name: name, positions: journal.Vector{}}
		a.databases[name] = d
	}
	return d
}

// Kick asks for another try of everything that is stopped, now.
func (a *Applier) Kick() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// Run applies until ctx ends, and then gives nil. Errors of a record or a database stop streams, never Run; it fails only
// if the journal cannot be read.
func (a *Applier) Run(ctx context.Context) error {
	wake, cancel := a.o.Journal.Watch()
	defer cancel()
	defer a.closeAll()
	for {
		moved, err := a.pass(ctx)
		a.publish()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if moved {
			select {
			case <-a.kick:
				a.hurry()
			default:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.kick:
			a.hurry()
		case <-wake:
		case <-a.nextRetry():
		}
	}
}

func (a *Applier) closeAll() {
	for _, d := range a.databases {
		_ = a.answered(d)
		d.disconnect()
	}
	a.publish()
}

// passTime is after how long a pass makes room for retries and for Status.
const passTime = 200 * time.Millisecond

// pass applies what can be applied now and reports whether anything moved.
func (a *Applier) pass(ctx context.Context) (moved bool, err error) {
	now := a.o.Now()
	if !a.restride.After(now) {
		a.restride = time.Time{}
		if _, err := a.stride(ctx); err != nil {
			a.o.Logger.Warn("sequences are not set to this node's stride yet", "error", err)
			a.restride = now.Add(a.o.RetryMax)
		}
	}
	blocked := map[journal.NodeID]bool{} // not again in this pass
	for origin, s := range a.stops {
		if s.retry.After(now) {
			blocked[origin] = true
		}
	}
	for ctx.Err() == nil {
		if a.o.Now().Sub(now) > passTime {
			moved = true // there may be more
			break
		}
		recs, err := a.fetch(blocked)
		if err != nil {
			return moved, err
		}
		if len(recs) == 0 {
			break
		}
		before := len(blocked)
		n, err := a.apply(ctx, recs, blocked)
		if err != nil {
			return moved, err
		}
		moved = moved || n > 0
		if n == 0 && len(blocked) == before {
			break
		}
	}
	for _, d := range a.databases {
		if err := a.answered(d); err != nil {
			moved = true // look again
		}
	}
	a.settle(ctx)
	if err := a.keepFollowed(ctx); err != nil {
		a.o.Logger.Warn("the place in the own stream is not kept", "error", err)
	}
	return moved, nil
}

// fetch reads the next records that are stored and not applied, causes before effects, without those of blocked origins.
func (a *Applier) fetch(blocked map[journal.NodeID]bool) ([]*journal.Record, error) {
	v, stored := a.o.Journal.Applied().Clone(), a.o.Journal.Stored()
	behind := false
	for origin, seq := range stored {
		if origin == a.own || blocked[origin] {
			v[origin] = max(v[origin], seq)
		}
		behind = behind || v[origin] < seq
	}
	if !behind {
		return nil, nil
	}
	raws, err := a.o.Journal.After(v, fetchBytes)
	if err != nil {
		return nil, fmt.Errorf("read records to apply: %w", err)
	}
	recs := make([]*journal.Record, 0, len(raws))
	for _, raw := range raws {
		if raw.ID.Origin == a.own || blocked[raw.ID.Origin] {
			continue
		}
		r, err := a.o.Journal.Decode(raw)
		if err != nil {
			return nil, fmt.Errorf("read record %s: %w", raw.ID, err)
		}
		recs = append(recs, r)
	}
	return recs, nil
}

// appliedNow is the applied vector with everything of our own that is published.
func (a *Applier) appliedNow() journal.Vector {
	v := a.o.Journal.Applied().Clone()
	v[a.own] = max(v[a.own], a.o.Journal.Stored()[a.own])
	return v
}
