// Package journal is a node's local truth: every write that went through the proxy, every record that came from a peer,
// what became of each, and how far everybody has come. It is kept in bbolt files; nothing here knows PostgreSQL or the
// network.
//
//	proxy: Seal ──┐  gate: sequence, HLC, Knew,    ┌─────────┐  group   ┌────────────┐
//	peers: Store ─┼─ Prev, rows pending ─────────> │  queue  │ ───────> │ committer  │ one transaction,
//	Commit/Abort ─┤  (no gate)                     └─────────┘          └─────┬──────┘ one wait for the disk
//	Attempt, Note ┘                                                           v
//	                      segments/0000000000000001.segment  (sealed: with its indexes)
//	                      segments/00000000000007d1.segment  (the last: indexes in memory)
//	                                                                          │
//	forward: After, Watch <── published in own order, all others at once <────┤
//	apply: Gate.Changes   <── row index: row -> records                  <────┤
//	audit, cmd: Scan, Get, Row <── term, time and row indexes            <────┘
//
// The row index knows more of a transaction than its rows: the values of unique keys that they took or let go of, and what they
// refer to (claim.go).
//
// # Files
//
// identity.db says who the node is, which start this is, and up to where the clock may have gone. Each segment holds the
// entries of a range of positions (8 bytes, big endian), one after the other without a gap: own records, foreign records,
// outcomes, attempts, conflicts, events. It begins with the state before its first entry, so opening plays only what is not
// sealed. A full segment is sealed beside the running work: its indexes are written into its own file. So a commit costs
// sequential keys in one transaction and nothing else. Close leaves the indexes of the last one in its file, for who reads the
// journal of a stopped node (rest.go). Every entry carries a CRC32C over itself and its position, every record the hash of the
// one before it.
//
// All entries are the leaves of one Merkle tree (RFC 6962); each entry carries the hashes that it completes (tree.go), so any
// root, and any proof between two sizes, is read from the segments. Now and then, and at the end, the node signs the root of
// what is durable (checkpoint.go); the newest checkpoint stands in identity.db and, like all, in the journal.
//
// The oldest segments are deleted whole once nobody needs them (prune.go). What is left begins with the state before its first
// entry, the tree included, so proofs, sequences and counts go on; an entry says that it was done on purpose.
//
// A transaction of very many rows has only its head in the segments. Its changes are in a file of their own under images,
// named after the hash by which the record covers them, and complete and durable before the record is queued
// (imagewriter.go; staging.go for a peer's). Behind the changes the file has their row index (imagefile.go), so neither memory
// nor segments grow with the rows, and readers go through the changes piece by piece (Tx.Each, Tx.EachOf). What no entry
// names, because it was not finished, is removed, at the latest by the next start.
//
// bbolt believes what it maps into memory, and damage there ends the process. Before it opens a file, the file's pages are
// walked by plain reads (all of a segment that is written to, the meta pages of a sealed one); reads that still meet damage
// return ErrDamaged. Nothing is repaired or made anew silently.
//
// # Order
//
// Lock order: gate, then shelf.mu. The queue's order is the disk's order; whoever needs a place in a stream joins the
// queue under the gate. The committer is the only goroutine that writes segments; sealing writes only into segments that
// get no more entries.
//
// A group that the disk had no room for is taken back whole, with all that waits behind it: nobody has seen its sequences,
// so they are used again. Any other failure is final (ErrFailed), because what failed may still be on the disk; the next
// start finds it in doubt, and the resolver aborts it.
//
// # The line
//
// Each record states a mark: up to which time its author has applied everything from every member, such that no crash of
// its database takes it away (SetSafe). The least of the members' marks that are here is the line: nothing at or below it
// can still arrive (line.go). A node states marks only once it knows the founder: then whoever it does not know was
// admitted by a record that it has not applied either, and that is above its mark. Beats carry marks where nobody writes,
// until everything is below the line, and below it for a round (KeepLine).
//
// # Departures
//
// An outcome is an entry of its own and not a key by sequence: it costs the commit no second tree. Sealed segments have
// the outcomes by sequence.
//
// Large images are not entries of segments but files: they would hold up the commits of others, pass through bbolt's map,
// and count as this process's memory; and what is abandoned is gone at once.
package journal
