// Command bench measures what the proxy costs, next to PostgreSQL itself and to PgBouncer, on this machine, now:
//
//	pgbench -> PostgreSQL                          direct
//	pgbench -> PgBouncer (session pool) -> PostgreSQL
//	pgbench -> pgproxy -> PostgreSQL               with a journal that syncs, and with one that does not
//
// Runs alternate between them and are repeated; a cell is the median, and its ratio to direct. All databases sync to the disk.
// Then: how fast a peer catches up with queued transactions, next to PostgreSQL's logical replication with the same load;
// the journal's commit latency and group size; and the memory that was held.
//
//	go run ./test/bench [-seconds 3] [-rounds 3] [-queued 100000] [-only pgbench,journal,drain]
package main
