package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"pgproxy/forward/peerpb"
)

const (
	// streamsPerConnection bounds what a connection may open; a peer needs one.
	streamsPerConnection = 4
	// idleConnection is when a connection without a link is closed.
	idleConnection = time.Minute
	// peerGoing is what is said when this node goes down.
	peerGoing = peerpb.Goodbye_CLOSING
)

// errGoing ends the links of a node that goes down.
var errGoing = errors.New("node goes down")

// server is the side of a link that is dialed.
type server struct {
	peerpb.UnimplementedPeerServer
	f *Forwarder
}

// serve accepts peers in goroutines of its own; what makes the listener fail goes to failed.
func (f *Forwarder) serve(failed chan<- error) {
	var creds credentials.TransportCredentials = insecure.NewCredentials()
	if f.keys != nil {
		creds = &doorman{TransportCredentials: f.keys.server(), f: f}
	}
	f.server = grpc.NewServer(grpc.Creds(creds),
		grpc.MaxRecvMsgSize(peerpb.MaxFrame), grpc.MaxSendMsgSize(peerpb.MaxFrame),
		grpc.MaxHeaderListSize(maxHeaderBytes), grpc.MaxConcurrentStreams(streamsPerConnection),
		grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(connectionWindow),
		grpc.ConnectionTimeout(f.o.Limits.HandshakeTime),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleConnection, Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveTime / 2, PermitWithoutStream: true}))
	peerpb.RegisterPeerServer(f.server, &server{f: f})
	l := &bounded{Listener: f.o.Listener, places: make(chan struct{}, 2*f.o.Limits.Links)}
	f.wg.Go(func() {
		if err := f.server.Serve(l); err != nil && f.ctx.Err() == nil {
			failed <- fmt.Errorf("serve peers: %w", err)
		}
	})
}

// Link is called by gRPC in a goroutine of its own for each link that a peer opens.
func (s *server) Link(stream peerpb.Peer_LinkServer) error {
	f := s.f
	p, ok := peer.FromContext(stream.Context())
	if !ok {
		return status.Error(codes.Internal, "connection without address")
	}
	var certified []string
	if f.keys == nil {
		if err := loopback(p.Addr); err != nil {
			f.refused(p.Addr.String(), err)
			return status.Error(codes.FailedPrecondition, err.Error())
		}
	} else {
		info, ok := p.AuthInfo.(credentials.TLSInfo)
		if !ok {
			return status.Error(codes.Unauthenticated, "certificate required")
		}
		certified = namesOf(info.State.PeerCertificates[0])
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	l := f.newLink(ctx, cancel, stream)
	l.addr, l.certified = p.Addr.String(), certified
	if !f.admitLink(l) {
		return status.Errorf(codes.ResourceExhausted, "node %s takes no further link now", f.o.Node)
	}
	err := l.run()
	if name := l.peerName(); err != nil && name != l.addr {
		f.failed(name, err)
	}
	if err == nil {
		return nil
	}
	return status.Error(codes.Aborted, err.Error())
}

// doorman tells about connections that do not get through the TLS handshake, which gRPC keeps to itself.
type doorman struct {
	credentials.TransportCredentials
	f *Forwarder
}

func (d *doorman) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := d.TransportCredentials.ServerHandshake(c)
	if err != nil {
		d.f.refused(hostOf(c.RemoteAddr()), explainTLS(err))
	}
	return conn, info, err
}

func (d *doorman) Clone() credentials.TransportCredentials {
	return &doorman{TransportCredentials: d.TransportCredentials.Clone(), f: d.f}
}

func hostOf(a net.Addr) string {
	if host, _, err := net.SplitHostPort(a.String()); err == nil {
		return host
	}
	return a.String()
}

// bounded is a listener that holds a limited number of connections; further ones are closed at once.
type bounded struct {
	net.Listener
	places chan struct{}
}

func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case b.places <- struct{}{}:
			return &placed{Conn: c, leave: sync.OnceFunc(func() { <-b.places })}, nil
		default:
			c.Close()
		}
	}
}

// placed gives its place back when it is closed.
type placed struct {
	net.Conn
	leave func()
}

func (p *placed) Close() error {
	p.leave()
	return p.Conn.Close()
}
