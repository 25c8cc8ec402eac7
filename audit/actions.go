package audit

import (
	"encoding/csv"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"pgproxy/journal"
)

// Action is one line of the classic table audit.logged_actions: a change of a row, a statement without rows, or an event; with the
// fields that the classic table lacked.
type Action struct {
	SchemaName string
	TableName  string
	UserName   string
	Tstamp     time.Time
	Action     string          // I, U, D; T truncate; S a statement without rows; E an event
	Original   json.RawMessage // the row before, by column; nil: there was none, or it was not captured
	New        json.RawMessage
	Query      string

	Position    uint64 // with Number: what the line is known by at this node
	Number      int
	Kind        string
	Node        string
	Seq         uint64
	HLC         string
	Transaction string
	Database    string
	Role        string
	Application string
	Client      string
	Session     string
	XID         uint64
	Outcome     string // of the transaction
	RolledBack  bool   // the statement alone
	Class       string
	Command     string
	Key         json.RawMessage
	Changed     []string // columns
	Params      json.RawMessage
	Rows        *int64
	SQLState    string
	Message     string
	DurationUS  int64
	Capture     string
	Context     string
	UndoOf      []string
	Event       json.RawMessage
}

// ActionColumns are the columns of Action.Fields, as SQL names them with their types: the classic ones first.
func ActionColumns() [][2]string {
	return [][2]string{{"schema_name", "text"}, {"table_name", "text"}, {"user_name", "text"}, {"action_tstamp", "timestamptz"}, {"action", "text"},
		{"original_data", "jsonb"}, {"new_data", "jsonb"}, {"query", "text"},
		{"position", "bigint"}, {"number", "integer"}, {"kind", "text"}, {"node", "text"}, {"seq", "bigint"}, {"hlc", "text"}, {"transaction", "text"},
		{"database_name", "text"}, {"role_name", "text"}, {"application_name", "text"}, {"client", "text"}, {"session_id", "text"}, {"xid", "bigint"},
		{"outcome", "text"}, {"rolled_back", "boolean"}, {"class", "text"}, {"command", "text"}, {"row_key", "jsonb"}, {"changed_fields", "jsonb"},
		{"params", "jsonb"}, {"rows_affected", "bigint"}, {"sqlstate", "text"}, {"message", "text"}, {"duration_us", "bigint"}, {"capture", "text"},
		{"context", "text"}, {"undo_of", "jsonb"}, {"event", "jsonb"}}
}

// Fields gives the line's values as PostgreSQL reads them; nil is NULL.
func (a *Action) Fields() []*string {
	text := func(s string) *string { return &s }
	some := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	number := func(n uint64) *string {
		if n == 0 {
			return nil
		}
		return text(strconv.FormatUint(n, 10))
	}
	object := func(j json.RawMessage) *string {
		if j == nil {
			return nil
		}
		return text(string(j))
	}
	list := func(l []string) *string {
		if l == nil {
			return nil
		}
		return text(string(raw(l)))
	}
	var rows *string
	if a.Rows != nil {
		rows = text(strconv.FormatInt(*a.Rows, 10))
	}
	return []*string{some(a.SchemaName), some(a.TableName), text(a.UserName), text(a.Tstamp.UTC().Format("2006-01-02 15:04:05.999999Z07:00")), text(a.Action),
		object(a.Original), object(a.New), some(a.Query),
		text(strconv.FormatUint(a.Position, 10)), text(strconv.Itoa(a.Number)), text(a.Kind), text(a.Node), number(a.Seq), text(a.HLC), some(a.Transaction),
		text(a.Database), some(a.Role), text(a.Application), text(a.Client), some(a.Session), number(a.XID), some(a.Outcome),
		text(strconv.FormatBool(a.RolledBack)), some(a.Class), some(a.Command), object(a.Key), list(a.Changed), object(a.Params), rows, some(a.SQLState),
		some(a.Message), text(strconv.FormatInt(a.DurationUS, 10)), some(a.Capture), some(a.Context), list(a.UndoOf), object(a.Event)}
}

// Actions gives the lines of a transaction or event, in order.
func Actions(t *Transaction) []Action {
	base := Action{UserName: t.User, Tstamp: t.Time, Position: t.Position, Kind: t.Kind, Node: t.Origin, Seq: t.Seq, HLC: t.HLC, Database: t.Database,
		Application: t.Application, Client: t.Client, Session: t.SessionID, XID: t.XID, Outcome: t.Outcome}
	if t.Seq != 0 {
		base.Transaction = t.ID()
	}
	if len(t.Statements) == 0 {
		base.Action, base.Number = "E", 1
		switch {
		case t.Event != nil:
			base.Event = raw(t.Event)
		case t.Member != nil:
			base.Event = raw(t.Member)
		}
		return []Action{base}
	}
	var out []Action
	for i := range t.Statements {
		for _, a := range statementActions(base, &t.Statements[i]) {
			a.Number = len(out) + 1
			out = append(out, a)
		}
	}
	return out
}

func statementActions(a Action, s *Statement) []Action {
	a.Tstamp, a.Query, a.Role, a.RolledBack, a.Class, a.Command = s.Started, s.Query, s.Role, s.RolledBack, s.Class, s.Command
	a.Params, a.Rows, a.SQLState, a.Message, a.DurationUS = raw(s.Params), s.RowsAffected, s.SQLState, s.Message, s.DurationUS
	a.Capture, a.Context, a.UndoOf = s.Capture, s.Context, s.UndoOf
	var out []Action
	if len(s.Rows) == 0 {
		a.Action = "S"
		if strings.HasPrefix(s.Command, "TRUNCATE") {
			a.Action = "T"
		}
		tables := s.Tables
		if len(tables) == 0 {
			tables = []string{""}
		}
		for _, table := range tables {
			var ok bool
			if a.SchemaName, a.TableName, ok = strings.Cut(table, "."); !ok {
				a.SchemaName, a.TableName = "", table
			}
			out = append(out, a)
		}
		return out
	}
	for i := range s.Rows {
		r := &s.Rows[i]
		a.SchemaName, a.TableName, a.Action, a.Original, a.New = r.Schema, r.Table, r.Op, nil, nil
		a.Key, a.Changed = raw(r.Key), changedColumns(r)
		if r.Before != nil {
			a.Original = raw(r.Before)
		}
		if r.After != nil {
			a.New = raw(r.After)
		}
		out = append(out, a)
	}
	return out
}

// changedColumns lists the columns that an update changed; nil if that cannot be told.
func changedColumns(r *Row) []string {
	if r.Op != "U" || r.Before == nil || r.After == nil {
		return nil
	}
	old := map[string]Value{}
	for _, c := range *r.Before {
		old[c.Name] = c.Value
	}
	out := []string{}
	for _, c := range *r.After {
		if before, ok := old[c.Name]; !ok || before != c.Value && c.Value.Kind != journal.ValueUnchanged {
			out = append(out, c.Name)
		}
	}
	return out
}

// actionsCSV writes actions as CSV in which NULL is nothing between the commas; what is there but empty cannot be NULL in its
// column.
type actionsCSV struct {
	w    *csv.Writer
	head bool
}

func (c *actionsCSV) Write(t *Transaction) error {
	if err := c.begin(); err != nil {
		return err
	}
	for _, a := range Actions(t) {
		fields := a.Fields()
		line := make([]string, len(fields))
		for i, f := range fields {
			if f != nil {
				line[i] = Harmless(*f)
			}
		}
		if err := c.w.Write(line); err != nil {
			return err
		}
	}
	return nil
}

func (c *actionsCSV) begin() error {
	if c.head {
		return nil
	}
	c.head = true
	var names []string
	for _, col := range ActionColumns() {
		names = append(names, col[0])
	}
	return c.w.Write(names)
}

func (c *actionsCSV) Flush() error {
	c.w.Flush()
	return c.w.Error()
}

func (c *actionsCSV) End() error {
	if err := c.begin(); err != nil {
		return err
	}
	return c.Flush()
}
