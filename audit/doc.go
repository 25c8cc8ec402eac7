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
// Five things that must never mix are kept apart in every form:
//
//	            JSON                      table, csv
//	NULL        null                      NULL (a text 'NULL' is quoted)
//	empty       ""                        '' in a table, nothing between the commas in csv
//	absent      the key is missing        the column is not shown
//	unchanged   {"unchanged": true}       (unchanged)
//	redacted    {"redacted": true}        (redacted)
package audit
