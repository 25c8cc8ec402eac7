package proxy

import (
	"slices"
	"strings"
	"sync"
	"time"

	"pgproxy/journal"
)

// Refused logins are recorded one by one up to a burst, and then so many a second: whoever floods the port must not fill the
// journal. A number of those left out follows as a gap.
const (
	refusalBurst = 100
	refusalsEach = time.Second / 10
	gapDelay     = 2 * time.Second // how long a gap may grow before it is tried to record it
	maxGapTables = 200
	maxEventText = 8 << 10 // bytes of a message in an event
	refusedByDB  = "database"
	refusedHere  = "pgproxy"
)

// trail writes what is no transaction into the journal, and keeps count of what the journal did not take: the count becomes
// a gap record as soon as it does again.
type trail struct {
	srv *Server

	mu     sync.Mutex // guards what follows
	spare  int        // refused logins that may be recorded now
	filled time.Time  // when spare was last filled up
	gaps   map[journal.GapCause]*journal.Gap
	timer  *time.Timer
	closed bool
}

func (t *trail) init(s *Server) {
	t.srv = s
	t.spare = refusalBurst
	t.gaps = map[journal.GapCause]*journal.Gap{}
}

// note records an event, or that one is missing.
func (t *trail) note(e *journal.Event) {
	cleanWho(&e.Who)
	if err := t.srv.o.Journal.Note(e); err != nil {
		t.missed(journal.GapEvents, err, func(g *journal.Gap) { g.Events++ })
		t.srv.broken(err)
		return
	}
	t.settle()
}

// attempt records a transaction that is not replicated, or that one is missing.
func (t *trail) attempt(tx *journal.Tx, o journal.Outcome) {
	if err := t.srv.o.Journal.Attempt(tx, o); err != nil {
		t.missed(journal.GapAttempts, err, func(g *journal.Gap) { addGap(g, tx) })
		t.srv.broken(err)
		return
	}
	t.settle()
}

// refused records a login that was refused.
func (t *trail) refused(who journal.Who, code, message, by string) {
	if !t.srv.o.Audit.RecordsSession(who) {
		return
	}
	now := t.srv.o.Now()
	t.mu.Lock()
	if n := int(now.Sub(t.filled) / refusalsEach); n > 0 {
		t.spare, t.filled = min(t.spare+n, refusalBurst), now
	}
	allowed := t.spare > 0
	if allowed {
		t.spare--
	}
	t.mu.Unlock()
	if !allowed {
		t.missed(journal.GapRefusals, nil, func(g *journal.Gap) { g.Events++ })
		return
	}
	t.note(&journal.Event{Kind: journal.EventRefused, Who: who,
		Refusal: &journal.Refusal{SQLState: code, Message: cutText(message), By: by}})
}

// missed adds to a gap.
func (t *trail) missed(cause journal.GapCause, reason error, add func(*journal.Gap)) {
	now := t.srv.o.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.gaps[cause]
	if g == nil {
		g = &journal.Gap{Cause: cause, From: now}
		t.gaps[cause] = g
	}
	g.To = now
	if reason != nil && g.Reason == "" {
		g.Reason = cutText(reason.Error())
	}
	add(g)
	if t.timer == nil && !t.closed {
		t.timer = time.AfterFunc(gapDelay, t.later)
	}
}

// later is the timer's.
func (t *trail) later() {
	t.mu.Lock()
	t.timer = nil
	t.mu.Unlock()
	t.record()
}

// settle records what is missing, where something else than a flood is: the journal has just taken a record.
func (t *trail) settle() {
	t.mu.Lock()
	n := len(t.gaps)
	if _, ok := t.gaps[journal.GapRefusals]; ok {
		n--
	}
	t.mu.Unlock()
	if n > 0 {
		t.record()
	}
}

// record writes the gaps; those that the journal does not take stay.
func (t *trail) record() {
	t.mu.Lock()
	gaps := t.gaps
	t.gaps = map[journal.GapCause]*journal.Gap{}
	t.mu.Unlock()
	for cause, g := range gaps {
		err := t.srv.o.Journal.Note(&journal.Event{Kind: journal.EventGap, Gap: g})
		if err == nil {
			continue
		}
		t.missed(cause, err, func(now *journal.Gap) { joinGap(now, g) })
	}
}

// close records what is still missing.
func (t *trail) close() {
	t.mu.Lock()
	t.closed = true
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	t.mu.Unlock()
	t.record()
}

// addGap counts a transaction as missing.
func addGap(g *journal.Gap, tx *journal.Tx) {
	g.Transactions++
	g.Statements += uint64(len(tx.Statements))
	for i := range tx.Statements {
		st := &tx.Statements[i]
		for _, name := range st.Tables {
			addTable(g, name)
		}
		for k := range st.Changes {
			rel := &tx.Relations[st.Changes[k].Relation]
			addTable(g, rel.Schema+"."+rel.Name)
		}
		if st.Stored != nil {
			for _, k := range st.Stored.Relations {
				addTable(g, tx.Relations[k].Schema+"."+tx.Relations[k].Name)
			}
		}
	}
}

func addTable(g *journal.Gap, name string) {
	if i, ok := slices.BinarySearch(g.Tables, name); !ok && len(g.Tables) < maxGapTables {
		g.Tables = slices.Insert(g.Tables, i, name)
	}
}

// joinGap puts an older gap into one that has begun since.
func joinGap(now, old *journal.Gap) {
	if old.From.Before(now.From) {
		now.From = old.From
	}
	if old.To.After(now.To) {
		now.To = old.To
	}
	if old.Reason != "" {
		now.Reason = old.Reason
	}
	now.Transactions += old.Transactions
	now.Statements += old.Statements
	now.Events += old.Events
	for _, name := range old.Tables {
		addTable(now, name)
	}
}

// cutText makes a text fit for an event.
func cutText(s string) string {
	if len(s) > maxEventText {
		s = s[:maxEventText] + "..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// cleanWho makes what the client said fit for the journal.
func cleanWho(w *journal.Who) {
	for _, s := range []*string{&w.User, &w.Database, &w.Application} {
		*s = cutText(*s)
	}
}

// broken tells the owner, if the policy is to end, that the journal did not take a record.
func (s *Server) broken(err error) {
	if s.o.Failure == FailShutdown {
		s.o.Broken(err)
	}
}
