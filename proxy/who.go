package proxy

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"time"

	"pgproxy/journal"
	"pgproxy/proxy/wire"
)

// visit is what a session's events tell of it.
type visit struct {
	start   time.Time
	auth    string // what the server asked for; "trust" if nothing
	refusal *failure

	statements, transactions, changes uint64 // front goroutine
}

// committed counts a transaction that stands in the journal as committed.
func (v *visit) committed(t *tx) {
	v.transactions++
	for i := range t.stmts {
		if effective(&t.stmts[i]) {
			v.changes += uint64(t.stmts[i].Count())
		}
	}
}

// who gives the client as the journal knows it.
func (s *session) who() journal.Who {
	w := journal.Who{Session: s.id, User: s.user, Database: s.database, Application: s.applicationName(), Client: s.client,
		Auth: s.visit.auth, Backend: s.backend}
	if t, ok := s.cc.(*tls.Conn); ok {
		st := t.ConnectionState()
		w.TLS = tls.VersionName(st.Version) + " " + tls.CipherSuiteName(st.CipherSuite)
	}
	return w
}

// noteAuth keeps how the server had the client prove who it is.
func (s *session) noteAuth(kind uint32) {
	names := map[uint32]string{2: "kerberos", 3: "password", 5: "md5", 7: "gss", 9: "sspi", 10: "scram-sha-256"}
	switch {
	case kind == 0 && s.visit.auth == "":
		s.visit.auth = "trust" // or "peer", "ident", "cert": the server asked for nothing
	case names[kind] != "":
		s.visit.auth = names[kind]
	}
}

// noteBackend keeps the backend's process id from BackendKeyData.
func (s *session) noteBackend(body []byte) {
	if len(body) >= 4 {
		s.backend = binary.BigEndian.Uint32(body)
	}
}

// arrived records that the client is in.
func (s *session) arrived() {
	if w := s.who(); s.srv.o.Audit.RecordsSession(w) {
		s.srv.trail.note(&journal.Event{Kind: journal.EventSessionStart, Who: w, SessionStart: &journal.SessionStart{Replication: s.replication}})
	}
}

// left records that the client is gone, and why.
func (s *session) left(err error) {
	w := s.who()
	if !s.srv.o.Audit.RecordsSession(w) {
		return
	}
	v := &s.visit
	reason, detail := departure(err)
	s.srv.trail.note(&journal.Event{Kind: journal.EventSessionEnd, Who: w, SessionEnd: &journal.SessionEnd{
		Start: v.start, Duration: s.srv.o.Now().Sub(v.start), Reason: reason, Detail: cutText(detail),
		Statements: v.statements, Errors: s.failures.Load(), Transactions: v.transactions, Changes: v.changes,
	}})
}

// departure says in a word and in words what ended a session.
func departure(err error) (reason, detail string) {
	var f *failure
	switch {
	case err == nil, errors.Is(err, errBye):
		return "client", ""
	case errors.Is(err, errShutdown):
		return "shutdown", ""
	case errors.As(err, &f), errors.Is(err, errServerGone), errors.Is(err, errReadServer):
		return "server", err.Error()
	case errors.Is(err, errProtocol):
		return "protocol", err.Error()
	}
	return "lost", err.Error()
}

// turnedAway records that the client was not let in. err is nil if the server has refused it.
func (s *session) turnedAway(err error) {
	code, message, by := "08P01", "", refusedHere
	switch f := s.visit.refusal; {
	case f != nil:
		code, message = describe(f)
		by = refusedByDB
	case errors.Is(err, errLoginProtocol):
		message = err.Error()
	case errors.Is(err, errBinding):
		code, message = "28000", err.Error()
	case err != nil:
		code, message = "08006", "login was broken off: "+err.Error()
	default:
		return
	}
	s.srv.trail.refused(s.who(), code, message, by)
}

// noteRefusal keeps the server's answer to a login.
func (s *session) noteRefusal(body []byte) {
	fields, err := wire.DecodeFields(body)
	if err != nil {
		fields = wire.Fields{{Code: wire.FieldMessage, Value: "malformed refusal: " + err.Error()}}
	}
	s.visit.refusal = &failure{fields: fields}
}

// whoAsks gives what is known of a client that did not get as far as a session.
func whoAsks(c net.Conn, id uint64, st *wire.Startup) journal.Who {
	w := journal.Who{Session: id, Client: clientAddress(c)}
	if st != nil {
		w.User, w.Database, w.Application = st.Get("user"), st.Get("database"), st.Get("application_name")
		if w.Database == "" {
			w.Database = w.User
		}
	}
	return w
}

// stranger records a connection that was closed before a client was known by name.
func (s *Server) stranger(who journal.Who, err error) {
	code, _ := sqlstate(err)
	s.trail.refused(who, code, err.Error(), refusedHere)
}
