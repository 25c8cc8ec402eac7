package parser

// Script is a query string, taken apart. Its statements' texts are slices of the original string; nothing is ever
// deparsed.
type Script struct {
	Text       string
	Statements []*Statement // empty for an empty query
	// Unread is why the text could not be read (syntax of a newer server, syntax error, too long, too deep); nil if it
	// was. An unread script has no statements and must be handled by its effect.
	Unread error
	// Guess is set where Unread is, and the text is one statement that begins like DDL: what its first words say, without
	// objects. A newer server may know more of it.
	Guess *Statement
}

// Class is what a statement means to the proxy.
type Class uint8

// The classes.
const (
	ClassRead        Class = iota // SELECT, VALUES, TABLE, SHOW, EXPLAIN without ANALYZE, FETCH, COPY TO...
	ClassWrite                    // INSERT, UPDATE, DELETE, MERGE, or a SELECT with a writing CTE
	ClassCopyFrom                 // COPY .. FROM STDIN, file or PROGRAM
	ClassTruncate                 //
	ClassDDL                      // CREATE, ALTER, DROP, COMMENT, GRANT, REVOKE, roles, SELECT INTO, CREATE TABLE AS, ...
	ClassTransaction              // see Statement.Transaction
	ClassSession                  // SET, RESET, DISCARD, LISTEN, NOTIFY, LOAD...: changes only the session
	ClassOpaque                   // DO, CALL, EXECUTE, EXPLAIN ANALYZE of a write, REFRESH MATERIALIZED VIEW: may write, the text does not say what
	ClassMaintenance              // VACUUM, ANALYZE, CHECKPOINT, REINDEX, CLUSTER, LOCK: never replicated
	ClassPrepare                  // PREPARE, DEALLOCATE
	ClassCursor                   // DECLARE, CLOSE, MOVE
)

// Transaction says what a transaction-control statement does.
type Transaction uint8

// The transaction-control statements.
const (
	NoTransaction Transaction = iota
	Begin
	Commit
	Rollback
	Savepoint
	Release
	RollbackTo
	PrepareTransaction
	CommitPrepared
	RollbackPrepared
	SetTransaction // SET TRANSACTION, SET SESSION CHARACTERISTICS
)

// Name is a possibly qualified name as written, after SQL's case folding. Schema is "" where it was not given.
type Name struct{ Schema, Name string }

// Target is a table that a statement writes to.
type Target struct {
	Name
	Command string // INSERT, UPDATE, DELETE, MERGE
	Alias   string // as the statement calls it: alias, else the name
	Only    bool
	InCTE   bool   // written by a data-modifying WITH member, not by the statement's own verb
	CTE     string // that member's name
	// Returning and SpliceAt are those of the writing statement itself: of the WITH member, where it is one.
	// SpliceAt is -1 where nothing can be spliced.
	Returning bool
	SpliceAt  int
	// Exposed: a column added to this WITH member's RETURNING may be seen elsewhere in the statement: through *, a whole
	// row, a natural join. A member without RETURNING has no columns that anything could see.
	Exposed bool
}

// Intent is what an assignment means.
type Intent uint8

// The intents of assignments.
const (
	IntentSet   Intent = iota // x = anything
	IntentDelta               // x = x + k, x = x - k, x = k + x, where k mentions no column of the target
	// IntentDeltaUnlessNull is x = coalesce(x, 0) + k: a delta in rows where x was not NULL, else as IntentSet.
	IntentDeltaUnlessNull
)

// Assignment is one column of SET, or of DO UPDATE SET.
type Assignment struct {
	Column string
	Intent Intent
}

// Statement is one statement of a script. It is shared by the cache and never changed after it was made.
type Statement struct {
	Text   string // without the semicolon and without surrounding space and comments
	Offset int    // byte offset of Text in the script
	Class  Class
	// Command is the command as a tag would name it: "UPDATE", "CREATE TABLE", "BEGIN"...
	Command     string
	Transaction Transaction
	AndChain    bool   // COMMIT/ROLLBACK AND CHAIN
	ReadOnly    bool   // BEGIN or SET TRANSACTION READ ONLY
	Name        string // savepoint, prepared statement, cursor, prepared transaction

	Targets []Target // what it writes to, its own verb's target first
	// Objects are the names a DDL statement creates, alters or drops; for TRUNCATE the tables.
	Objects     []Name
	Reads       []Name       // every relation it mentions but does not write
	Functions   []Name       // every function it calls; operators are not listed
	Assignments []Assignment // UPDATE .. SET of its own verb
	Conflict    bool         // INSERT .. ON CONFLICT
	DoUpdate    []Assignment // ON CONFLICT DO UPDATE SET; nil otherwise
	// Cursor is c of WHERE CURRENT OF c.
	Cursor string
	// Pinned are the columns that WHERE fixes by a top-level AND: col = constant or parameter.
	Pinned []string

	Returning bool // the client asked for RETURNING
	// SpliceAt is the byte offset in Text, just behind the last token, where text is inserted: " RETURNING x" or,
	// if Returning, ", x". It is -1 where nothing can be spliced.
	SpliceAt int
	// OldAlias and NewAlias are a and b of RETURNING WITH (OLD AS a, NEW AS b), PostgreSQL 18, of the statement's own verb.
	OldAlias, NewAlias string
	// MainAt is where the own verb stands in Text, behind the WITH members, so that members can be added there; -1
	// without WITH, or behind SEARCH and CYCLE.
	MainAt int
	// Inner is the statement inside PREPARE, EXPLAIN and COPY (query); its Offset counts from this statement's Text.
	Inner *Statement

	RefusesBlock bool // it cannot run inside a transaction block (wire notes, 2.5)
	// AltersSession: names or roles may resolve differently after it: SET, RESET, DISCARD, set_config(), SET ROLE,
	// CREATE TEMP, CREATE SCHEMA...
	AltersSession bool
	// AltersSchema: what the catalog says may be different after it: all DDL.
	AltersSchema bool
	Temporary    bool   // CREATE TEMP ..
	Unlogged     bool   // CREATE UNLOGGED ..
	Setting      string // SET and RESET: the setting, lower case: "search_path", "role", "session_authorization", "all"
	Local        bool   // SET LOCAL
	CopyStdin    bool
	CopyColumns  []string
	CopyFormat   string   // text, csv, binary
	CopyOptions  []Option // the others, by their names in the parenthesized form
	MaxParam     int      // highest $n
	// Secrets are byte ranges of Text that must never be written or sent: passwords, connection strings. Sorted.
	Secrets []Span
	// SecretCall: it calls what takes secrets: its parameters may be some.
	SecretCall bool
	// Password is set for CREATE/ALTER ROLE .. PASSWORD 'clear': the literal's range and its value.
	Password *Secret
	// Comment is the block comment behind the statement, where applications say who they are; "" if it may hold a secret.
	Comment string
	Claim   *Claim // what it sets pgproxy.context to
	// SessionName: DEALLOCATE ALL, DISCARD ALL, DISCARD PLANS... that drop prepared statements.
	DropsPrepared bool
}

// Option is one option of COPY: a value, or a list of columns.
type Option struct {
	Name   string
	Value  string
	Values []string
}

// Span is a half-open range of bytes.
type Span struct{ From, To int }

// Secret is a secret literal with its value.
type Secret struct {
	Span
	Value string
	Role  string // whose password
}
