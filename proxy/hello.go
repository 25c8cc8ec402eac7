package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"pgproxy/proxy/wire"
)

// TLSMode says what becomes of clients with and without TLS.
type TLSMode uint8

// The modes.
const (
	TLSAllow   TLSMode = iota // who asks for TLS gets it, if there is a certificate
	TLSOff                    // nobody gets it
	TLSRequire                // over TCP, nobody gets in without; a unix socket does not leave the machine
)

const (
	protocolName = "postgresql" // in ALPN
	firstTLSByte = 0x16         // of a handshake record: no startup packet begins so
	maxAhead     = 512          // bytes read ahead of a first packet, to notice what should not be there
)

// hello is a connection before its startup packet. It reads ahead, so that what a client, or somebody between, has sent
// behind an SSLRequest in plain text is noticed, and never taken for what came through TLS (CVE-2021-23222).
type hello struct {
	net.Conn
	ahead []byte
	buf   []byte
}

func newHello(c net.Conn) *hello { return &hello{Conn: c, buf: make([]byte, maxAhead)} }

// Read gives what was read ahead first.
func (h *hello) Read(p []byte) (int, error) {
	if len(h.ahead) == 0 {
		if h.buf == nil {
			return h.Conn.Read(p)
		}
		n, err := h.Conn.Read(h.buf)
		h.ahead = h.buf[:n]
		if n == 0 {
			return 0, err
		}
	}
	n := copy(p, h.ahead)
	h.ahead = h.ahead[n:]
	return n, nil
}

// first gives the first byte without consuming it.
func (h *hello) first() (byte, error) {
	var none [0]byte
	for len(h.ahead) == 0 {
		if _, err := h.Read(none[:]); err != nil {
			return 0, err
		}
	}
	return h.ahead[0], nil
}

// rest is the connection without more reading ahead.
func (h *hello) rest() net.Conn {
	if len(h.ahead) == 0 {
		return h.Conn
	}
	h.buf = nil
	return h
}

// local reports whether the client came by a unix socket.
func (h *hello) local() bool {
	_, ok := h.RemoteAddr().(*net.UnixAddr)
	return ok
}

// offersTLS reports whether a client may have TLS.
func (s *Server) offersTLS(h *hello) bool {
	return s.o.Certificate != nil && s.o.TLSMode != TLSOff && !h.local()
}

// direct takes a client that begins with TLS without asking: it must name the protocol (as from PostgreSQL 17 on).
func (s *Server) direct(h *hello) (net.Conn, error) {
	if !s.offersTLS(h) {
		return nil, fmt.Errorf("%w: TLS is not offered here", errLoginProtocol)
	}
	t, err := s.handshake(h.rest())
	if err != nil {
		return nil, err
	}
	if t.ConnectionState().NegotiatedProtocol != protocolName {
		fatal(t, &plainError{"received direct SSL connection request without ALPN protocol negotiation extension", errLoginProtocol, "", ""})
		return nil, fmt.Errorf("%w: direct TLS without ALPN", errLoginProtocol)
	}
	return t, nil
}

// answerTLS answers SSLRequest: the connection goes on by what it gives.
func (s *Server) answerTLS(h *hello) (net.Conn, error) {
	if len(h.ahead) > 0 {
		err := &plainError{"received unencrypted data after SSL request", errLoginProtocol, "", ""}
		fatal(h, err)
		return nil, err
	}
	if !s.offersTLS(h) {
		_, err := h.Write([]byte{'N'})
		return h, err
	}
	if _, err := h.Write([]byte{'S'}); err != nil {
		return nil, err
	}
	t, err := s.handshake(h.Conn)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// answerGSS answers GSSENCRequest: who reads SQL cannot offer it.
func (s *Server) answerGSS(h *hello) error {
	if len(h.ahead) > 0 {
		err := &plainError{"received unencrypted data after GSSAPI encryption request", errLoginProtocol, "", ""}
		fatal(h, err)
		return err
	}
	_, err := h.Write([]byte{'N'})
	return err
}

// handshake makes TLS of a connection.
func (s *Server) handshake(c net.Conn) (*tls.Conn, error) {
	t := tls.Server(c, &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*s.o.Certificate.current()}, NextProtos: []string{protocolName}})
	if err := t.Handshake(); err != nil { // bounded by the connection's deadline
		return nil, fmt.Errorf("TLS with the client: %w", err)
	}
	return t, nil
}

// admits says why a startup packet that came over c is refused.
func (s *Server) admits(h *hello, c net.Conn) error {
	if _, ok := c.(*tls.Conn); !ok && s.o.TLSMode == TLSRequire && !h.local() {
		return errNeedsTLS
	}
	return nil
}

var errNeedsTLS = errors.New("connections without TLS are refused here")

// errBinding is what a client meets that binds its SCRAM exchange to a channel which ends here.
var errBinding = errors.New("SCRAM with channel binding cannot pass a proxy that reads SQL")

// bound reports whether TLS stands on both legs with different certificates: a client that binds its login to the channel
// binds it to another one than the server's.
func (s *session) bound() bool {
	_, front := s.cc.(*tls.Conn)
	back, ok := s.bc.(*tls.Conn)
	return front && ok && !s.sameCertificate(back)
}

// sameCertificate reports whether the server shows the certificate that clients are shown here. What a client binds to is that
// certificate's hash (tls-server-end-point), so that it can be relayed.
func (s *session) sameCertificate(back *tls.Conn) bool {
	shown := back.ConnectionState().PeerCertificates
	if s.srv.o.Certificate == nil || len(shown) == 0 {
		return false
	}
	return shown[0].Equal(s.srv.o.Certificate.current().Leaf)
}

// bindsChannel looks into a SASLInitialResponse: mechanism, length, and the GS2 header, which begins with n (the client cannot
// bind), y (it could, but was not offered to) or p (it does).
func bindsChannel(body []byte) bool {
	_, data, ok := wire.SASLInitial(body)
	return ok && len(data) > 0 && data[0] != 'n'
}
