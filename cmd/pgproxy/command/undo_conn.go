package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
)

// undoConn runs an undo as one transaction through the proxy.
type undoConn struct {
	conn *pgconn.PgConn
	// taking gives, for a table, the conditions under which others' rows would be deleted or changed along by foreign keys.
	taking map[string][]string
}

func openUndo(ctx context.Context, dsn, database string) (*undoConn, error) {
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, auditFail(admin.AuditError, "", "--connect: %w", err)
	}
	config.Database = database
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, auditFail(admin.AuditError, "give --connect 'user=... password=...'", "log in at the proxy: %w", err)
	}
	u := &undoConn{conn: conn, taking: map[string][]string{}}
	if _, err := u.exec(ctx, "BEGIN"); err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

// close ends the connection; what was not committed is rolled back by that.
func (u *undoConn) close() {
	if u != nil {
		_ = u.conn.Close(context.Background()) // nothing depends on it any more
	}
}

func (u *undoConn) exec(ctx context.Context, sql string) ([]*pgconn.Result, error) {
	r, err := u.conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, auditFail(admin.AuditGap, "", "nothing is undone: %s: %w", audit.Cut(audit.Line(sql), 200), unwrapConnect(err))
	}
	return r, nil
}

// run runs one statement and insists on its answer.
func (u *undoConn) run(ctx context.Context, s *audit.UndoStatement, force bool) error {
	if strings.HasPrefix(s.Expect, "DELETE") && !force {
		if err := u.takesNothing(ctx, s); err != nil {
			return err
		}
	}
	r, err := u.exec(ctx, s.SQL)
	if err != nil {
		return err
	}
	if tag := r[len(r)-1].CommandTag.String(); tag != s.Expect {
		return auditFail(admin.AuditGap, "look at the row with pgproxy audit history; --mode force overwrites it",
			"nothing is undone: the row is not as it was left: %s answered %s, not %s", audit.Cut(audit.Line(s.SQL), 200), tag, s.Expect)
	}
	return nil
}

// takesNothing refuses to delete a row if a foreign key would delete, or change, others' rows along.
func (u *undoConn) takesNothing(ctx context.Context, s *audit.UndoStatement) error {
	table := audit.Ident(s.Schema) + "." + audit.Ident(s.Table)
	if _, known := u.taking[table]; !known {
		r, err := u.exec(ctx, takingQuery(table))
		if err != nil {
			return err
		}
		u.taking[table] = []string{}
		for _, row := range r[0].Rows {
			u.taking[table] = append(u.taking[table], string(row[0]))
		}
	}
	for _, rows := range u.taking[table] {
		r, err := u.exec(ctx, rows+" FROM "+table+" WHERE "+s.Where+") LIMIT 1")
		if err != nil {
			return err
		}
		if len(r[0].Rows) > 0 {
			return auditFail(admin.AuditGap, "undo what wrote them too, or use --mode force",
				"nothing is undone: the foreign key of table %s would take rows along that came later, with %s", r[0].Rows[0][0], audit.Cut(audit.Line(s.SQL), 200))
		}
	}
	return nil
}

// takingQuery gives, for each foreign key that points at a table and deletes or changes what refers to it, the beginning of a query
// for its rows.
func takingQuery(table string) string {
	return fmt.Sprintf(`SELECT format('SELECT %%L FROM %%s WHERE (%%s) IN (SELECT %%s', c.conrelid::regclass, c.conrelid::regclass, `+
		`(SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.n) FROM unnest(c.conkey) WITH ORDINALITY k(num, n) `+
		`JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num), `+
		`(SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.n) FROM unnest(c.confkey) WITH ORDINALITY k(num, n) `+
		`JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.num)) `+
		`FROM pg_catalog.pg_constraint c WHERE c.contype = 'f' AND c.confdeltype IN ('c', 'n', 'd') AND c.confrelid = '%s'::regclass`,
		strings.ReplaceAll(table, "'", "''"))
}

func (u *undoConn) commit(ctx context.Context) error {
	r, err := u.exec(ctx, "COMMIT")
	if err != nil {
		return err
	}
	if tag := r[0].CommandTag.String(); tag != "COMMIT" {
		return auditFail(admin.AuditGap, "", "nothing is undone: COMMIT answered %s", tag)
	}
	return nil
}
