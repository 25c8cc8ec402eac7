package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pgproxy/journal"
	"pgproxy/proxy/wire"
)

// Conditions of the proxy's own that a client can meet. clientError maps them to what the client sees.
var (
	errTooManyClients = errors.New("too many clients")
	errShutdown       = errors.New("shutting down")
	errLoginProtocol  = errors.New("protocol violation during login")
	errLoginTimeout   = errors.New("login took too long")
	errTextTooLarge   = errors.New("statement too large")
	errTxTooLarge     = errors.New("transaction too large")
	errTooManyNames   = errors.New("too many prepared statements")
	errMarker         = errors.New("marker could not be written")
	errCatalog        = errors.New("statement could not be prepared for capture")
	errCapture        = errors.New("effect could not be read")
	errPortalRun      = errors.New("portal cannot be run")
	errNoDatabase     = errors.New("database cannot be prepared for journaling")
	errInFailed       = errors.New("current transaction is aborted, commands ignored until end of transaction block")
	errNeedsBlock     = errors.New("needs a transaction block")
)

// notWritable wraps the reason that Options.Writable gave.
type notWritable struct{ reason error }

func (e *notWritable) Error() string { return "writes are refused: " + e.reason.Error() }
func (e *notWritable) Unwrap() error { return e.reason }

// upstreamError is a failure to reach the server.
type upstreamError struct{ err error }

func (e *upstreamError) Error() string { return "connect to the database: " + e.err.Error() }
func (e *upstreamError) Unwrap() error { return e.err }

// clientError gives the fields of the ErrorResponse for one of the proxy's own conditions. A server's own failure is
// passed on as it is.
func clientError(err error, severity string) wire.Fields {
	var f *failure
	if errors.As(err, &f) && !f.own {
		return f.fields
	}
	code, hint := sqlstate(err)
	fields := wire.Fields{
		{Code: wire.FieldLocalised, Value: severity},
		{Code: wire.FieldSeverity, Value: severity},
		{Code: wire.FieldSQLState, Value: code},
		{Code: wire.FieldMessage, Value: "pgproxy: " + err.Error()},
	}
	var plain *plainError
	if errors.As(err, &plain) || errors.Is(err, errShutdown) {
		fields[3].Value = plainMessage(err)
	}
	if plain != nil && plain.routine != "" {
		fields = append(fields, wire.Field{Code: wire.FieldFile, Value: plain.file}, wire.Field{Code: wire.FieldRoutine, Value: plain.routine})
	}
	if hint != "" {
		fields = append(fields, wire.Field{Code: wire.FieldHint, Value: hint})
	}
	return fields
}

// plainError is an error whose text is PostgreSQL's own.
type plainError struct {
	text string
	kind error
	// file and routine are where PostgreSQL reports it; tests of drivers and logs look at them.
	file, routine string
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.kind }

func plainMessage(err error) string {
	var p *plainError
	if errors.As(err, &p) {
		return p.text
	}
	if errors.Is(err, errShutdown) {
		return "terminating connection due to administrator command"
	}
	return err.Error()
}

// sqlstate gives the SQLSTATE and the hint of a condition.
func sqlstate(err error) (code, hint string) {
	var (
		nw *notWritable
		up *upstreamError
		no *unreplicable
	)
	switch {
	case errors.As(err, &no):
		return "0A000", strings.TrimSpace(no.wayOut + " \"unreplicable: record\" lets such statements run on this host alone; \"pgproxy explain\" says more.")
	case errors.Is(err, journal.ErrFull):
		return "53100", "Reads go on. Writes are taken again once the journal has room: bring the peers back, free disk space, or raise the journal's budget."
	case errors.Is(err, journal.ErrFailed):
		return "58030", "The journal's disk reported an error. Restart pgproxy; it checks the journal and goes on."
	case errors.As(err, &nw):
		return "25006", "Reads go on. Writes are taken once this node is a member of its cluster; see \"pgproxy status\"."
	case errors.Is(err, errTooManyClients):
		return "53300", ""
	case errors.Is(err, errShutdown):
		return "57P01", ""
	case errors.Is(err, errLoginProtocol):
		return "08P01", ""
	case errors.Is(err, errNeedsTLS):
		return "28000", "Connect with sslmode=require, or better verify-full."
	case errors.Is(err, errBinding):
		return "28000", "Connect with channel_binding=disable; or let pgproxy reach its server without TLS, by a unix socket or sslmode=disable in " +
			"--upstream; or give pgproxy the server's own certificate and key (--tls-cert, --tls-key)."
	case errors.Is(err, errLoginTimeout):
		return "08P01", ""
	case errors.Is(err, errTextTooLarge):
		return "54000", "A statement that may write must fit in memory to be recorded. Use COPY, or split it."
	case errors.Is(err, errTxTooLarge):
		return "54000", "Split the transaction, or raise the limit of row images per transaction."
	case errors.Is(err, errTooManyNames):
		return "54000", ""
	case errors.Is(err, errMarker), errors.Is(err, errCatalog), errors.Is(err, errCapture):
		return "40001", "Nothing was committed. Try the transaction again."
	case errors.Is(err, errPortalRun):
		return "55000", ""
	case errors.Is(err, errInFailed):
		return "25P02", ""
	case errors.Is(err, errNeedsBlock):
		return "25P01", ""
	case errors.Is(err, errNoDatabase):
		return "58000", "pgproxy's own role must be able to create schema \"pgproxy\" in this database; see pgproxy's log."
	case errors.As(err, &up):
		return "08006", "Is the upstream server running, and is --upstream right?"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "57014", ""
	}
	return "XX000", ""
}

// wrapf makes an own condition with details.
func wrapf(kind error, format string, args ...any) error {
	return fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
}
