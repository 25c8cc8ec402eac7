package audit

import (
	"context"
	"time"

	"pgproxy/journal"
)

// Logon is what the journal knows of one user's logins at this node.
type Logon struct {
	User        string     `json:"user"`
	LastSuccess *time.Time `json:"last_success,omitempty"`
	Client      string     `json:"client,omitempty"` // of the last success
	Application string     `json:"application,omitempty"`
	Session     string     `json:"session,omitempty"`
	LastFailure *time.Time `json:"last_failure,omitempty"`
	From        string     `json:"failed_from,omitempty"` // the client of the last failure
	SQLState    string     `json:"failed_sqlstate,omitempty"`
	Message     string     `json:"failed_message,omitempty"`
	Since       int64      `json:"failures_since"` // failures after the last success
	Failures    int64      `json:"failures"`       // all in the span asked for
	Successes   int64      `json:"successes"`
}

// answerLogons tells each user's last logins, of the users that were ever asked for, in the order of their names.
func answerLogons(ctx context.Context, r Reader, q Question, give func(any) error) error {
	users := []string{q.User}
	if q.User == "" {
		var err error
		if users, err = r.Users(); err != nil {
			return err
		}
	}
	for _, u := range users {
		if u == "" {
			continue
		}
		l, err := logon(ctx, r, q, u)
		if err != nil {
			return err
		}
		if l.Successes+l.Failures == 0 {
			continue
		}
		if err := give(l); err != nil {
			return err
		}
	}
	return nil
}

func logon(ctx context.Context, r Reader, q Question, user string) (Logon, error) {
	l := Logon{User: user}
	f := journal.Filter{User: user, Database: q.Database, Client: q.Client, Origin: q.Origin,
		Events: []journal.EventKind{journal.EventSessionStart, journal.EventRefused}, OnlyEvents: true}
	if q.Since != nil {
		f.Since = *q.Since
	}
	if q.Until != nil {
		f.Until = *q.Until
	}
	names := r.Names()
	for it, err := range r.Scan(f) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return l, err
		}
		e := it.Event
		at := e.Time.Wall()
		if e.Refusal != nil {
			if l.LastFailure == nil {
				l.LastFailure, l.From, l.SQLState, l.Message = &at, e.Who.Client, e.Refusal.SQLState, e.Refusal.Message
			}
			if l.LastSuccess == nil {
				l.Since++
			}
			l.Failures++
			continue
		}
		if l.LastSuccess == nil {
			l.LastSuccess, l.Client, l.Application, l.Session = &at, e.Who.Client, e.Who.Application, SessionName(e.Session(), names)
		}
		l.Successes++
	}
	return l, nil
}
