package journal

import "fmt"

// Class is what kind of statement it is, by the names of pgAudit.
type Class uint8

// The classes. Their numbers are part of the format.
const (
	ClassUnknown  Class = 0 // the text could not be read
	ClassRead     Class = 1 // SELECT, COPY TO, VALUES, TABLE
	ClassWrite    Class = 2 // INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY FROM
	ClassFunction Class = 3 // CALL, DO, FunctionCall messages
	ClassRole     Class = 4 // GRANT, REVOKE, CREATE/ALTER/DROP ROLE, ALTER DEFAULT PRIVILEGES
	ClassDDL      Class = 5 // CREATE, ALTER, DROP of anything else
	ClassMisc     Class = 6 // transaction control, FETCH, LOCK, VACUUM, PREPARE, LISTEN...
	ClassMiscSet  Class = 7 // SET, RESET
)

// Classes lists all classes that a statement may be of.
func Classes() []Class {
	return []Class{ClassRead, ClassWrite, ClassFunction, ClassRole, ClassDDL, ClassMisc, ClassMiscSet, ClassUnknown}
}

// String gives pgAudit's name of the class.
func (c Class) String() string {
	switch c {
	case ClassUnknown:
		return "UNKNOWN"
	case ClassRead:
		return "READ"
	case ClassWrite:
		return "WRITE"
	case ClassFunction:
		return "FUNCTION"
	case ClassRole:
		return "ROLE"
	case ClassDDL:
		return "DDL"
	case ClassMisc:
		return "MISC"
	case ClassMiscSet:
		return "MISC_SET"
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// RoleSource says how Statement.Role is known.
type RoleSource uint8

// The sources of roles. Their numbers are part of the format.
const (
	RoleUnknown  RoleSource = 0 // Role is "": the session may have changed it in a way that was not seen
	RoleLogin    RoleSource = 1 // the role that logged in
	RoleSet      RoleSource = 2 // SET ROLE, or set_config('role')
	RoleSession  RoleSource = 3 // SET SESSION AUTHORIZATION
	RoleDatabase RoleSource = 4 // asked of the database; it differs from the login for a reason that was not seen
	RoleAssumed  RoleSource = 5 // the login, because nothing that was seen has changed it; the database was not asked
)

// String gives the source's name.
func (r RoleSource) String() string {
	switch r {
	case RoleLogin:
		return "login"
	case RoleSet:
		return "set_role"
	case RoleSession:
		return "session_authorization"
	case RoleDatabase:
		return "database"
	case RoleAssumed:
		return "assumed"
	}
	return "unknown"
}

// Protocol says how a statement came.
type Protocol uint8

// The protocols. Their numbers are part of the format.
const (
	ProtocolUnknown  Protocol = 0
	ProtocolSimple   Protocol = 1 // Query
	ProtocolExtended Protocol = 2 // Parse, Bind, Execute
	ProtocolCall     Protocol = 3 // FunctionCall
)

// String gives the protocol's name.
func (p Protocol) String() string {
	switch p {
	case ProtocolSimple:
		return "simple"
	case ProtocolExtended:
		return "extended"
	case ProtocolCall:
		return "function_call"
	}
	return "unknown"
}

// Redaction says what was taken out of a statement's text and parameters before they were written.
type Redaction uint8

// The reasons of redaction, as bits. They are part of the format.
const (
	RedactedSecret Redaction = 1 << iota // literals that are, or may be, secrets
	RedactedMask                         // every literal and parameter, because the statement names a masked column's table
	RedactedPolicy                       // text, parameters and context, because the audit policy leaves the statement out
)

// Object is something that a statement names, and that is not a row.
type Object struct {
	Type string // as pgAudit and pg_event_trigger_ddl_commands name it, lower case: "table", "index", "function", "role"...; "" if unknown
	Name string // "schema.name" where the schema was written or found, else the name
}

// CopyData is what a COPY FROM STDIN was given, whether or not its rows could be read.
type CopyData struct {
	Bytes    int64 // of CopyData messages' payload
	Messages int64
	SHA256   [32]byte // of the payload
}
