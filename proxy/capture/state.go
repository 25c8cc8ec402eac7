package capture

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"

	"pgproxy/journal"
)

// TxState is what capture keeps per open transaction: relations seen, and own images, for the before-images of rows that
// are changed twice, with savepoint marks. The zero value is a transaction that has done nothing. Not safe for
// concurrent use.
type TxState struct {
	// Relations are what the changes of the transaction's effects index into. It only grows, past ROLLBACK TO as well.
	Relations []journal.Relation
	// Images takes the changes of large statements; nil: all are held in memory.
	Images Images

	indexes map[*relation]int
	log     []logged
	marks   []mark
	tables  map[uint32]*tableState // worked out of the log when asked for
	schema  string                 // fingerprint of the schema's changes so far; "" none
}

// logged is a step of the transaction on one table: changes, in memory or in the images, or the end of all its rows.
type logged struct {
	rel       *relation
	changes   []journal.Change
	span      *journal.Span
	truncated bool
}

type mark struct {
	name   string
	log    int
	schema string
}

// Savepoint, Release and RollbackTo follow the client's statements of that name, after they succeeded.
func (t *TxState) Savepoint(name string) { t.marks = append(t.marks, mark{name, len(t.log), t.schema}) }

// Release forgets the savepoint and those made after it; what was done since stays.
func (t *TxState) Release(name string) {
	if i := t.mark(name); i >= 0 {
		t.marks = t.marks[:i]
	}
}

// RollbackTo undoes what was done since the savepoint, which stays.
func (t *TxState) RollbackTo(name string) {
	i := t.mark(name)
	if i < 0 {
		return
	}
	clear(t.log[t.marks[i].log:])
	t.log = t.log[:t.marks[i].log]
	t.schema = t.marks[i].schema
	t.marks = t.marks[:i+1]
	t.tables = nil
}

func (t *TxState) mark(name string) int {
	for i := len(t.marks) - 1; i >= 0; i-- {
		if t.marks[i].name == name {
			return i
		}
	}
	return -1
}

// relation gives rel's index in Relations, registering it first if need be.
func (t *TxState) relation(rel *relation) int {
	if i, ok := t.indexes[rel]; ok {
		return i
	}
	if t.indexes == nil {
		t.indexes = map[*relation]int{}
	}
	i := slices.IndexFunc(t.Relations, func(r journal.Relation) bool {
		return r.Name == rel.Name && r.Schema == rel.Schema && reflect.DeepEqual(r, rel.record)
	})
	if i < 0 {
		i = len(t.Relations)
		t.Relations = append(t.Relations, rel.record)
	}
	t.indexes[rel] = i
	return i
}

// Steps gives how many steps have been noted so far.
func (t *TxState) Steps() int { return len(t.log) }

// Moved tells that the changes noted as the steps from..to, which are those of one statement, are in the images now.
func (t *TxState) Moved(from, to int, s *journal.Span) {
	done := map[*relation]bool{}
	for i := from; i < to; i++ {
		if l := &t.log[i]; l.changes != nil {
			l.changes = nil
			if !done[l.rel] {
				l.span, done[l.rel] = s, true
			}
		}
	}
}

// add notes what a statement did to rel.
func (t *TxState) add(rel *relation, changes []journal.Change) {
	if len(changes) > 0 {
		t.log = append(t.log, logged{rel: rel, changes: changes})
	}
}

// truncate notes that all rows of rel ended.
func (t *TxState) truncate(rel *relation) {
	t.log = append(t.log, logged{rel: rel, truncated: true})
}

// touched reports whether the transaction has changed rel's rows before.
func (t *TxState) touched(rel *relation) bool {
	return slices.ContainsFunc(t.log, func(l logged) bool { return l.rel.OID == rel.OID })
}

// truncatedTable reports whether the transaction has ended all committed rows of rel.
func (t *TxState) truncatedTable(rel *relation) bool {
	return slices.ContainsFunc(t.log, func(l logged) bool { return l.rel.OID == rel.OID && l.truncated })
}

// tableState is what the transaction is known to have done to one table so far.
type tableState struct {
	rel       *relation
	read      int                 // how much of the log is in it
	truncated bool                // no committed row is left
	rows      map[string]rowState // table with key: by key
	// Table without key: how many rows of a value it added of its own, and how many committed ones it removed.
	added, removed map[string]int
	images         map[string][]journal.Value // a row of each value in added
}

// rowState is one row as the transaction has left it.
type rowState struct {
	current []journal.Value // nil: deleted
}

// table works out the state of rel's rows. It is valid until the log grows or shrinks.
func (t *TxState) table(rel *relation) (*tableState, error) {
	s := t.tables[rel.OID]
	if s == nil || s.rel != rel {
		s = &tableState{rel: rel, rows: map[string]rowState{}, added: map[string]int{}, removed: map[string]int{},
			images: map[string][]journal.Value{}}
		if t.tables == nil {
			t.tables = map[uint32]*tableState{}
		}
		t.tables[rel.OID] = s
	}
	for ; s.read < len(t.log); s.read++ {
		l := t.log[s.read]
		if l.rel.OID != rel.OID {
			continue
		}
		if l.truncated {
			s.truncate()
		}
		for i := range l.changes {
			s.apply(l.rel, &l.changes[i])
		}
		if l.span == nil {
			continue
		}
		err := t.Images.Each(l.span, func(c *journal.Change) error {
			if c.Relation == t.indexes[l.rel] {
				s.apply(l.rel, c)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read the transaction's own changes: %w", err)
		}
	}
	return s, nil
}

func (s *tableState) truncate() {
	clear(s.rows)
	clear(s.added)
	clear(s.removed)
	s.truncated = true
}

func (s *tableState) apply(rel *relation, c *journal.Change) {
	before, after := s.fit(rel, c.Before), s.fit(rel, c.After)
	if len(s.rel.key) == 0 {
		s.count(before, after)
		return
	}
	if before != nil {
		s.rows[s.rel.rowKey(before)] = rowState{}
	}
	if after != nil {
		s.rows[s.rel.rowKey(after)] = rowState{current: after}
	}
}

// count follows one change of a table without key. Whether a removed row was own or committed cannot be told where equal
// ones exist; either is right in the sum.
func (s *tableState) count(before, after []journal.Value) {
	if before != nil {
		k := allKey(before)
		s.images[k] = before
		if s.added[k] > 0 {
			s.added[k]--
		} else {
			s.removed[k]++
		}
	}
	if after != nil {
		k := allKey(after)
		s.added[k]++
		s.images[k] = after
	}
}

// image gives a row of that value, which the transaction added or removed before.
func (s *tableState) image(key string) []journal.Value { return s.images[key] }

// fit turns a row of another version of the table into one of this version.
func (s *tableState) fit(rel *relation, row []journal.Value) []journal.Value {
	if row == nil || rel == s.rel {
		return row
	}
	fitted := make([]journal.Value, len(s.rel.Columns))
	for i, c := range s.rel.Columns {
		if j := rel.column(c.Name); j >= 0 {
			fitted[i] = row[j]
		}
	}
	return fitted
}

// rowKey makes a map key of a row's key columns.
func (r *relation) rowKey(row []journal.Value) string {
	var b []byte
	for _, k := range r.key {
		b = appendKey(b, row[k])
	}
	return string(b)
}

// allKey makes a map key of all of a row.
func allKey(row []journal.Value) string {
	var b []byte
	for _, v := range row {
		b = appendKey(b, v)
	}
	return string(b)
}

func appendKey(b []byte, v journal.Value) []byte {
	b = append(b, byte(v.Kind))
	b = binary.AppendUvarint(b, uint64(len(v.Data)))
	return append(b, v.Data...)
}
