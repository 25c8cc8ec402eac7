package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pgproxy/test/harness"
)

// system is one way from pgbench to PostgreSQL. Each has a database server of its own, so that none finds it as another left
// it; all of them sync to the disk.
type system struct {
	name   string
	port   int
	pid    int  // of what stands in between; 0 for nothing
	writes bool // measured with writes only: reads are the same as elsewhere
}

// maxConnections is what the servers and PgBouncer allow.
const maxConnections = 1000

// synced are the settings of a server whose commits reach the disk.
func synced() []harness.PostgresOption {
	return []harness.PostgresOption{harness.Setting("fsync", "on"), harness.Setting("shared_buffers", "256MB"), harness.Setting("max_wal_size", "4GB"),
		harness.Setting("wal_level", "logical"), harness.Setting("max_connections", strconv.Itoa(maxConnections))}
}

// proxied starts a server with a proxy before it.
func proxied(r *run, name string, args ...string) system {
	p := harness.NewProxy(r, harness.ProxyOptions{Upstream: harness.Postgres(r, synced()...), NoPeers: true, Args: args})
	return system{name: name, port: p.Port, pid: p.Process().PID()}
}

// relaying is a proxy that only relays pgbench's writes: their tables are excluded, and what stays local is not recorded.
func relaying(r *run) system {
	args := []string{"--audit-class", "SESSION"}
	for _, table := range []string{"accounts", "branches", "tellers", "history"} {
		args = append(args, "--exclude-table", "public.pgbench_"+table)
	}
	return proxied(r, "pgproxy, only relaying", args...)
}

// bouncer starts PgBouncer before a server of its own; it is left out where it is not installed.
func bouncer(r *run) (system, bool) {
	path := "/usr/sbin/pgbouncer"
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath("pgbouncer"); err != nil {
			r.Logf("PgBouncer is not installed (test/setup.sh bench): its figures are left out")
			return system{}, false
		}
	}
	s := harness.Postgres(r, synced()...)
	dir, port := harness.Dir(r, "bouncer"), harness.FreePort(r)
	if err := os.Chmod(dir, 0o777); err != nil {
		r.Fatalf("%v", err)
	}
	config := fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
auth_type = any
pool_mode = session
max_client_conn = %d
default_pool_size = %d
unix_socket_dir =
logfile = %s
ignore_startup_parameters = extra_float_digits
`, s.Port, port, maxConnections, maxConnections, filepath.Join(dir, "log"))
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		r.Fatalf("%v", err)
	}
	cmd := exec.Command(path, file)
	credential, err := harness.Unprivileged()
	if err != nil {
		r.Fatalf("%v", err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		r.Fatalf("start PgBouncer: %v", err)
	}
	r.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	harness.WaitFor(r, 20*time.Second, "PgBouncer", func() (bool, string) {
		out, err := exec.Command(harness.Client(r, "psql"), "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "postgres", "-c", "SELECT 1", "postgres").CombinedOutput()
		return err == nil, string(out)
	})
	return system{name: "PgBouncer", port: port, pid: cmd.Process.Pid}, true
}

// resident gives a process's memory in MiB.
func resident(pid int) float64 {
	fields := processFields(pid, "statm")
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return float64(pages*int64(os.Getpagesize())) / (1 << 20)
}

// clockTick is the unit of processor time in /proc, on every Linux.
const clockTick = 10 * time.Millisecond

// processorTime gives what a process has used.
func processorTime(pid int) time.Duration {
	fields := processFields(pid, "stat")
	if len(fields) < 15 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[13], 10, 64)
	system, _ := strconv.ParseInt(fields[14], 10, 64)
	return time.Duration(user+system) * clockTick
}

// processFields reads one of a process's files; nothing where there is no /proc. (The names of what is measured have no
// blanks.)
func processFields(pid int, file string) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}
