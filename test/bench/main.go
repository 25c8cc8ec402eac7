package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"pgproxy/test/harness"
)

// options are the command line's.
type options struct {
	seconds        int
	rounds         int
	queued         int
	scale          int
	idle           int
	only           string
	quick          bool
	profiles       string
	profileSeconds int
}

// quick makes a run of about two minutes, whose figures say whether something is badly wrong and no more.
func (o *options) shorten() {
	o.seconds, o.queued, o.scale, o.idle = 1, 8000, 1, 50
}

func main() {
	var o options
	flag.IntVar(&o.seconds, "seconds", 3, "length of one pgbench run")
	flag.IntVar(&o.rounds, "rounds", 3, "runs for each cell; the median counts")
	flag.IntVar(&o.queued, "queued", 100000, "transactions that wait for the peer in the drain test")
	flag.IntVar(&o.scale, "scale", 10, "pgbench's scale")
	flag.IntVar(&o.idle, "idle", 200, "connections that do nothing, for what one costs in memory")
	flag.BoolVar(&o.quick, "quick", false, "short runs and small loads, whatever else is said")
	flag.StringVar(&o.only, "only", "pgbench,idle,journal,drain", "parts to run; profile is one more")
	flag.StringVar(&o.profiles, "profiles", "bin/profiles", "folder for the part profile")
	flag.IntVar(&o.profileSeconds, "profile-seconds", 10, "length of one profile")
	flag.Parse()
	if o.quick {
		o.shorten()
	}
	r := &run{name: "bench"}
	ok := r.do(func() {
		for _, part := range []struct {
			name string
			run  func(*run, options)
		}{{"pgbench", compare}, {"idle", idle}, {"journal", commits}, {"drain", drain}, {"profile", profile}} {
			if strings.Contains(o.only, part.name) {
				begin := time.Now()
				part.run(r, o)
				r.Logf("(%s took %.0f s)", part.name, took(begin))
			}
		}
	})
	if !ok {
		os.Exit(1)
	}
}

// run is what the harness needs of a test, in a program: the first failure ends it, clean-up is done in every case.
type run struct {
	name    string
	failed  bool
	cleanup []func()
}

var _ harness.T = (*run)(nil)

// stopRun is thrown by Fatalf and caught by do.
type stopRun struct{}

func (r *run) do(f func()) (ok bool) {
	defer func() {
		for i := len(r.cleanup) - 1; i >= 0; i-- {
			r.cleanup[i]()
		}
		ok = !r.failed
	}()
	defer func() {
		if x := recover(); x != nil {
			if _, mine := x.(stopRun); !mine {
				panic(x)
			}
		}
	}()
	f()
	return true
}

// Helper implements harness.T.
func (r *run) Helper() {}

// Name implements harness.T.
func (r *run) Name() string { return r.name }

// Failed implements harness.T.
func (r *run) Failed() bool { return r.failed }

// Cleanup implements harness.T.
func (r *run) Cleanup(f func()) { r.cleanup = append(r.cleanup, f) }

// Logf implements harness.T.
func (r *run) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Errorf implements harness.T.
func (r *run) Errorf(format string, args ...any) {
	r.failed = true
	r.Logf(format, args...)
}

// Fatalf implements harness.T.
func (r *run) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(stopRun{})
}

// took gives the seconds since begin.
func took(begin time.Time) float64 { return time.Since(begin).Seconds() }
