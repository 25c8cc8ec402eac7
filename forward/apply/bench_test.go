package apply

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgproxy/journal"
	"pgproxy/test/harness"
)

// BenchmarkDrain applies queued one-row transactions of another node: b.N of them, a third inserts.
func BenchmarkDrain(b *testing.B) { drain(b, false) }

// BenchmarkDrainUnaware does it where this node has written too, so that every row has to be looked up.
func BenchmarkDrainUnaware(b *testing.B) { drain(b, true) }

func drain(b *testing.B, unaware bool) {
	for _, major := range harness.Majors(b) {
		b.Run(fmt.Sprint(major), func(b *testing.B) {
			w := newWorld(b, major, "a", "b")
			from, to := w.nodes[0], w.nodes[1]
			to.exec("INSERT INTO item SELECT i, 'x', 0, 1 FROM generate_series(1, 1000) i")
			fill(b, from, b.N)
			from.send(to)
			if unaware {
				to.begin().update(1, "qty = qty + 1", "qty+").commit()
			}
			b.ResetTimer()
			to.run()
			start := time.Now()
			for !to.j.Applied().Includes(to.j.Stored()) {
				select {
				case <-time.After(5 * time.Millisecond):
				case <-b.Context().Done():
				}
			}
			to.halt()
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "records/s")
			b.Logf("%+v", to.a.Status().Counts)
		})
	}
}

func fill(b *testing.B, n *node, count int) {
	b.Helper()
	one := func(i int) {
		id := fmt.Sprint(i%1000 + 1)
		row := func(q int) []journal.Value {
			return []journal.Value{journal.Text(id), journal.Text("x"), journal.Text(fmt.Sprint(q)), journal.Text("1.00")}
		}
		ch := journal.Change{Op: 'U', Before: row(i / 1000), After: row(i/1000 + 1), Set: []int{2}, Delta: []int{2}}
		if i%3 == 0 {
			id = fmt.Sprint(1001 + i)
			ch = journal.Change{Op: 'I', After: row(0)}
		}
		in, err := n.j.Seal(context.Background(), &journal.Tx{Start: time.Now(), End: time.Now(), User: "u", Database: "app",
			Relations:  []journal.Relation{itemRel},
			Statements: []journal.Statement{{Query: "UPDATE item SET qty = qty + 1 WHERE id = $1", Command: "UPDATE", Capture: journal.CaptureExact, Changes: []journal.Change{ch}}}})
		if err == nil {
			err = in.Commit()
		}
		if err != nil {
			b.Error(err)
		}
	}
	work := make(chan int)
	done := make(chan bool)
	for range 64 {
		go func() {
			for i := range work {
				one(i)
			}
			done <- true
		}()
	}
	for i := range count {
		work <- i
	}
	close(work)
	for range 64 {
		<-done
	}
}
