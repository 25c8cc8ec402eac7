package apply

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgproxy/test/harness"
)

func waitFor(t testing.TB, what string, f func() bool) {
	t.Helper()
	harness.WaitFor(t, 60*time.Second, what, func() (bool, string) { return f(), "" })
}

func waitStopped(t testing.TB, at, origin *node, state string) {
	t.Helper()
	harness.WaitFor(t, 60*time.Second, "the stream of "+origin.name+" to stop at "+at.name, func() (bool, string) {
		s := at.a.Status()
		for _, x := range s.Stopped {
			if x.Origin == origin.j.Identity().Node && x.SQLState == state && x.Reason != "" {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v", s)
	})
}

func noteDump(n *node) string {
	var s string
	if err := n.c.QueryRow(context.Background(), "SELECT coalesce(string_agg(n::text, ','), '') FROM note n").Scan(&s); err != nil {
		n.w.t.Fatal(err)
	}
	return s
}
