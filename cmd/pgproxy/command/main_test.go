package command

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// asProgram makes the test binary be pgproxy: commands that start themselves again start it.
const asProgram = "PGPROXY_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(Main(os.Args[1:], System()))
	}
	os.Exit(m.Run())
}

// result is what a command line gave.
type result struct {
	out, err string
	code     int
}

// run runs one command line in this process.
func run(t *testing.T, args ...string) result {
	t.Helper()
	return runWith(t.Context(), nil, args...)
}

func runWith(ctx context.Context, environ []string, args ...string) result {
	var out, errs buffer
	code := Run(ctx, args, Environment{
		Stdout: &out, Stderr: &errs, Environ: append(environ, asProgram+"=1"), Now: time.Now,
		Executable: func() (string, []string, error) { return os.Args[0], nil, nil },
	})
	return result{out.String(), errs.String(), code}
}

// expect checks a result's code and that one of its outputs says something.
func (r result) expect(t *testing.T, code int, says ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, expected %d\n%s%s", r.code, code, r.out, r.err)
	}
	for _, s := range says {
		if !strings.Contains(r.out+r.err, s) {
			t.Errorf("it does not say %q:\n%s%s", s, r.out, r.err)
		}
	}
}

// buffer may be read while a command writes to it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
