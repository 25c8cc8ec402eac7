package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"pgproxy/test/harness"
)

// profile writes CPU, heap and allocation profiles of a proxy under each of pgbench's loads, fetched from its admin socket,
// and prints where the time went.
func profile(r *run, o options) {
	if err := os.MkdirAll(o.profiles, 0o755); err != nil {
		r.Fatalf("%v", err)
	}
	p := harness.NewProxy(r, harness.ProxyOptions{Upstream: harness.Postgres(r, synced()...), NoPeers: true})
	pgbench(r, p.Port, "-i", "-q", "-s", strconv.Itoa(o.scale))
	for _, w := range workloads() {
		name := filepath.Join(o.profiles, fmt.Sprintf("%s-%s-%d", strings.TrimPrefix(w.script, "-"), w.mode, w.clients))
		load := pgbenchCommand(r, p.Port, "-n", w.script, "-M", w.mode, "-c", strconv.Itoa(w.clients), "-j", "1", "-T", strconv.Itoa(o.profileSeconds+1))
		if err := load.Start(); err != nil {
			r.Fatalf("start pgbench: %v", err)
		}
		fetch(r, p, fmt.Sprintf("profile?seconds=%d", o.profileSeconds), name+".cpu")
		fetch(r, p, "allocs", name+".allocs")
		fetch(r, p, "heap", name+".heap")
		if err := load.Wait(); err != nil {
			r.Fatalf("pgbench: %v", err)
		}
		fmt.Printf("\n%s: %s.cpu, .allocs, .heap\n", w, name)
		top(r, p.Binary, name+".cpu")
	}
}

// fetch writes one profile of the process into a file.
func fetch(r *run, p *harness.Proxy, what, file string) {
	socket := filepath.Join(p.Data, "admin.sock")
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	res, err := client.Get("http://node/debug/pprof/" + what)
	if err != nil {
		r.Fatalf("fetch profile: %v", err)
	}
	defer res.Body.Close()
	f, err := os.Create(file)
	if err != nil {
		r.Fatalf("%v", err)
	}
	_, err = io.Copy(f, res.Body)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil || res.StatusCode != http.StatusOK {
		r.Fatalf("fetch profile: status %s, %v", res.Status, err)
	}
}

// top prints the functions below which most time was spent.
func top(r *run, binary, file string) {
	out, err := exec.Command("go", "tool", "pprof", "-top", "-cum", "-nodecount=25", binary, file).Output()
	if err != nil {
		r.Fatalf("go tool pprof: %v", err)
	}
	fmt.Print(string(out))
}
