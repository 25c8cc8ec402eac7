package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pgproxy/test/harness"
)

// system is one way from pgbench to PostgreSQL.
type system struct {
	name string
	port int
	pid  int // whose memory is shown; 0 for none
}

// workload is one way to run pgbench.
type workload struct {
	script  string // -S or -N
	mode    string
	clients int
}

func (w workload) String() string {
	return fmt.Sprintf("%s %-8s %d clients", w.script, w.mode, w.clients)
}

func workloads() []workload {
	var all []workload
	for _, script := range []string{"-S", "-N"} {
		for _, mode := range []string{"simple", "prepared"} {
			for _, clients := range []int{1, 8} {
				all = append(all, workload{script, mode, clients})
			}
		}
	}
	return all
}

// synced are the settings of a server whose commits reach the disk.
func synced() []harness.PostgresOption {
	return []harness.PostgresOption{harness.Setting("fsync", "on"), harness.Setting("shared_buffers", "256MB"), harness.Setting("max_wal_size", "4GB"),
		harness.Setting("wal_level", "logical")}
}

// compare prints the table of throughputs. Every system has a database of its own, so that no one finds it as another left it.
func compare(r *run, o options) {
	direct := harness.Postgres(r, synced()...)
	systems := []system{{name: "direct", port: direct.Port}}
	if s, ok := bouncer(r); ok {
		systems = append(systems, s)
	}
	full := harness.NewProxy(r, harness.ProxyOptions{Upstream: harness.Postgres(r, synced()...), NoPeers: true})
	lazy := harness.NewProxy(r, harness.ProxyOptions{Upstream: harness.Postgres(r, synced()...), NoPeers: true, Args: []string{"--journal-sync=false"}})
	systems = append(systems, system{"pgproxy", full.Port, full.Process().PID()}, system{"no journal sync", lazy.Port, lazy.Process().PID()})
	for _, s := range systems {
		pgbench(r, s.port, "-i", "-q", "-s", strconv.Itoa(o.scale))
	}
	fmt.Printf("\npgbench, scale %d, %d runs of %d s each, medians: transactions a second (ratio to direct)\n\n%-24s", o.scale, o.rounds, o.seconds, "")
	for _, s := range systems {
		fmt.Printf("%22s", s.name)
	}
	fmt.Println()
	for _, w := range workloads() {
		row(r, o, systems, w)
	}
	for _, s := range systems {
		if s.pid != 0 {
			fmt.Printf("memory of %s: %.1f MiB\n", s.name, float64(resident(s.pid))/(1<<20))
		}
	}
}

// row measures one workload on all systems, in turns.
func row(r *run, o options, systems []system, w workload) {
	results := make([][]float64, len(systems))
	for range o.rounds {
		for i, s := range systems {
			results[i] = append(results[i], measure(r, s.port, w, o.seconds))
		}
	}
	fmt.Printf("%-24s", w)
	for i := range systems {
		m := median(results[i])
		fmt.Printf("%14.0f (%.2f)", m, m/median(results[0]))
	}
	fmt.Println()
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

// measure runs pgbench once and gives its transactions a second.
func measure(r *run, port int, w workload, seconds int) float64 {
	out := pgbench(r, port, "-n", w.script, "-M", w.mode, "-c", strconv.Itoa(w.clients), "-j", "1", "-T", strconv.Itoa(seconds))
	m := tps.FindStringSubmatch(out)
	if m == nil {
		r.Fatalf("pgbench says: %s", out)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		r.Fatalf("pgbench says: %s", out)
	}
	return v
}

func pgbench(r *run, port int, args ...string) string {
	args = append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "postgres"}, append(args, "postgres")...)
	out, err := exec.Command(harness.Client(r, "pgbench"), args...).CombinedOutput()
	if err != nil {
		r.Fatalf("pgbench %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// bouncer starts PgBouncer before a server of its own; it is left out where it is not installed.
func bouncer(r *run) (system, bool) {
	path := "/usr/sbin/pgbouncer"
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath("pgbouncer"); err != nil {
			r.Logf("PgBouncer is not installed (test/setup.sh bench): its column is left out")
			return system{}, false
		}
	}
	s := harness.Postgres(r, synced()...)
	dir, port := harness.Dir(r, "bouncer"), harness.FreePort(r)
	if err := os.Chmod(dir, 0o777); err != nil {
		r.Fatalf("%v", err)
	}
	config := fmt.Sprintf("[databases]\n* = host=127.0.0.1 port=%d\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nauth_type = any\n"+
		"pool_mode = session\nmax_client_conn = 200\ndefault_pool_size = 100\nunix_socket_dir =\nlogfile = %s\nignore_startup_parameters = extra_float_digits\n"+
		"auth_user = postgres\n", s.Port, port, filepath.Join(dir, "log"))
	config = strings.Replace(config, "port="+strconv.Itoa(s.Port), "port="+strconv.Itoa(s.Port)+" user=postgres", 1)
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
	return system{"PgBouncer", port, cmd.Process.Pid}, true
}

// resident gives a process's memory in bytes.
func resident(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
