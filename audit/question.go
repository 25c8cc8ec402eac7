package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pgproxy/journal"
)

// ErrQuestion is in the chain of every error that is the asker's.
var ErrQuestion = errors.New("the question is wrong")

func wrong(format string, args ...any) error {
	return question{fmt.Errorf(format, args...)}
}

// question is an error of the asker's; it says nothing but what is wrong.
type question struct{ error }

func (q question) Is(target error) bool { return target == ErrQuestion }
func (q question) Unwrap() error        { return q.error }

// The verbs of questions.
const (
	VerbList    = "ls"
	VerbShow    = "show"
	VerbSession = "session"
	VerbLogons  = "logons"
	VerbStats   = "stats"
	VerbHistory = "history"
	VerbBlame   = "blame"
	VerbDiff    = "diff"
	VerbUndo    = "undo"
)

// Question is what an auditor asks of a journal, in the form in which it travels. Which fields count depends on Verb; empty ones
// ask for nothing.
type Question struct {
	Verb        string     `json:"verb"`
	Since       *time.Time `json:"since,omitempty"`
	Until       *time.Time `json:"until,omitempty"`
	User        string     `json:"user,omitempty"`
	Role        string     `json:"role,omitempty"`
	Database    string     `json:"database,omitempty"`
	Table       string     `json:"table,omitempty"` // name, or schema.name
	Key         string     `json:"key,omitempty"`   // of one row of Table: see RowOf
	Origin      string     `json:"origin,omitempty"`
	Class       string     `json:"class,omitempty"`
	Command     string     `json:"command,omitempty"`
	Outcome     string     `json:"outcome,omitempty"`
	SQLState    string     `json:"sqlstate,omitempty"`
	Client      string     `json:"client,omitempty"`
	Application string     `json:"application,omitempty"`
	Session     string     `json:"session,omitempty"`     // NODE.START.NUMBER
	Transaction string     `json:"transaction,omitempty"` // ORIGIN/SEQ, marker or xid
	Text        string     `json:"text,omitempty"`        // in a statement, a parameter or an error, whatever the case
	Limit       int        `json:"limit,omitempty"`
	After       uint64     `json:"after,omitempty"` // position to go on behind
	Forward     bool       `json:"forward,omitempty"`
	All         bool       `json:"all,omitempty"`
	Follow      bool       `json:"follow,omitempty"`
	Column      string     `json:"column,omitempty"`
	Targets     []string   `json:"targets,omitempty"` // of undo
	Mode        string     `json:"mode,omitempty"`    // of undo
}

// Aid is what an answer may need beside the journal.
type Aid struct {
	Now  func() time.Time
	Wake <-chan struct{} // signalled when the journal has something new; may be nil
	Fold NewFold         // how the database's rows come out of their changes
}

// Answer gives everything that r has to say to q, one item after the other: Transaction, SessionEntry, Logon, Count, Version,
// Blame, Difference or Undo. It ends with the first error of r or give.
func Answer(ctx context.Context, r Reader, q Question, aid Aid, give func(any) error) error {
	switch q.Verb {
	case VerbList:
		return answerList(ctx, r, q, aid, give)
	case VerbShow:
		t, err := Find(r, q.Transaction)
		if err != nil {
			return err
		}
		return give(t)
	case VerbSession:
		return answerSession(ctx, r, q, give)
	case VerbLogons:
		return answerLogons(ctx, r, q, give)
	case VerbStats:
		return answerStats(ctx, r, q, give)
	case VerbHistory:
		return answerHistory(ctx, r, q, aid, give)
	case VerbBlame:
		return answerBlame(ctx, r, q, aid, give)
	case VerbDiff:
		return answerDiff(ctx, r, q, aid, give)
	case VerbUndo:
		return answerUndo(ctx, r, q, aid, give)
	}
	return wrong("no such verb %q", q.Verb)
}

func answerList(ctx context.Context, r Reader, q Question, aid Aid, give func(any) error) error {
	query, err := q.query(r)
	if err != nil {
		return err
	}
	if q.Follow {
		return Follow(ctx, r, query, aid.Wake, aid.Now, func(t Transaction) error { return give(t) })
	}
	return each(ctx, r, query, func(t *Transaction) error { return give(*t) })
}

// each gives the transactions of a query until ctx ends.
func each(ctx context.Context, r Reader, q Query, give func(*Transaction) error) error {
	for t, err := range q.Run(r) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = give(&t)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// query turns the question's filters into a query.
func (q *Question) query(r Reader) (Query, error) {
	f := journal.Filter{User: q.User, Database: q.Database, Table: q.Table, Origin: q.Origin, Application: q.Application, Client: q.Client,
		Role: q.Role, SQLState: q.SQLState, Command: strings.ToUpper(q.Command), Limit: q.Limit, After: q.After, Forward: q.Forward}
	if q.Since != nil {
		f.Since = *q.Since
	}
	if q.Until != nil {
		f.Until = *q.Until
	}
	if q.Origin != "" && !knowsNode(r, q.Origin) {
		return Query{}, wrong("this journal knows no node %q", q.Origin)
	}
	if q.Outcome != "" {
		o, err := ParseOutcome(q.Outcome)
		if err != nil {
			return Query{}, wrong("%w", err)
		}
		f.Outcome = &o
	}
	if q.Session != "" {
		s, err := ParseSession(q.Session, r.Names())
		if err != nil {
			return Query{}, wrong("%w", err)
		}
		f.Session = &s
	}
	if q.Key != "" {
		rows, err := q.rows(r)
		if err != nil {
			return Query{}, err
		}
		f.Rows = rows
	}
	if err := q.match(r, &f); err != nil {
		return Query{}, err
	}
	return Query{Filter: f, All: q.All, NoBeats: true}, nil
}

func knowsNode(r Reader, node string) bool {
	for id, name := range r.Names() {
		if name == node || id.String() == node {
			return true
		}
	}
	return false
}
