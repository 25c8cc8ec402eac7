package conflict

import (
	"slices"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// stride is how many changes lie between two states that a History keeps.
const stride = 32

// History is the fold of one row that takes late changes at the cost of the changes behind them, not of all. It gives
// what Fold gives. It is not safe for concurrent use.
type History struct {
	changes []*Change // in the global order
	ends    []*Change // the deletes among them, in no order
	saved   map[*Change]*Change
	has     map[change]bool
	records map[journal.ID]bool
	told    [][]Decision // by change, as far as played
	marks   []mark       // states before a change, ascending
	played  int          // last is the state before changes[played]
	last    *state       // nil: nothing is played
}

type mark struct {
	at int
	s  *state
}

type change struct {
	id    journal.ID
	place int
}

// NewHistory makes an empty one: its first change in the global order brings the base.
func NewHistory() *History {
	return &History{saved: map[*Change]*Change{}, has: map[change]bool{}, records: map[journal.ID]bool{}}
}

// Len is the number of changes.
func (h *History) Len() int { return len(h.changes) }

// Last gives the time of the latest change; zero if there is none.
func (h *History) Last() hlc.Time {
	if len(h.changes) == 0 {
		return 0
	}
	return h.changes[len(h.changes)-1].HLC
}

// Has reports whether changes of the record are in h.
func (h *History) Has(id journal.ID) bool { return h.records[id] }

// Within reports whether h holds nothing but changes of these records.
func (h *History) Within(records map[journal.ID]bool) bool {
	if len(h.records) > len(records) {
		return false
	}
	for id := range h.records {
		if !records[id] {
			return false
		}
	}
	return true
}

// Add puts changes in; those that are there are left out. Changes must not be modified afterwards.
func (h *History) Add(changes ...*Change) {
	for _, c := range changes {
		k := change{c.ID, c.Place}
		if !h.has[k] {
			h.has[k], h.records[c.ID] = true, true
			h.insert(c)
		}
	}
}

func (h *History) insert(c *Change) {
	at := h.place(c)
	h.changes = slices.Insert(h.changes, at, c)
	from := at
	switch c.Op {
	case journal.OpDelete:
		h.ends = append(h.ends, c)
		for _, later := range h.changes[at+1:] {
			if saves(later, c) {
				h.saved[c] = later
				break
			}
		}
	case journal.OpUpdate:
		for _, e := range h.ends {
			if Order(e, c) > 0 || !saves(c, e) {
				continue
			}
			if w := h.saved[e]; w == nil || Order(c, w) < 0 {
				h.saved[e] = c
				from = min(from, h.place(e))
			}
		}
	}
	h.forget(from)
}

func (h *History) place(c *Change) int {
	at, _ := slices.BinarySearchFunc(h.changes, c, Order)
	return at
}

// forget drops the states that the change at from is part of.
func (h *History) forget(from int) {
	for len(h.marks) > 0 && (from == 0 || h.marks[len(h.marks)-1].at > from) {
		h.marks = h.marks[:len(h.marks)-1]
	}
	if h.played <= from && from > 0 {
		return
	}
	h.played, h.last = 0, nil // a new first change brings a new base
	if n := len(h.marks); n > 0 {
		h.played, h.last = h.marks[n-1].at, h.marks[n-1].s.clone()
	}
	h.told = h.told[:h.played]
}

// Result plays what has not been played yet. It leaves the decisions to Decisions.
func (h *History) Result(check Check) (Result, error) {
	if len(h.changes) == 0 {
		return Result{}, nil
	}
	if h.last == nil {
		h.last = start(Base(h.changes[0]))
	}
	for h.played < len(h.changes) {
		i := h.played
		if i > 0 && i%stride == 0 && (len(h.marks) == 0 || h.marks[len(h.marks)-1].at < i) {
			h.marks = append(h.marks, mark{i, h.last.clone()})
		}
		c, d := h.changes[i], &decisions{}
		if err := h.last.step(c, h.saved[c], check, d); err != nil {
			h.forget(0)
			return Result{}, err
		}
		h.told = append(h.told, d.list)
		h.played++
	}
	return h.last.result(nil), nil
}

// Decisions gives those that the last Result led to, from the first change of the record on: what came before cannot be due
// to it, but for a delete that it lets lose.
func (h *History) Decisions(from journal.ID) []Decision {
	first := len(h.changes)
	for i, c := range h.changes {
		if c.ID == from || h.saved[c] != nil && h.saved[c].ID == from {
			first = i
			break
		}
	}
	var out []Decision
	for _, list := range h.told[min(first, len(h.told)):] {
		out = append(out, list...)
	}
	return out
}
