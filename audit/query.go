package audit

import (
	"fmt"
	"iter"
	"strconv"
	"strings"

	"pgproxy/journal"
)

// Query is what a person asks the journal for.
type Query struct {
	journal.Filter      // Limit is the number of transactions given; 0 is no limit
	All            bool // also what is no transaction: members, beats and events
	NoBeats        bool // with All: no beats
}

// Run gives what r holds for q, newest first unless q.Forward, reading as it goes: memory does not grow with the number
// of transactions.
func (q Query) Run(r journal.Reader) iter.Seq2[Transaction, error] {
	return func(yield func(Transaction, error) bool) {
		f := q.Filter
		f.Kinds = []journal.Kind{journal.KindTx, journal.KindVoid}
		if q.All {
			f.Kinds = append(f.Kinds, journal.KindMember)
			if !q.NoBeats {
				f.Kinds = append(f.Kinds, journal.KindBeat)
			}
			f.Events = journal.EventKinds()
		}
		names := r.Names()
		for it, err := range r.Scan(f) {
			if err != nil {
				yield(Transaction{}, err)
				return
			}
			if it.Record != nil && names[it.Record.Origin] == "" {
				names = r.Names() // a node admitted since
			}
			if !yield(NewTransaction(it, names), nil) {
				return
			}
		}
	}
}

// Get gives one record by the name people use: ORIGIN/SEQ, with the origin's name or id.
func Get(r journal.Reader, id string) (Transaction, error) {
	names := r.Names()
	key, err := ParseID(id, names)
	if err != nil {
		return Transaction{}, err
	}
	it, err := r.Get(key)
	if err != nil {
		return Transaction{}, fmt.Errorf("read record %s: %w", id, err)
	}
	return NewTransaction(it, names), nil
}

// ParseID reads ORIGIN/SEQ. An unknown origin is an error that lists the known ones.
func ParseID(s string, names map[journal.NodeID]string) (journal.ID, error) {
	origin, seq, ok := strings.Cut(s, "/")
	n, err := strconv.ParseUint(seq, 10, 64)
	if !ok || err != nil || n == 0 {
		return journal.ID{}, fmt.Errorf("%q is no record; write ORIGIN/SEQ, such as a/12", s)
	}
	known := []string{}
	for node, name := range names {
		if name == origin {
			return journal.ID{Origin: node, Seq: n}, nil
		}
		known = append(known, name)
	}
	if node, err := journal.ParseNodeID(origin); err == nil {
		return journal.ID{Origin: node, Seq: n}, nil
	}
	return journal.ID{}, fmt.Errorf("this journal knows no node %q (it knows: %s)", origin, sorted(known))
}
