package apply

import (
	"pgproxy/forward/conflict"
	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// historyMax bounds the changes that are kept in memory for rows that are folded again and again.
const historyMax = 200_000

// histories keeps the folds of rows, so that a hot row is not read from its beginning each time.
type histories struct {
	rows  map[journal.RowKey]*conflict.History
	sizes map[journal.RowKey]int
	total int
}

// get gives the row's fold; an empty one if it is not kept.
func (h *histories) get(k journal.RowKey) *conflict.History {
	if r := h.rows[k]; r != nil {
		return r
	}
	return conflict.NewHistory()
}

// put keeps a fold, and lets go of others where there are too many.
func (h *histories) put(k journal.RowKey, r *conflict.History) {
	if h.rows == nil {
		h.rows, h.sizes = map[journal.RowKey]*conflict.History{}, map[journal.RowKey]int{}
	}
	h.drop(k)
	h.rows[k], h.sizes[k] = r, r.Len()+1
	h.total += r.Len() + 1
	for other := range h.rows {
		if h.total <= historyMax {
			return
		}
		if other != k {
			h.drop(other)
		}
	}
}

// forget lets go of rows that nothing can change any more but what knows all of their changes.
func (h *histories) forget(final hlc.Time) {
	for k, r := range h.rows {
		if r.Last() <= final {
			h.drop(k)
		}
	}
}

func (h *histories) drop(k journal.RowKey) {
	h.total -= h.sizes[k]
	delete(h.rows, k)
	delete(h.sizes, k)
}
