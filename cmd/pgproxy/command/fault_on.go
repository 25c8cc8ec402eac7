//go:build faults

package command

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// faultPoints reads PGPROXY_FAULT=point[:n] and gives the function that kills this process, as kill -9 would, when that
// point is reached for the n-th time. Only binaries built with the tag faults have it.
func faultPoints(e *Environment) func(string) {
	point, count, _ := strings.Cut(e.Getenv("PGPROXY_FAULT"), ":")
	if point == "" {
		return nil
	}
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		n = 1
	}
	var hits atomic.Int64
	return func(reached string) {
		if reached == point && hits.Add(1) == n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // nothing happens after the point
		}
	}
}
