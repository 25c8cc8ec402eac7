package proxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/journal"
	"pgproxy/parser"
)

// What the catalog tells of a statement that refuses a transaction block, and so has no marker.
const (
	stillRunningSQL = `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'active' AND right(query, length($1)) = $1)`
	databaseSQL     = `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`
	tablespaceSQL   = `SELECT EXISTS (SELECT FROM pg_tablespace WHERE spcname = $1)`
	// A CREATE INDEX CONCURRENTLY that broke off leaves an invalid index behind.
	validIndexSQL = `SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND indisvalid)`
	anyIndexSQL   = `SELECT to_regclass($1) IS NOT NULL`
)

// errStillRunning: the backend that was left behind is still at it.
var errStillRunning = errors.New("the statement is still running in the database")

// byCatalog decides about a statement that refuses a block by what is there now. Its own backend must be done with it.
// errUndecidable where the catalog does not tell; then an operator must (Resolver.Decide).
func (r *Resolver) byCatalog(ctx context.Context, c *pgconn.PgConn, st *journal.Statement) (committed bool, err error) {
	running, err := ask(ctx, c, stillRunningSQL, st.Replay.Text)
	if err != nil {
		return false, err
	}
	if running {
		return false, errStillRunning
	}
	script := r.srv.o.Parser.Parse(st.Replay.Text)
	if script.Unread != nil || len(script.Statements) != 1 || len(script.Statements[0].Objects) == 0 {
		return false, errUndecidable
	}
	if err := r.settings(ctx, c, st.Replay); err != nil {
		return false, err
	}
	sql, name, drop := question(script.Statements[0])
	if sql == "" {
		return false, errUndecidable
	}
	there, err := ask(ctx, c, sql, name)
	return there != drop, err
}

// question gives what to ask the catalog about a statement; drop if it happened when the answer is no.
func question(st *parser.Statement) (sql, name string, drop bool) {
	o := st.Objects[0]
	if st.Command == "CREATE INDEX" { // the table, and the index if it has a name
		if len(st.Objects) != 2 {
			return "", "", false
		}
		return validIndexSQL, qualified(parser.Name{Schema: o.Schema, Name: st.Objects[1].Name}), false
	}
	if len(st.Objects) != 1 {
		return "", "", false
	}
	switch st.Command {
	case "CREATE DATABASE", "DROP DATABASE":
		return databaseSQL, o.Name, st.Command == "DROP DATABASE"
	case "CREATE TABLESPACE", "DROP TABLESPACE":
		return tablespaceSQL, o.Name, st.Command == "DROP TABLESPACE"
	case "DROP INDEX":
		return anyIndexSQL, qualified(o), true
	}
	return "", "", false
}

// qualified writes a name as to_regclass reads it.
func qualified(n parser.Name) string {
	if n.Schema == "" {
		return quote(n.Name)
	}
	return quote(n.Schema) + "." + quote(n.Name)
}

func quote(s string) string {
	out := []byte{'"'}
	for i := range len(s) {
		if s[i] == '"' {
			out = append(out, '"')
		}
		out = append(out, s[i])
	}
	return string(append(out, '"'))
}

// settings makes names mean what they meant to the statement.
func (r *Resolver) settings(ctx context.Context, c *pgconn.PgConn, p *journal.Replay) error {
	path, ok := p.Settings["search_path"]
	if !ok {
		return nil
	}
	res := c.ExecParams(ctx, `SELECT set_config('search_path', $1, false)`, [][]byte{[]byte(path)}, nil, nil, nil).Read()
	if res.Err != nil {
		return fmt.Errorf("set search_path: %w", res.Err)
	}
	return nil
}

// ask runs a question of one text parameter whose answer is a boolean.
func ask(ctx context.Context, c *pgconn.PgConn, sql, arg string) (bool, error) {
	res := c.ExecParams(ctx, sql, [][]byte{[]byte(arg)}, []uint32{oidText}, nil, nil).Read()
	if res.Err != nil {
		return false, fmt.Errorf("look into the catalog: %w", res.Err)
	}
	if len(res.Rows) != 1 {
		return false, errors.New("look into the catalog: no answer")
	}
	return string(res.Rows[0][0]) == "t", nil
}

// Decide settles an intent that nothing but an operator can: what they found in the database. It reports whether the record
// was in doubt.
func (r *Resolver) Decide(id journal.ID, committed bool) (bool, error) {
	for _, in := range r.srv.o.Journal.InDoubt() {
		if in.ID() != id {
			continue
		}
		if committed {
			return true, in.Commit()
		}
		return true, in.Abort("decided by an operator")
	}
	return false, nil
}
