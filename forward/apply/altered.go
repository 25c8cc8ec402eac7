package apply

import (
	"errors"
	"fmt"
	"slices"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// alteredMax bounds how many records of a table are looked through for the statements that changed it.
const alteredMax = 50_000

// ruleSchema is told where a change wrote what a statement, unaware of it, has removed here.
const ruleSchema = "the table or column was removed by a statement that the change did not know of"

// altered gives the statement records of others and our own that are in the database and name the table, newest first.
func (s *single) altered(rel *journal.Relation) ([]journal.ID, error) {
	n := tableName{rel.Schema, rel.Name}
	if ids, ok := s.d.altered[n]; ok {
		return ids, nil
	}
	applied := s.a.appliedNow()
	ids, left := []journal.ID{}, alteredMax
	committed := journal.OutcomeCommitted
	for it, err := range s.a.o.Journal.Scan(journal.Filter{Database: s.rec.Tx.Database, Table: rel.Schema + "." + rel.Name, Outcome: &committed}) {
		if err != nil {
			return nil, fmt.Errorf("look for statements on table %s.%s: %w", rel.Schema, rel.Name, err)
		}
		if left--; left < 0 {
			break
		}
		r := it.Record
		if r == nil || r.Tx == nil || r.Seq == 0 || !applied.Covers(r.ID) || !replays(r) {
			continue
		}
		ids = append(ids, r.ID)
	}
	if s.d.altered == nil {
		s.d.altered = map[tableName][]journal.ID{}
	}
	s.d.altered[n] = ids
	return ids, nil
}

// removed reports whether err says that a table or column is not here, because of a statement that the record's author did not
// know of. What it wrote there is void at every node then, and told as a conflict; without such a statement the record has to
// wait for whoever makes the table.
func (s *single) removed(t conflict.Touch, err error) (bool, error) {
	var no *refusal
	if !errors.As(err, &no) || no.state != "42703" && no.state != "42P01" {
		return false, nil
	}
	ids, e := s.altered(t.Change.Relation)
	if e != nil {
		return false, e
	}
	i := slices.IndexFunc(ids, func(id journal.ID) bool { return !s.rec.Knew.Covers(id) && id != s.rec.ID })
	if i < 0 {
		return false, nil
	}
	c := t.Change
	kind := "update/schema"
	switch c.Op {
	case journal.OpInsert:
		kind = "insert/schema"
	case journal.OpDelete:
		kind = "delete/schema"
	}
	said := journal.Conflict{Kind: kind, Time: s.a.o.Now(), Database: s.rec.Tx.Database, Schema: c.Relation.Schema, Table: c.Relation.Name,
		Key: keyOf(c), Winner: ids[i], Loser: s.rec.ID, Rule: ruleSchema, LoserSQL: conflict.SQL(c)}
	if no.column != "" {
		said.Columns = []string{no.column}
	}
	s.told = append(s.told, said)
	return true, nil
}

func keyOf(c *conflict.Change) map[string]string {
	image := c.Before
	if image == nil {
		image = c.After
	}
	key := map[string]string{}
	for _, i := range c.Relation.Key {
		if i < len(image) {
			key[c.Relation.Columns[i].Name] = image[i].Data
		}
	}
	return key
}
