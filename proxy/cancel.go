package proxy

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"pgproxy/proxy/wire"
)

// keys finds the session that a cancel request means. The server's own key is the client's, unchanged.
type keys struct {
	mu sync.Mutex
	m  map[string]*session
}

func (k *keys) add(key string, s *session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m == nil {
		k.m = map[string]*session{}
	}
	k.m[key] = s
}

func (k *keys) remove(key string, s *session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m[key] == s {
		delete(k.m, key)
	}
}

func (k *keys) get(key string) *session {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.m[key]
}

// cancelTimeout bounds a cancel request: the session it means cannot commit meanwhile.
const cancelTimeout = 5 * time.Second

// maxCancel is the largest cancel request in bytes: 256 bytes of key and the fixed part.
const maxCancel = 12 + 256

// cancel forwards a cancel request over a fresh connection and closes the client's once the server closed, which is what
// clients wait for. A key that no live session has is dropped, and so is a request that would hit pgproxy's own work: the
// session is held still until the server took the request, so that it cannot meet the next statement.
func (s *Server) cancel(c net.Conn, st *wire.Startup) {
	if len(st.Raw) < 12 || len(st.Raw) > maxCancel {
		return
	}
	ss := s.keys.get(string(st.Raw[8:]))
	if ss == nil || !ss.guard.TryRLock() {
		return
	}
	defer ss.guard.RUnlock()
	ctx, stop := context.WithTimeout(context.Background(), cancelTimeout)
	defer stop()
	b, err := s.dial(ctx)
	if err != nil {
		s.o.Logger.Warn("cannot forward a cancel request", "err", err)
		return
	}
	defer b.Close()
	if d, ok := ctx.Deadline(); ok {
		_ = b.SetDeadline(d)
	}
	if _, err := b.Write(st.Raw); err != nil {
		return
	}
	s.metrics.Cancels.Add(1)
	_, _ = io.Copy(io.Discard, b) // until the server closes
	_ = c
}

// noteKey takes BackendKeyData.
func (s *session) noteKey(body []byte) {
	s.noteBackend(body)
	s.key = string(body)
	s.srv.keys.add(s.key, s)
}
