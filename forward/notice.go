package forward

import "sync"

// notice is a broadcast without content: whoever waits on the channel it got looks again at what it waits for.
type notice struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait gives a channel that is closed by the next fire. Take it before looking.
func (n *notice) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *notice) fire() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}

// bell is a 1-slot signal for one listener.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}
