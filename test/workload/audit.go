package workload

import (
	"fmt"
	"slices"
	"strconv"
)

// Entry is a transaction in a node's journal, as far as the audit checker looks at it.
type Entry struct {
	ID       string // ORIGIN/SEQ
	Origin   string
	Seq      uint64
	User     string
	Outcome  string
	Inserted []Insert // rows that its statements put into w_set
	Missing  string   // a statement whose effect could not be captured, if there is one
}

// Insert is one row that a journal says was inserted into w_set.
type Insert struct {
	ID         int64
	Query      string
	RolledBack bool
}

// ParseID reads the id of a row of w_set from the JSON form of a value.
func ParseID(v any) (int64, error) {
	s, ok := v.(string)
	if !ok {
		return 0, fmt.Errorf("read id %v: not a text", v)
	}
	return strconv.ParseInt(s, 10, 64)
}

// CheckJournal holds a node's journal against its tables and the ledger: they must tell the same story.
func CheckJournal(l *Ledger, t Tables, entries []Entry) []string {
	var wrong []string
	fail := func(format string, args ...any) {
		wrong = append(wrong, "journal of "+t.Node+": "+fmt.Sprintf(format, args...))
	}
	ops := map[int64]Operation{}
	for _, op := range l.Operations() {
		for _, id := range append([]int64{op.ID}, op.More...) {
			ops[id] = op
		}
	}
	committed := map[int64]string{} // id -> record
	records := map[string]bool{}
	for _, e := range entries {
		if e.Seq != 0 && records[e.ID] {
			fail("%s stands there twice", e.ID)
		}
		records[e.ID] = true
		if e.Missing != "" {
			fail("%s: not captured: %s", e.ID, e.Missing)
		}
		if e.Outcome == "unknown" {
			fail("%s is still unknown", e.ID)
		}
		if e.Outcome != "committed" {
			continue
		}
		for _, in := range e.Inserted {
			if in.RolledBack {
				continue
			}
			if other := committed[in.ID]; other != "" {
				fail("row %d was inserted by %s and by %s", in.ID, other, e.ID)
			}
			committed[in.ID] = e.ID
			switch op := ops[in.ID]; {
			case op.ID == 0:
				fail("%s inserted row %d, of no operation", e.ID, in.ID)
			case e.User != op.User || e.Origin != op.Node || in.Query == "":
				fail("%s tells of user %q, node %q, text %q; it was %v by %q", e.ID, e.User, e.Origin, in.Query, op, op.User)
			}
		}
	}
	for id := range t.Set {
		if committed[id] == "" {
			fail("row %d is in the table and in no committed record: %v", id, ops[id])
		}
	}
	for id, record := range committed {
		if _, ok := t.Set[id]; !ok {
			fail("%s is committed, and its row %d is not in the table: %v", record, id, ops[id])
		}
	}
	slices.Sort(wrong)
	return wrong
}
