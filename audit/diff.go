package audit

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"pgproxy/journal"
)

// Difference is what a span of time did to a row, all in all.
type Difference struct {
	Op       string         `json:"op"` // insert, update, delete
	Database string         `json:"database"`
	Schema   string         `json:"schema"`
	Table    string         `json:"table"`
	Key      Columns        `json:"key"`
	Before   *Columns       `json:"before"` // null: the row was not there
	After    *Columns       `json:"after"`
	Changes  []ColumnChange `json:"changes"`
	Users    []string       `json:"users"`
	Records  []string       `json:"records"`         // the transactions that took part
	Count    int            `json:"count,omitempty"` // of a table without key: how many such rows more, or fewer
}

// answerDiff compares each row that was changed after Since and not after Until at these two moments. Its memory grows with the
// number of such rows, by some bytes each.
func answerDiff(ctx context.Context, r Reader, q Question, aid Aid, give func(any) error) error {
	if q.Since == nil {
		return wrong("a diff needs the moment from which to compare")
	}
	until := aid.Now()
	if q.Until != nil {
		until = *q.Until
	}
	if until.Before(*q.Since) {
		return wrong("the end of the span is before its begin")
	}
	committed := journal.OutcomeCommitted
	f := journal.Filter{Since: *q.Since, Until: until, Table: q.Table, Database: q.Database, User: q.User, Origin: q.Origin, Outcome: &committed, Forward: true}
	d := differ{h: newHistorian(r, aid.Fold), since: *q.Since, until: until, seen: map[[sha256.Size]byte]bool{}, counts: map[journal.RowKey]*Difference{}, give: give}
	for it, err := range r.Scan(f) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && it.Record.Seq > 0 && it.Record.Tx != nil && it.Record.HLC.Wall().After(*q.Since) {
			err = d.record(it, q.Table)
		}
		if err != nil {
			return err
		}
	}
	for _, k := range slices.Sorted(maps.Keys(d.counts)) {
		if c := d.counts[k]; c.Count != 0 {
			if c.Op = "insert"; c.Count < 0 {
				c.Op, c.Before, c.After = "delete", c.After, nil
			}
			if err := give(*c); err != nil {
				return err
			}
		}
	}
	return nil
}

type differ struct {
	h            *historian
	since, until time.Time
	seen         map[[sha256.Size]byte]bool
	counts       map[journal.RowKey]*Difference // of tables without key
	give         func(any) error
}

// record compares the rows that a record changed and that no earlier one of the span did.
func (d *differ) record(it journal.Item, table string) error {
	tx := it.Record.Tx
	for i := range tx.Statements {
		st := &tx.Statements[i]
		if st.RolledBack || st.SQLState != "" {
			continue
		}
		for c, err := range tx.Each(st) {
			if err != nil {
				return err
			}
			rel := &tx.Relations[c.Relation]
			if table != "" && !isTable(rel, table) {
				continue
			}
			for n, row := range [][]journal.Value{c.Before, c.After} {
				if row == nil {
					continue
				}
				if len(rel.Key) == 0 {
					d.count(it, rel, row, n*2-1)
				} else if err := d.row(rowOf{tx.Database, rel, []journal.RowKey{tx.RowKey(rel, row)}}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (d *differ) count(it journal.Item, rel *journal.Relation, row []journal.Value, by int) {
	k := it.Record.Tx.RowKey(rel, row)
	c := d.counts[k]
	if c == nil {
		c = &Difference{Database: it.Record.Tx.Database, Schema: rel.Schema, Table: rel.Name, Key: Columns{}, After: columns(rel, row), Changes: []ColumnChange{}}
		d.counts[k] = c
	}
	c.Count += by
	c.join(d.h.author(it))
}

func (c *Difference) join(a Author) {
	if !slices.Contains(c.Users, a.User) {
		c.Users = append(c.Users, a.User)
	}
	if !slices.Contains(c.Records, a.Record) {
		c.Records = append(c.Records, a.Record)
	}
}

// row gives the difference of one row, if there is one.
func (d *differ) row(row rowOf) error {
	sum := sha256.Sum256([]byte(row.keys[0]))
	if d.seen[sum] {
		return nil
	}
	d.seen[sum] = true
	var before, after map[string]journal.Value
	out := Difference{Database: row.database, Schema: row.relation.Schema, Table: row.relation.Name, Key: Columns{}}
	begun := false
	for s, err := range d.h.steps(row) {
		if err != nil {
			return fmt.Errorf("history of a row of %s.%s: %w", row.relation.Schema, row.relation.Name, err)
		}
		at := s.item.Record.HLC.Wall()
		if at.After(d.until) {
			break
		}
		if !at.After(d.since) {
			before, begun = s.after, true
			continue
		}
		if !begun {
			before, begun = s.before, true
		}
		after = s.after
		out.join(d.h.author(s.item))
	}
	rel := row.relation
	switch out.Changes = cells(rel, before, after); {
	case len(out.Changes) == 0:
		return nil
	case before == nil:
		out.Op = "insert"
	case after == nil:
		out.Op = "delete"
	default:
		out.Op = "update"
	}
	out.Before, out.After = columnsOf(rel, before), columnsOf(rel, after)
	state := after
	if state == nil {
		state = before
	}
	for _, k := range rel.Key {
		if v, ok := state[rel.Columns[k].Name]; ok {
			out.Key = append(out.Key, Column{rel.Columns[k].Name, Value(v)})
		}
	}
	return d.give(out)
}
