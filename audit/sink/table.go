package sink

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/audit"
)

// Names of what Table makes in its database.
const (
	ActionsTable  = "audit.logged_actions"
	PositionTable = "audit.logged_actions_position"
)

// Table is the classic table audit.logged_actions with the columns that it lacked. The position moves in the transaction of the
// lines. Several nodes may write to one table: sink_node says who did.
type Table struct {
	Connect func(ctx context.Context) (*pgconn.PgConn, error)
	Node    string             // whose journal it is: its id
	Fault   func(point string) // fault points of tests; nil: none

	conn *pgconn.PgConn
	last uint64
}

// Name implements Output.
func (t *Table) Name() string { return "table " + ActionsTable }

// Resume implements Output.
func (t *Table) Resume(ctx context.Context) (uint64, error) {
	if err := t.Close(); err != nil {
		return 0, err
	}
	conn, err := t.Connect(ctx)
	if err != nil {
		return 0, err
	}
	t.conn = conn
	if err := t.exec(ctx, tableDDL()); err != nil {
		return 0, fmt.Errorf("make %s: %w", ActionsTable, err)
	}
	insert := "INSERT INTO " + PositionTable + " VALUES (" + text(t.Node) + ", 0) ON CONFLICT DO NOTHING"
	if err := t.exec(ctx, insert); err != nil {
		return 0, err
	}
	t.last, err = t.position(ctx, "")
	return t.last, err
}

func (t *Table) exec(ctx context.Context, sql string) error {
	_, err := t.conn.Exec(ctx, sql).ReadAll()
	return err
}

func (t *Table) position(ctx context.Context, lock string) (uint64, error) {
	r, err := t.conn.Exec(ctx, "SELECT position FROM "+PositionTable+" WHERE sink_node = "+text(t.Node)+lock).ReadAll()
	if err != nil {
		return 0, err
	}
	if len(r[0].Rows) != 1 {
		return 0, fmt.Errorf("%s has no row for this node", PositionTable)
	}
	return strconv.ParseUint(string(r[0].Rows[0][0]), 10, 64)
}

// tableDDL makes the tables; an older audit.logged_actions gets the columns that it lacks.
func tableDDL() string {
	var b strings.Builder
	b.WriteString("SET client_min_messages = warning; CREATE SCHEMA IF NOT EXISTS audit; CREATE TABLE IF NOT EXISTS " + ActionsTable + " (")
	for i, c := range audit.ActionColumns() {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(c[0] + " " + c[1])
	}
	b.WriteString(", sink_node text);\n")
	for _, c := range append(audit.ActionColumns(), [2]string{"sink_node", "text"}) {
		fmt.Fprintf(&b, "ALTER TABLE %s ADD COLUMN IF NOT EXISTS %s %s;\n", ActionsTable, c[0], c[1])
	}
	b.WriteString("CREATE UNIQUE INDEX IF NOT EXISTS logged_actions_sink ON " + ActionsTable + " (sink_node, position, number);\n")
	b.WriteString("CREATE TABLE IF NOT EXISTS " + PositionTable + " (sink_node text PRIMARY KEY, position bigint NOT NULL)")
	return b.String()
}

// Put implements Output.
func (t *Table) Put(ctx context.Context, entries []audit.Transaction) error {
	if err := t.exec(ctx, "BEGIN"); err != nil {
		return err
	}
	at, err := t.position(ctx, " FOR UPDATE")
	if err != nil {
		return err
	}
	if at != t.last {
		return fmt.Errorf("somebody else has moved its position from %d to %d", t.last, at)
	}
	var names []string
	for _, c := range audit.ActionColumns() {
		names = append(names, c[0])
	}
	rows := &bytes.Buffer{}
	for i := range entries {
		for _, a := range audit.Actions(&entries[i]) {
			copyLine(rows, append(a.Fields(), &t.Node))
		}
	}
	if _, err := t.conn.CopyFrom(ctx, rows, "COPY "+ActionsTable+" ("+strings.Join(names, ", ")+", sink_node) FROM STDIN"); err != nil {
		return err
	}
	t.fault("sink.copied")
	last := entries[len(entries)-1].Position
	if err := t.exec(ctx, fmt.Sprintf("UPDATE %s SET position = %d WHERE sink_node = %s; COMMIT", PositionTable, last, text(t.Node))); err != nil {
		return err
	}
	t.last = last
	return nil
}

func (t *Table) fault(point string) {
	if t.Fault != nil {
		t.Fault(point)
	}
}

// copyLine writes a line in COPY's text form. A zero byte, which no text of PostgreSQL can hold, is shown.
func copyLine(b *bytes.Buffer, fields []*string) {
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\x00", `\\0`)
	for i, f := range fields {
		if i > 0 {
			b.WriteByte('\t')
		}
		if f == nil {
			b.WriteString(`\N`)
			continue
		}
		b.WriteString(escape.Replace(strings.ToValidUTF8(*f, "\ufffd")))
	}
	b.WriteByte('\n')
}

func text(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Close implements Output.
func (t *Table) Close() error {
	if t.conn == nil {
		return nil
	}
	c := t.conn
	t.conn = nil
	return c.Close(context.Background())
}
