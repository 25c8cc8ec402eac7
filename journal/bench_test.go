package journal_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgproxy/journal"
)

// BenchmarkCommit measures Seal + Commit on the disk under the temporary folder: writers at once, with and without the
// sync. It reports the entries in a group (outcomes ride along) and the median time of a group.
func BenchmarkCommit(b *testing.B) {
	for _, noSync := range []bool{false, true} {
		for _, writers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("sync=%v/writers=%d", !noSync, writers), func(b *testing.B) {
				j, err := journal.Open(context.Background(), journal.Options{Dir: b.TempDir(), Node: "a", NoSync: noSync})
				if err != nil {
					b.Fatal(err)
				}
				defer j.Close()
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ResetTimer()
				for range writers {
					wg.Go(func() {
						for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
							in, err := j.Seal(context.Background(), update(int(i), "ann"))
							if err == nil {
								err = in.Commit()
							}
							if err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				s := j.Stats()
				b.ReportMetric(s.Group.Mean(), "entries/group")
				b.ReportMetric(float64(s.Commit.Quantile(0.5)), "µs/group-median-below")
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			})
		}
	}
}

// BenchmarkStore measures taking over another node's records in batches of 256 KiB.
func BenchmarkStore(b *testing.B) {
	from, err := journal.Open(context.Background(), journal.Options{Dir: b.TempDir(), Node: "a", NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	fill(b, from, b.N)
	to, err := journal.Open(context.Background(), journal.Options{Dir: b.TempDir(), Node: "b"})
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()
	b.ResetTimer()
	for v := to.Stored(); v[from.Identity().Node] < uint64(b.N); v = to.Stored() {
		recs, err := from.After(v, 256<<10)
		if err == nil {
			err = to.Store(context.Background(), recs)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// fill writes n committed transactions of 50 users on 20 tables.
func fill(t testing.TB, j *journal.Journal, n int) {
	t.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				in, err := j.Seal(context.Background(), varied(int(i)))
				if err == nil {
					err = in.Commit()
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func varied(i int) *journal.Tx {
	tx := update(i%100000, fmt.Sprintf("user%d", i%50))
	if i%100000 == 7 {
		tx.User = "rare"
	}
	tx.Relations = []journal.Relation{account}
	tx.Relations[0].Name = fmt.Sprintf("table%d", i%20)
	tx.Statements[0].Tables = []string{"public." + tx.Relations[0].Name}
	return tx
}

// millionDir is where BenchmarkMillion keeps its journal from one run to the next, if it is set.
const millionDir = "JOURNAL_MILLION_DIR"

// BenchmarkMillion measures a journal of one million records: opening, and the first page of scans.
func BenchmarkMillion(b *testing.B) {
	dir := os.Getenv(millionDir)
	if dir == "" {
		b.Skip("set " + millionDir + " to a folder with room for 2 GB")
	}
	if _, err := os.Stat(filepath.Join(dir, "identity.db")); err != nil {
		j, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a", NoSync: true})
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		fill(b, j, 1_000_000)
		b.Logf("filled in %s", time.Since(start))
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
	}
	start := time.Now()
	j, err := journal.OpenReadOnly(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	b.Logf("opened in %s: %+v", time.Since(start), j.Stats().Segments)
	newest := all(b, j, journal.Filter{Limit: 1})[0].Record.HLC.Wall()
	for name, f := range map[string]journal.Filter{
		"all": {}, "user": {User: "user7"}, "rare user": {User: "rare"}, "table": {Table: "table3"}, "table and user": {Table: "table3", User: "user3"},
		"nobody": {User: "nobody"}, "last second": {Since: newest.Add(-time.Second)}, "oldest first": {Forward: true}, "before the middle": {Until: newest.Add(-5 * time.Second)},
	} {
		b.Run(name, func(b *testing.B) {
			f.Limit = 50
			for b.Loop() {
				all(b, j, f)
			}
		})
	}
}

// BenchmarkOpen measures opening a journal whose one segment is nearly full and not sealed: all of it is played.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	o := journal.Options{Dir: dir, Node: "a", NoSync: true}
	j, err := journal.Open(context.Background(), o)
	if err != nil {
		b.Fatal(err)
	}
	fill(b, j, 100_000)
	b.ReportMetric(float64(j.Stats().Bytes)/(1<<20), "MiB")
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		j, err := journal.Open(context.Background(), o)
		if err == nil {
			err = j.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTree measures what the tree costs an entry of 700 bytes, which is what a small transaction has: its leaf, and
// on average one inner hash.
func BenchmarkTree(b *testing.B) {
	b.Run("leaf and inner hashes", func(b *testing.B) {
		grow := journal.GrowTree()
		entry := make([]byte, 700)
		b.SetBytes(int64(len(entry)))
		for b.Loop() {
			grow(entry)
		}
	})
}
