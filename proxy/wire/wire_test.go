package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// frames makes a stream of n frames of random types and sizes, some larger than the buffer.
func frames(rng *rand.Rand, n int) []byte {
	var b []byte
	for range n {
		size := rng.IntN(64)
		switch rng.IntN(20) {
		case 0:
			size = BufferSize - headerSize + rng.IntN(3) - 1
		case 1:
			size = rng.IntN(5 * BufferSize)
		}
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(rng.Uint32())
		}
		b = AppendFrame(b, byte('A'+rng.IntN(26)), body)
	}
	return b
}

// TestReaderForwards passes streams through in pieces of every kind, by every way of consuming a frame.
func TestReaderForwards(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		stream := frames(rng, 60)
		var src io.Reader = bytes.NewReader(stream)
		switch seed % 3 {
		case 1:
			src = iotest.OneByteReader(src)
		case 2:
			src = iotest.HalfReader(src)
		}
		r, out := NewReader(src), &bytes.Buffer{}
		w := NewWriter(out)
		for {
			typ, n, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			switch rng.IntN(4) {
			case 0:
				if _, err := r.Peek(rng.IntN(n + 1)); err != nil {
					t.Fatalf("seed %d: peek: %v", seed, err)
				}
				err = r.Forward(w)
			case 1:
				err = r.Forward(w)
			case 2:
				var body []byte
				if body, err = r.Body(1 << 20); err == nil {
					err = w.Frame(typ, body)
				}
			case 3:
				err = w.Header(typ, n)
				for err == nil {
					var p []byte
					if p, err = r.Piece(); p == nil {
						break
					}
					err = w.Write(p)
				}
			}
			if err != nil {
				t.Fatalf("seed %d: frame %q of %d bytes: %v", seed, typ, n, err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), stream) {
			t.Fatalf("seed %d: %d bytes went in, %d different ones came out", seed, len(stream), out.Len())
		}
	}
}

// TestBodyLimit leaves a frame that is too large untouched: it can still be passed on.
func TestBodyLimit(t *testing.T) {
	stream := AppendFrame(nil, 'Q', bytes.Repeat([]byte("x"), 3*BufferSize))
	r, out := NewReader(bytes.NewReader(stream)), &bytes.Buffer{}
	if _, _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Body(BufferSize); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("got %v, want ErrTooLarge", err)
	}
	w := NewWriter(out)
	if err := errors.Join(r.Forward(w), w.Flush()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), stream) {
		t.Error("the frame changed")
	}
}

// TestLengths refuses lengths that cannot be right before anything is allocated, and reports a stream cut inside a frame.
func TestLengths(t *testing.T) {
	for _, h := range []string{"Q\x00\x00\x00\x00", "Q\x00\x00\x00\x03", "Q\x80\x00\x00\x00", "Q\xff\xff\xff\xff", "Q\x7f\xff\xff\xff"} {
		if _, _, err := NewReader(bytes.NewReader([]byte(h))).Next(); !errors.Is(err, ErrLength) {
			t.Errorf("%q: got %v, want ErrLength", h, err)
		}
	}
	r := NewReader(bytes.NewReader([]byte("Q\x3f\xff\xff\xffabc")))
	if _, _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Body(1 << 30); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut inside a frame: got %v", err)
	}
	if _, _, err := NewReader(bytes.NewReader([]byte("Q\x00"))).Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut inside a header: got %v", err)
	}
}

// FuzzReader reads frames from hostile bytes: no panic, no memory beyond what came, and what is passed on is what was read.
func FuzzReader(f *testing.F) {
	f.Add(AppendFrame(AppendFrame(nil, 'P', []byte("a\x00SELECT 1\x00\x00\x00")), 'S', nil))
	f.Add([]byte("Q\x00\x00\x00\x04X\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r, out := NewReader(iotest.HalfReader(bytes.NewReader(stream))), &bytes.Buffer{}
		w := NewWriter(out)
		whole := 0
		for {
			_, n, err := r.Next()
			if err != nil {
				break
			}
			if err := r.Forward(w); err != nil {
				break
			}
			whole += headerSize + n
		}
		_ = w.Flush()
		if whole > out.Len() || !bytes.Equal(out.Bytes()[:whole], stream[:whole]) {
			t.Errorf("%d bytes of whole frames were read, %d passed on", whole, out.Len())
		}
	})
}

// FuzzDecoders gives every decoder hostile bodies. What decodes must encode to something that decodes the same.
func FuzzDecoders(f *testing.F) {
	f.Add([]byte("name\x00SELECT $1\x00\x00\x01\x00\x00\x00\x17"))
	f.Add([]byte("p\x00s\x00\x00\x01\x00\x01\x00\x02\xff\xff\xff\xff\x00\x00\x00\x01x\x00\x00"))
	f.Add([]byte("SERROR\x00C42601\x00Mno\x00P7\x00\x00"))
	f.Add([]byte("\x00\x02\x00\x00\x00\x01a\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x00\x00\x29\x00\x03\x00\x00user\x00postgres\x00database\x00x\x00\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _, _ = SASLInitial(body)
		if p, err := DecodeParse(body); err == nil {
			again, err := DecodeParse(written(t, func(w *Writer) error { return w.Parse(p) }))
			if err != nil || again.Name != p.Name || again.Text != p.Text || len(again.Types) != len(p.Types) {
				t.Errorf("Parse %q became %+v (%v)", body, again, err)
			}
		}
		if b, err := DecodeBind(body); err == nil {
			again, err := DecodeBind(written(t, func(w *Writer) error { return w.Bind(b) }))
			if err != nil || again.Portal != b.Portal || again.Statement != b.Statement || len(again.Params) != len(b.Params) {
				t.Fatalf("Bind %q became %+v (%v)", body, again, err)
			}
			for i, p := range b.Params {
				if (p == nil) != (again.Params[i] == nil) || !bytes.Equal(p, again.Params[i]) {
					t.Errorf("Bind %q: parameter %d became %q", body, i, again.Params[i])
				}
				_ = b.Format(i)
			}
		}
		if fields, err := DecodeFields(body); err == nil {
			again, err := DecodeFields(written(t, func(w *Writer) error { return w.Fields('E', fields) }))
			if err != nil || len(again) != len(fields) {
				t.Errorf("fields %q became %+v (%v)", body, again, err)
			}
		}
		if count, rest, _, err := SplitRow(body); err == nil {
			if cols, err := Columns(body); err != nil || len(cols) != count+1 {
				t.Errorf("row %q: %d columns and one split off, but %d in all (%v)", body, count, len(cols), err)
			}
			if cols, err := Columns(written(t, func(w *Writer) error { return w.Counted('D', count, rest) })); err != nil || len(cols) != count {
				t.Errorf("row %q: what is left has %d columns, want %d (%v)", body, len(cols), count, err)
			}
		}
		_, _, _ = SplitDescription(body)
		_, _ = Column(body, 1)
		_, _, _ = BindNames(body)
		_, _, _ = DecodeExecute(body)
		_, _, _ = DecodeTarget(body)
		_, _ = DecodeParameterTypes(body)
		_, _, _ = DecodeParameterStatus(body)
		_, _ = Query(body)
		if s, err := DecodeStartup(body); err == nil {
			_ = s.Get("user")
		}
		if s, err := ReadStartup(bytes.NewReader(body)); err == nil && len(s.Raw) > MaxStartup+4 {
			t.Errorf("a startup packet of %d bytes was taken", len(s.Raw))
		}
	})
}

// written gives the body of the message that f writes.
func written(t *testing.T, f func(w *Writer) error) []byte {
	var out bytes.Buffer
	w := NewWriter(&out)
	if err := errors.Join(f(w), w.Flush()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()[headerSize:]
}

// TestSmallTrafficKeepsSmallBuffers: what an idle session costs in memory, after any number of small messages.
func TestSmallTrafficKeepsSmallBuffers(t *testing.T) {
	in := &onePerRead{frame: AppendFrame(nil, 'D', make([]byte, 700)), n: 1000}
	r, w := NewReader(in), NewWriter(io.Discard)
	for range 1000 {
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.Forward(w), w.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	if n := cap(r.buf) + cap(w.buf); n > 4<<10 {
		t.Errorf("buffers of %d bytes", n)
	}
}

// onePerRead gives a frame with each Read.
type onePerRead struct {
	frame []byte
	n     int
}

func (o *onePerRead) Read(p []byte) (int, error) {
	if o.n--; o.n < 0 {
		return 0, io.EOF
	}
	return copy(p, o.frame), nil
}
