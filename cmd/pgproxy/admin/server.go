package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"pgproxy/audit"
)

// headerTimeout bounds how long a connection may take to say what it wants.
const headerTimeout = 10 * time.Second

// maxQuestion bounds a question of an auditor.
const maxQuestion = 1 << 20

// Line is one line of a stream: an item, or what closes the stream.
type Line struct {
	Item  json.RawMessage `json:"item,omitempty"`
	Error *Error          `json:"error,omitempty"`
	End   bool            `json:"end,omitempty"`
}

// Server answers on the admin socket.
type Server struct {
	node Node
	now  func() time.Time
	http *http.Server
}

// NewServer makes a server for node. now is the clock that a follower's patience is measured by.
func NewServer(node Node, now func() time.Time) *Server {
	s := &Server{node: node, now: now}
	m := http.NewServeMux()
	m.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) { one(w, node.Status(r.Context()), nil) })
	m.HandleFunc("GET /v1/stats", func(w http.ResponseWriter, _ *http.Request) { one(w, node.Journal().Stats(), nil) })
	m.HandleFunc("GET /v1/journal", s.journal)
	m.HandleFunc("GET /v1/journal/{origin}/{seq}", s.record)
	m.HandleFunc("GET /v1/conflicts", s.conflicts)
	m.HandleFunc("POST /v1/audit", s.audit)
	s.proofs(m)
	m.HandleFunc("POST /v1/explain", s.explain)
	m.HandleFunc("GET /v1/doctor", s.doctor)
	m.HandleFunc("POST /v1/drain", s.drain)
	m.HandleFunc("POST /v1/verify", s.verify)
	m.HandleFunc("GET /debug/pprof/", pprof.Index)
	m.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	m.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	m.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	s.http = &http.Server{Handler: m, ReadHeaderTimeout: headerTimeout}
	return s
}

// Serve answers until Close; it owns l.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close ends the socket and every stream.
func (s *Server) Close() error { return s.http.Close() }

func (s *Server) journal(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.URL.Query())
	if err != nil {
		one(w, nil, Fail(ExitUsage, "", "%w", err))
		return
	}
	out := s.newStream(w)
	give := func(t audit.Transaction) error { return out.item(t) }
	if q.Follow {
		wake, stop := s.node.Wake()
		defer stop()
		out.prompt = true
		out.end(audit.Follow(r.Context(), s.node.Journal(), q.Query, wake, s.now, give))
		return
	}
	for t, err := range q.Run(s.node.Journal()) {
		if err == nil && r.Context().Err() != nil {
			return
		}
		if err == nil {
			err = give(t)
		}
		if err != nil {
			out.end(err)
			return
		}
	}
	out.end(nil)
}

func (s *Server) record(w http.ResponseWriter, r *http.Request) {
	t, err := audit.Get(s.node.Journal(), r.PathValue("origin")+"/"+r.PathValue("seq"))
	one(w, s.node.Veil().Show(t), err)
}

// audit answers a question; it is posted because it may hold what does not belong into a URL.
func (s *Server) audit(w http.ResponseWriter, r *http.Request) {
	var q audit.Question
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion)).Decode(&q); err != nil {
		one(w, nil, Fail(ExitUsage, "", "question: %w", err))
		return
	}
	s.node.Asked(q)
	out := s.newStream(w)
	aid := audit.Aid{Now: s.now, Fold: s.node.Fold()}
	if q.Follow {
		wake, stop := s.node.Wake()
		defer stop()
		aid.Wake, out.prompt = wake, true
	}
	if err := audit.Answer(r.Context(), s.node.Journal(), q, aid, out.item); err != nil && r.Context().Err() == nil {
		out.end(AuditFailure(err))
		return
	}
	out.end(r.Context().Err())
}

func (s *Server) conflicts(w http.ResponseWriter, r *http.Request) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil {
		limit = 0
	}
	out := s.newStream(w)
	for k, err := range audit.Conflicts(s.node.Journal(), limit) {
		if err == nil {
			err = r.Context().Err()
		}
		if err == nil {
			err = out.item(k)
		}
		if err != nil {
			out.end(err)
			return
		}
	}
	out.end(nil)
}

func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	timeout, err := time.ParseDuration(r.URL.Query().Get("timeout"))
	if err != nil {
		one(w, nil, Fail(ExitUsage, "", "timeout: %w", err))
		return
	}
	out := s.newStream(w)
	out.prompt = true
	out.end(s.node.Drain(r.Context(), r.URL.Query().Get("peer"), timeout, func(p DrainProgress) error { return out.item(p) }))
}

func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	out := s.newStream(w)
	out.prompt = true
	out.end(s.node.Verify(r.Context(), q.Get("database"), q.Get("table"), func(p VerifyProgress) error { return out.item(p) }))
}

// stream writes Lines.
type stream struct {
	w      http.ResponseWriter
	prompt bool // each item is wanted at once
	veil   *audit.Veil
}

func (s *Server) newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "application/x-ndjson")
	return &stream{w: w, veil: s.node.Veil()}
}

func (s *stream) item(v any) error {
	b, err := encode(s.veil.Show(v))
	if err != nil {
		return err
	}
	return s.line(Line{Item: b})
}

func (s *stream) end(err error) {
	if errors.Is(err, context.Canceled) {
		return // the reader has gone
	}
	s.prompt = true
	if err != nil {
		_ = s.line(Line{Error: AsError(err)}) // a reader that has gone notices the missing end itself
		return
	}
	_ = s.line(Line{End: true})
}

func (s *stream) line(l Line) error {
	b, err := encode(l)
	if err != nil {
		return err
	}
	if _, err := s.w.Write(append(b, '\n')); err != nil {
		return err
	}
	if s.prompt {
		return http.NewResponseController(s.w).Flush()
	}
	return nil
}

// one answers with one object or an error.
func one(w http.ResponseWriter, v any, err error) {
	l := Line{}
	status := http.StatusOK
	if err == nil {
		l.Item, err = encode(v)
	}
	if err != nil {
		l, status = Line{Error: AsError(err)}, http.StatusBadRequest
	}
	b, err := encode(l)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

// encode is json.Marshal without HTML's escapes: SQL is full of < and >.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
