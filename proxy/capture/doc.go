// Package capture tells what a statement does to which rows: it decides from the catalog, before anything is sent, how the
// effect will be seen, and turns what comes back into the changes of a record.
//
//	                      Session.Plan                 Execution.Row              Execution.Finish
//	parser.Statement ---> resolve names  ---> Plan --> collect the     ---------> decode rows (shape, value)
//	                      role, triggers,     |        appended column            find old rows (proof, TxState, own session)
//	                      rules, rights       |                                   follow foreign keys (cascade)
//	                      (catalog, relation) |                                   look for hidden writes (watch, scan, schema)
//	                                          v                                   align sequences (stride)
//	                                 text with RETURNING                          |
//	                                 spliced behind its last token                v
//	                                                                              Effect: changes, or where they are, or a text
//
// # The appended column
//
// One column, a record: the new row (DELETE: the old one) whole, its tableoid, and what proves the old row:
//
//	INSERT, DELETE        ROW((t.*)::record, t.tableoid)
//	from 18 on            ROW((new.*)::record, new.tableoid, (old.*)::record, old.tableoid), RETURNING WITH (OLD AS, NEW AS)
//	UPDATE before 18      ROW((t.*)::record, t.tableoid, (SELECT ROW((o.*)::record, o.xmax) FROM s.t o WHERE o.key = t.key), t.xmin, t.xmax)
//
// The sub-select sees the version under the statement's snapshot; it is the overwritten one if o.xmax = t.xmin. Otherwise
// the old row is, in this order: the transaction's own last image of that key (TxState), or the last committed version,
// read by pgproxy's own session (our row lock has frozen it). A row whose new key nobody had was moved: the rows that
// vanished are searched, and paired where only one pairing is possible; else they are deletes and inserts. Swapped keys
// give a false proof for the row, and the right answer for the table: changes are by key.
//
// A column whose binary form we cannot read (an extension's type), or whose characters the client's encoding lacks, is
// asked for as text; then the row goes column by column instead of as its own record.
//
// # Comparing
//
// Where no column can be appended (keyless UPDATE and MERGE before 18, views, rules, functions, COPY), the table is
// compared with what is known: own rows by xmin in the client's session, removed ones as those that our own session still
// sees where the client's does not. It costs a scan of the table, hence Options.ScanPages; beyond, and wherever the role
// may not look, the statement is run again at the peers (again.go), or the effect is CaptureMissing with a note. At REPEATABLE READ the client's session does not see what others
// have written since its snapshot either: their rows are told by xmin. Rows of one value in a table without key are a count.
// Small COPYs into large tables are read by the keys of the stream.
//
// Triggers are looked after only if they are loud: PL/pgSQL that certainly writes nothing is most of them. An opaque
// statement (DO, CALL, functions) that changed the schema, which the system catalogs' own rows tell, is repeated as text.
//
// # Many rows
//
// The appended columns of a large statement are put aside in a file without name (spool.go) until the statement has ended,
// then looked at in blocks, and the changes go to the transaction's images at once (stream.go); so do those of COPY, part by
// part. What must see all rows of a statement together (changed keys, MERGE, foreign keys' actions, tables without key) is
// held in memory, up to Options.MaxBytes. TxState reads its own changes back from the images where it is asked for them, and
// then has the table's rows in memory: a second COPY into one table in one transaction.
//
// # What the session must know
//
//   - Querier's arguments are in text format, its results binary.
//   - Every held plan's Execution must be finished; Ahead stands in for statements that refuse a transaction block.
//   - Finish tells the session's own state about DDL and opaque statements; Altered and AlteredSchema may be called again.
//   - Effect.Replay comes before Effect.Changes at the peer (CREATE TABLE AS: the table, then its rows). Replay.Params is
//     left to the session, which has them.
//   - Plan.Text, where it is not the statement's, is UTF-8.
package capture
