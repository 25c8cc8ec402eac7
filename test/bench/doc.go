// Command bench measures what the proxy costs, next to PostgreSQL itself and to PgBouncer, on this machine, now:
//
//	pgbench -> PostgreSQL                          direct
//	pgbench -> PgBouncer (session pool) -> PostgreSQL
//	pgbench -> pgproxy -> PostgreSQL               as it is; with pgbench's tables excluded and their writes not audited, so
//	                                               that it only relays; and with a journal that does not sync
//
// Runs alternate between them and are repeated; a cell is the median with the least and the greatest, its ratios to direct and
// to PgBouncer are taken in each round, and the processor time of what stands in between is told beside it, which a busy
// machine disturbs least. All databases sync to the disk. Then: the memory of idle connections; the journal's commit latency and
// group size; how fast a peer catches up with queued transactions, next to PostgreSQL's logical replication with the same load.
//
//	go run ./test/bench [-quick] [-seconds 3] [-rounds 3] [-queued 100000] [-only pgbench,idle,journal,drain]
//	go run ./test/bench -only profile      CPU, heap and allocation profiles of a proxy under each load, in bin/profiles
package main
