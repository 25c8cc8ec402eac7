package apply

import (
	"maps"
	"slices"
	"strings"
	"time"

	"pgproxy/journal"
)

// Status is what apply says about itself.
type Status struct {
	Applied journal.Vector
	Stopped []Stopped // ordered by origin
	Counts  Counts
	// Replica lists, per connected database, whether triggers and foreign keys are switched off for applied rows.
	Replica map[string]bool
	// Sequences names those that may give the same values as another node's, with the reason.
	Sequences []string
}

// Stopped is an origin's stream that stands still at this node.
type Stopped struct {
	Origin   journal.NodeID
	Seq      uint64 // the record that it stands at
	Reason   string
	SQLState string // "" where the database was not asked
	Since    time.Time
	Database string
	Table    string // schema.table where it is known
	Tries    int
	Brief    bool // it waits for another transaction's lock or outcome
}

// Counts are since the start of the process.
type Counts struct {
	Records   int64 // transactions applied, those without effect included
	Batches   int64 // local transactions that held several records
	Merged    int64 // rows that were folded because others had changed them unaware
	Conflicts int64 // decisions told to the journal
	Replayed  int64 // statements run again
	Failures  int64 // tries that failed
}

// Status may be called at any time.
func (a *Applier) Status() Status {
	a.mu.Lock()
	s := a.status
	s.Stopped = slices.Clone(s.Stopped)
	s.Replica, s.Sequences = maps.Clone(s.Replica), slices.Clone(s.Sequences)
	a.mu.Unlock()
	s.Applied = a.o.Journal.Applied()
	return s
}

// publish copies what Status shows; Run's goroutine calls it.
func (a *Applier) publish() {
	var stopped []Stopped
	for _, s := range a.stops {
		stopped = append(stopped, s.Stopped)
	}
	slices.SortFunc(stopped, func(x, y Stopped) int { return strings.Compare(x.Origin.String(), y.Origin.String()) })
	replica := map[string]bool{}
	for n, d := range a.databases {
		if d.s != nil {
			replica[n] = d.replica
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status = Status{Stopped: stopped, Counts: a.counts, Replica: replica, Sequences: slices.Clone(a.sequences)}
}
