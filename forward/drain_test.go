package forward

import (
	"sync"
	"testing"
	"time"
)

// BenchmarkDrain measures how fast a queue of 100,000 records reaches a peer that was away.
func BenchmarkDrain(b *testing.B) {
	const records = 100_000
	for range b.N {
		b.StopTimer()
		x, y := newNode(b, "a"), newNode(b, "b")
		x.dials(y).start()
		y.start()
		equal(b, x, y)
		y.stop()
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() { x.write(records / 64) })
		}
		wg.Wait()
		b.StartTimer()
		start := time.Now()
		y.start()
		x.f.Kick()
		equal(b, x, y)
		acked(b, x)
		b.ReportMetric(float64(records)/time.Since(start).Seconds(), "records/s")
		b.StopTimer()
		x.kill()
		y.kill()
	}
}
