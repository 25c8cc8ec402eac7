package demo

import (
	"fmt"
	"io"
	"net"
	"sync"
)

// relay passes TCP connections on to another address; it is the network that the demo cuts.
type relay struct {
	listener net.Listener
	target   string

	mu    sync.Mutex // guards the rest
	cut   bool
	conns map[net.Conn]bool
	wait  sync.WaitGroup
}

func newRelay(target string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open relay: %w", err)
	}
	r := &relay{listener: l, target: target, conns: map[net.Conn]bool{}}
	r.wait.Add(1)
	go r.accept()
	return r, nil
}

func (r *relay) addr() string { return r.listener.Addr().String() }

// setCut cuts the link, at once and for all connections, or joins it.
func (r *relay) setCut(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	if cut {
		for c := range r.conns {
			c.Close()
		}
	}
}

func (r *relay) close() {
	r.listener.Close()
	r.setCut(true)
	r.wait.Wait()
}

func (r *relay) accept() {
	defer r.wait.Done()
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.wait.Add(1)
		go func() {
			defer r.wait.Done()
			r.pass(c)
		}()
	}
}

// keep remembers c for a cut; false if the link is cut already.
func (r *relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.cut {
		r.conns[c] = true
	}
	return !r.cut
}

func (r *relay) forget(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	c.Close()
}

func (r *relay) pass(in net.Conn) {
	defer r.forget(in)
	if !r.keep(in) {
		return
	}
	out, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	defer r.forget(out)
	if !r.keep(out) {
		return
	}
	done := make(chan struct{}, 2)
	pump := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // either side's end is the end of the link
		done <- struct{}{}
	}
	go pump(in, out)
	go pump(out, in)
	<-done
	in.Close()
	out.Close()
	<-done
}
