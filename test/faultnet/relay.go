package faultnet

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// dialTimeout bounds how long the relay tries to reach its target for one connection.
const dialTimeout = 5 * time.Second

// Direction says which way bytes go.
type Direction int

// The directions, as seen from whoever dials the relay. They can be added up.
const (
	ToTarget   Direction = 1
	FromTarget Direction = 2
	Both       Direction = ToTarget | FromTarget
)

// Relay forwards connections to one target. Its methods may be called from any goroutine.
type Relay struct {
	target   string
	frames   bool
	listener net.Listener

	mu     sync.Mutex
	gate   *sync.Cond         // waited on by held pumps; signalled by every change of mode
	links  map[*link]struct{} // open connections
	cut    bool
	held   Direction
	delay  time.Duration
	rate   int // bytes a second and direction; 0 is no limit
	rules  []*Rule
	closed bool
	passed [3]int64 // bytes forwarded, by direction
	opened int
}

// link is one relayed connection.
type link struct {
	client, target net.Conn
	cut            bool
	held           Direction
	asked          greeting
}

// Listen starts a relay on a loopback port (0 picks one) towards target. With frames, the connections are PostgreSQL's
// protocol, and rules can be armed.
func Listen(addr, target string, frames bool) (*Relay, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for relay to %s: %w", target, err)
	}
	r := &Relay{target: target, frames: frames, listener: l, links: map[*link]struct{}{}}
	r.gate = sync.NewCond(&r.mu)
	go r.accept()
	return r, nil
}

// Addr is where the relay listens.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Port is the port of Addr.
func (r *Relay) Port() int { return r.listener.Addr().(*net.TCPAddr).Port }

// Close ends the relay and its connections.
func (r *Relay) Close() error {
	err := r.listener.Close()
	r.change(func() { r.closed = true; r.drop() })
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Cut closes every connection and refuses new ones until Heal.
func (r *Relay) Cut() { r.change(func() { r.cut = true; r.drop() }) }

// Drop closes every connection; new ones are taken.
func (r *Relay) Drop() { r.change(r.drop) }

// Hold lets nothing more through in the given direction, and leaves every connection open, new ones too.
func (r *Relay) Hold(d Direction) { r.change(func() { r.held |= d }) }

// Delay adds d to the way of every byte, in each direction.
func (r *Relay) Delay(d time.Duration) { r.change(func() { r.delay = d }) }

// Rate limits each direction of each connection to so many bytes a second; 0 ends it.
func (r *Relay) Rate(bytes int) { r.change(func() { r.rate = bytes }) }

// Heal ends every fault, armed rules too. Connections that were cut stay cut; those that were held go on.
func (r *Relay) Heal() {
	r.change(func() {
		r.cut, r.held, r.delay, r.rate, r.rules = false, 0, 0, 0, nil
		for l := range r.links {
			l.held = 0
		}
	})
}

// Passed tells how many bytes went through in direction d, and how many connections there have been.
func (r *Relay) Passed(d Direction) (bytes int64, connections int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.passed[d], r.opened
}

func (r *Relay) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	r.gate.Broadcast()
}

// drop closes all links; the lock is held.
func (r *Relay) drop() {
	for l := range r.links {
		l.close()
	}
}

func (l *link) close() {
	l.cut = true
	_ = l.client.Close()
	_ = l.target.Close()
}

func (r *Relay) accept() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		go r.serve(c)
	}
}

func (r *Relay) serve(client net.Conn) {
	if r.refuses() {
		_ = client.Close()
		return
	}
	target, err := net.DialTimeout("tcp", r.target, dialTimeout)
	if err != nil {
		_ = client.Close()
		return
	}
	l := &link{client: client, target: target}
	r.mu.Lock()
	if r.cut || r.closed {
		l.close()
		r.mu.Unlock()
		return
	}
	r.links[l] = struct{}{}
	r.opened++
	r.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { r.pump(l, ToTarget) })
	both.Go(func() { r.pump(l, FromTarget) })
	both.Wait()
	r.mu.Lock()
	delete(r.links, l)
	r.mu.Unlock()
}

func (r *Relay) refuses() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cut || r.closed
}
