package faultnet

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echo answers every connection with what it sends; with startup, but for the first message, which has no type byte.
func echo(t *testing.T, startup bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for size := make([]byte, 4); startup; {
					if _, err := io.ReadFull(c, size); err != nil {
						return
					}
					_, _ = io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(size))-4)
					if startup = binary.BigEndian.Uint32(size) == 8; startup { // a request for encryption
						_, _ = c.Write([]byte{'N'})
					}
				}
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func relay(t *testing.T, frames bool) *Relay {
	t.Helper()
	r, err := Listen("127.0.0.1:0", echo(t, frames), frames)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func dial(t *testing.T, r *Relay) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ping sends b and reads as much back.
func ping(t *testing.T, c net.Conn, b []byte) ([]byte, error) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil {
		return nil, err
	}
	got := make([]byte, len(b))
	n, err := io.ReadFull(c, got)
	return got[:n], err
}

func startup(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write(frame(0, "\x00\x03\x00\x00user\x00x\x00\x00")); err != nil {
		t.Fatal(err)
	}
}

// silent checks that nothing can be read for a moment.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v; expected silence", n, err)
	}
	_ = c.SetReadDeadline(time.Time{})
}

func frame(typ byte, body string) []byte {
	var b []byte
	if typ != 0 {
		b = append(b, typ)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)+4))
	return append(b, body...)
}

func TestCutAndHeal(t *testing.T) {
	r := relay(t, false)
	c := dial(t, r)
	if got, err := ping(t, c, []byte("hello")); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	r.Cut()
	if _, err := ping(t, c, []byte("x")); err == nil {
		t.Error("an open connection survived the cut")
	}
	if _, err := ping(t, dial(t, r), []byte("x")); err == nil {
		t.Error("a new connection got through the cut")
	}
	r.Heal()
	if got, err := ping(t, dial(t, r), []byte("again")); err != nil || string(got) != "again" {
		t.Errorf("after heal: %q, %v", got, err)
	}
}

func TestHoldKeepsConnectionAndBytes(t *testing.T) {
	r := relay(t, false)
	c := dial(t, r)
	if _, err := ping(t, c, []byte("a")); err != nil {
		t.Fatal(err)
	}
	r.Hold(FromTarget)
	if _, err := c.Write([]byte("held")); err != nil {
		t.Fatal(err)
	}
	silent(t, c)
	r.Heal()
	got := make([]byte, 4)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "held" {
		t.Errorf("after heal: %q, %v", got, err)
	}
}

func TestDelayAndRate(t *testing.T) {
	r := relay(t, false)
	c := dial(t, r)
	r.Delay(30 * time.Millisecond)
	begin := time.Now()
	if _, err := ping(t, c, []byte("a")); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d < 60*time.Millisecond {
		t.Errorf("round trip took %v with 30ms each way", d)
	}
	r.Delay(0)
	r.Rate(10000)
	begin = time.Now()
	if _, err := ping(t, c, make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d < 80*time.Millisecond {
		t.Errorf("2000 bytes at 10000 a second took %v", d)
	}
}

func TestRuleCutsInsideFrame(t *testing.T) {
	r := relay(t, true)
	c := dial(t, r)
	startup(t, c)
	fired := r.Arm(Rule{Direction: ToTarget, Match: Query("commit"), Skip: 1, After: 3})
	for _, text := range []string{"SELECT 1\x00", "COMMIT\x00"} {
		q := frame('Q', text)
		if got, err := ping(t, c, q); err != nil || !bytes.Equal(got, q) {
			t.Fatalf("%q: %q, %v", text, got, err)
		}
	}
	got, err := ping(t, c, frame('Q', "COMMIT\x00"))
	if err == nil || len(got) > 3 {
		t.Errorf("the second COMMIT: %q, %v; expected at most 3 bytes and an end", got, err)
	}
	<-fired
}

func TestRuleHolds(t *testing.T) {
	r := relay(t, true)
	c := dial(t, r)
	startup(t, c)
	fired := r.Arm(Rule{Direction: FromTarget, Match: Type('C'), Hold: true})
	if _, err := c.Write(frame('C', "COMMIT\x00")); err != nil {
		t.Fatal(err)
	}
	<-fired
	silent(t, c)
}

func TestRequestForEncryption(t *testing.T) {
	r := relay(t, true)
	c := dial(t, r)
	if _, err := c.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 1)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(c, answer); err != nil || answer[0] != 'N' {
		t.Fatalf("the answer: %q, %v", answer, err)
	}
	startup(t, c)
	r.Arm(Rule{Direction: FromTarget, Match: Type('C'), After: 2})
	if got, err := ping(t, c, frame('C', "COMMIT\x00")); err == nil || len(got) > 2 {
		t.Errorf("after it frames are no longer seen: %q, %v", got, err)
	}
}

func TestLargeFramePassesWhole(t *testing.T) {
	r := relay(t, true)
	c := dial(t, r)
	startup(t, c)
	go func() { _, _ = c.Write(append(frame('d', string(make([]byte, 1<<20))), frame('S', "")...)) }()
	got := make([]byte, 1<<20+5+5)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[len(got)-5:], frame('S', "")) {
		t.Errorf("the frame after the large one: %q", got[len(got)-5:])
	}
}

func FuzzScanner(f *testing.F) {
	f.Add(append(frame(0, "\x00\x03\x00\x00"), frame('Q', "SELECT 1\x00")...), true)
	f.Add([]byte{'Q', 0, 0, 0, 1, 2, 3}, false)
	f.Fuzz(func(t *testing.T, stream []byte, startup bool) {
		s := scanner{startup: startup, server: !startup, asked: &greeting{}}
		in := bufio.NewReaderSize(bytes.NewReader(stream), chunkBytes)
		var out []byte
		for {
			b, _, err := s.next(in)
			out = append(out, b...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(out, stream) {
			t.Errorf("%q became %q", stream, out)
		}
	})
}
