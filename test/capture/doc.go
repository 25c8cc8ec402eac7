// Package capture writes in every way that SQL knows, and holds three accounts of it against each other.
//
//		                  ┌──> node a ──> PostgreSQL a ··· the journal ··> node b ──> PostgreSQL b
//		seed ──> script ──┤                    │                │                          │
//		                  │                    └─ 1. equal? ────┼──────────────────────────┘
//		                  │                                     └──── 2. equal? ───┐
//		                  └──> PostgreSQL with a history trigger on every table ───┘
//
//	 1. The tables of the peer are those of the node that was written to.
//	 2. For each transaction the rows in the journal, taken away and added, are those that the triggers saw.
//	 3. Each statement has the same tag or SQLSTATE through the proxy as directly.
//
// A script is made of random tables (schema.go), random values (value.go) and random statements (statement.go, more.go) from a
// seed alone; nothing in it depends on what the databases answer, so that a seed replays. No statement may depend on the
// order in which rows are met, on time, or on a sequence: the databases have to agree on what it means.
package capture
