package proxy

import (
	"sync/atomic"

	"pgproxy/proxy/wire"
)

// failure is an ErrorResponse.
type failure struct {
	fields    wire.Fields
	delivered atomic.Bool // the client has it
	kind      byte        // of the message that failed
	own       bool        // it was pgproxy's own message
	ps        *prepared
	run       *run   // of the Execute that failed
	seq       uint64 // number of the message that failed
}

// Error gives the server's message and SQLSTATE.
func (f *failure) Error() string {
	return f.fields.Get(wire.FieldMessage) + " (SQLSTATE " + f.fields.Get(wire.FieldSQLState) + ")"
}

// fatal reports whether the server closed the session with it.
func (f *failure) fatal() bool {
	v := f.fields.Get(wire.FieldSeverity)
	if v == "" {
		v = f.fields.Get(wire.FieldLocalised)
	}
	return v == "FATAL" || v == "PANIC"
}
