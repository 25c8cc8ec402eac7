// Package cluster holds the scenarios: real databases, real proxies, real clients, and what can happen to them.
//
//	load      pgbench on three nodes at once, a link down in the middle
//	crash     seeded rounds: kill -9 at every fault point, of backends and postmasters, cuts in the middle of COMMIT
//	partition writes on all sides of a cut link; topologies; a node that dies for good
//	conflict  a disjoint edit, a delta, a clash
//	schema    DDL, TRUNCATE, sequences; a record that cannot be applied
//	clients   psql and pgbench, through the proxy as directly
//	bad       bad input: each with its message and exit code
//
// After every scenario the journals are checked whole (harness), and the tables of all nodes are held against each other and
// against what the clients were told (workload).
package cluster
