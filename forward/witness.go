package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// witness keeps what went wrong below gRPC, which reports it only as text, or not at all, and the names in the
// certificate that the other end showed.
type witness struct {
	mu        sync.Mutex
	err       error
	certified []string
}

// note keeps the first error.
func (w *witness) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

func (w *witness) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.certified
}

// explain turns the error of a link into one that a person can act on.
func (w *witness) explain(err error) error {
	if err == nil {
		return nil
	}
	w.mu.Lock()
	below := w.err
	w.mu.Unlock()
	var bye *goodbyeError
	if errors.As(err, &bye) || errors.Is(err, errGoing) {
		return err
	}
	if below != nil {
		return explainTLS(below)
	}
	if errors.Is(err, io.EOF) {
		return errors.New("peer closed the link")
	}
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) && s.GRPCStatus().Message() != "" {
		return fmt.Errorf("link broke: %s", strings.TrimPrefix(s.GRPCStatus().Message(), "closing transport due to: "))
	}
	return err
}

// explainTLS names the usual causes of a handshake that failed.
func explainTLS(err error) error {
	var mine *certificateError
	var op *net.OpError
	var head tls.RecordHeaderError
	switch {
	case errors.As(err, &mine):
		return mine
	case errors.As(err, &head):
		return fmt.Errorf("no TLS spoken there: is the node's --peer-insecure set, or is it another service? (%w)", err)
	case errors.As(err, &op) && op.Op == "remote error":
		return fmt.Errorf("the node there does not accept this node's certificate (%w): its log says why", op.Err)
	}
	return err
}

// witnessed keeps the errors of a TLS handshake, and of the first reads after it: with TLS 1.3 a client learns only
// then that its certificate was not accepted.
type witnessed struct {
	credentials.TransportCredentials
	seen *witness
}

func (w *witnessed) ClientHandshake(ctx context.Context, authority string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := w.TransportCredentials.ClientHandshake(ctx, authority, c)
	if err != nil {
		w.seen.note(err)
		return nil, nil, err
	}
	if t, ok := info.(credentials.TLSInfo); ok && len(t.State.PeerCertificates) > 0 {
		w.seen.mu.Lock()
		w.seen.certified = namesOf(t.State.PeerCertificates[0])
		w.seen.mu.Unlock()
	}
	return &alarmed{Conn: conn, seen: w.seen}, info, nil
}

func (w *witnessed) Clone() credentials.TransportCredentials {
	return &witnessed{TransportCredentials: w.TransportCredentials.Clone(), seen: w.seen}
}

// alarmed is a connection that notes a TLS alert of the other end.
type alarmed struct {
	net.Conn
	seen *witness
}

func (a *alarmed) Read(b []byte) (int, error) {
	n, err := a.Conn.Read(b)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		a.seen.note(err)
	}
	return n, err
}
