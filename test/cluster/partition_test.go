package cluster

import (
	"fmt"
	"testing"
	"time"

	"pgproxy/test/faultnet"
	"pgproxy/test/harness"
	"pgproxy/test/workload"
)

// TestPartition writes on all nodes while node c is cut off, then while all are, and heals.
func TestPartition(t *testing.T) {
	for _, major := range harness.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			s := newScene(t, harness.ClusterOptions{Majors: []int{major}})
			stop := s.load(2)
			s.progress(20)
			s.Isolate(2)
			s.progress(30) // everybody goes on, cut off or not
			s.Isolate(0, 1, 2)
			s.progress(30)
			s.Heal()
			s.progress(10)
			stop()
			s.check(true)
			s.Verify()
			s.lineArrives()
		})
	}
}

// lineArrives waits until every node says that all members have applied all that was written.
func (s *scene) lineArrives() {
	s.t.Helper()
	for _, n := range s.Running() {
		harness.WaitFor(s.t, progressTime, "the line of "+n.Name+" to pass what was written", func() (bool, string) {
			st, err := n.Status()
			if err != nil || st.Line == nil || len(st.Members) != len(s.Nodes) {
				return false, fmt.Sprintf("%v, %+v, %v", st.Line, st.Members, err)
			}
			for _, m := range st.Members {
				if m.LagSeconds > 0 {
					return false, fmt.Sprintf("%s is %.1f s behind", m.Name, m.LagSeconds)
				}
			}
			return true, ""
		})
	}
}

// TestMixedVersions replicates between the oldest and the newest PostgreSQL, and back.
func TestMixedVersions(t *testing.T) {
	s := newScene(t, harness.ClusterOptions{Nodes: 2, Majors: harness.Majors(t)})
	stop := s.load(2)
	s.progress(50)
	stop()
	s.check(true)
	s.Verify()
}

// TestTopologies: a - b - c (a never sees c) and a star behave like a mesh.
func TestTopologies(t *testing.T) {
	for name, shape := range map[string]harness.Topology{"line": harness.Line, "star": harness.Star} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, harness.ClusterOptions{Topology: shape})
			stop := s.load(2)
			s.progress(20)
			s.Isolate(2)
			s.progress(20)
			s.Heal()
			s.progress(20)
			stop()
			s.check(true)
			s.Verify()
		})
	}
}

// TestNodeDiesForGood: in a - b - c, b takes a's writes, passes some of them on, and dies for ever; then a meets c.
func TestNodeDiesForGood(t *testing.T) {
	s := newScene(t, harness.ClusterOptions{Topology: harness.Line})
	stop := s.load(2)
	s.progress(20)
	s.Isolate(2) // b and a go on without c
	s.progress(20)
	stop()
	s.Nodes[0].Drain(drainTime) // b's writes are at a before it dies
	harness.WaitFor(t, drainTime, "b's writes to be at a", func() (bool, string) {
		r := s.Nodes[1].Run("drain", "--peer", "a", "--timeout", "5s")
		return r.Code == 0, r.String()
	})
	s.Nodes[1].Kill9()
	s.Nodes[1].Server.Stop()
	s.Link(0, 2)
	s.Link(2, 0)
	s.Heal()
	for _, i := range []int{0, 2} {
		s.Nodes[i].Stop()
		s.Nodes[i].Start()
	}
	stop = s.load(2, 0, 2)
	s.progress(20, 0, 2)
	stop()
	for _, i := range []int{0, 2} {
		other := s.Nodes[2-i].Name
		if r := s.Nodes[i].Run("drain", "--peer", other, "--timeout", drainTime.String()); r.Code != 0 {
			t.Fatalf("%s", r)
		}
	}
	s.Settle(drainTime)
	s.Equal(t, "postgres", workload.Dump)
	for _, n := range s.Running() {
		s.checkNode(n, true)
	}
}

// TestBadLink: links that flap, crawl and swallow bytes; everything arrives all the same.
func TestBadLink(t *testing.T) {
	s := newScene(t, harness.ClusterOptions{})
	stop := s.load(1)
	faults := harness.Rand(s.seed, 1<<63)
	for range 15 {
		r := s.Of(faults.IntN(3))
		link := r[faults.IntN(len(r))]
		switch faults.IntN(4) {
		case 0:
			link.Drop()
		case 1:
			link.Cut()
		case 2:
			link.Hold(faultnet.Direction(1 + faults.IntN(3)))
		case 3:
			link.Delay(time.Duration(faults.IntN(50)) * time.Millisecond)
		}
		s.progress(4)
		if faults.IntN(2) == 0 {
			link.Heal()
		}
	}
	s.Heal()
	stop()
	s.check(true)
}
