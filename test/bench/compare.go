package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"time"

	"pgproxy/test/harness"
)

// First aims, as parts of PgBouncer's throughput.
const (
	readAim  = 0.85
	writeAim = 0.65
)

// workload is one way to run pgbench.
type workload struct {
	script  string // -S or -N
	mode    string
	clients int
}

func (w workload) writes() bool { return w.script == "-N" }

func (w workload) String() string {
	return fmt.Sprintf("%s %s, %d client(s)", w.script, w.mode, w.clients)
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

// sample is one run of pgbench.
type sample struct {
	tps float64
	cpu float64 // microseconds a transaction of what stands in between
}

// compare prints throughputs, and how the proxy stands to the aims.
func compare(r *run, o options) {
	systems := []system{{name: "direct", port: harness.Postgres(r, synced()...).Port}}
	pooled, ok := bouncer(r)
	if ok {
		systems = append(systems, pooled)
	}
	full := proxied(r, "pgproxy")
	systems = append(systems, full)
	for _, s := range []system{relaying(r), proxied(r, "pgproxy, no journal sync", "--journal-sync=false")} {
		s.writes = true
		systems = append(systems, s)
	}
	for _, s := range systems {
		pgbench(r, s.port, "-i", "-q", "-s", strconv.Itoa(o.scale))
	}
	fmt.Printf("\npgbench, scale %d: %d runs of %d s each, in turns. Ratios are medians of the rounds' ratios; CPU is that of what stands in between.\n",
		o.scale, o.rounds, o.seconds)
	var reads, writes []float64
	for _, w := range workloads() {
		ratio := cell(r, o, systems, w)
		switch {
		case !ok:
		case w.writes():
			writes = append(writes, ratio)
		default:
			reads = append(reads, ratio)
		}
	}
	fmt.Println()
	if ok {
		aim("reads, of PgBouncer's throughput", reads, readAim)
		aim("writes, of PgBouncer's throughput", writes, writeAim)
	}
	for _, s := range systems {
		if s.pid != 0 {
			fmt.Printf("memory of %s after the runs: %.1f MiB\n", s.name, resident(s.pid))
		}
	}
}

func aim(what string, ratios []float64, least float64) {
	word := "reached"
	if slices.Min(ratios) < least {
		word = "missed"
	}
	fmt.Printf("%s: %.2f to %.2f; first aim %.2f: %s\n", what, slices.Min(ratios), slices.Max(ratios), least, word)
}

// cell measures one workload on all systems, in turns, and gives pgproxy's ratio to PgBouncer.
func cell(r *run, o options, systems []system, w workload) (ratio float64) {
	systems = slices.DeleteFunc(slices.Clone(systems), func(s system) bool { return s.writes && !w.writes() })
	results := make([][]sample, len(systems))
	for range o.rounds {
		for i, s := range systems {
			results[i] = append(results[i], measure(r, s, w, o.seconds))
		}
	}
	fmt.Printf("\n%-26s %10s %21s %10s %12s %10s\n", w, "a second", "least to greatest", "of direct", "of PgBouncer", "CPU, µs")
	for i, s := range systems {
		all := tpsOf(results[i])
		fmt.Printf("  %-24s %10.0f %10.0f %10.0f %10.2f", s.name, median(all), slices.Min(all), slices.Max(all), ratioOf(results[i], results[0]))
		if systems[1].name == "PgBouncer" {
			of := ratioOf(results[i], results[1])
			fmt.Printf(" %12.2f", of)
			if s.name == "pgproxy" {
				ratio = of
			}
		} else {
			fmt.Printf(" %12s", "")
		}
		if s.pid != 0 {
			fmt.Printf(" %10.0f", cpuOf(results[i]))
		}
		fmt.Println()
	}
	return ratio
}

func tpsOf(all []sample) []float64 {
	var out []float64
	for _, s := range all {
		out = append(out, s.tps)
	}
	return out
}

// ratioOf gives the median of the ratios, each of two runs that came one soon after the other.
func ratioOf(of, to []sample) float64 {
	var out []float64
	for i := range of {
		out = append(out, of[i].tps/to[i].tps)
	}
	return median(out)
}

func cpuOf(all []sample) float64 {
	var out []float64
	for _, s := range all {
		out = append(out, s.cpu)
	}
	return median(out)
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

var (
	tpsLine   = regexp.MustCompile(`tps = ([0-9.]+)`)
	countLine = regexp.MustCompile(`actually processed: ([0-9]+)`)
)

// measure runs pgbench once.
func measure(r *run, s system, w workload, seconds int) sample {
	before := processorTime(s.pid)
	out := pgbench(r, s.port, "-n", w.script, "-M", w.mode, "-c", strconv.Itoa(w.clients), "-j", "1", "-T", strconv.Itoa(seconds))
	used := processorTime(s.pid) - before
	n := number(r, out, countLine)
	return sample{tps: number(r, out, tpsLine), cpu: float64(used) / float64(time.Microsecond) / max(n, 1)}
}

func number(r *run, out string, line *regexp.Regexp) float64 {
	m := line.FindStringSubmatch(out)
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
	out, err := pgbenchCommand(r, port, args...).CombinedOutput()
	if err != nil {
		r.Fatalf("pgbench %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func pgbenchCommand(r *run, port int, args ...string) *exec.Cmd {
	args = append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "postgres"}, append(args, "postgres")...)
	return exec.Command(harness.Client(r, "pgbench"), args...)
}
