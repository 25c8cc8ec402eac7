package apply

import (
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/journal"
)

// stop is an origin's stream that cannot go on here, at its next record.
type stop struct {
	Stopped
	retry time.Time
	wait  time.Duration
}

// errPending is returned where an own transaction with the same rows is not decided yet: while apply holds locks it waits
// for nothing, so it lets go of them and comes again.
var errPending = errors.New("a transaction of this node with the same rows is not decided yet")

// How long a record that only met somebody else is left alone.
const (
	briefRetry    = 2 * time.Millisecond
	briefRetryMax = 50 * time.Millisecond
)

// halt stops a record's origin until its next retry.
func (a *Applier) halt(rec *journal.Record, err error) {
	s := a.stops[rec.Origin]
	if s == nil || s.Seq != rec.Seq {
		s = &stop{Stopped: Stopped{Origin: rec.Origin, Seq: rec.Seq, Since: a.o.Now()}}
		a.stops[rec.Origin] = s
	}
	was := s.Reason
	s.Tries++
	s.Reason, s.SQLState, s.Table = err.Error(), "", ""
	if rec.Tx != nil {
		s.Database = rec.Tx.Database
	}
	var pg *pgconn.PgError
	var no *refusal
	switch {
	case errors.As(err, &no):
		s.SQLState, s.Table = no.state, no.table
	case errors.As(err, &pg):
		s.SQLState = pg.Code
		if pg.TableName != "" {
			s.Table = pg.SchemaName + "." + pg.TableName
		}
	}
	least, most := a.o.Retry, a.o.RetryMax
	if s.Brief = brief(err, s.SQLState); s.Brief {
		least, most = briefRetry, briefRetryMax
	}
	s.wait = min(max(s.wait*2, least), most)
	s.retry = a.o.Now().Add(s.wait + time.Duration(a.o.Rand()*float64(s.wait)/2))
	if d := a.databases[s.Database]; d != nil && d.s != nil && !d.s.broken && !s.Brief {
		_ = d.forget() // what is known of the schema may be what is wrong
	}
	if !s.Brief && was != s.Reason {
		a.o.Logger.Warn("stream stopped", "origin", rec.Origin, "seq", rec.Seq, "database", s.Database, "reason", s.Reason)
	}
}

// brief reports whether an error is due to somebody else's transaction of the moment.
func brief(err error, state string) bool {
	switch state {
	case "40001", "40P01", "55P03": // serialization failure, deadlock, lock not available
		return true
	}
	return errors.Is(err, errPending) || errors.Is(err, errLook)
}

// resume notes that a record was applied after all.
func (a *Applier) resume(rec *journal.Record) {
	s := a.stops[rec.Origin]
	if s == nil {
		return
	}
	delete(a.stops, rec.Origin)
	if !s.Brief {
		a.o.Logger.Info("stream goes on", "origin", rec.Origin, "seq", rec.Seq, "tries", s.Tries)
	}
}

// hurry makes everything that is stopped be tried at once.
func (a *Applier) hurry() {
	for _, s := range a.stops {
		s.retry, s.wait = time.Time{}, 0
	}
}

// nextRetry gives a timer for the next try of whatever failed; nil if there is none.
func (a *Applier) nextRetry() <-chan time.Time {
	first := a.restride
	if at := a.settling.at; first.IsZero() || !at.IsZero() && at.Before(first) {
		first = at
	}
	for _, s := range a.stops {
		if first.IsZero() || s.retry.Before(first) {
			first = s.retry
		}
	}
	if soon := a.o.Now().Add(a.o.Retry); a.o.Journal.Identity().Cluster.IsZero() && (first.IsZero() || soon.Before(first)) {
		first = soon // nobody wakes us when the node becomes a member, and its sequences wait for that
	}
	if first.IsZero() {
		return nil
	}
	return a.o.After(max(first.Sub(a.o.Now()), 0))
}

func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
