package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// How long a proxy may take.
const (
	proxyStart = 60 * time.Second // recovery after a crash included
	proxyStop  = 20 * time.Second
	commandEnd = 3 * time.Minute // for a command that has a shorter limit of its own
)

// ProxyOptions says how to start a proxy. What is empty is chosen.
type ProxyOptions struct {
	Name     string // node; "a" if empty
	Binary   string // Build(t) if empty
	Upstream *Server
	// UpstreamString is the --upstream argument, for what goes through a relay or is wrong on purpose.
	UpstreamString string
	Port, PeerPort int
	Peers          []string // name=address
	Data           string   // data folder
	Args           []string // more arguments of serve
	Env            []string // more environment
	NoPeers        bool     // without --peer-listen
	Unchecked      bool     // the journal is not checked at the end: there is none, or it is broken on purpose
}

// Proxy is a `pgproxy serve` process and what is needed to start it again.
type Proxy struct {
	ProxyOptions
	Log  string
	t    T
	proc *Process
}

// NewProxy starts a proxy and waits until it is ready.
func NewProxy(t T, o ProxyOptions) *Proxy {
	t.Helper()
	p := PrepareProxy(t, o)
	p.Start()
	return p
}

// PrepareProxy chooses what o leaves open, and starts nothing. When t ends, the proxy is stopped and its journal checked.
func PrepareProxy(t T, o ProxyOptions) *Proxy {
	t.Helper()
	if o.Name == "" {
		o.Name = "a"
	}
	if o.Binary == "" {
		o.Binary = Build(t)
	}
	if o.UpstreamString == "" && o.Upstream != nil {
		o.UpstreamString = o.Upstream.Upstream()
	}
	if o.Port == 0 {
		o.Port = FreePort(t)
	}
	if o.PeerPort == 0 {
		o.PeerPort = FreePort(t)
	}
	dir := Dir(t, "proxy-"+o.Name)
	if o.Data == "" {
		o.Data = filepath.Join(dir, "data")
	}
	p := &Proxy{ProxyOptions: o, Log: filepath.Join(dir, "proxy.log"), t: t}
	t.Cleanup(p.cleanup)
	return p
}

// Command gives the arguments of serve.
func (p *Proxy) Command() []string {
	args := []string{"serve", "--node", p.Name, "--listen", Local(p.Port), "--upstream", p.UpstreamString, "--data-dir", p.Data}
	if !p.NoPeers {
		args = append(args, "--peer-listen", Local(p.PeerPort), "--peer-insecure")
	}
	for _, peer := range p.Peers {
		args = append(args, "--peer", peer)
	}
	return append(args, p.Args...)
}

// Launch starts the process and does not wait; the returned size of the log is where its output begins.
func (p *Proxy) Launch() (from int64) {
	p.t.Helper()
	if info, err := os.Stat(p.Log); err == nil {
		from = info.Size()
	}
	cmd := exec.Command(p.Binary, p.Command()...)
	cmd.Env = p.environment()
	var err error
	if p.proc, err = start("proxy "+p.Name, p.Log, cmd, syscall.SIGKILL); err != nil {
		p.t.Fatalf("%v", err)
	}
	return from
}

// environment is this process's, without what would configure the proxy, or its connection to the database, by chance.
func (p *Proxy) environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "PG") })
	return append(env, p.Env...)
}

// Start starts the process and waits for its `ready` line.
func (p *Proxy) Start() {
	p.t.Helper()
	from := p.Launch()
	p.AwaitReady(from)
}

// AwaitReady waits for the `ready` line in the log, from the given offset on.
func (p *Proxy) AwaitReady(from int64) {
	p.t.Helper()
	WaitFor(p.t, proxyStart, "proxy "+p.Name+" to be ready", func() (bool, string) {
		if p.readySince(from) {
			return true, ""
		}
		if !p.proc.Running() {
			p.t.Fatalf("proxy %s ended with code %d:\n%s", p.Name, p.proc.ExitCode(), tail(p.Log))
		}
		return false, "no ready line"
	})
}

func (p *Proxy) readySince(from int64) bool {
	b, err := os.ReadFile(p.Log)
	if err != nil || int64(len(b)) < from {
		return false
	}
	for line := range bytes.Lines(b[from:]) {
		if word := bytes.Fields(line); len(word) > 0 && string(word[0]) == "ready" {
			return true
		}
	}
	return false
}

// Process gives the running (or last) process.
func (p *Proxy) Process() *Process { return p.proc }

// Kill9 kills the process at once.
func (p *Proxy) Kill9() { p.proc.Kill9() }

// Pause stops the process as a debugger or an overloaded machine would (SIGSTOP); Resume lets it go on.
func (p *Proxy) Pause() { _ = p.proc.Signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (p *Proxy) Resume() { _ = p.proc.Signal(syscall.SIGCONT) }

// Stop ends the process in order (SIGTERM).
func (p *Proxy) Stop() {
	p.t.Helper()
	if !p.proc.stop(syscall.SIGTERM, proxyStop) {
		p.t.Errorf("proxy %s did not stop within %v of SIGTERM:\n%s", p.Name, proxyStop, tail(p.Log))
	}
}

// Restart kills and starts.
func (p *Proxy) Restart() {
	p.t.Helper()
	p.Kill9()
	p.Start()
}

// DSN gives the connection string of a database through the proxy, as postgres.
func (p *Proxy) DSN(database string) string { return DSN(p.Port, database) }

// Run runs a command of pgproxy on this node's data folder.
func (p *Proxy) Run(args ...string) Result {
	p.t.Helper()
	return RunBinary(p.t, p.Binary, append(args, "--data-dir", p.Data)...)
}

// RunBinary runs a command of pgproxy.
func RunBinary(t T, binary string, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandEnd)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "PG") })
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	r := Result{Args: args, Stdout: out.String(), Stderr: errs.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.Code = exit.ExitCode()
	case err != nil:
		t.Fatalf("run pgproxy %s: %v", strings.Join(args, " "), err)
	}
	return r
}

// Status asks for the node's state.
func (p *Proxy) Status() (Status, error) {
	p.t.Helper()
	r := p.Run("status", "-o", "json")
	if r.Code != 0 {
		return Status{}, errors.New(r.String())
	}
	all, err := decodeLines[Status](r.Stdout)
	if err != nil {
		return Status{}, err
	}
	if len(all) != 1 {
		return Status{}, fmt.Errorf("status gave %d objects: %s", len(all), r)
	}
	return all[0], nil
}

// Journal lists the transactions in the node's journal, of all nodes; filters are flags of `journal ls`.
func (p *Proxy) Journal(filters ...string) []Transaction {
	p.t.Helper()
	var all []Transaction
	p.EachTransaction(func(x Transaction) { all = append(all, x) }, filters...)
	return all
}

// EachTransaction is Journal for journals that do not fit into memory.
func (p *Proxy) EachTransaction(f func(Transaction), filters ...string) {
	p.t.Helper()
	args := append([]string{"journal", "ls", "-o", "json", "--limit", "100000000", "--data-dir", p.Data}, filters...)
	cmd := exec.Command(p.Binary, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatalf("%v", err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("list journal: %v", err)
	}
	d := json.NewDecoder(out)
	for err == nil {
		var x Transaction
		if err = d.Decode(&x); err == nil {
			f(x)
		}
	}
	_, _ = io.Copy(io.Discard, out)
	if end := cmd.Wait(); end != nil || !errors.Is(err, io.EOF) {
		p.t.Fatalf("journal of %s: %v, %v: %s", p.Name, end, err, errs.String())
	}
}

// Drain runs `pgproxy drain` and fails the test if it does not succeed.
func (p *Proxy) Drain(timeout time.Duration) {
	p.t.Helper()
	if r := p.Run("drain", "--timeout", timeout.String()); r.Code != 0 {
		p.t.Fatalf("node %s: %s", p.Name, r)
	}
}

// Connect opens a connection through the proxy; it is closed when t ends.
func (p *Proxy) Connect(t T, database string) *pgx.Conn {
	t.Helper()
	return Connect(t, p.DSN(database))
}

// Connect opens a connection that is closed when t ends.
func Connect(t T, dsn string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatalf("connect to %s: %v", dsn, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

func (p *Proxy) cleanup() {
	if p.proc == nil {
		return
	}
	if p.proc.Running() {
		p.Resume()
		p.Stop()
	}
	if r := p.Run("journal", "check"); r.Code != 0 && !p.Unchecked {
		p.t.Errorf("the journal of %s is not sound: %s", p.Name, r)
	}
	if p.t.Failed() {
		p.t.Logf("log of proxy %s, its end:\n%s", p.Name, tail(p.Log))
	}
}
