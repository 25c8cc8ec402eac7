package demo

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgproxy/test/harness"
)

// TestDemo tells the whole story with the real program, and looks whether anything is left of it.
func TestDemo(t *testing.T) {
	if _, err := findBinaries(t.Context()); err != nil {
		t.Skip(err)
	}
	program := harness.Build(t)
	t.Setenv("TMPDIR", harness.Dir(t, "demo"))
	t.Run("to its end", func(t *testing.T) {
		var out, errs bytes.Buffer
		o := options(t, program, &out, &errs)
		if err := Run(t.Context(), o); err != nil {
			t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
		}
		if n := strings.Count(out.String(), " bread  |  16 |"); n != 3 {
			t.Errorf("%d tables show both sales of bread\n%s", n, out.String())
		}
		nothingLeft(t)
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var out, errs bytes.Buffer
		o := options(t, program, &out, &errs)
		o.Command = func(context.Context, ...string) int { cancel(); return 0 }
		if err := Run(ctx, o); err == nil {
			t.Errorf("it went on\n%s", out.String())
		}
		nothingLeft(t)
	})
	t.Run("a command fails", func(t *testing.T) {
		var out, errs bytes.Buffer
		o := options(t, program, &out, &errs)
		o.Command = func(context.Context, ...string) int { return 3 }
		if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "exit code 3") || !strings.Contains(errs.String(), "log of pgproxy c") {
			t.Errorf("error %v\n%s", err, errs.String())
		}
		nothingLeft(t)
	})
}

func options(t *testing.T, program string, out, errs *bytes.Buffer) Options {
	return Options{Out: out, Err: errs, Executable: program, Now: time.Now, Command: func(_ context.Context, args ...string) int {
		r := harness.RunBinary(t, program, args...)
		out.WriteString(r.Stdout)
		errs.WriteString(r.Stderr)
		return r.Code
	}}
}

// nothingLeft looks for the demo's folders and for processes that name them.
func nothingLeft(t *testing.T) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "pgproxy-demo-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range lines {
		b, err := os.ReadFile(f)
		if err == nil && bytes.Contains(b, []byte(filepath.Join(os.TempDir(), "pgproxy-demo-"))) {
			t.Errorf("still runs: %q", b)
		}
	}
}

func TestRelay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("hi"))
			go func() { _, _ = c.Read(make([]byte, 1)); c.Close() }()
		}
	}()
	r, err := newRelay(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	read := func() (net.Conn, error) {
		c, err := net.Dial("tcp", r.addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_, err = c.Read(make([]byte, 2))
		return c, err
	}
	c, err := read()
	if err != nil {
		t.Fatal(err)
	}
	r.setCut(true)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlived the cut")
	}
	if _, err := read(); err == nil {
		t.Error("a connection goes through a cut")
	}
	r.setCut(false)
	if _, err := read(); err != nil {
		t.Errorf("joined again: %v", err)
	}
}

func TestBinariesAreFound(t *testing.T) {
	dir, err := findBinaries(t.Context())
	if err != nil {
		t.Skip(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == "initdb" }) {
		t.Errorf("%s: %v", dir, err)
	}
}
