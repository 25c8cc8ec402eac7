package proxy

import "sync/atomic"

// Metrics are the proxy's counters since its start.
type Metrics struct {
	Clients atomic.Int64 // connections taken
	Logins  atomic.Int64 // sessions that were let in by the server
	Panics  atomic.Int64 // sessions ended by a panic: each is a bug
	Commits atomic.Int64 // transactions that went through the commit protocol
	Aborts  atomic.Int64 // of them, those that the database refused
	Doubts  atomic.Int64 // of them, those whose outcome the session did not hear
	Missing atomic.Int64 // statements recorded as CaptureMissing
	Refused atomic.Int64 // writes refused (journal full, not admitted...)
	// Unrecorded counts writes that happened although the journal did not take them (FailContinue).
	Unrecorded atomic.Int64
	Cancels    atomic.Int64 // cancel requests forwarded
	Resolved   atomic.Int64 // intents that the resolver settled
}
