package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"pgproxy/journal"
	"pgproxy/test/harness"
)

// commits prints how long a commit takes in the journal alone, by the number of writers, and how many share a sync.
func commits(r *run, o options) {
	fmt.Printf("\njournal alone, one row a transaction, synced to the disk\n\n%8s %12s %12s %12s %18s\n", "writers", "a second", "median", "99 %", "records a sync")
	for _, writers := range []int{1, 8, 64} {
		dir := filepath.Join(harness.Dir(r, "journal"), "data")
		j, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "bench"})
		if err != nil {
			r.Fatalf("%v", err)
		}
		times := seal(r, j, writers, time.Duration(o.seconds)*time.Second)
		stats := j.Stats()
		if err := j.Close(); err != nil {
			r.Fatalf("%v", err)
		}
		slices.Sort(times)
		fmt.Printf("%8d %12.0f %12v %12v %18.1f\n", writers, float64(len(times))/float64(o.seconds), times[len(times)/2].Round(10*time.Microsecond),
			times[len(times)*99/100].Round(10*time.Microsecond), stats.Group.Mean())
	}
}

// seal commits as fast as it can for a while and gives how long each took.
func seal(r *run, j *journal.Journal, writers int, long time.Duration) []time.Duration {
	var mu sync.Mutex
	var all []time.Duration
	var running sync.WaitGroup
	end := time.Now().Add(long)
	for w := range writers {
		running.Go(func() {
			var mine []time.Duration
			for n := 0; time.Now().Before(end); n++ {
				begin := time.Now()
				in, err := j.Seal(context.Background(), oneInsert(w, n))
				if err == nil {
					err = in.Commit()
				}
				if err != nil {
					r.Errorf("commit: %v", err)
					return
				}
				mine = append(mine, time.Since(begin))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
		})
	}
	running.Wait()
	if len(all) == 0 {
		r.Fatalf("the journal committed nothing")
	}
	return all
}

func oneInsert(writer, n int) *journal.Tx {
	now := time.Now()
	id := fmt.Sprintf("%d", writer<<32|n)
	tx := &journal.Tx{Start: now, End: now, User: "postgres", Database: "bench", Client: "local",
		Relations: []journal.Relation{{Schema: "public", Name: "t", Key: []int{0}, Columns: []journal.Column{{Name: "id", Type: "bigint", NotNull: true}}}}}
	copy(tx.Marker[:], fmt.Sprintf("%07d%09d", writer, n))
	tx.Statements = []journal.Statement{{Query: "INSERT INTO t VALUES ($1)", Command: "INSERT", Tables: []string{"public.t"}, Capture: journal.CaptureExact,
		RowsAffected: 1, Start: now, Changes: []journal.Change{{Op: journal.OpInsert, After: []journal.Value{journal.Text(id)}}}}}
	return tx
}
