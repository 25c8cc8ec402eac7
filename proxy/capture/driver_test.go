package capture

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/journal"
	"pgproxy/parser"
	"pgproxy/test/harness"
)

// onEach runs f against every installed server version.
func onEach(t *testing.T, f func(t *testing.T, b *bench)) {
	for _, major := range harness.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			s := harness.Postgres(t, harness.Major(major))
			f(t, newBench(t, fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres", s.Socket, s.Port)))
		})
	}
}

// bench is a server with a Capturer on it.
type bench struct {
	t        testing.TB
	dsn      string
	capturer *Capturer
	parser   *parser.Parser
}

func newBench(t testing.TB, dsn string, change ...func(*Options)) *bench {
	o := Options{Connect: func(ctx context.Context, database string) (*pgconn.PgConn, error) {
		return pgconn.Connect(ctx, dsn+" application_name=pgproxy")
	}}
	for _, f := range change {
		f(&o)
	}
	b := &bench{t: t, dsn: dsn, capturer: New(o), parser: parser.New(parser.Options{})}
	t.Cleanup(func() { _ = b.capturer.Close() })
	return b
}

func (b *bench) connect() *pgconn.PgConn {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, b.dsn)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// client imitates a session of the proxy: it sends what the plan says and collects the effect.
type client struct {
	*bench
	conn     *pgconn.PgConn
	session  *Session
	tx, last *TxState // open, and the one before
	queries  int      // sent by capture in this session
	lastText string
}

func (b *bench) client() *client {
	c := &client{bench: b, conn: b.connect(), tx: &TxState{}}
	c.session = b.capturer.Session("postgres", c)
	return c
}

// Query is the session's Querier.
func (c *client) Query(ctx context.Context, sql string, args ...[]byte) ([][][]byte, error) {
	c.queries++
	r := c.conn.ExecParams(ctx, sql, args, nil, nil, []int16{1}).Read()
	return r.Rows, r.Err
}

// plain runs SQL past capture.
func (c *client) plain(sql string) {
	c.t.Helper()
	if _, err := c.conn.Exec(c.t.Context(), sql).ReadAll(); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
}

// run captures every statement of a script, and fails the test on any error.
func (c *client) run(sql string, args ...any) Effect {
	c.t.Helper()
	e, err := c.try(sql, args...)
	if err != nil {
		c.t.Fatalf("%s\n  sent %s\n  %v", sql, c.lastText, err)
	}
	return e
}

// try gives the last statement's effect.
func (c *client) try(sql string, args ...any) (Effect, error) {
	script := c.parser.Parse(sql)
	if script.Unread != nil {
		c.plain("BEGIN")
		e, err := c.execute(c.t.Context(), c.session.PlanUnread(sql), nil, nil)
		c.plain("COMMIT")
		c.end(err == nil)
		return e, err
	}
	var last Effect
	for _, st := range script.Statements {
		e, err := c.statement(st, args)
		if err != nil {
			return e, err
		}
		last = e
	}
	return last, nil
}

func (c *client) statement(st *parser.Statement, args []any) (Effect, error) {
	ctx := c.t.Context()
	plan, err := c.session.Plan(ctx, st)
	if err != nil {
		return Effect{}, fmt.Errorf("plan: %w", err)
	}
	c.lastText = plan.Text
	implicit := plan.Hold && c.conn.TxStatus() == 'I' && !st.RefusesBlock
	if implicit {
		c.plain("BEGIN")
	}
	effect, err := c.execute(ctx, plan, st, args)
	if implicit {
		if err != nil {
			c.plain("ROLLBACK")
		} else {
			c.plain("COMMIT")
		}
		c.end(err == nil)
	}
	return effect, err
}

func (c *client) execute(ctx context.Context, plan *Plan, st *parser.Statement, args []any) (Effect, error) {
	e := c.session.Start(plan, st)
	var params [][]byte
	for _, a := range args {
		params = append(params, []byte(fmt.Sprint(a)))
	}
	format := []int16{0}
	if plan.OwnRows {
		format = []int16{1}
	}
	text := plan.Text
	if c.conn.ParameterStatus("client_encoding") == "LATIN1" {
		text = latin1(text)
	}
	r := c.conn.ExecParams(ctx, text, params, nil, nil, format).Read()
	if r.Err != nil {
		return Effect{}, r.Err
	}
	if plan.Appended > 0 {
		for _, row := range r.Rows {
			if err := e.Row(row[len(row)-1]); err != nil {
				return Effect{}, err
			}
		}
	}
	var effect Effect
	if plan.Hold {
		var err error
		if effect, err = e.Finish(ctx, c.tx, r.CommandTag.String()); err != nil {
			return effect, err
		}
	}
	if st != nil {
		c.control(st)
	}
	return effect, nil
}

// latin1 is what the proxy does to a text for a session in that encoding; what the encoding lacks is lost.
func latin1(s string) string {
	var b []byte
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

// control follows transaction control as the proxy does.
func (c *client) control(st *parser.Statement) {
	if st.AltersSession {
		c.session.Altered()
	}
	switch st.Transaction {
	case parser.Commit:
		c.end(true)
	case parser.Rollback:
		c.end(false)
	case parser.Savepoint:
		c.tx.Savepoint(st.Name)
	case parser.Release:
		c.tx.Release(st.Name)
	case parser.RollbackTo:
		c.tx.RollbackTo(st.Name)
	}
}

func (c *client) end(committed bool) {
	c.session.EndTransaction(committed)
	c.last, c.tx = c.tx, &TxState{}
}

// copyIn runs COPY FROM STDIN.
func (c *client) copyIn(sql, data string) (Effect, error) {
	ctx := c.t.Context()
	st := c.parser.Parse(sql).Statements[0]
	plan, err := c.session.Plan(ctx, st)
	if err != nil {
		return Effect{}, err
	}
	implicit := c.conn.TxStatus() == 'I'
	if implicit {
		c.plain("BEGIN")
		defer func() { c.plain("COMMIT"); c.end(true) }()
	}
	e := c.session.Start(plan, st)
	e.Copy([]byte(data))
	tag, err := c.conn.CopyFrom(ctx, strings.NewReader(data), plan.Text)
	if err != nil {
		return Effect{}, err
	}
	return e.Finish(ctx, c.tx, tag.String())
}

// describe writes an effect's changes in one line each, sorted.
func describe(tx *TxState, e Effect) []string {
	var out []string
	for _, ch := range e.Changes {
		rel := &tx.Relations[ch.Relation]
		s := fmt.Sprintf("%c %s", ch.Op, rel.Name)
		if ch.Before != nil {
			s += " -" + show(ch.Before)
		}
		if ch.After != nil {
			s += " +" + show(ch.After)
		}
		if len(ch.Set) > 0 {
			s += " set " + names(rel, ch.Set)
		}
		if len(ch.Delta) > 0 {
			s += " delta " + names(rel, ch.Delta)
		}
		if ch.Upsert != nil {
			s += " upsert " + names(rel, ch.Upsert)
		}
		if ch.Cascade {
			s += " cascade"
		}
		out = append(out, s)
	}
	slices.SortFunc(out, cmp.Compare[string])
	return out
}

func names(rel *journal.Relation, cols []int) string {
	var n []string
	for _, i := range cols {
		n = append(n, rel.Columns[i].Name)
	}
	return strings.Join(n, ",")
}

func show(row []journal.Value) string {
	var parts []string
	for _, v := range row {
		switch v.Kind {
		case journal.ValueNull:
			parts = append(parts, "~")
		case journal.ValueText:
			parts = append(parts, v.Data)
		default:
			parts = append(parts, fmt.Sprintf("<%d:%x>", v.Kind, v.Data))
		}
	}
	return "(" + strings.Join(parts, ",") + ")"
}
