package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// How long a database server may take.
const (
	serverStart = 60 * time.Second // crash recovery on a loaded machine included
	serverStop  = 20 * time.Second
)

// Server is a throwaway PostgreSQL server with trust authentication and the superuser postgres.
type Server struct {
	Name   string
	Major  int
	Port   int
	Socket string // folder of the unix socket
	Data   string
	t      T
	bin    string
	log    string
	proc   *Process
}

// PostgresOption changes how a server is made.
type PostgresOption func(*postgresOptions)

type postgresOptions struct {
	major    int
	name     string
	settings []string
	hba      string
}

// Major chooses the version; without it, the distribution's oldest.
func Major(major int) PostgresOption { return func(o *postgresOptions) { o.major = major } }

// Named gives the server a name for logs.
func Named(name string) PostgresOption { return func(o *postgresOptions) { o.name = name } }

// Setting sets a configuration parameter.
func Setting(name, value string) PostgresOption {
	return func(o *postgresOptions) {
		o.settings = append(o.settings, name+" = '"+strings.ReplaceAll(value, "'", "''")+"'")
	}
}

// HBA replaces pg_hba.conf, but for the unix socket, over which the harness itself comes.
func HBA(text string) PostgresOption {
	return func(o *postgresOptions) { o.hba = "local all all trust\n" + text }
}

// Postgres starts a server that is stopped and removed when t ends. It does not sync to the disk (a killed process loses
// nothing by that, a killed machine would); benchmarks set fsync on.
func Postgres(t T, options ...PostgresOption) *Server {
	t.Helper()
	o := postgresOptions{name: "pg"}
	for _, f := range options {
		f(&o)
	}
	inst, err := installation(o.major)
	if err != nil {
		t.Fatalf("%v", err)
	}
	dir := Dir(t, o.name)
	s := &Server{Name: o.name, Major: inst.Major, Port: FreePort(t), Socket: dir, Data: filepath.Join(dir, "data"),
		t: t, bin: inst.Bin, log: filepath.Join(dir, "postgres.log")}
	if err := s.create(inst, o); err != nil {
		t.Fatalf("create PostgreSQL %d: %v", inst.Major, err)
	}
	t.Cleanup(s.cleanup)
	s.Start()
	return s
}

// create copies the template and writes the configuration.
func (s *Server) create(inst Installation, o postgresOptions) error {
	cred, err := Unprivileged()
	if err != nil {
		return err
	}
	template, err := templateOf(inst, cred)
	if err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-a", template, s.Data).CombinedOutput(); err != nil {
		return fmt.Errorf("copy template: %w: %s", err, out)
	}
	if cred != nil {
		if err := os.Chown(s.Socket, int(cred.Uid), int(cred.Gid)); err != nil {
			return fmt.Errorf("give folder to server's user: %w", err)
		}
	}
	var conf bytes.Buffer
	fmt.Fprintf(&conf, "\nlisten_addresses = '127.0.0.1'\nport = %d\nunix_socket_directories = '%s'\n", s.Port, s.Socket)
	conf.WriteString("max_connections = 200\nshared_buffers = '64MB'\nfsync = off\nlogging_collector = off\nlog_line_prefix = '%m [%p] %a '\n")
	for _, line := range o.settings {
		fmt.Fprintln(&conf, line)
	}
	if err := appendFile(filepath.Join(s.Data, "postgresql.conf"), conf.Bytes()); err != nil {
		return err
	}
	if o.hba != "" {
		return os.WriteFile(filepath.Join(s.Data, "pg_hba.conf"), []byte(o.hba), 0o600)
	}
	return nil
}

func appendFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	if _, err := f.Write(b); err != nil {
		_ = f.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}

// Start starts a stopped server and waits until it takes connections.
func (s *Server) Start() {
	s.t.Helper()
	cred, err := Unprivileged()
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), "-D", s.Data)
	cmd.Dir = s.Socket
	cmd.Env = append(os.Environ(), "PGDATA=", "HOME="+s.Socket)
	if cred != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	}
	// SIGQUIT is the immediate shutdown: the postmaster takes its children with it.
	if s.proc, err = start(s.Name, s.log, cmd, syscall.SIGQUIT); err != nil {
		s.t.Fatalf("%v", err)
	}
	WaitFor(s.t, serverStart, "PostgreSQL "+s.Name+" to take connections", func() (bool, string) {
		if !s.proc.Running() {
			s.t.Fatalf("PostgreSQL %s ended:\n%s", s.Name, tail(s.log))
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		c, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres", s.Socket, s.Port))
		if err != nil {
			return false, errNote(err)
		}
		_ = c.Close(ctx)
		return true, ""
	})
}

// Stop shuts the server down in order ("fast"): clients are disconnected, transactions rolled back.
func (s *Server) Stop() {
	s.t.Helper()
	if !s.proc.stop(syscall.SIGINT, serverStop) {
		s.t.Errorf("PostgreSQL %s did not stop within %v", s.Name, serverStop)
	}
}

// Kill9 kills the postmaster and waits until its children are gone too: what a crashed machine leaves, but for unsynced
// file contents.
func (s *Server) Kill9() {
	s.t.Helper()
	children := childrenOf(s.proc.PID())
	s.proc.Kill9()
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	WaitFor(s.t, serverStop, "the server's children to end", func() (bool, string) {
		for _, pid := range children {
			if syscall.Kill(pid, 0) == nil && !zombie(pid) {
				return false, fmt.Sprintf("process %d is still there", pid)
			}
		}
		return true, ""
	})
}

// Restart is Kill9 and Start.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill9()
	s.Start()
}

// Process gives the server's postmaster process.
func (s *Server) Process() *Process { return s.proc }

// DSN gives the connection string of a database, over TCP as postgres.
func (s *Server) DSN(database string) string { return DSN(s.Port, database) }

// DSN gives the connection string of a database behind a loopback port, as postgres.
func DSN(port int, database string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=%s sslmode=disable", port, database)
}

// Upstream gives the --upstream argument of a proxy for this server.
func (s *Server) Upstream() string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=postgres", s.Port)
}

func (s *Server) cleanup() {
	if s.proc != nil && s.proc.Running() {
		s.proc.stop(syscall.SIGQUIT, serverStop)
	}
	if s.t.Failed() {
		s.t.Logf("log of PostgreSQL %s, its end:\n%s", s.Name, tail(s.log))
	}
}
