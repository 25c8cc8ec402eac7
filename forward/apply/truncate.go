package apply

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// A TRUNCATE ends the rows that were born before it, at every node: also at one where younger rows, whose authors did not
// know of it, were there before it came. So each is remembered, per table, and plays in the folds of its rows; and where one
// is run late, the younger rows are written again behind it, from their records.

// lockPatience is how long apply waits, holding a truncated table, for own transactions that were sealed before: their
// COMMIT is on its way.
const (
	lockPatience = 10
	lockPause    = 5 * time.Millisecond
)

// ended gives the endings of a table and those that it inherits from.
func (d *database) ended(rel *journal.Relation) []*conflict.Change {
	if len(d.endings) == 0 {
		return nil
	}
	names := []string{rel.Schema + "." + rel.Name}
	if t := d.tables[tableName{rel.Schema, rel.Name}]; t != nil { // callers have loaded it: nothing is asked under the gate
		names = append(names, t.parents...)
	}
	var out []*conflict.Change
	for _, n := range names {
		out = append(out, d.endings[n]...)
	}
	return out
}

// end remembers endings.
func (d *database) end(ends []conflict.Ending) {
	for _, e := range ends {
		known := func(c *conflict.Change) bool { return c.ID == e.Change.ID && c.Place == e.Change.Place }
		if slices.ContainsFunc(d.endings[e.Table], known) {
			continue
		}
		if d.endings == nil {
			d.endings = map[string][]*conflict.Change{}
		}
		d.endings[e.Table] = append(d.endings[e.Table], e.Change)
		d.endCount++
	}
}

// loadEndings reads what was kept, and up to where the own stream was looked through.
func (d *database) loadEndings(j *journal.Journal) error {
	rows, err := d.s.query("SELECT DISTINCT origin::text, seq::text FROM pgproxy.truncated")
	if err != nil {
		return fmt.Errorf("read the truncated tables of database %s: %w", d.name, err)
	}
	for _, r := range rows {
		id, err := parseID(r[0], r[1])
		if err != nil {
			return fmt.Errorf("read the truncated tables of database %s: %w", d.name, err)
		}
		rec, err := j.Record(id)
		if errors.Is(err, journal.ErrNotFound) {
			continue // older than anything that the journal can still fold
		}
		if err != nil {
			return fmt.Errorf("read record %s: %w", id, err)
		}
		d.end(conflict.Endings(rec))
	}
	return nil
}

const endingSQL = "INSERT INTO pgproxy.truncated (name, origin, seq) VALUES ($1::text, $2::uuid, $3::int8) ON CONFLICT DO NOTHING"

func keepEnding(f *flight, e conflict.Ending) {
	f.add(endingSQL, journal.Text(e.Table), journal.Text(hex.EncodeToString(e.Change.ID.Origin[:])),
		journal.Text(strconv.FormatUint(e.Change.ID.Seq, 10)))
}

// follow looks through what this node itself has written since, for tables that it truncated. What apply has locks on
// cannot have been truncated by a transaction that is not durable in the journal yet: so after the locks are held, follow
// sees every one that matters. One that is not decided yet is errPending.
func (a *Applier) follow() error {
	for {
		id := journal.ID{Origin: a.own, Seq: a.followed + 1}
		rec, err := a.o.Journal.Record(id)
		if errors.Is(err, journal.ErrPruned) {
			a.followed++ // older than anything that the journal can still fold
			continue
		}
		if errors.Is(err, journal.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read record %s: %w", id, err)
		}
		if ends := conflict.Endings(rec); len(ends) > 0 {
			it, err := a.o.Journal.Get(id)
			if err != nil {
				return fmt.Errorf("read record %s: %w", id, err)
			}
			if it.Outcome == journal.OutcomeUnknown {
				return errPending
			}
			if it.Outcome == journal.OutcomeCommitted {
				a.database(rec.Tx.Database).end(ends)
				a.unkept = append(a.unkept, rec)
			}
		}
		a.followed++
	}
}

// followEvery is after how many own records the place is kept.
const followEvery = 5000

// keepFollowed writes down, in a quiet moment, up to where the own stream was looked through, and what was found.
func (a *Applier) keepFollowed(ctx context.Context) error {
	if len(a.unkept) == 0 && a.followed < a.kept+followEvery {
		return nil
	}
	for _, d := range a.databases {
		if err := a.reach(ctx, d); err != nil {
			return err
		}
		f := &flight{}
		f.add("BEGIN")
		for _, rec := range a.unkept {
			if rec.Tx.Database != d.name {
				continue
			}
			for _, e := range conflict.Endings(rec) {
				keepEnding(f, e)
			}
		}
		move(f, journal.ID{Origin: a.own, Seq: a.followed})
		f.add("COMMIT")
		if err := d.s.do(f); err != nil {
			return errors.Join(fmt.Errorf("keep the place in the own stream: %w", err), d.s.rollback())
		}
		d.positions[a.own] = a.followed
	}
	a.unkept, a.kept = nil, a.followed
	return nil
}

// truncate runs another node's TRUNCATE and writes the younger rows again that it took.
func (s *single) truncate(r *journal.Replay, run func() error) error {
	names, err := s.withParts(r.Tables)
	if err != nil {
		return err
	}
	if err := run(); err != nil {
		return err
	}
	ends := conflict.Endings(s.rec)
	for _, e := range ends {
		keepEnding(s.f, e)
	}
	s.ends = ends
	applied, err := s.quiescent()
	if err != nil {
		return err
	}
	if newest(applied, s.rec) {
		return nil
	}
	for _, name := range names {
		if err := s.survivors(conflict.Ending{Table: name, Change: ends[len(ends)-1].Change}, applied); err != nil {
			return err
		}
	}
	return nil
}

// withParts adds the partitions and heirs of tables.
func (s *single) withParts(tables []string) ([]string, error) {
	names := slices.Clone(tables)
	for _, t := range tables {
		schema, name, _ := strings.Cut(t, ".")
		rows, err := s.d.s.query(`WITH RECURSIVE down (oid) AS (
  SELECT i.inhrelid FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = $1::text AND c.relname = $2::text
  UNION SELECT i.inhrelid FROM down JOIN pg_inherits i ON i.inhparent = down.oid)
SELECT n.nspname || '.' || c.relname FROM down JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace`,
			journal.Text(schema), journal.Text(name))
		if err != nil {
			return nil, fmt.Errorf("look for the partitions of %s: %w", t, err)
		}
		for _, r := range rows {
			if part := string(r[0]); !slices.Contains(names, part) {
				names = append(names, part)
			}
		}
	}
	return names, nil
}

// quiescent waits, a moment at most, until all that this node sealed is decided: the table is locked, so that nothing more
// can have happened to it.
func (s *single) quiescent() (journal.Vector, error) {
	for range lockPatience {
		var sealed journal.Vector
		err := s.a.o.Journal.Gate(func(g *journal.Gate) error {
			sealed = g.Applied()
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("look at what is sealed: %w", err)
		}
		if s.a.o.Journal.Applied()[s.a.own] >= sealed[s.a.own] {
			if err := s.a.follow(); err != nil {
				return nil, err
			}
			return sealed, nil
		}
		<-s.a.o.After(lockPause)
	}
	return nil, errPending
}

// survivors writes the rows of a truncated table that younger changes made, and tells of the older ones that are lost and
// that the TRUNCATE did not know of.
func (s *single) survivors(end conflict.Ending, applied journal.Vector) error {
	committed := journal.OutcomeCommitted
	rows, counts := map[journal.RowKey][]*conflict.Change{}, []conflict.Count{}
	touch := map[journal.RowKey]conflict.Touch{}
	var keys []journal.RowKey
	note := func(k journal.RowKey, t conflict.Touch) {
		if _, ok := touch[k]; !ok && k != "" {
			touch[k] = t
			keys = append(keys, k)
		}
	}
	filter := journal.Filter{Database: s.rec.Tx.Database, Table: end.Table, Since: s.it.since.Wall(), Outcome: &committed}
	for it, err := range s.a.o.Journal.Scan(filter) {
		if err != nil {
			return fmt.Errorf("look for the younger rows of %s: %w", end.Table, err)
		}
		r := it.Record
		if r == nil || r.Tx == nil || r.Seq == 0 || r.ID == s.rec.ID || !applied.Covers(r.ID) || s.rec.Knew.Covers(r.ID) {
			continue
		}
		for t, err := range conflict.All(r) {
			if err != nil {
				return err
			}
			rel := t.Change.Relation
			if rel.Schema+"."+rel.Name != end.Table {
				continue
			}
			if conflict.Order(t.Change, end.Change) < 0 {
				if t.Change.Op != journal.OpDelete {
					s.lost(t, end.Change)
				}
				continue
			}
			note(t.Key, t)
			t.Change = s.verdict(r.ID).Stands(t.Change)
			if t.Keyless {
				note(t.Other, t)
				counts = append(counts, conflict.CountOf(t))
			} else {
				rows[t.Key] = append(rows[t.Key], t.Change)
			}
		}
	}
	for _, other := range s.d.endings[end.Table] {
		if conflict.Order(other, end.Change) > 0 {
			counts = append(counts, conflict.Count{Change: other})
			for k := range rows {
				rows[k] = append(rows[k], other)
			}
		}
	}
	return s.rewrite(keys, touch, rows, counts)
}

// rewrite inserts what is left of rows and counts into the table, which is empty.
func (s *single) rewrite(keys []journal.RowKey, touch map[journal.RowKey]conflict.Touch, rows map[journal.RowKey][]*conflict.Change, counts []conflict.Count) error {
	n, _ := conflict.Counts(nil, counts)
	for _, k := range keys {
		t := touch[k]
		rel := t.Change.Relation
		tab, err := s.d.table(rel)
		if err != nil {
			return err
		}
		if t.Keyless {
			image := t.Change.After
			if k == t.Key && t.Change.Op != journal.OpInsert {
				image = t.Change.Before
			}
			for range n[k] {
				if _, err := tab.insert(s.f, rel, image); err != nil {
					return err
				}
			}
		} else {
			if err := s.flush(); err != nil { // checks ask the database
				return err
			}
			r, err := conflict.Fold(nil, rows[k], s.d.checker(tab))
			if err != nil {
				return err
			}
			if _, err := tab.write(s.f, rel, t.Change.After, r, false); err != nil {
				return err
			}
		}
		if len(s.f.steps) >= maxFlight {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return s.flush()
}

// lostMax bounds how many lost rows one TRUNCATE is told of each for itself.
const lostMax = 1000

func (s *single) lost(t conflict.Touch, end *conflict.Change) {
	if len(s.told) >= lostMax {
		return
	}
	c := t.Change
	kind := "update/truncate"
	if c.Op == journal.OpInsert {
		kind = "insert/truncate"
	}
	s.told = append(s.told, journal.Conflict{Kind: kind, Time: s.a.o.Now(), Database: s.rec.Tx.Database, Schema: c.Relation.Schema,
		Table: c.Relation.Name, Key: keyOf(c), Winner: end.ID, Loser: c.ID, Rule: conflict.RuleTruncated, LoserSQL: conflict.SQL(c)})
}

func parseID(origin, seq []byte) (id journal.ID, err error) {
	hexa := slices.DeleteFunc(slices.Clone(origin), func(b byte) bool { return b == '-' })
	if id.Origin, err = journal.ParseNodeID(string(hexa)); err != nil {
		return id, err
	}
	id.Seq, err = strconv.ParseUint(string(seq), 10, 64)
	return id, err
}
