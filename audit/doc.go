// Package audit reads the journal as an auditor does: who changed what, when, from where, with which statement, and
// what became of it.
//
//	journal.Reader ──Scan(filter)──> Query ──> Transaction ──> Writer: table   for people
//	 (open journal,                             (names         (one per        json    one object a line, stable
//	  or the files                               resolved)      transaction)   csv     one line a statement
//	  of a stopped node)
//
// The room has no storage of its own: everything it tells is in the journal. A Transaction (record.go) is the one
// documented form in which a journal record leaves pgproxy, in JSON as on the admin socket. Its JSON is a promise: fields
// are added, never renamed or given another meaning.
//
// What an auditor asks is a Question, which travels to a running node as it is, and Answer is the one place that answers, also
// from files: lists, sessions, logons and counts (question.go, match.go, find.go, session.go, logons.go, stats.go); the history of
// a row on all nodes, who wrote which column, what a span of time did (history.go, blame.go, diff.go); the SQL that takes
// transactions back (undo.go, undosql.go). A row comes out of its changes by a Fold that cmd brings from forward/conflict, so
// that an auditor sees the row that the databases hold.
//
// # What is recorded, and what is shown
//
// Policy (policy.go) says what is recorded beside what is replicated; the proxy asks it before anything is written. Columns
// can be masked (mask.go, veil.go): the values themselves stay in the journal, because peers, folding and undo need them, and
// are taken out of everything that is shown or exported, also from the files of a stopped node. The policy is in the
// journal (EventNodeStart) and needs no other place. What replication does not need is not written at all: of a statement
// that names a table with a masked column, the constants of the text, the parameters and the database's error message. Undo
// shows its statements whole: without the values they are none. Hashes are HMAC-SHA256 by a key of the journal's own (mask.key
// in the data folder): equal values are recognized, others can be tried only by who has the key. Another node's journal
// shows by its own policy: give all nodes the same.
//
// Five things that must never mix are kept apart in every form:
//
//	            JSON                      table, csv
//	NULL        null                      NULL (a text 'NULL' is quoted)
//	empty       ""                        '' in a table, nothing between the commas in csv
//	absent      the key is missing        the column is not shown
//	unchanged   {"unchanged": true}       (unchanged)
//	redacted    {"redacted": true}        (redacted)
package audit
