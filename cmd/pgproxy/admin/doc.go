// Package admin is the way from the command line to a running node: JSON over HTTP on a unix socket in the node's data
// folder, for the user who started it alone (mode 0600).
//
//	pgproxy status ──Client──> DATA-DIR/admin.sock ──Server──> Node (implemented where serve wires the rooms)
//
//	GET  /v1/status             one Status
//	GET  /v1/stats              one journal.Stats
//	GET  /v1/journal?...        stream of audit.Transaction
//	GET  /v1/journal/ORIGIN/SEQ one audit.Transaction
//	GET  /v1/conflicts?limit=   stream of audit.Conflict
//	POST /v1/audit              stream: what audit.Answer gives to the audit.Question in the body
//	POST /v1/drain?peer=&timeout=     stream of DrainProgress
//	POST /v1/verify?database=&table=  stream of VerifyProgress
//	GET  /debug/pprof/...       profiles of the process, as net/http/pprof gives them (`make profile`); they are offered here
//	                            only, because they tell what it is doing
//
// A stream is one JSON object a line, each a Line: an item, or the error or the end that closes it. A stream without such a
// last line was cut off. Streams are produced and read as they go; neither side holds one in memory.
package admin
