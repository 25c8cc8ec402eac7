package command

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/cmd/pgproxy/admin"
)

// check is one question of doctor's: each row of sql, a name, is a finding.
type check struct {
	kind, sql       string
	problem, remedy string
}

// ours are the tables of users: neither the system's nor pgproxy's.
const ours = `n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgproxy', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'`

const (
	nameOf   = `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) `
	tables   = `FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE ` + ours
	triggers = `SELECT pg_catalog.format('%I on %I.%I', t.tgname, n.nspname, c.relname) FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid ` +
		`JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND ` + ours
	sorted = ` ORDER BY 1`
)

// serverChecks are asked once.
var serverChecks = []check{
	{"replica right", `SELECT current_user WHERE NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AND ` + replicaRight,
		"pgproxy's role may not set session_replication_role: triggers and foreign keys run again where rows of peers are applied",
		`as a superuser, on PostgreSQL 15 and newer: GRANT SET ON PARAMETER session_replication_role TO <role>`},
	{"row security", `SELECT current_user WHERE NOT (SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user)`,
		"pgproxy's role does not bypass row security: it may miss rows of tables that have it", "ALTER ROLE <role> BYPASSRLS"},
	{"timeout", `SELECT name || ' = ' || setting FROM pg_catalog.pg_settings WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout') AND setting <> '0'`,
		"it counts the time that the journal takes at COMMIT", "set it well above the time of a sync of the journal's disk, or to 0"},
}

// replicaRight is true where the right can be missing; has_parameter_privilege is there from 15 on.
const replicaRight = `CASE WHEN pg_catalog.current_setting('server_version_num')::int < 150000 THEN true ELSE
NOT pg_catalog.has_parameter_privilege('session_replication_role', 'SET') END`

// databaseChecks are asked in each database.
var databaseChecks = []check{
	{"no key", nameOf + tables + ` AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition AND NOT EXISTS (
SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
AND (i.indisprimary OR i.indisreplident))` + sorted,
		"no primary key: its rows are counted per distinct value, and UPDATE and DELETE before PostgreSQL 18 read the table whole",
		"ALTER TABLE .. ADD PRIMARY KEY"},
	{"trigger, runs on both sides", triggers + ` AND t.tgenabled = 'A'` + sorted,
		"ENABLE ALWAYS: it runs here, and again where the rows are applied", "ALTER TABLE .. ENABLE TRIGGER .., unless it changes nothing but its own row"},
	{"trigger, only runs at peers", triggers + ` AND t.tgenabled = 'R'` + sorted,
		"ENABLE REPLICA: it runs only where rows of peers are applied, and what it writes is not replicated", "ALTER TABLE .. ENABLE TRIGGER .., if its effects are wanted everywhere"},
	{"event trigger", `SELECT pg_catalog.quote_ident(evtname) FROM pg_catalog.pg_event_trigger WHERE evtenabled IN ('O', 'A')` + sorted,
		"it runs here, and again at each peer that repeats the DDL", "make sure that what it does may be done on every host"},
	{"rule", `SELECT pg_catalog.format('%I on %I.%I', r.rulename, n.nspname, c.relname) FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE r.rulename <> '_RETURN' AND r.ev_enabled <> 'D' AND ` + ours + sorted,
		"what a rule writes is found by looking into the tables afterwards, which reads them whole", "replace the rule by a trigger"},
	{"row security", nameOf + tables + ` AND c.relkind IN ('r', 'p') AND c.relrowsecurity` + sorted,
		"writes of roles that the policies bind are run again at the peers as text, which may find other rows there", "let such tables be written by roles that bypass row security, or by a function of theirs"},
	{"role that may not read", `SELECT DISTINCT pg_catalog.format('%I on %I.%I', r.rolname, n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a JOIN pg_catalog.pg_roles r ON r.oid = a.grantee WHERE ` + ours + ` AND c.relkind IN ('r', 'p')
AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE') AND NOT pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT')` + sorted,
		"the role may write the table and not read it: its writes are run again at the peers as text, which may find other rows there", "GRANT SELECT ON .. TO .."},
	{"unlogged table", nameOf + tables + ` AND c.relkind IN ('r', 'p') AND c.relpersistence = 'u'` + sorted,
		"its rows stay on this host", "ALTER TABLE .. SET LOGGED, if they are wanted everywhere"},
	{"foreign table", nameOf + tables + ` AND c.relkind = 'f'` + sorted, "its rows stay where they are, and are not replicated", "write them where they are"},
	{"large objects", `SELECT count(*) || ' large objects' FROM pg_catalog.pg_largeobject_metadata HAVING count(*) > 0`,
		"large objects stay on this host", "keep such data in bytea columns"},
	{"table of an extension", nameOf + tables + ` AND c.relkind IN ('r', 'p') AND EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
AND d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::regclass)` + sorted,
		"CREATE EXTENSION makes it on every host; rows written to it later are replicated as any others", "have the same version of the extension on every host"},
	{"extension", `SELECT pg_catalog.quote_ident(extname) || ' ' || extversion FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql'` + sorted,
		"CREATE EXTENSION is repeated at the peers, which need its files", "install the same version on every host"},
	{"publication", `SELECT pg_catalog.quote_ident(pubname) FROM pg_catalog.pg_publication WHERE puballtables` + sorted,
		"FOR ALL TABLES carries pgproxy's marker table as well", "name the tables, or make schema pgproxy at the subscriber"},
	{"server", `SELECT pg_catalog.quote_ident(subname) FROM pg_catalog.pg_subscription WHERE subenabled AND subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())` + sorted,
		"what a subscription writes does not come through pgproxy, and is not replicated", "subscribe on one host only if the others need not have it, or on each"},
}

// examine asks all checks of the server and of its databases, or of one.
func (u *upstream) examine(ctx context.Context, database string, report func(*admin.Finding) error) error {
	names, err := u.databases(ctx)
	if err != nil {
		return admin.Fail(admin.ExitUnreachable, "", "%w", err)
	}
	if database != "" {
		if !slices.Contains(names, database) {
			return admin.Fail(admin.ExitError, "", "there is no database %s that is replicated", database)
		}
		names = []string{database}
	}
	for i, name := range names {
		if i == 0 {
			if err := u.askIn(ctx, name, "", serverChecks, report); err != nil {
				return err
			}
		}
		if err := u.askIn(ctx, name, name, databaseChecks, report); err != nil {
			return err
		}
	}
	return nil
}

// askIn asks checks in a database; shown is its name in the findings.
func (u *upstream) askIn(ctx context.Context, database, shown string, checks []check, report func(*admin.Finding) error) error {
	conn, err := u.connect(ctx, database)
	if err != nil {
		return admin.Fail(admin.ExitUnreachable, "", "database %s: %w", database, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, k := range checks {
		rows, err := one(ctx, conn, k.sql)
		if err != nil {
			return fmt.Errorf("database %s: look for %s: %w", database, k.kind, err)
		}
		for _, object := range rows {
			if err := report(&admin.Finding{Database: shown, Kind: k.kind, Object: object, Problem: k.problem, Remedy: k.remedy}); err != nil {
				return err
			}
		}
	}
	return nil
}

// one gives the first column.
func one(ctx context.Context, conn *pgconn.PgConn, sql string) ([]string, error) {
	rows, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rows[0].Rows {
		out = append(out, string(r[0]))
	}
	return out, nil
}
