package workload

import (
	"fmt"
	"slices"
	"sync"
)

// Outcome is what a client knows of its transaction.
type Outcome int

// The outcomes.
const (
	Unknown Outcome = iota // no answer, or an error that does not say
	Acked
	Failed
)

func (o Outcome) String() string { return [...]string{"unknown", "acked", "failed"}[o] }

// Operation is one transaction of the workload.
type Operation struct {
	ID      int64 // stands in table w_set, unless Kind is a delete
	Kind    string
	Node    string
	User    string
	More    []int64 // further ids that stand in w_set with it
	Never   []int64 // ids that it wrote and took back: they must never be seen
	Deletes int64   // id that it removed from w_gone; 0 none
	Outcome Outcome
	Err     string
}

// Ledger is what the clients were told. Its methods may be called from any goroutine.
type Ledger struct {
	mu   sync.Mutex
	next int64
	ops  map[int64]*Operation
}

// NewLedger makes an empty ledger.
func NewLedger() *Ledger { return &Ledger{ops: map[int64]*Operation{}} }

// Begin notes an operation before it is sent: whatever happens now, it is unknown until End. It gets its ids here: one,
// and as many more and nevers as asked for.
func (l *Ledger) Begin(kind, node, user string, more, never int) *Operation {
	l.mu.Lock()
	defer l.mu.Unlock()
	op := &Operation{Kind: kind, Node: node, User: user}
	op.ID = l.id()
	for range more {
		op.More = append(op.More, l.id())
	}
	for range never {
		op.Never = append(op.Never, l.id())
	}
	l.ops[op.ID] = op
	return op
}

func (l *Ledger) id() int64 {
	l.next++
	return l.next
}

// Delete notes which row an operation is about to take away.
func (l *Ledger) Delete(op *Operation, id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	op.Deletes = id
}

// End notes what the client was told.
func (l *Ledger) End(op *Operation, o Outcome, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	op.Outcome = o
	if err != nil {
		op.Err = err.Error()
	}
}

// Operations lists all operations by id.
func (l *Ledger) Operations() []Operation {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Operation, 0, len(l.ops))
	for _, op := range l.ops {
		all = append(all, *op)
	}
	slices.SortFunc(all, func(a, b Operation) int { return int(a.ID - b.ID) })
	return all
}

// Count tells how many operations ended how.
func (l *Ledger) Count() map[Outcome]int {
	n := map[Outcome]int{}
	for _, op := range l.Operations() {
		n[op.Outcome]++
	}
	return n
}

// Acked tells how many operations are acknowledged.
func (l *Ledger) Acked() int { return l.Count()[Acked] }

func (op Operation) String() string {
	return fmt.Sprintf("operation %d (%s at %s, %s, more %v, never %v, %s)", op.ID, op.Kind, op.Node, op.Outcome, op.More, op.Never, op.Err)
}
