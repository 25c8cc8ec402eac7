package journal

import "sync"

// watchers are channels with one slot: a signal says "look again", not what has changed.
type watchers struct {
	mu    sync.Mutex
	chans map[chan struct{}]bool
}

func (w *watchers) notify() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.chans {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.chans = nil
}

// Watch gives a channel that gets a signal (one slot) whenever something was published, stored or applied, an intent fell
// into doubt, or the journal failed; and a function that ends it. The channel is never closed.
func (j *Journal) Watch() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	w := &j.watchers
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.chans == nil {
		w.chans = map[chan struct{}]bool{}
	}
	w.chans[c] = true
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.chans, c)
	}
}
