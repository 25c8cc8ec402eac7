package harness

import (
	"fmt"
	"time"
)

// T is what the harness needs of a test. *testing.T and *testing.B satisfy it, and so do programs such as the benchmark.
type T interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
	Failed() bool
}

// How often a condition is looked at: ever more rarely, because many conditions start a process. It is the one place of the
// test room that lets time pass.
const (
	firstPoll = 10 * time.Millisecond
	lastPoll  = 250 * time.Millisecond
)

// WaitFor waits until cond says true, and fails the test with what was waited for, and the last thing that cond told,
// when the deadline has passed. cond returns a note on how far things are.
func WaitFor(t T, deadline time.Duration, what string, cond func() (done bool, note string)) {
	t.Helper()
	if note, ok := Wait(deadline, cond); !ok {
		t.Fatalf("waited %v for %s: %s", deadline, what, note)
	}
}

// Wait is WaitFor without a test to fail.
func Wait(deadline time.Duration, cond func() (done bool, note string)) (note string, ok bool) {
	end := time.Now().Add(deadline)
	for poll := firstPoll; ; poll = min(poll*3/2, lastPoll) {
		done, note := cond()
		if done {
			return note, true
		}
		if time.Now().After(end) {
			return note, false
		}
		time.Sleep(poll)
	}
}

// During runs f for d and tells it, through the channel, when to stop. It is for load that shall go on for a while.
func During(d time.Duration, f func(stop <-chan struct{})) {
	stop := make(chan struct{})
	timer := time.AfterFunc(d, func() { close(stop) })
	defer timer.Stop()
	f(stop)
}

func errNote(err error) string {
	if err == nil {
		return "ok"
	}
	return fmt.Sprint(err)
}
