// Package proxy is a client's connection: it relays the protocol, holds what writes, and commits it together with the
// journal.
//
//	client --> front goroutine --------------------------------------> server
//	              |  parser: what is it?   capture: how to see its effect?
//	              |  queue of owed answers (Raw | Play | Own)
//	client <-- back goroutine <---------------------------------------- server
//
// Reads cost a header peek and a cached parse. A statement that may write is run so that its implicit transaction stays
// open (its Sync is withheld), its effect is collected in tx, and at COMMIT the commit protocol runs (record.go):
//
//	Journal.Seal -> marker + COMMIT (or the withheld Sync) in one flight -> Intent.Commit -> answer to the client
//
// What is no transaction (sessions, refused logins, gaps) goes to the journal by trail.go and who.go; describe.go says of a statement
// what only its execution knows (role, protocol, part, objects) and takes out what audit.Policy does not want; skip.go records
// what the server skipped behind a failure; context.go follows pgproxy.context.
//
// What breaks in between is left to the Resolver (recover.go), which is exact.
//
// Where to read: server.go, hello.go and login.go (first packets, TLS, authentication), session.go; front.go and backend.go
// are the two goroutines, queue.go lies between them; extended.go, execute.go and ahead.go are the extended protocol, simple.go
// and play.go simple Query strings, text.go how texts are written, control.go BEGIN, COMMIT and friends; names.go PREPARE and
// DEALLOCATE; tx.go collects, record.go commits, alone.go runs what refuses a block, recover.go and catalogue.go settle what
// is in doubt, prune.go deletes old markers; inject.go runs pgproxy's own queries in the client's session; pgerror.go says
// what a client is told.
//
// Departures from the design, with their reasons:
//
//   - Fake answers need no entry in the queue: whoever fakes one first waits until nothing is owed, and then writes it.
//   - A string of several statements is played statement by statement inside a block of pgproxy's own (BEGIN by extended
//     messages). PostgreSQL's implicit block differs from it only in how it takes transaction control, which the player
//     imitates; without it LOCK, DECLARE and SET LOCAL would behave differently up to 17. A warning of the lexer's comes with its
//     statement, and not before the first.
//   - A statement whose text cannot be read (newer syntax, a client_encoding without a table, a client_encoding that was changed
//     in the same segment) is captured by its effect. Texts are UTF-8 inside (text.go).
//   - With FailContinue a write that the journal does not take commits without intent and marker. Promises P2 and P3 do not hold
//     for it: no peer gets it, its rows are not known to apply, and later changes of the same rows are judged without it;
//     verify shows the difference, GapWrites names the tables. That is why it is not the default.
package proxy
