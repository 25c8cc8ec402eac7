// Package test holds what needs more than one room: real PostgreSQL servers, real proxies, real clients, and faults.
//
//	harness    servers, proxies, clusters: started, killed, waited for, checked, removed
//	faultnet   a TCP relay that cuts, blackholes, delays, and cuts in the middle of a protocol frame
//	workload   generators that keep a ledger of what they did, and the checkers that hold the tables and journals against it
//	pgtest     conversation files: the same frames to PostgreSQL and through pgproxy must give the same frames
//	capture    random scripts of every kind of write, held against the peer and against history triggers
//	cluster    scenarios: partitions, crashes, topologies, bad input, real clients
//	drivers    the drivers' own test suites, direct and through the proxy
//	bench      direct : PgBouncer : pgproxy
//	tidy       the rules of the house as a test
//
// README.md says how to run each, and how to replay a failing seed.
package test
