package admin

import (
	"errors"
	"fmt"

	"pgproxy/audit"
	"pgproxy/journal"
)

// The exit codes of every command.
const (
	ExitOK          = 0
	ExitError       = 1
	ExitUsage       = 2
	ExitDifference  = 3 // verify found one, drain did not finish, check found damage
	ExitUnreachable = 4
	ExitRefused     = 5 // by a safety check
)

// Error is an error with what a person needs to act on it; it travels over the socket.
type Error struct {
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // the next command, or what to change
	Code    int    `json:"code"`           // exit code
	Err     error  `json:"-"`
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause, on the side where it happened.
func (e *Error) Unwrap() error { return e.Err }

// Fail makes an error for a person.
func Fail(code int, hint string, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Message: err.Error(), Hint: hint, Code: code, Err: errors.Unwrap(err)}
}

// AsError gives err as an Error: itself if it is one somewhere in its chain, else with exit code 1.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		if e.Message != err.Error() {
			return &Error{Message: err.Error(), Hint: e.Hint, Code: e.Code, Err: err}
		}
		return e
	}
	return &Error{Message: err.Error(), Code: ExitError, Err: err}
}

// The exit codes of the audit commands: others than those above, because what they are asked is another thing.
const (
	AuditError    = 1 // usage, or input and output
	AuditTampered = 2 // the journal is not as it was written
	AuditGap      = 3 // something is missing, or could not be done whole
	AuditNothing  = 4 // nothing matched
)

// AuditFailure gives an error of an audit question with the exit code of the audit commands.
func AuditFailure(err error) *Error {
	e := *AsError(err)
	switch {
	case errors.Is(err, journal.ErrNotFound):
		e.Code = AuditNothing
	case errors.Is(err, journal.ErrDamaged):
		e.Code, e.Hint = AuditTampered, "pgproxy journal check says what is damaged (of a stopped node)"
	case errors.Is(err, audit.ErrQuestion):
		e.Code = AuditError
	}
	return &e
}

// ErrNotRunning is returned when no node listens on the data folder's admin socket.
var ErrNotRunning = errors.New("node is not running")
