package proxy

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"pgproxy/proxy/wire"
)

// Bounds of the login phase.
const (
	maxAuthRounds   = 20       // messages the client may be asked for (as CockroachDB's sqlproxy)
	maxAuthMessage  = 64 << 10 // bytes of one message of either side (PostgreSQL: PG_MAX_AUTH_TOKEN_LENGTH)
	maxLoginFrames  = 1000     // frames of the server before the first ReadyForQuery
	authSASL        = 10       // AuthenticationSASL: the offer of mechanisms
	maxRequestsEach = 1        // SSLRequest and GSSENCRequest, as PostgreSQL takes them
)

// login takes a new connection through the first packets. Whatever does not stand here closes it.
//
//	client                    answer                       next
//	TLS handshake             TLS with ALPN                first packets, without the first three
//	SSLRequest (once)         S and TLS, or N              first packets, without SSLRequest (after S: and GSSENCRequest)
//	GSSENCRequest (once)      N                            first packets, without it
//	either, and more behind   FATAL                        end
//	CancelRequest             none; the server's close     end
//	3.x startup               relayed to a new server      authentication: authenticate
//	anything else             FATAL, or just closed        end
func (s *Server) login(raw net.Conn, id uint64, full bool) {
	deadline := s.o.Now().Add(s.o.LoginTimeout)
	_ = raw.SetDeadline(deadline)
	h := newHello(raw)
	var c net.Conn = h
	defer func() {
		if c != nil {
			_ = c.Close() // TLS says goodbye
		}
	}()
	var tlsAsked, gssAsked int
	if b, err := h.first(); err != nil {
		s.brokenOff(raw, id, err)
		return
	} else if b == firstTLSByte {
		if c, err = s.direct(h); err != nil {
			s.brokenOff(raw, id, err)
			return
		}
		tlsAsked, gssAsked = maxRequestsEach, maxRequestsEach
	}
	for {
		st, err := wire.ReadStartup(c)
		if err != nil {
			s.brokenOff(raw, id, err)
			return // as PostgreSQL: garbage gets no answer
		}
		switch {
		case st.Code == wire.CodeTLS && tlsAsked < maxRequestsEach:
			tlsAsked++
			if c, err = s.answerTLS(h); err != nil {
				s.brokenOff(raw, id, err)
				return
			}
			if c != net.Conn(h) {
				gssAsked = maxRequestsEach
			}
		case st.Code == wire.CodeGSS && gssAsked < maxRequestsEach:
			gssAsked++
			if err := s.answerGSS(h); err != nil {
				s.brokenOff(raw, id, err)
				return
			}
		case st.Code == wire.CodeCancel:
			s.cancel(c, st)
			return
		case full:
			fatal(c, errTooManyClients)
			s.stranger(whoAsks(c, id, st), errTooManyClients)
			return
		case st.Code>>16 == 3:
			if err := s.admits(h, c); err != nil {
				fatal(c, err)
				s.stranger(whoAsks(c, id, st), err)
				return
			}
			if c == net.Conn(h) {
				c = h.rest()
			}
			s.connect(c, raw, id, st, deadline)
			return
		case st.Code>>16 != 1234:
			s.refusedByServer(c, st, deadline)
			return
		default:
			err := fmt.Errorf("%w: unexpected request code %d", errLoginProtocol, st.Code)
			fatal(c, err)
			s.stranger(whoAsks(c, id, nil), err)
			return
		}
	}
}

// brokenOff records a connection that did not get as far as a startup packet, unless it was just closed.
func (s *Server) brokenOff(c net.Conn, id uint64, err error) {
	s.o.Logger.Debug("no startup packet", "session", id, "err", err)
	if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		s.stranger(whoAsks(c, id, nil), fmt.Errorf("%w: %w", errLoginProtocol, err))
	}
}

// refusedByServer passes a startup packet of another major version on: the server refuses it in a form of that version.
func (s *Server) refusedByServer(c net.Conn, st *wire.Startup, deadline time.Time) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	b, err := s.dial(ctx)
	if err != nil {
		fatal(c, &upstreamError{err})
		return
	}
	defer b.Close()
	_ = b.SetDeadline(deadline)
	if _, err := b.Write(st.Raw); err == nil {
		_, _ = io.Copy(c, io.LimitReader(b, wire.MaxStartup)) // it closes after its refusal
	}
}

// fatal tells a client why it is closed.
func fatal(c net.Conn, err error) {
	w := wire.NewWriter(c)
	_ = w.Fields('E', clientError(err, "FATAL"))
	_ = w.Flush() // the connection is closed next
}

// connect opens the client's own server connection, relays the login, and runs the session.
func (s *Server) connect(c, raw net.Conn, id uint64, st *wire.Startup, deadline time.Time) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	b, err := s.dial(ctx)
	if err != nil {
		s.o.Logger.Error("cannot reach the database", "err", err)
		fatal(c, &upstreamError{err})
		s.stranger(whoAsks(c, id, st), &upstreamError{err})
		return
	}
	defer b.Close()
	_ = b.SetDeadline(deadline)
	ss := newSession(s, id, c, b)
	ss.raw = raw
	defer func() { s.keys.remove(ss.key, ss) }()
	ss.identify(st)
	if _, err := b.Write(st.Raw); err != nil {
		fatal(c, &upstreamError{err})
		return
	}
	ok, err := ss.authenticate()
	if err != nil {
		if errors.Is(err, errLoginProtocol) || errors.Is(err, errBinding) {
			fatal(c, err)
		}
		ss.turnedAway(err)
		s.o.Logger.Debug("login failed", "session", id, "err", err)
		return
	}
	if !ok {
		ss.turnedAway(nil)
		return
	}
	_ = c.SetDeadline(time.Time{})
	_ = b.SetDeadline(time.Time{})
	s.metrics.Logins.Add(1)
	if ss.replication {
		ss.arrived()
		ss.passThrough()
		ss.left(nil)
		return
	}
	if !s.enter(ss) {
		fatal(c, errShutdown)
		return
	}
	ss.arrived()
	defer s.leave(ss)
	ss.run()
}

// dial opens a server connection, with TLS if the upstream is configured so.
func (s *Server) dial(ctx context.Context) (net.Conn, error) {
	b, config, err := s.o.Dial(ctx)
	if err != nil || config == nil {
		return b, err
	}
	if d, ok := ctx.Deadline(); ok {
		_ = b.SetDeadline(d)
	}
	var ask [8]byte
	binary.BigEndian.PutUint32(ask[:], 8)
	binary.BigEndian.PutUint32(ask[4:], wire.CodeTLS)
	var answer [1]byte
	if _, err = b.Write(ask[:]); err == nil {
		_, err = io.ReadFull(b, answer[:])
	}
	if err == nil && answer[0] != 'S' {
		err = errors.New("the server does not offer TLS")
	}
	if err != nil {
		_ = b.Close()
		return nil, fmt.Errorf("ask the server for TLS: %w", err)
	}
	t := tls.Client(b, config)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = b.Close()
		return nil, fmt.Errorf("TLS with the server: %w", err)
	}
	return t, nil
}

// identify notes who logs in, from the startup packet.
func (s *session) identify(st *wire.Startup) {
	s.user = st.Get("user")
	s.database = st.Get("database")
	if s.database == "" {
		s.database = s.user
	}
	s.application = st.Get("application_name")
	switch strings.ToLower(st.Get("replication")) {
	case "", "false", "off", "no", "0", "f", "n", "of":
	default:
		s.replication = true
	}
	s.client = clientAddress(s.cc)
}

// clientAddress gives address and port, or "local" for a unix socket.
func clientAddress(c net.Conn) string {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.String()
	}
	return "local"
}

// authenticate relays everything up to the first ReadyForQuery. ok is false if the server refused the client, which knows.
func (s *session) authenticate() (ok bool, err error) {
	rounds, done := 0, false
	for range maxLoginFrames {
		typ, n, err := s.br.Next()
		if err != nil {
			return false, fmt.Errorf("read the server's login answer: %w", err)
		}
		if n > maxAuthMessage {
			return false, fmt.Errorf("login answer %q of %d bytes: %w", typ, n, wire.ErrTooLarge)
		}
		body, err := s.br.Body(maxAuthMessage)
		if err != nil {
			return false, fmt.Errorf("read the server's login answer: %w", err)
		}
		ask := false
		switch typ {
		case 'R':
			if done || len(body) < 4 {
				return false, fmt.Errorf("authentication message: %w", wire.ErrMalformed)
			}
			var kind uint32
			body, kind = s.authRequest(body)
			s.noteAuth(kind)
			done = kind == 0
			ask = kind != 0 && kind != 12 // AuthenticationOk and AuthenticationSASLFinal want no answer
		case 'K':
			s.noteKey(body)
		case 'S':
			s.noteParameter(body)
		case 'v', 'N', 'E', 'Z':
		default:
			return false, fmt.Errorf("message %q during login: %w", typ, wire.ErrMalformed)
		}
		_ = s.cw.w.Frame(typ, body) // sticks
		if typ == 'E' {
			s.noteRefusal(body)
			s.cw.flush()
			return false, nil
		}
		if typ == 'Z' {
			if !done || len(body) != 1 {
				return false, fmt.Errorf("early ReadyForQuery: %w", wire.ErrMalformed)
			}
			s.q.status = body[0]
			s.cw.flush()
			return true, nil
		}
		if ask {
			if rounds++; rounds > maxAuthRounds {
				return false, fmt.Errorf("more than %d rounds: %w", maxAuthRounds, errLoginProtocol)
			}
			s.cw.flush()
			if err := s.relayAuthAnswer(kindSASL(typ, body)); err != nil {
				return false, err
			}
		}
	}
	return false, fmt.Errorf("more than %d messages: %w", maxLoginFrames, errLoginProtocol)
}

// kindSASL reports whether the server's message offers SASL mechanisms.
func kindSASL(typ byte, body []byte) bool {
	return typ == 'R' && len(body) >= 4 && binary.BigEndian.Uint32(body) == authSASL
}

// relayAuthAnswer passes on the one message that the client owes now; any other type ends the connection. sasl: it is the
// first of a SASL exchange.
func (s *session) relayAuthAnswer(sasl bool) error {
	typ, n, err := s.cr.Next()
	if err != nil {
		return fmt.Errorf("read the client's login answer: %w", err)
	}
	if typ != 'p' {
		return fmt.Errorf("%w: expected password response, got message type %d", errLoginProtocol, typ)
	}
	if n > maxAuthMessage {
		return fmt.Errorf("%w: invalid message length", errLoginProtocol)
	}
	if sasl && s.bound() {
		if body, err := s.cr.Peek(n); err == nil && bindsChannel(body) {
			return errBinding
		}
	}
	if err := s.cr.Forward(s.bw); err != nil {
		return fmt.Errorf("relay the client's login answer: %w", err)
	}
	return s.bw.Flush()
}

// authRequest gives the request's kind and, where the server's leg has TLS, takes SCRAM-SHA-256-PLUS out of the offer: the
// client would bind to a channel that is not the server's, or has none. Where pgproxy shows the server's own certificate the
// binding is right.
func (s *session) authRequest(body []byte) ([]byte, uint32) {
	kind := binary.BigEndian.Uint32(body)
	back, ok := s.bc.(*tls.Conn)
	if kind != authSASL || !ok {
		return body, kind
	}
	if _, front := s.cc.(*tls.Conn); front && s.sameCertificate(back) {
		return body, kind
	}
	out := append([]byte(nil), body[:4]...)
	for _, m := range strings.Split(strings.TrimRight(string(body[4:]), "\x00"), "\x00") {
		if !strings.HasSuffix(m, "-PLUS") {
			out = append(append(out, m...), 0)
		}
	}
	return append(out, 0), kind
}

// passThrough copies both ways without looking: replication connections.
func (s *session) passThrough() {
	s.srv.o.Logger.Info("replication connection passes through", "session", s.id, "user", s.user, "client", s.client)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.br.Drain(s.cc) // whichever side ends first ends both
		_ = s.cc.Close()
	}()
	_ = s.cr.Drain(s.bc)
	_ = s.bc.Close()
	<-done
}
