// Package apply writes other nodes' records into this node's databases.
//
//	journal: stored, not applied
//	   | fetch, causes before effects (applier)
//	   v
//	take: who may go on? (stand)  ----> stopped streams wait, retried with back-off (stop)
//	   |
//	   v
//	look: did anybody change these rows unaware? (look: the row index, under the journal's gate)
//	   | no, or it commutes             | yes, or a statement, or the direct way hit no row
//	   v                                v
//	batch: many records,             single: one record, one transaction;
//	one transaction, one flight      rows are locked, folded (conflict.History) and written whole
//	   |                                |
//	   +---> the last look, at the gate, under the rows' locks; the records count as applied; COMMIT
//
// # Directly, or by the fold
//
// A row is the fold of its changes (package conflict). A record whose author knew everything that is in the row is the
// newest of its changes: writing it as it stands gives the fold. So does one that others changed unaware, where both add
// to the same columns and nothing limits the sum, or both set different columns. Everything else is folded: all changes
// of the row are read from the journal, and the row is written as they say. The vector comparison comes first: a record
// whose author knew all that is applied and sealed here needs no look into the index at all.
//
// A direct statement must hit exactly one row. One that does not (somebody wrote behind the proxy, or the row died and
// lives) is never passed over: the record is begun again and that row is folded.
//
// # Beyond one row
//
// A record that others changed unaware what it needs (a value of a unique key, a parent, a child; the row index knows them), or
// that builds on a loser whose fate its author may not have seen, is judged (conflict.Judge) before it is written. If that
// changes verdicts, its own or those of records that are in the database, ours included, then all rows of those are locked,
// folded with what still stands, and written in an order that breaks no constraint on the way (redo). A transaction that
// is set aside changes nothing, and is taken back where it was applied, its author's database too. What the judge has found
// is kept in pgproxy.finding, in the transaction of the rows; at the gate everything that it looked at is looked at again.
//
// Where foreign keys are switched off for apply, it locks the rows that a change begins to refer to itself, so that a client who
// deletes one waits and then sees who refers to it.
//
// # What makes it exact
//
// The position (pgproxy.applied) moves in the transaction that writes the rows, so synchronous_commit is off for it: what
// a crash takes away, it takes with its position, and the record is applied again. Commits are ordered in the WAL, also
// between databases of one server, so the positions lose a suffix, never a hole. Options.Settle later a synced transaction
// makes what was applied safe, and moves the positions of databases that nothing was for; where it fails because the server
// went down, apply connects and looks at once, whether more records come or not (settle.go).
//
// While a transaction is open apply waits for nothing but the server, with a lock_timeout below deadlock_timeout. If an
// own transaction with one of the rows is pending (sealed, not decided), apply rolls back and comes again. The index is
// looked at twice: before the writes, to choose the way, and at the gate, where nothing can be sealed, after the locks
// are held. Conflicts are told to the journal before COMMIT is sent; the journal keeps each once.
//
// The answer to a batch's COMMIT is read together with the next batch's. If it failed, its records count as not applied
// again, and are tried one by one. A COMMIT without answer is settled by the position that the next connection reads.
//
// A record with images (very many rows) goes the single way, in one transaction, block by block (large.go); its rows are never
// in memory together, unless somebody unaware of it has written: then the rules need all of them.
//
// # Stopping
//
// A record that cannot be applied stops its origin's stream here: it stands in Status, is tried again with back-off,
// after every replayed statement and on Kick, and goes on by itself. Others go on, also those who knew of the stopped
// record, unless they touch its rows, its tables' unique keys, parents or children, or tables of its statements; the same
// holds for whatever is queued behind it.
//
// # Statements
//
// A statement record is run again with its author's settings and role, inside the record's transaction, before the rows
// that it may have shipped; sequences that it makes get this node's stride there. What refuses a transaction block runs
// outside: the attempt is written first, and on another try "it exists already" (or "it does not exist", for a DROP)
// counts as done. An index that an interrupted CREATE INDEX CONCURRENTLY left invalid is dropped before.
//
// # Tables without key
//
// They are a count per distinct row. A change is applied directly unless somebody unaware of it changed one of its rows (inserts
// go by each other): then it is the last of its rows, and what it does depends on their counts alone. For the rest the
// counts are folded (conflict.Counts) over all rows that hang together by updates. The count before the first change is
// reckoned back from the table, by all changes that the table shows: other records', and those of this one that are written
// already. That is exact as long as each of them found its row; the first fold in which one does not keeps the count, in
// pgproxy.keyless.
//
// # Limits
//
// Values of unique keys with an expression or a predicate, or equal only by collation, and exclusion constraints are not
// compared: where two were taken apart, the later stream stops at the violation. A TRUNCATE of a parent under a child that was
// added unaware leaves the child without parent under session_replication_role=replica. A reference to a unique key that
// is not the row's own is held by the value alone: of two unaware changes of a value that is referred to the newer wins, and
// leaves whoever refers to the other. Without the right to set session_replication_role triggers fire again, a changed key of a
// row that others refer to stops its stream, and so do rows that exchange values of a unique key. Findings are never
// forgotten.
package apply
