package forward

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"pgproxy/forward/peerpb"
)

// DefaultVerifyWait is how long Verify waits for records in flight.
const DefaultVerifyWait = 60 * time.Second

// DefaultVerifyKeys is how many differing keys of a table Verify names.
const DefaultVerifyKeys = 100

// ErrUnreachable is in the result for a peer that there is no link to, or no longer.
var ErrUnreachable = errors.New("peer is not reachable")

// VerifyOptions says what to compare. Empty means all.
type VerifyOptions struct {
	Database string
	Table    string // "name" or "schema.name"
	Peer     string
	Wait     time.Duration // for what is in flight; 0: DefaultVerifyWait
	Keys     int           // differing keys that are named per table; 0: DefaultVerifyKeys
}

// VerifyResult is what became of one table with one peer, or, with an empty Table, of the peer or database as a whole.
type VerifyResult struct {
	Peer, Database, Schema, Table string

	Rows, PeerRows int64
	Differences    []Difference
	More           bool   // there are further differences than are named
	Problem        string // what makes the tables different as a whole: missing on one side, other columns
	Err            error  // it could not be compared; ErrUnreachable if the peer is away
}

// Equal reports whether the comparison was made and found no difference.
func (r *VerifyResult) Equal() bool {
	return r.Err == nil && r.Problem == "" && len(r.Differences) == 0 && !r.More
}

// Difference is one row that differs. Where is "here", "there" or "both".
type Difference struct {
	Key   map[string]string // column to text; of a table without key "" to the row
	Where string            // which side has it: "both" have it, with other values
	Count int64             // of a table without key: how often more it is there than here; negative: less
}

// Verify compares the replicated tables with every peer that is linked or configured, one after the other, and yields
// one result per table. Both databases do the summing; memory is bounded here and there. Rows that change while it looks
// are looked at again, and count only if they stay different.
func (f *Forwarder) Verify(ctx context.Context, o VerifyOptions) iter.Seq[VerifyResult] {
	if o.Wait <= 0 {
		o.Wait = DefaultVerifyWait
	}
	if o.Keys <= 0 {
		o.Keys = DefaultVerifyKeys
	}
	return func(yield func(VerifyResult) bool) {
		found := false
		for _, s := range f.Status() {
			if o.Peer != "" && s.Name != o.Peer || o.Peer == "" && !s.Configured && !s.Connected {
				continue
			}
			found = true
			v := &verifier{f: f, o: o, peer: s.Name, yield: yield}
			l := f.linkTo(s.Name)
			if l == nil || !l.isSettled() {
				if !v.report(VerifyResult{Err: fmt.Errorf("%w: %s", ErrUnreachable, s.LastError)}) {
					return
				}
				continue
			}
			v.sides = [2]side{f.answer, l.ask}
			if !v.run(ctx) {
				return
			}
		}
		if o.Peer != "" && !found {
			yield(VerifyResult{Peer: o.Peer, Err: fmt.Errorf("%w: %s", ErrUnknownPeer, o.Peer)})
		}
	}
}

// side answers questions about one node's database: this one's, or a peer's.
type side func(ctx context.Context, q *peerpb.Ask, each func(*peerpb.Answer) error) error

// verifier compares with one peer.
type verifier struct {
	f     *Forwarder
	o     VerifyOptions
	peer  string
	sides [2]side // here, there
	yield func(VerifyResult) bool
}

// report passes a result on; false if nobody wants more.
func (v *verifier) report(r VerifyResult) bool {
	r.Peer = v.peer
	return v.yield(r)
}

// both asks both sides at once and gives their answers, put together by side.
func (v *verifier) both(ctx context.Context, q *peerpb.Ask) (out [2]*peerpb.Answer, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, len(v.sides))
	for i, ask := range v.sides {
		sum := &peerpb.Answer{}
		out[i] = sum
		go func() { // ends with the question
			err := ask(ctx, q, func(a *peerpb.Answer) error {
				sum.Vector = append(sum.Vector, a.Vector...)
				sum.Reached, sum.Cut = sum.Reached || a.Reached, sum.Cut || a.Cut
				sum.Databases = append(sum.Databases, a.Databases...)
				sum.Tables = append(sum.Tables, a.Tables...)
				sum.Sums = append(sum.Sums, a.Sums...)
				sum.Rows = append(sum.Rows, a.Rows...)
				return nil
			})
			if err != nil {
				cancel()
				err = fmt.Errorf("%s: %w", [2]string{"here", v.peer}[i], err)
			}
			errs <- err
		}()
	}
	for range v.sides {
		if e := <-errs; e != nil && (err == nil || errors.Is(err, context.Canceled)) {
			err = e
		}
	}
	return out, err
}

// settle waits until both databases hold what either journal holds now.
func (v *verifier) settle(ctx context.Context) error {
	stored, err := v.both(ctx, &peerpb.Ask{Question: &peerpb.Ask_Reached{Reached: &peerpb.AskReached{}}})
	if err != nil {
		return err
	}
	want, err := peerpb.ToVector(stored[0].Vector)
	if err != nil {
		return err
	}
	theirs, err := peerpb.ToVector(stored[1].Vector)
	if err != nil {
		return err
	}
	for n, seq := range theirs {
		want[n] = max(want[n], seq)
	}
	if len(want) == 0 {
		return nil
	}
	reached, err := v.both(ctx, &peerpb.Ask{Question: &peerpb.Ask_Reached{Reached: &peerpb.AskReached{
		Applied: peerpb.FromVector(want), TimeoutMs: uint64(v.o.Wait.Milliseconds())}}})
	if err != nil {
		return err
	}
	for i, a := range reached {
		if a.Reached {
			continue
		}
		var left uint64
		have, err := peerpb.ToVector(a.Vector)
		if err != nil {
			return err
		}
		for n, seq := range want {
			if seq > have[n] {
				left += seq - have[n]
			}
		}
		return fmt.Errorf("%d records are stored and not applied %s after %s: see status there", left, [2]string{"here", "at " + v.peer}[i], v.o.Wait)
	}
	return nil
}

// run compares all databases with one peer; false if nobody wants more.
func (v *verifier) run(ctx context.Context) bool {
	if err := v.settle(ctx); err != nil {
		return v.report(VerifyResult{Err: err})
	}
	lists, err := v.both(ctx, &peerpb.Ask{Question: &peerpb.Ask_Databases{Databases: &peerpb.AskDatabases{}}})
	if err != nil {
		return v.report(VerifyResult{Err: err})
	}
	all := slices.Concat(lists[0].Databases, lists[1].Databases)
	slices.Sort(all)
	all = slices.Compact(all)
	if v.o.Database != "" && !slices.Contains(all, v.o.Database) {
		return v.report(VerifyResult{Database: v.o.Database, Err: fmt.Errorf("database %q is on neither side", v.o.Database)})
	}
	matched := false
	for _, db := range all {
		if v.o.Database != "" && db != v.o.Database {
			continue
		}
		problem := ""
		switch {
		case !slices.Contains(lists[0].Databases, db):
			problem = "database is missing here"
		case !slices.Contains(lists[1].Databases, db):
			problem = "database is missing there"
		}
		if problem != "" {
			if !v.report(VerifyResult{Database: db, Problem: problem}) {
				return false
			}
			continue
		}
		seen, goOn := v.database(ctx, db)
		matched = matched || seen
		if !goOn {
			return false
		}
	}
	if v.o.Table != "" && !matched {
		return v.report(VerifyResult{Database: v.o.Database, Err: fmt.Errorf("table %q is on neither side", v.o.Table)})
	}
	return true
}

// database compares all tables of a database. seen: there was a table to compare, or an error.
func (v *verifier) database(ctx context.Context, db string) (seen, goOn bool) {
	lists, err := v.both(ctx, &peerpb.Ask{Question: &peerpb.Ask_Tables{Tables: &peerpb.AskTables{Database: db}}})
	if err != nil {
		return true, v.report(VerifyResult{Database: db, Err: err})
	}
	var byName [2]map[string]*peerpb.Table
	names := map[string]bool{}
	for i, a := range lists {
		byName[i] = map[string]*peerpb.Table{}
		for _, t := range a.Tables {
			full := t.Schema + "." + t.Name
			if v.f.o.Excluded != nil && v.f.o.Excluded(t.Schema, t.Name) {
				continue
			}
			if v.o.Table == "" || v.o.Table == t.Name || v.o.Table == full {
				id := quote(t.Schema) + "." + quote(t.Name)
				byName[i][id] = t
				names[id] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		seen = true
		if !v.report(v.table(ctx, db, byName[0][name], byName[1][name])) {
			return true, false
		}
	}
	return seen, true
}

// table compares one table.
func (v *verifier) table(ctx context.Context, db string, here, there *peerpb.Table) VerifyResult {
	r := VerifyResult{Database: db}
	switch {
	case here == nil:
		r.Schema, r.Table, r.Problem = there.Schema, there.Name, "table is missing here"
		return r
	case there == nil:
		r.Schema, r.Table, r.Problem = here.Schema, here.Name, "table is missing there"
		return r
	}
	r.Schema, r.Table = here.Schema, here.Name
	s := &peerpb.Selection{Database: db, Schema: here.Schema, Table: here.Name}
	var lacks []string
	for _, c := range here.Columns {
		if slices.Contains(there.Columns, c) {
			s.Columns = append(s.Columns, c)
		} else {
			lacks = append(lacks, "column "+c+" is missing there")
		}
	}
	for _, c := range there.Columns {
		if !slices.Contains(here.Columns, c) {
			lacks = append(lacks, "column "+c+" is missing here")
		}
	}
	r.Problem = strings.Join(lacks, ", ")
	within := func(key []string) bool {
		return len(key) > 0 && !slices.ContainsFunc(key, func(c string) bool { return !slices.Contains(s.Columns, c) })
	}
	switch {
	case within(here.Key):
		s.Key = here.Key
	case within(there.Key):
		s.Key = there.Key
	}
	d := &differ{v: v, s: s, r: &r}
	r.Err = d.compare(ctx)
	return r
}
