// Package faultnet is a TCP relay that does to a connection what networks do, on request:
//
//	client ---> Relay.Addr --[ pump: read, scan, rule?, delay, gate ]--> target
//	       <---            <-[ pump                                 ]---
//
// Cut closes every connection and refuses new ones; Hold keeps them open and lets nothing through (a black hole, in one
// direction or both); Delay adds latency; Rate limits bytes; a Rule cuts or holds after so many bytes of a PostgreSQL frame
// that matches ("after byte 3 of COMMIT"). Heal ends all of it. It runs in user space, needs no rights, and lives inside the
// test process.
package faultnet
