package audit

import (
	"context"
	"time"

	"pgproxy/journal"
)

// SessionEntry is one thing that happened in a session, in the order in which it happened.
type SessionEntry struct {
	Time      time.Time  `json:"time"` // when it began
	Record    string     `json:"record"`
	Position  uint64     `json:"position"`
	Kind      string     `json:"kind"`                // statement, or the kind of event
	Outcome   string     `json:"outcome"`             // of its transaction
	Statement *Statement `json:"statement,omitempty"` // of a statement
	Of        int        `json:"of,omitempty"`        // how many statements its transaction has
	Number    int        `json:"number,omitempty"`    // which of them it is
	Text      string     `json:"text,omitempty"`      // of an event
	Head      *Author    `json:"head,omitempty"`      // with the first: who it is
	Database  string     `json:"database,omitempty"`
}

// answerSession replays one session: every statement of every transaction, also of those that came to nothing.
func answerSession(ctx context.Context, r Reader, q Question, give func(any) error) error {
	names := r.Names()
	s, err := ParseSession(q.Session, names)
	if err != nil {
		return wrong("%w", err)
	}
	query := Query{Filter: journal.Filter{Session: &s, Forward: true, After: q.After, Events: journal.EventKinds()}}
	first := true
	return each(ctx, r, query, func(t *Transaction) error {
		var head *Author
		if first {
			head = &Author{Record: t.ID(), Node: t.Origin, Time: t.Time, User: t.User, Application: t.Application, Client: t.Client}
			first = false
		}
		return sessionEntries(t, head, give)
	})
}

func sessionEntries(t *Transaction, head *Author, give func(any) error) error {
	if t.Event != nil {
		return give(SessionEntry{Time: t.Time, Record: t.ID(), Position: t.Position, Kind: t.Kind, Text: t.eventSummary(), Head: head, Database: t.Database})
	}
	for i := range t.Statements {
		e := SessionEntry{Time: t.Statements[i].Started, Record: t.ID(), Position: t.Position, Kind: "statement", Outcome: t.Outcome,
			Statement: &t.Statements[i], Of: len(t.Statements), Number: i + 1, Head: head, Database: t.Database}
		head = nil
		if err := give(e); err != nil {
			return err
		}
	}
	return nil
}
