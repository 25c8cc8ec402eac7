package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Server takes clients and connects each to its own session of the upstream server. Create it with New; Serve listens,
// Shutdown ends it.
type Server struct {
	o        Options
	keys     keys
	markers  markers
	trail    trail
	resolver *Resolver
	metrics  Metrics
	wait     sync.WaitGroup
	next     atomic.Uint64

	mu        sync.Mutex // guards what follows
	listeners map[net.Listener]bool
	sessions  map[*session]bool
	conns     map[net.Conn]bool // of clients that are not logged in yet
	closing   bool
}

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = errors.New("proxy is shut down")

// New makes a Server. It starts nothing.
func New(o Options) *Server {
	o.fill()
	s := &Server{
		o:         o,
		listeners: map[net.Listener]bool{},
		sessions:  map[*session]bool{},
		conns:     map[net.Conn]bool{},
	}
	s.markers.init(s)
	s.trail.init(s)
	s.resolver = newResolver(s)
	return s
}

// Resolver gives the server's resolver of transactions in doubt; it must be run by the owner.
func (s *Server) Resolver() *Resolver { return s.resolver }

// Metrics gives the server's counters.
func (s *Server) Metrics() *Metrics { return &s.metrics }

// Serve takes clients from l until Shutdown; it owns l.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		_ = l.Close()
		return ErrClosed
	}
	s.listeners[l] = true
	s.mu.Unlock()
	for delay := time.Duration(0); ; {
		c, err := l.Accept()
		if err == nil {
			delay = 0
			s.admit(c)
			continue
		}
		if s.isClosing() {
			return ErrClosed
		}
		if !temporary(err) {
			return fmt.Errorf("accept a client: %w", err)
		}
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		s.o.Logger.Warn("cannot accept a client", "err", err, "retry_in", delay)
		t := time.NewTimer(delay)
		<-t.C
	}
}

// temporary reports errors of Accept that pass, like having no file descriptor left.
func temporary(err error) bool {
	return !errors.Is(err, net.ErrClosed)
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// admit starts the goroutine of one client. A panic ends that client only.
func (s *Server) admit(c net.Conn) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		_ = c.Close()
		return
	}
	s.conns[c] = true
	full := len(s.conns)+len(s.sessions) > s.o.MaxClients
	s.wait.Add(1)
	s.mu.Unlock()
	id := s.next.Add(1)
	go func() {
		defer s.wait.Done()
		defer func() {
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			_ = c.Close()
		}()
		defer s.contain(id)
		s.metrics.Clients.Add(1)
		s.login(c, id, full)
	}()
}

// contain keeps a panic of one session from the others.
func (s *Server) contain(id uint64) {
	if p := recover(); p != nil {
		s.metrics.Panics.Add(1)
		s.o.Logger.Error("session panicked", "session", id, "panic", p, "stack", string(debug.Stack()))
	}
}

// enter counts a logged-in session.
func (s *Server) enter(ss *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	delete(s.conns, ss.raw)
	s.sessions[ss] = true
	return true
}

func (s *Server) leave(ss *session) {
	s.mu.Lock()
	delete(s.sessions, ss)
	s.mu.Unlock()
}

// Shutdown stops listening, tells idle clients 57P01, lets the others finish their transaction until ctx is done, and then
// cuts them off. It returns when no session is left.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for l := range s.listeners {
		_ = l.Close()
	}
	for c := range s.conns {
		_ = c.Close()
	}
	for ss := range s.sessions {
		ss.askToEnd()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wait.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.mu.Lock()
		for ss := range s.sessions {
			ss.cut()
		}
		s.mu.Unlock()
		<-done
	}
	s.markers.close()
	s.trail.close()
	return ctx.Err()
}
