package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
)

// Flow control and keepalive of a connection. gRPC's own windows bound what lies between the two processes.
const (
	streamWindow     = 1 << 20
	connectionWindow = 2 << 20
	maxHeaderBytes   = 16 << 10
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
)

// neighbour is a node that this one is, was or should be linked to. Its goroutine, if it is configured, dials it whenever
// there is no link.
type neighbour struct {
	f          *Forwarder
	name, addr string
	configured bool
	kick       bell

	// guarded by Forwarder.mu
	node        journal.NodeID
	from        string // address that it dialed from
	lastError   error
	errorAt     time.Time
	asked       bool // answered since the start, or was tried long enough
	quarantined map[journal.NodeID]string
}

// run dials until ctx ends.
func (n *neighbour) run(ctx context.Context) {
	wait := backoff{min: n.f.o.Limits.RetryMin, max: n.f.o.Limits.RetryMax, rand: n.f.o.Rand}
	for ctx.Err() == nil {
		changed := n.f.changed.wait()
		if n.f.linkTo(n.name) != nil {
			wait.reset()
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		settled, err := n.dial(ctx)
		if ctx.Err() != nil {
			return
		}
		if settled {
			wait.reset()
		}
		n.f.failed(n.name, err)
		pause := time.NewTimer(wait.pause())
		select {
		case <-pause.C:
		case <-n.kick:
			wait.reset()
		case <-ctx.Done():
		}
		pause.Stop()
	}
}

// dial opens a link and works until it ends. settled: records could flow over it.
func (n *neighbour) dial(ctx context.Context) (settled bool, err error) {
	seen := &witness{}
	conn, err := n.connect(seen)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	// Not a child of ctx: the link says goodbye first when the forwarder closes.
	linkCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	patience := time.AfterFunc(n.f.o.Limits.HandshakeTime, func() { cancel(errors.New("no connection in time")) })
	stop := context.AfterFunc(ctx, func() { cancel(errGoing) })
	s, err := peerpb.NewPeerClient(conn).Link(linkCtx)
	patience.Stop()
	stop() // from here on, Close ends the link
	if err != nil {
		return false, seen.explain(err)
	}
	l := n.f.newLink(linkCtx, cancel, s)
	l.dialed, l.expect, l.addr, l.certified = true, n.name, n.addr, seen.names()
	if !n.f.admitLink(l) {
		return false, fmt.Errorf("over the limit of %d open links", n.f.o.Limits.Links)
	}
	err = l.run()
	conn.Close()
	<-l.ended
	return l.isSettled(), seen.explain(err)
}

// connect prepares a connection; it is made by the first call over it.
func (n *neighbour) connect(seen *witness) (*grpc.ClientConn, error) {
	dial := n.f.o.Dial
	if dial == nil {
		var d net.Dialer
		dial = func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
	}
	var creds credentials.TransportCredentials
	if n.f.keys == nil {
		creds = insecure.NewCredentials()
	} else {
		creds = &witnessed{TransportCredentials: n.f.keys.client(n.name), seen: seen}
	}
	plaintext := n.f.keys == nil
	return grpc.NewClient("passthrough:///"+n.addr,
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			c, err := dial(ctx, address)
			if err == nil && plaintext {
				if err = loopback(c.RemoteAddr()); err != nil {
					c.Close()
				}
			}
			if err != nil {
				seen.note(err)
				return nil, err
			}
			return c, nil
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(peerpb.MaxFrame), grpc.MaxCallSendMsgSize(peerpb.MaxFrame)),
		grpc.WithMaxHeaderListSize(maxHeaderBytes),
		grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithIdleTimeout(0))
}
