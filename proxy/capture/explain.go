package capture

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/journal"
)

// Unreplicable says why what the plan's statement writes surely cannot be replicated, and the way out; "" if it can, as far as
// can be told beforehand.
func (p *Plan) Unreplicable() (why, wayOut string) {
	switch {
	case p.how == howMissing && strings.Contains(p.Note, "secret"):
		return p.Note, "Give a password as its SCRAM verifier, or run the statement on every host, past pgproxy."
	case p.how == howMissing:
		return p.Note, "Write one statement for what stays local, and one for the rest."
	}
	return "", ""
}

// Tables lists what the plan knows to be written by the statement itself, as schema.table.
func (p *Plan) Tables() []string {
	var out []string
	for _, rel := range append(slices.Clone(p.tables), p.rel) {
		if rel != nil && !slices.Contains(out, rel.full()) {
			out = append(out, rel.full())
		}
	}
	if p.replay != nil && len(out) == 0 {
		out = slices.Clone(p.replay.Tables)
	}
	return out
}

// Explain says in sentences what will be done, and why.
func (p *Plan) Explain() []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch p.how {
	case howNothing:
		if p.Hold {
			say("It may write nothing that is replicated; its transaction is held open until the commit protocol has run.")
		} else if p.Capture == journal.CaptureLocal {
			say("It passes as it came, and its effect stays on this host.")
		} else {
			say("It passes as it came: nothing in it writes.")
		}
	case howRows:
		say("%s", rowsSentence(p.image))
	case howScan:
		say("Nothing appended can tell the rows before it (no usable key, or MERGE, before PostgreSQL 18): the table is compared with what is known of it, " +
			"which reads it whole.")
	case howCopy:
		say("The stream is read for its keys, and the rows are read back by them.")
	case howWatch:
		say("What it writes is found afterwards: the tables by the locks it holds, the rows by its own transaction id. " +
			"Where they cannot be had, its text is run again at the peers.")
	case howReplay:
		say("Its text is sent to the peers with the settings that give it its meaning, and run there again.")
		if p.rows {
			say("The peers repeat the table alone, and are given its rows.")
		}
	case howMissing:
		say("It is recorded, and not replicated.")
	}
	if p.upsert {
		say("ON CONFLICT DO UPDATE: for each row it is told whether it was inserted or updated.")
	}
	switch names := slices.Sorted(maps.Keys(p.watch.names)); {
	case p.how == howWatch:
	case p.watch.all:
		say("Triggers, rules or functions may write elsewhere: every table that is locked for writing is looked at afterwards.")
	case len(names) > 0:
		say("Triggers or WITH members may write to tables named %s: these are looked at afterwards.", strings.Join(names, ", "))
	}
	if p.sequences {
		say("Sequences are put back on this node's own numbers afterwards.")
	}
	if p.Note != "" {
		say("Note: %s.", p.Note)
	}
	return out
}

func rowsSentence(im image) string {
	const start = "Each row is returned by a column that is appended to RETURNING and taken off again"
	switch im {
	case imageOld:
		return start + ", with the row before (RETURNING OLD)."
	case imageProof:
		return start + ", with the row before, by a sub-select on the key, and the proof that it was the one overwritten."
	case imageKey:
		return start + ", with the row before, by a sub-select on the key."
	}
	return start + "."
}

// OnConnection makes a Querier of a connection of pgproxy's own, for who asks what a session would be told.
func OnConnection(c *pgconn.PgConn) Querier {
	return connection{&ownConn{conn: c, prepared: map[string]string{}}}
}

type connection struct{ own *ownConn }

// Query implements Querier.
func (c connection) Query(ctx context.Context, sql string, args ...[]byte) ([][][]byte, error) {
	return c.own.query(ctx, sql, args)
}
