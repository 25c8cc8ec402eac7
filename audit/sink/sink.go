package sink

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"pgproxy/audit"
	"pgproxy/journal"
)

const (
	// batchItems and batchBytes bound what is written at a time, and with it the memory.
	batchItems = 500
	batchBytes = 4 << 20
	// poll is how often a sink looks on its own: attempts wake nobody.
	poll = time.Second
	// firstPause and lastPause are how long a sink waits after an error.
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// Output is where a sink writes. It is used by one goroutine.
type Output interface {
	// Name is what it is, for people.
	Name() string
	// Resume opens the output, again if need be, and gives the position of the last entry in it; 0 if there is none.
	Resume(ctx context.Context) (uint64, error)
	// Put writes entries, in the order of their positions, and returns when they are kept. After an error Resume comes next.
	Put(ctx context.Context, entries []audit.Transaction) error
	Close() error
}

// Options is what a sink needs.
type Options struct {
	Journal audit.Reader
	Veil    *audit.Veil // over what leaves; nil hides nothing
	Output  Output
	// Watch gives a channel that is signalled when the journal has something new, and the function that ends it.
	Watch  func() (<-chan struct{}, func())
	Logger *slog.Logger
	Fault  func(point string) // fault points of tests; nil: none
}

// Sink writes a journal to an output as it grows.
type Sink struct {
	o Options

	mu     sync.Mutex
	status Status
}

// Status is how far a sink is.
type Status struct {
	Name     string
	Position uint64 // up to which everything is written that there is to write
	Error    string // why it does not go on, if it does not
}

// New makes a sink; nothing runs yet.
func New(o Options) *Sink {
	if o.Fault == nil {
		o.Fault = func(string) {}
	}
	return &Sink{o: o, status: Status{Name: o.Output.Name()}}
}

// Status says how far the sink is.
func (s *Sink) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *Sink) set(position uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.status.Error
	s.status.Error = ""
	if err != nil {
		s.status.Error = err.Error()
		if told != s.status.Error {
			s.o.Logger.Warn("the audit sink does not go on; it tries again", "sink", s.status.Name, "error", err)
		}
		return
	}
	if told != "" {
		s.o.Logger.Info("the audit sink goes on", "sink", s.status.Name, "position", position)
	}
	s.status.Position = position
}

// Run writes until ctx ends. What goes wrong is logged, shown by Status, and tried again for ever: the journal keeps what waits.
func (s *Sink) Run(ctx context.Context) error {
	wake, stop := s.o.Watch()
	defer stop()
	pause := firstPause
	for {
		err := s.write(ctx, wake, func() { pause = firstPause })
		if ctx.Err() != nil {
			return s.o.Output.Close()
		}
		s.set(0, err)
		late := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			late.Stop()
			return s.o.Output.Close()
		case <-late.C:
		}
		pause = min(2*pause, lastPause)
	}
}

// write resumes the output and writes to it until something fails.
func (s *Sink) write(ctx context.Context, wake <-chan struct{}, well func()) error {
	position, err := s.o.Output.Resume(ctx)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	newest, err := s.newest()
	if err != nil {
		return err
	}
	if position > newest {
		s.o.Logger.Warn("the audit sink is ahead of the journal, which has lost its end or is another one: what the journal writes from here on follows",
			"sink", s.o.Output.Name(), "sink_position", position, "journal_position", newest)
		position = newest
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		s.set(position, nil)
		entries, seen, err := s.read(position)
		if err != nil {
			return err
		}
		if len(entries) > 0 {
			s.o.Fault("sink.read")
			if err := s.o.Output.Put(ctx, entries); err != nil {
				return fmt.Errorf("write: %w", err)
			}
			s.o.Fault("sink.put")
			well()
		}
		if seen > position {
			position = seen
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-tick.C:
		}
	}
}

func (s *Sink) newest() (uint64, error) {
	for it, err := range s.o.Journal.Scan(journal.Filter{Limit: 1, Events: journal.EventKinds(), Kinds: allKinds()}) {
		return it.Position, err
	}
	return 0, nil
}

func allKinds() []journal.Kind {
	return []journal.Kind{journal.KindTx, journal.KindVoid, journal.KindMember, journal.KindBeat}
}

// read gives the next entries behind a position, up to the first whose outcome is not known, and the position up to which it has
// looked: beats are not written.
func (s *Sink) read(position uint64) (entries []audit.Transaction, seen uint64, err error) {
	size := 0
	seen = position
	q := audit.Query{All: true, Filter: journal.Filter{After: position, Forward: true, Limit: batchItems}}
	for t, err := range q.Run(s.o.Journal) {
		t = s.o.Veil.Show(t).(audit.Transaction)
		if err != nil {
			return nil, position, fmt.Errorf("read journal: %w", err)
		}
		if t.Event == nil && t.Outcome == audit.OutcomeName(journal.OutcomeUnknown) {
			break
		}
		seen = t.Position
		if t.Kind == "beat" {
			continue
		}
		entries = append(entries, t)
		if size += weight(&t); size > batchBytes {
			break
		}
	}
	return entries, seen, nil
}

// weight is about the bytes that an entry takes.
func weight(t *audit.Transaction) int {
	n := 500
	for i := range t.Statements {
		s := &t.Statements[i]
		n += 200 + len(s.Query)
		for _, p := range s.Params {
			n += len(p.Data)
		}
		for k := range s.Rows {
			for _, side := range []*audit.Columns{s.Rows[k].Before, s.Rows[k].After} {
				if side == nil {
					continue
				}
				for _, c := range *side {
					n += len(c.Name) + len(c.Value.Data)
				}
			}
		}
	}
	return n
}
