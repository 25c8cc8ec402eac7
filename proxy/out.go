package proxy

import (
	"io"
	"sync"

	"pgproxy/proxy/wire"
)

// out is the way to the client. The goroutine that reads from the server holds it for a burst; the one that reads from
// the client takes it for messages of its own, when nothing is owed.
type out struct {
	mu sync.Mutex
	w  *wire.Writer
	// hold keeps what is written until somebody flushes: no command tag of a held implicit transaction leaves before its
	// commit (PostgreSQL does the same up to Flush, Sync or a full buffer).
	hold bool
	// late are whole frames that the server sent behind a tag which is still kept back: they leave before ReadyForQuery.
	late []byte
}

func newOut(dst io.Writer) *out { return &out{w: wire.NewWriter(dst)} }

// write runs f with the writer and flushes if asked to.
func (o *out) write(flush bool, f func(w *wire.Writer)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f(o.w)
	if flush {
		_ = o.w.Flush() // sticks; the client's reader finds out
	}
}

// setHold turns holding on or off.
func (o *out) setHold(on bool) {
	o.mu.Lock()
	o.hold = on
	o.mu.Unlock()
}

// flush sends what is buffered.
func (o *out) flush() {
	o.mu.Lock()
	_ = o.w.Flush() // sticks; the client's reader finds out
	o.mu.Unlock()
}
