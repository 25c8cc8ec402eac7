package journal

import (
	"sync"
	"time"
)

// maxGroupBytes bounds what one transaction of bbolt takes, unless a single ticket is larger, and so for how long the gate
// is closed afterwards.
const maxGroupBytes = 8 << 20

// maxLazyBytes bounds what waits in memory without anybody waiting for it: attempts while the disk is full.
const maxLazyBytes = 32 << 20

// ticket is what is written together, whole or not at all. The order of tickets in the queue is the order on the disk.
type ticket struct {
	entries []*entry
	intent  *Intent    // the own transaction that the ticket's entry seals
	acked   bool       // write the acknowledged vectors
	done    chan error // gets the result if somebody waits (then the ticket is written at once); capacity 1
	bytes   int64
}

// newTicket makes a ticket. waiting says whether somebody waits for it.
func newTicket(waiting bool, entries ...*entry) *ticket {
	t := &ticket{entries: entries}
	for _, e := range entries {
		t.bytes += int64(e.bytes)
	}
	if waiting {
		t.done = make(chan error, 1)
	}
	return t
}

// queue holds tickets until the committer takes them. Whoever needs an order among tickets adds them under the gate.
type queue struct {
	delay time.Duration
	after func(time.Duration) <-chan time.Time
	wake  chan struct{} // 1-slot: something was added

	mu      sync.Mutex
	tickets []*ticket
	waiting int   // tickets that somebody waits for
	lazy    int64 // bytes of those that nobody waits for
	bytes   int64
	acked   bool // a ticket for acknowledged vectors is in the queue
	closed  bool
}

func newQueue(delay time.Duration, after func(time.Duration) <-chan time.Time) *queue {
	return &queue{delay: delay, after: after, wake: make(chan struct{}, 1)}
}

// add appends a ticket; false if the queue is closed, or full of what nobody waits for.
func (q *queue) add(t *ticket) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	if t.acked {
		if q.acked {
			return true
		}
		q.acked = true
	}
	q.push(t)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// push appends. The caller holds mu.
func (q *queue) push(t *ticket) {
	q.tickets = append(q.tickets, t)
	q.bytes += t.bytes
	if t.done != nil {
		q.waiting++
	} else {
		q.lazy += t.bytes
	}
}

// pop takes the first ticket. The caller holds mu.
func (q *queue) pop() *ticket {
	t := q.tickets[0]
	q.tickets[0] = nil
	q.tickets = q.tickets[1:]
	q.bytes -= t.bytes
	if t.done != nil {
		q.waiting--
	} else {
		q.lazy -= t.bytes
	}
	q.acked = q.acked && !t.acked
	return t
}

// lazyFull reports whether no more may be added that nobody waits for.
func (q *queue) lazyFull() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lazy > maxLazyBytes
}

// size gives the bytes that wait.
func (q *queue) size() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// next waits for work and takes a group: at once if somebody waits for it, else after the delay, for company. Nil says
// that the queue is closed and empty. hold makes it wait that long even if there is work that nobody waits for.
func (q *queue) next(hold time.Duration) []*ticket {
	var timer <-chan time.Time
	due := false
	for {
		q.mu.Lock()
		if len(q.tickets) > 0 && (due || q.waiting > 0 || q.closed) {
			group := q.take()
			q.mu.Unlock()
			return group
		}
		if q.closed {
			q.mu.Unlock()
			return nil
		}
		if len(q.tickets) > 0 && timer == nil {
			timer = q.after(max(q.delay, hold))
		}
		q.mu.Unlock()
		select {
		case <-q.wake:
		case <-timer:
			due = true
		}
	}
}

// take cuts a group off the front. The caller holds mu.
func (q *queue) take() []*ticket {
	var group []*ticket
	var bytes int64
	for len(q.tickets) > 0 {
		if bytes += q.tickets[0].bytes; bytes > maxGroupBytes && len(group) > 0 {
			break
		}
		group = append(group, q.pop())
	}
	return group
}

// drain takes everything, puts back what nobody waits for behind lazy, and gives the rest. It is called under the gate.
func (q *queue) drain(group []*ticket) (waiting []*ticket) {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := append(group, q.tickets...)
	q.tickets, q.waiting, q.lazy, q.bytes, q.acked = nil, 0, 0, 0, false
	for _, t := range all {
		if t.done != nil {
			waiting = append(waiting, t)
			continue
		}
		q.acked = q.acked || t.acked
		q.push(t)
	}
	return waiting
}

// close lets next finish what is there and then give nil.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
