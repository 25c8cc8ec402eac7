package journal

import (
	"math/bits"
	"sync"
	"time"
)

// Stats is what the journal can say about itself in numbers. Those up to Segments are of what is durable; the rest are of
// this run.
type Stats struct {
	Records      int64 // of all origins, voids and beats included
	Transactions int64 // committed ones
	Attempts     int64
	Conflicts    int64
	Events       int64
	// NotReplicated counts the statements of committed transactions whose effect could not be captured.
	NotReplicated int64
	InDoubt       int64 // intents whose outcome is not known now
	Bytes         int64 // used in the segments' files and by images
	Segments      int64

	Commit Histogram // how long a group took to become durable, in microseconds
	Group  Histogram // entries in a group
}

// Histogram counts values in buckets of powers of two: Buckets[i] counts those below 1<<i and not below half of that.
type Histogram struct {
	Count, Sum int64
	Buckets    [40]int64
}

func (h *Histogram) add(v int64) {
	h.Count++
	h.Sum += v
	h.Buckets[min(bits.Len64(uint64(max(v, 0))), len(h.Buckets)-1)]++
}

// Quantile gives an upper bound of the q-th part of the values (0.5: the median); 0 if there are none.
func (h *Histogram) Quantile(q float64) int64 {
	rest := int64(q * float64(h.Count))
	for i, n := range h.Buckets {
		if rest -= n; rest < 0 {
			return 1 << i
		}
	}
	return 0
}

// Mean gives the average; 0 if there are no values.
func (h *Histogram) Mean() float64 {
	if h.Count == 0 {
		return 0
	}
	return float64(h.Sum) / float64(h.Count)
}

// meters are the measurements of this run.
type meters struct {
	mu     sync.Mutex
	commit Histogram
	size   Histogram
}

func (m *meters) group(took time.Duration, entries int) {
	if entries == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commit.add(took.Microseconds())
	m.size.add(int64(entries))
}

// Stats gives the numbers.
func (s *shelf) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.durable.counts
	return Stats{
		Records: c.records, Transactions: c.transactions, Attempts: c.attempts, Conflicts: c.conflicts,
		Events: c.events, NotReplicated: c.missing, InDoubt: int64(len(s.undecided)), Bytes: s.bytes + s.images.bytes.Load(), Segments: int64(len(s.segments)),
	}
}

// Stats gives the numbers, with the measurements of this run.
func (j *Journal) Stats() Stats {
	s := j.shelf.Stats()
	j.stats.mu.Lock()
	defer j.stats.mu.Unlock()
	s.Commit, s.Group = j.stats.commit, j.stats.size
	return s
}
