package forward

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
)

// stranger speaks the protocol by hand.
type stranger struct {
	t      *testing.T
	conn   *grpc.ClientConn
	stream peerpb.Peer_LinkClient
	id     journal.NodeID
}

func dialByHand(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(1<<30)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func newStranger(t *testing.T, n *node) *stranger {
	t.Helper()
	conn := dialByHand(t, n.addr)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	s, err := peerpb.NewPeerClient(conn).Link(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &stranger{t: t, conn: conn, stream: s, id: id(200)}
}

func (s *stranger) hello(name string, cluster journal.NodeID) *peerpb.Hello {
	return &peerpb.Hello{Version: protocolVersion, Oldest: oldestVersion, Node: s.id[:], Name: name, Boot: bytes.Repeat([]byte{7}, 16), Cluster: cluster[:]}
}

// member goes through the handshake as a member of n's cluster.
func (s *stranger) member(n *node) *stranger {
	s.t.Helper()
	s.send(&peerpb.Frame{Body: &peerpb.Frame_Hello{Hello: s.hello("mallory", n.j.Identity().Cluster)}})
	s.until(func(f *peerpb.Frame) bool { return f.GetHello() != nil })
	return s
}

func (s *stranger) send(f *peerpb.Frame) {
	s.t.Helper()
	if err := s.stream.Send(f); err != nil {
		s.t.Logf("send: %v", err)
	}
}

// until reads until a frame fits.
func (s *stranger) until(fits func(*peerpb.Frame) bool) *peerpb.Frame {
	s.t.Helper()
	for {
		f, err := s.stream.Recv()
		if err != nil {
			s.t.Fatalf("stream ended: %v", err)
		}
		if fits(f) {
			return f
		}
	}
}

// thrownOut reads until the stream ends and checks why.
func (s *stranger) thrownOut(want string) {
	s.t.Helper()
	for {
		f, err := s.stream.Recv()
		if bye := f.GetGoodbye(); err == nil && bye != nil {
			if !strings.Contains(bye.GetMessage(), want) {
				s.t.Errorf("thrown out with %q, want %q", bye.GetMessage(), want)
			}
			return
		}
		if err != nil {
			if st, _ := status.FromError(err); !strings.Contains(st.Message(), want) {
				s.t.Errorf("thrown out with %q, want %q", st.Message(), want)
			}
			return
		}
	}
}

func batch(b *peerpb.Batch) *peerpb.Frame { return &peerpb.Frame{Body: &peerpb.Frame_Batch{Batch: b}} }

func pack(t *testing.T, b []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil, zstd.WithWindowSize(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return enc.EncodeAll(b, nil)
}

// TestHostile throws what a broken or hostile program may send at a node, which has to end that stream, and only it.
func TestHostile(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b")
	mesh(a, b)
	a.start()
	b.start()
	equal(t, a, b)
	bomb := pack(t, make([]byte, 64<<20)) // before a link is open: it may take longer than a peer may be silent
	unknown := journal.Raw{ID: journal.ID{Origin: id(99), Seq: 1}, HLC: 1 << 30, Bytes: []byte("no record")}
	for name, c := range map[string]struct {
		attack func(s *stranger)
		want   string
	}{
		"batch before hello": {func(s *stranger) { s.send(batch(&peerpb.Batch{Size: 1, Data: []byte{1}})) }, "out of order"},
		"other version": {func(s *stranger) {
			h := s.hello("m", id(9))
			h.Version, h.Oldest = 9, 8
			s.send(&peerpb.Frame{Body: &peerpb.Frame_Hello{Hello: h}})
		}, "upgrade the older pgproxy"},
		"other cluster": {func(s *stranger) {
			s.send(&peerpb.Frame{Body: &peerpb.Frame_Hello{Hello: s.hello("m", id(77))}})
		}, "separate histories"},
		"copy of a": {func(s *stranger) {
			s.id = a.j.Identity().Node
			s.send(&peerpb.Frame{Body: &peerpb.Frame_Hello{Hello: s.hello("m", id(77))}})
		}, "is a copy of node a"},
		"batch before membership": {func(s *stranger) {
			s.send(&peerpb.Frame{Body: &peerpb.Frame_Hello{Hello: s.hello("m", journal.NodeID{})}})
			s.send(batch(&peerpb.Batch{Size: 1, Data: []byte{1}}))
		}, "out of order"},
		"admission unasked": {func(s *stranger) {
			s.send(&peerpb.Frame{Body: &peerpb.Frame_Hello{Hello: s.hello("m", a.j.Identity().Cluster)}})
			s.send(&peerpb.Frame{Body: &peerpb.Frame_Admit{Admit: &peerpb.Admit{Number: 5}}})
		}, "out of order"},
		"no payload": {func(s *stranger) { s.member(a).send(batch(&peerpb.Batch{Size: 4, Data: []byte("abcd")})) }, "malformed batch"},
		"too much":   {func(s *stranger) { s.member(a).send(batch(&peerpb.Batch{Size: 2, Data: []byte("abcd")})) }, "do not make up"},
		"no size":    {func(s *stranger) { s.member(a).send(batch(&peerpb.Batch{Data: []byte("abcd")})) }, "batch of 0 bytes"},
		"declared 1 TiB": {func(s *stranger) {
			s.member(a).send(batch(&peerpb.Batch{Size: 1 << 40, More: true, Data: []byte("a")}))
		}, "over the limit"},
		"oversized frame": {func(s *stranger) {
			s.member(a).send(batch(&peerpb.Batch{Size: 1, Data: make([]byte, 2*peerpb.MaxFrame)}))
		}, "larger than max"},
		"zstd bomb": {func(s *stranger) {
			s.member(a).send(batch(&peerpb.Batch{Size: 256 << 20, Zstd: true, Data: bomb}))
		}, "unpack chunk"},
		"zstd garbage": {func(s *stranger) {
			s.member(a).send(batch(&peerpb.Batch{Size: 64, Zstd: true, Data: []byte("not zstd")}))
		}, "unpack chunk"},
		"wrong record": {func(s *stranger) {
			p := peerpb.AppendRecord(nil, unknown)
			s.member(a).send(batch(&peerpb.Batch{Size: uint64(len(p)), Data: p}))
			f := s.until(func(f *peerpb.Frame) bool { return f.GetRefuse() != nil })
			if !bytes.Equal(f.GetRefuse().GetOrigin(), unknown.ID.Origin[:]) {
				s.t.Errorf("refused %x", f.GetRefuse().GetOrigin())
			}
			s.send(&peerpb.Frame{Body: &peerpb.Frame_Goodbye{Goodbye: &peerpb.Goodbye{Message: "end of test"}}})
		}, "end of test"},
		"malformed vector": {func(s *stranger) {
			s.member(a).send(&peerpb.Frame{Body: &peerpb.Frame_State{State: &peerpb.State{Stored: []*peerpb.Entry{{Origin: []byte("x")}}}}})
		}, "node id of 1 bytes"},
		"changed identity": {func(s *stranger) {
			s.member(a)
			h := s.hello("other", a.j.Identity().Cluster)
			s.send(&peerpb.Frame{Body: &peerpb.Frame_Hello{Hello: h}})
		}, "out of order"},
		"ping flood that never reads": {func(s *stranger) {
			s.member(a)
			for i := range uint64(100_000) {
				if s.stream.Send(&peerpb.Frame{Body: &peerpb.Frame_Ping{Ping: &peerpb.Ping{Nonce: i}}}) != nil {
					return
				}
			}
			s.send(&peerpb.Frame{Body: &peerpb.Frame_Goodbye{Goodbye: &peerpb.Goodbye{Message: "answers"}}})
		}, "answers"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStranger(t, a)
			s.t = t
			c.attack(s)
			s.thrownOut(c.want)
			s.conn.Close()
			eventually(t, func() string {
				a.f.mu.Lock()
				defer a.f.mu.Unlock()
				if _, still := a.f.links[id(200)]; still {
					return "the stranger's link is still listed"
				}
				return ""
			})
		})
	}
	b.write(5)
	equal(t, a, b)
	acked(t, b)
}

// TestFloods opens too much: headers, streams, connections.
func TestFloods(t *testing.T) {
	noLeaks(t)
	a := newNode(t, "a")
	a.tune = func(o *Options) { o.Limits.Links = 4 }
	a.start()
	conn := dialByHand(t, a.addr)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	big := metadata.AppendToOutgoingContext(ctx, "x-big", strings.Repeat("x", 4*maxHeaderBytes))
	if s, err := peerpb.NewPeerClient(conn).Link(big); err == nil {
		if _, err = s.Recv(); err == nil {
			t.Error("headers over the limit were accepted")
		}
	}
	var full int
	for range 3 * 4 {
		c := dialByHand(t, a.addr)
		s, err := peerpb.NewPeerClient(c).Link(ctx)
		if err != nil {
			full++
			continue
		}
		h := &stranger{t: t, conn: c, stream: s, id: id(201)}
		h.send(&peerpb.Frame{Body: &peerpb.Frame_Ping{Ping: &peerpb.Ping{Nonce: 1}}})
		if _, err := s.Recv(); err != nil {
			full++
		}
	}
	if full != 8 {
		t.Errorf("%d of 12 links were refused, want 8", full)
	}
}

// TestSilentStranger opens a link and says nothing.
func TestSilentStranger(t *testing.T) {
	noLeaks(t)
	a := newNode(t, "a")
	a.tune = func(o *Options) { o.Limits.HandshakeTime = 300 * time.Millisecond }
	a.start()
	newStranger(t, a).thrownOut("did not introduce itself")
}
