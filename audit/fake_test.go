package audit

import (
	"errors"
	"iter"
	"slices"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

var (
	nodeA = journal.NodeID{1}
	nodeB = journal.NodeID{2}
	noon  = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
)

// fakeReader holds items in the order in which they were journaled; positions begin at 1.
type fakeReader struct {
	items []journal.Item
	err   error // given after the last item
	clash []journal.Conflict
}

var _ journal.Reader = (*fakeReader)(nil)

func (f *fakeReader) Scan(q journal.Filter) iter.Seq2[journal.Item, error] {
	return func(yield func(journal.Item, error) bool) {
		n := 0
		for i := range f.items {
			it := f.items[i]
			if !q.Forward {
				it = f.items[len(f.items)-1-i]
			}
			if q.After != 0 && (q.Forward && it.Position <= q.After || !q.Forward && it.Position >= q.After) {
				continue
			}
			if len(q.Kinds) > 0 && !slices.Contains(q.Kinds, it.Record.Kind) {
				continue
			}
			if !yield(it, nil) {
				return
			}
			if n++; n == q.Limit {
				return
			}
		}
		if f.err != nil {
			yield(journal.Item{}, f.err)
		}
	}
}

func (f *fakeReader) Get(id journal.ID) (journal.Item, error) {
	for _, it := range f.items {
		if it.Record.ID == id {
			return it, nil
		}
	}
	return journal.Item{}, errors.New("no such record")
}

func (f *fakeReader) Names() map[journal.NodeID]string {
	return map[journal.NodeID]string{nodeA: "a", nodeB: "b"}
}

func (f *fakeReader) Conflicts() iter.Seq2[journal.Conflict, error] {
	return func(yield func(journal.Conflict, error) bool) {
		for _, c := range f.clash {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (f *fakeReader) Stats() journal.Stats { return journal.Stats{} }

func (f *fakeReader) add(r *journal.Record, o journal.Outcome) {
	f.items = append(f.items, journal.Item{Position: uint64(len(f.items) + 1), Record: r, Outcome: o})
}

// txRecord is a transaction with every kind of value in it.
func txRecord(origin journal.NodeID, seq uint64) *journal.Record {
	rel := journal.Relation{Schema: "public", Name: "stock", Key: []int{0},
		Columns: []journal.Column{{Name: "item"}, {Name: "qty"}, {Name: "note"}, {Name: "secret"}, {Name: "later"}}}
	return &journal.Record{
		ID: journal.ID{Origin: origin, Seq: seq}, Kind: journal.KindTx, HLC: hlc.Time(noon.UnixMilli()<<16 | 5), Knew: journal.Vector{nodeB: 7},
		Tx: &journal.Tx{
			User: "alice", Database: "shop", Application: "till", Client: "10.0.0.1:5", XID: 99, Start: noon, End: noon.Add(time.Second),
			Relations: []journal.Relation{rel},
			Statements: []journal.Statement{{
				Query: "UPDATE stock SET qty = qty - 1 WHERE item = $1 AND qty > 0", Params: []journal.Param{{Type: "text", Value: journal.Text("é<b>")}, {Value: journal.Null()}},
				Command: "UPDATE", Class: journal.ClassWrite, Tables: []string{"public.stock"}, Capture: journal.CaptureExact, RowsAffected: 1, Start: noon, Duration: 1500 * time.Microsecond,
				Changes: []journal.Change{{Op: journal.OpUpdate,
					Before: []journal.Value{journal.Text("apple"), journal.Text("3"), journal.Null(), {Kind: journal.ValueRedacted}, {}},
					After:  []journal.Value{journal.Text("apple"), journal.Text("2"), journal.Text(""), {Kind: journal.ValueRedacted}, {Kind: journal.ValueUnchanged}}, Delta: []int{1}}},
			}},
		},
	}
}

func (f *fakeReader) Row(k journal.RowKey) ([]journal.Ref, error) {
	var refs []journal.Ref
	for _, it := range f.items {
		if it.Record.Tx != nil && it.Outcome != journal.OutcomeAborted && slices.Contains(it.Record.Tx.RowKeys(), k) {
			refs = append(refs, journal.Ref{ID: it.Record.ID, HLC: it.Record.HLC, Outcome: it.Outcome})
		}
	}
	slices.SortFunc(refs, func(a, b journal.Ref) int { return journal.Order(a.HLC, a.ID, b.HLC, b.ID) })
	return refs, nil
}

func (f *fakeReader) Databases() ([]string, error) { return []string{"shop"}, nil }

func (f *fakeReader) Users() ([]string, error) { return []string{"alice"}, nil }
