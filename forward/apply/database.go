package apply

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// schemaSQL makes what apply keeps in each database. "attempt" is the statement outside a transaction block that was
// begun last; "keyless" remembers how many equal rows there were before the first change of a table without key, from
// the moment on when that cannot be reckoned back any more; "truncated" has the TRUNCATEs that folds must know of; "finding" what
// the rules beyond one row found about transactions. Of the own node "applied" says up to where its records
// were searched for those.
const schemaSQL = `BEGIN;
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('pgproxy.schema'));
CREATE SCHEMA IF NOT EXISTS pgproxy;
CREATE TABLE IF NOT EXISTS pgproxy.applied (origin uuid PRIMARY KEY, seq bigint NOT NULL, attempt bigint NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS pgproxy.truncated (name text, origin uuid, seq bigint, PRIMARY KEY (name, origin, seq));
CREATE TABLE IF NOT EXISTS pgproxy.finding (origin uuid, seq bigint, finding text NOT NULL, PRIMARY KEY (origin, seq));
CREATE TABLE IF NOT EXISTS pgproxy.keyless (row_key bytea PRIMARY KEY, base bigint NOT NULL);
COMMIT`

// pinned are the settings that every value and statement of apply's depends on.
var pinned = map[string]string{
	"datestyle": "ISO, MDY", "intervalstyle": "postgres", "timezone": "UTC", "bytea_output": "hex",
	"extra_float_digits": "1", "search_path": "pg_catalog", "statement_timeout": "0", "row_security": "off",
	"standard_conforming_strings": "on", "idle_in_transaction_session_timeout": "0", "xmloption": "content",
	"default_transaction_isolation": "read committed", "default_transaction_read_only": "off",
}

// database is one database of the upstream server, with apply's connection to it.
type database struct {
	name      string
	s         *session // nil: not connected
	conn      *pgconn.PgConn
	replica   bool              // session_replication_role could be set
	settings  map[string]string // pinned, and what depends on the server
	tables    map[tableName]*table
	altered   map[tableName][]journal.ID    // statement records by table, once looked for
	endings   map[string][]*conflict.Change // TRUNCATEs by schema.table
	judge     *conflict.Judge               // of the rules beyond one row, with what is in pgproxy.finding
	endCount  int
	positions journal.Vector // applied in this database, as committed
	kept      journal.Vector // the positions as they were last synced
	dirty     bool           // there may be commits that were not
	histories histories
	open      *commit // the COMMIT whose answer has not been read
	wary      int     // so many records are applied one by one, after a batch failed at COMMIT
}

type tableName struct{ schema, name string }

// commit is a COMMIT on its way.
type commit struct {
	flight  *flight
	records []journal.ID
}

// connect opens the connection where there is none, and reads the positions.
func (d *database) connect(ctx context.Context, o *Options) error {
	if d.s != nil && !d.s.broken {
		return nil
	}
	d.disconnect()
	conn, err := o.Connect(ctx, d.name)
	if err != nil {
		return fmt.Errorf("connect to database %s: %w", d.name, err)
	}
	d.conn, d.s = conn, newSession(conn)
	if err := d.pin(ctx); err != nil {
		d.disconnect()
		return fmt.Errorf("set up the connection to database %s: %w", d.name, err)
	}
	if err := d.s.once(ctx, schemaSQL); err != nil {
		d.disconnect()
		return fmt.Errorf("make schema pgproxy in database %s: %w", d.name, err)
	}
	d.s.watch(ctx)
	if err := d.loadPositions(); err != nil {
		d.disconnect()
		return err
	}
	d.tables = map[tableName]*table{}
	if err := d.loadEndings(o.Journal); err != nil {
		d.disconnect()
		return err
	}
	if err := d.loadFindings(o.Journal); err != nil {
		d.disconnect()
		return err
	}
	return nil
}

// disconnect closes the connection. What a COMMIT on its way did is unknown: the positions are read at the next connect.
func (d *database) disconnect() {
	if d.s != nil {
		d.s.close()
	}
	d.s, d.conn, d.tables, d.histories = nil, nil, nil, histories{}
}

// pin sets what may be set; synchronous_commit is off because the position moves in the transaction of the rows: what a
// crash takes away is applied again.
func (d *database) pin(ctx context.Context) error {
	d.settings = maps.Clone(pinned)
	rows, err := d.s.query("SELECT setting FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'")
	if err != nil {
		return err
	}
	limit := 500 * time.Millisecond
	if len(rows) == 1 {
		if ms, err := strconv.Atoi(string(rows[0][0])); err == nil {
			limit = max(time.Duration(ms)*time.Millisecond/2, 10*time.Millisecond)
		}
	}
	d.settings["lock_timeout"] = strconv.FormatInt(limit.Milliseconds(), 10)
	for _, n := range slices.Sorted(maps.Keys(d.settings)) {
		if _, err := d.s.query("SELECT pg_catalog.set_config($1::text, $2::text, false)", journal.Text(n), journal.Text(d.settings[n])); err != nil {
			return fmt.Errorf("set %s: %w", n, err)
		}
	}
	if err := d.s.once(ctx, "SET client_encoding = 'UTF8'; SET application_name = 'pgproxy'; SET synchronous_commit = off"); err != nil {
		return err
	}
	d.replica = d.s.once(ctx, "SET session_replication_role = replica") == nil
	if d.replica {
		d.settings["session_replication_role"] = "replica"
	}
	if d.s.broken {
		return errBroken
	}
	return nil
}

func (d *database) loadPositions() error {
	rows, err := d.s.query("SELECT origin::text, seq::text FROM pgproxy.applied")
	if err != nil {
		return fmt.Errorf("read the applied positions of database %s: %w", d.name, err)
	}
	d.positions = journal.Vector{}
	for _, r := range rows {
		id, err := parseID(r[0], r[1])
		if err != nil {
			return fmt.Errorf("read the applied positions of database %s: %w", d.name, err)
		}
		d.positions[id.Origin] = id.Seq
	}
	return nil
}

const moveSQL = `INSERT INTO pgproxy.applied AS a (origin, seq) VALUES ($1::uuid, $2::int8)
ON CONFLICT (origin) DO UPDATE SET seq = excluded.seq WHERE a.seq < excluded.seq`

// move adds the step that moves an origin's position.
func move(f *flight, id journal.ID) {
	f.add(moveSQL, journal.Text(hex.EncodeToString(id.Origin[:])), journal.Text(strconv.FormatUint(id.Seq, 10)))
}

// table gives a table's catalog entry. A table that is not here is a refusal.
func (d *database) table(rel *journal.Relation) (*table, error) {
	n := tableName{rel.Schema, rel.Name}
	if t := d.tables[n]; t != nil {
		return t, nil
	}
	t, err := loadTable(d.s, rel.Schema, rel.Name)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, &refusal{state: "42P01", table: rel.Schema + "." + rel.Name,
			reason: fmt.Sprintf("table %s.%s does not exist here", rel.Schema, rel.Name)}
	}
	d.tables[n] = t
	return t, nil
}

// forget drops what is known of the schema.
func (d *database) forget() error {
	d.tables, d.altered = map[tableName]*table{}, nil
	if d.s == nil {
		return nil
	}
	return d.s.forget()
}
