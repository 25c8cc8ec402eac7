package proxy

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"pgproxy/proxy/capture"
	"pgproxy/proxy/wire"
)

// session is one client with its own server connection. Two goroutines run it:
//
//	front (serveClient)   reads the client, writes to the server, decides, waits for answers, runs the commit protocol
//	back  (serveBackend)  reads the server, writes to the client, by the head of the queue of owed answers
//
// What only the front goroutine touches has no lock. The back one is told by the queue.
type session struct {
	srv  *Server
	id   uint64
	ctx  context.Context // ends with the session
	stop context.CancelFunc

	user, database, application, client string
	replication                         bool
	key                                 string
	backend                             uint32 // the server's process for this session
	visit                               visit
	context                             claim
	roleMoved                           bool // the role may have been changed since the login
	skip                                skipped
	failures                            atomic.Uint64 // errors that reached the client

	raw net.Conn // the client's connection below TLS

	cc net.Conn
	cr *wire.Reader
	cw *out
	bc net.Conn
	br *wire.Reader
	bw *wire.Writer
	q  queue

	// guard is held for reading while a cancel request is under way, for writing during pgproxy's own work.
	guard sync.RWMutex

	cap      *capture.Session
	stmts    map[string]*prepared
	portals  map[string]*portal
	tx       *tx
	own      ownStatements
	segment  bool // extended messages were sent since the last Sync
	skipping bool // the client's messages are dropped up to its next Sync
	untold   bool // the server skips to the next Sync because of a query of pgproxy's own: the client does not know yet
	holding  bool // nothing is flushed to the server before it must be
	// rewritten: how texts are written (client_encoding, standard_conforming_strings) may have changed, and the server has not
	// told yet.
	rewritten bool
	altered   bool // session settings were changed in the current transaction
	// block is what the transaction control executed since the last Sync made of the transaction status, which the server
	// tells only at Sync: 'T' a block is open, 'I' none is; 0 nothing was executed.
	block byte

	appName    atomic.Pointer[string] // application_name, as the server reports it
	encoding   atomic.Pointer[string] // client_encoding
	conforming atomic.Bool            // standard_conforming_strings
	ending     atomic.Bool            // Shutdown asked for the end
	urgent     bool                   // back goroutine: what it wrote must not wait
	burst      bool                   // back goroutine: it holds cw
	head       owed                   // back goroutine: copy of the queue's head
	headOK     bool
	// untoldFailure is the last failure that the front goroutine was left to tell. Back goroutine.
	untoldFailure *failure
	rowDesc       []byte // back goroutine: a RowDescription that waits for the first answer to Execute
}

func newSession(srv *Server, id uint64, c, b net.Conn) *session {
	s := &session{srv: srv, id: id, cc: c, bc: b,
		cr: wire.NewReader(c), cw: newOut(c), br: wire.NewReader(b), bw: wire.NewWriter(b)}
	s.q.init()
	s.visit.start = srv.o.Now()
	s.conforming.Store(true)
	utf8 := "UTF8"
	s.encoding.Store(&utf8)
	return s
}

// run serves a logged-in client until either side ends.
func (s *session) run() {
	s.ctx, s.stop = context.WithCancel(context.Background())
	defer s.stop()
	s.cap = s.srv.o.Capturer.Session(s.database, querier{s})
	s.cr.BeforeRead = s.beforeClientRead
	s.br.BeforeRead = s.beforeServerRead
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.q.close(errServerGone)
		defer s.srv.contain(s.id)
		err := s.serveBackend()
		s.endBurst()
		s.q.close(err)
		_ = s.cc.Close() // the front goroutine finds out
	}()
	defer func() {
		_ = s.bw.Empty('X') // the server may be gone
		_ = s.bw.Flush()
		_ = s.bc.Close()
		<-done
	}()
	err := s.serveClient()
	if st := s.q.state(); st.closed != nil && !errors.Is(err, errBye) && !errors.Is(err, errShutdown) {
		err = st.closed
	}
	s.abandon()
	s.left(err)
	s.srv.o.Logger.Debug("session ends", "session", s.id, "err", err)
}

// beforeClientRead sends what waits for the server before the front goroutine waits for the client.
func (s *session) beforeClientRead() error {
	if s.holding {
		return nil
	}
	return s.bw.Flush()
}

// askToEnd makes an idle session end, and a busy one when it becomes idle.
func (s *session) askToEnd() {
	s.ending.Store(true)
	_ = s.cc.SetReadDeadline(time.Unix(1, 0)) // wakes the front goroutine, which looks at ending
}

// cut ends the session at once.
func (s *session) cut() {
	s.ending.Store(true)
	_ = s.cc.Close()
	_ = s.bc.Close()
}

// idle reports whether nothing is going on: no answer owed, no transaction, no half-sent segment.
func (s *session) idle() bool {
	st := s.q.state()
	return st.owed == 0 && st.status == 'I' && s.tx == nil && !s.segment
}

// noteParameter takes a ParameterStatus.
func (s *session) noteParameter(body []byte) {
	name, value, err := wire.DecodeParameterStatus(body)
	if err != nil {
		return
	}
	switch name {
	case "application_name":
		s.appName.Store(&value)
	case "client_encoding":
		s.encoding.Store(&value)
	case "standard_conforming_strings":
		s.conforming.Store(value == "on")
	}
}
