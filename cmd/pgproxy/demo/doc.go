// Package demo is `pgproxy demo`: a story told with real servers, in under a minute.
//
//	Run ── place (one temporary folder, removed at the end)
//	     ├─ postgres x3   throwaway clusters: initdb, unix socket only, no fsync
//	     ├─ proxy x3      this binary again: pgproxy serve
//	     ├─ relay x3      the network between c and the others; cut and joined
//	     └─ story         SQL through the proxies by pgx; pgproxy's own commands in between
//
// Everything it starts it stops, in reverse order, also after ^C and after a failure.
package demo
