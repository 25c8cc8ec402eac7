package proxy

import (
	"errors"
	"sync"
)

// mode says what becomes of the answers to a message.
type mode uint8

const (
	modeRaw  mode = iota // the client's own message: its answers pass
	modePlay             // done in the client's name by other messages than it sent: acknowledgements are swallowed
	modeOwn              // pgproxy's own work: everything but asynchronous messages is swallowed
)

// shape says how result rows are changed on their way to the client.
type shape uint8

const (
	shapeAsIs shape = iota
	shapeNone       // the client asked for no rows: none leave, RowDescription becomes NoData
	shapeTrim       // the last column is pgproxy's
)

// owed is one message sent to the server whose answer has not come completely.
type owed struct {
	kind  byte // type byte of the message: P B D E C S Q F; 'c' and 'd' mark COPY data and owe nothing
	mode  mode
	shape shape
	late  bool      // Describe: its RowDescription leaves with the first answer to Execute
	run   *run      // what collects the answers; its tag and errors are written to the client by who waits
	ps    *prepared // told if the message did not take effect
	watch *watched  // recorded when it is answered
	po    *portal   // Bind: what it makes
}

// queue is the FIFO of owed answers, between the goroutine that sends to the server and the one that reads from it.
type queue struct {
	mu     sync.Mutex
	ring   []owed
	head   int
	n      int
	ready  int // entries that end with ReadyForQuery
	failed bool
	// failure is the last error that a waiting sender must know of; cleared by take.
	failure *failure
	watch   bool // keep failures of the client's own messages too
	status  byte // transaction status of the last ReadyForQuery
	idles   uint64
	copying byte // 'G' while the head is taking COPY data
	closed  error

	onFail func() // called once when a failure comes while the sender reads COPY data

	pushed, popped uint64
	waitFor        uint64
	waiting        bool
	wake           chan struct{}
}

// Reasons why a wait ends early.
var (
	errServerFailed = errors.New("server reported an error")
	errCopyIn       = errors.New("server waits for COPY data")
	errServerGone   = errors.New("server closed the connection")
)

func (q *queue) init() {
	q.ring = make([]owed, 16)
	q.wake = make(chan struct{}, 1)
	q.status = 'I'
}

// push enters a message that is about to be sent and gives its number for await. While the server skips to the next
// Sync, only a Sync is entered.
func (q *queue) push(o owed) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failed {
		if o.kind != 'S' {
			if o.ps != nil {
				o.ps.failed = true
			}
			return q.popped
		}
		q.failed = false
	}
	if q.n == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = o
	q.n++
	q.pushed++
	if endsReady(o.kind) {
		q.ready++
	}
	return q.pushed
}

// mark notes where COPY data stands among the messages: a mark is needed at its end, and where a Sync came before it.
func (q *queue) mark(typ byte) {
	if typ == 'f' {
		typ = 'c'
	}
	q.mu.Lock()
	tail := byte(0)
	if q.n > 0 {
		tail = q.ring[(q.head+q.n-1)&(len(q.ring)-1)].kind
	}
	q.mu.Unlock()
	if tail == 'S' || tail != 0 && typ == 'c' {
		q.push(owed{kind: typ})
	}
}

func (q *queue) grow() {
	ring := make([]owed, 2*len(q.ring))
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
	}
	q.ring, q.head = ring, 0
}

// acknowledgement gives the type of the message that answers a Parse, Bind or Close.
func acknowledgement(kind byte) byte {
	switch kind {
	case 'P':
		return '1'
	case 'B':
		return '2'
	}
	return '3'
}

func endsReady(kind byte) bool { return kind == 'S' || kind == 'Q' || kind == 'F' }

// first gives the head of the queue.
func (q *queue) first() (owed, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropMarks()
	if q.n == 0 {
		return owed{}, false
	}
	return q.ring[q.head], true
}

// dropMarks removes COPY marks that stand first. Called with the lock held.
func (q *queue) dropMarks() {
	for q.n > 0 && (q.ring[q.head].kind == 'c' || q.ring[q.head].kind == 'd') {
		q.drop()
	}
}

// drop removes the head. Called with the lock held.
func (q *queue) drop() {
	if endsReady(q.ring[q.head].kind) {
		q.ready--
	}
	q.ring[q.head] = owed{}
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	q.popped++
}

// done removes the head, whose answer is complete.
func (q *queue) done() {
	q.mu.Lock()
	if q.copying != 0 {
		q.endCopy()
	}
	q.drop()
	q.dropMarks()
	q.signal()
	q.mu.Unlock()
}

// idle takes a ReadyForQuery.
func (q *queue) idle(status byte) {
	q.mu.Lock()
	q.copying = 0
	if q.ring[q.head].mode == modeRaw {
		q.failure = nil // the client has seen both the error and its end
	}
	q.drop()
	q.dropMarks()
	q.status = status
	if status == 'I' {
		q.idles++
	}
	q.signal()
	q.mu.Unlock()
}

// copyIn notes that the head takes COPY data from now on.
func (q *queue) copyIn() {
	q.mu.Lock()
	q.copying = 'G'
	q.signal()
	q.mu.Unlock()
}

// leaveCopy notes that the sender has sent the end of the data.
func (q *queue) leaveCopy() {
	q.mu.Lock()
	q.copying = 0
	q.mu.Unlock()
}

// interrupt sets what wakes the sender from reading COPY data when the server fails; nil takes it back.
func (q *queue) interrupt(f func()) {
	q.mu.Lock()
	q.onFail = f
	if f != nil && q.copying == 0 {
		q.onFail = nil
	}
	q.mu.Unlock()
}

// endCopy drops what the server ignored while it took COPY data: the Syncs sent before the last piece of data. Called
// with the lock held; the head is the message that copies.
func (q *queue) endCopy() {
	q.copying = 0
	last := 0
	for i := 1; i < q.n; i++ {
		k := q.ring[(q.head+i)&(len(q.ring)-1)].kind
		if k == 'c' || k == 'd' {
			last = i
		}
		if k == 'c' {
			break
		}
	}
	if last == 0 {
		return
	}
	kept := q.ring[q.head]
	for range last {
		q.drop()
	}
	q.ring[q.head] = kept // stands where the mark stood
	if endsReady(kept.kind) {
		q.ready++
	}
}

// fail takes an ErrorResponse to the head: what was sent before the next Sync will not be answered. f is kept for the
// sender if keep is set. It gives what was watched among them, the failed one included.
func (q *queue) fail(f *failure, keep bool) (dropped []*watched) {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.signal()
	if keep || q.watch {
		q.failure = f
	}
	if q.n == 0 {
		return nil
	}
	f.seq = q.popped + 1
	if q.copying != 0 {
		q.endCopy()
	}
	if q.onFail != nil {
		q.onFail()
		q.onFail = nil
	}
	kind := q.ring[q.head].kind
	if endsReady(kind) {
		return nil // ReadyForQuery follows at once
	}
	for q.n > 0 && q.ring[q.head].kind != 'S' {
		if ps := q.ring[q.head].ps; ps != nil {
			ps.failed = true
		}
		if w := q.ring[q.head].watch; w != nil {
			dropped = append(dropped, w)
		}
		q.drop()
	}
	q.failed = q.n == 0
	return dropped
}

// signal wakes the sender if what it waits for has come. Called with the lock held.
func (q *queue) signal() {
	if !q.waiting {
		return
	}
	if q.popped >= q.waitFor || q.failed || q.failure != nil || q.copying != 0 || q.closed != nil {
		q.waiting = false
		q.wake <- struct{}{}
	}
}

// close ends the queue: the server will answer nothing more.
func (q *queue) close(err error) {
	q.mu.Lock()
	if q.closed == nil {
		q.closed = err
	}
	q.signal()
	q.mu.Unlock()
}

// await waits until the answers up to number seq are complete. It ends early with errServerFailed (see take), errCopyIn or
// the reason why the server is gone.
func (q *queue) await(seq uint64, mindCopy bool) error {
	for {
		q.mu.Lock()
		switch {
		case q.failure != nil || q.failed && q.popped < seq:
			q.mu.Unlock()
			return errServerFailed
		case q.popped >= seq:
			q.mu.Unlock()
			return nil
		case q.closed != nil:
			q.mu.Unlock()
			return q.closed
		case q.copying != 0 && mindCopy:
			q.mu.Unlock()
			return errCopyIn
		}
		q.waitFor, q.waiting = seq, true
		q.mu.Unlock()
		<-q.wake
	}
}

// take gives the failure that was kept, once.
func (q *queue) take() *failure {
	q.mu.Lock()
	defer q.mu.Unlock()
	f := q.failure
	q.failure = nil
	return f
}

// observe makes the queue keep every failure until it is turned off.
func (q *queue) observe(on bool) {
	q.mu.Lock()
	q.watch = on
	q.failure = nil
	q.mu.Unlock()
}

// hasSpliced reports whether a Parse with a plan is unanswered.
func (q *queue) hasSpliced() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.n {
		if o := &q.ring[(q.head+i)&(len(q.ring)-1)]; o.kind == 'P' && o.ps != nil && o.ps.plan != nil {
			return true
		}
	}
	return false
}

// owesExecute reports whether an Execute is unanswered.
func (q *queue) owesExecute() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.n {
		if q.ring[(q.head+i)&(len(q.ring)-1)].kind == 'E' {
			return true
		}
	}
	return false
}

// state gives what the sender decides by: the last number pushed, whether answers are outstanding, how many
// ReadyForQuery among them, whether the server skips to Sync, and the status.
type state struct {
	pushed  uint64
	owed    int
	ready   int
	failed  bool
	copying bool
	status  byte
	idles   uint64
	closed  error
}

func (q *queue) state() state {
	q.mu.Lock()
	defer q.mu.Unlock()
	return state{q.pushed, q.n, q.ready, q.failed, q.copying != 0, q.status, q.idles, q.closed}
}
