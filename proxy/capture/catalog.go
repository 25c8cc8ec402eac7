package capture

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
)

// catalog is a cache of what a database's system catalogs say. Every method that may have to look something up takes the
// Querier to ask: pgproxy's own connection, or the client's session when its open transaction has changed the schema
// (then the catalog belongs to that session alone). Safe for concurrent use.
type catalog struct {
	mu        sync.Mutex
	epoch     uint64 // moved by every invalidation
	altering  int    // open transactions that have changed the schema
	version   int    // server_version_num; 0 unknown
	names     map[string][]located
	relations map[uint32]*relation
	functions map[string][]function
	grants    map[grantee]grant
}

// located is a relation of some name in some schema.
type located struct {
	Schema string `json:"schema"`
	OID    uint32 `json:"oid"`
	Kind   string `json:"kind"`
}

// function is all overloads of a name in one schema taken together.
type function struct {
	Schema   string `json:"schema"`
	Volatile bool   `json:"volatile"`
}

// grantee is a role's relation to a table.
type grantee struct{ role, table uint32 }

// grant is what a role may do with a table, as far as capture depends on it.
type grant struct {
	Select bool `json:"select"` // the table whole, system columns included
	Hidden bool `json:"hidden"` // row security hides rows from it
	Owner  bool `json:"owner"`
}

func newCatalog() *catalog {
	c := &catalog{}
	c.forget()
	return c
}

// forget drops everything; the caller holds mu or is the only one.
func (c *catalog) forget() {
	c.names = map[string][]located{}
	c.relations = map[uint32]*relation{}
	c.functions = map[string][]function{}
	c.grants = map[grantee]grant{}
}

func (c *catalog) invalidate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.forget()
}

// alter counts transactions that have changed the schema and are still open: what is loaded meanwhile may be old as soon
// as it is used.
func (c *catalog) alter(delta int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.altering += delta
	c.epoch++
	c.forget()
}

// state gives the epoch, and whether somebody is changing the schema right now.
func (c *catalog) state() (epoch uint64, altering bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch, c.altering > 0
}

// cached reads through one of the maps: load runs without the lock, and its result is kept only if nothing was
// invalidated meanwhile.
func cached[K comparable, V any](c *catalog, m func() map[K]V, key K, load func() (V, error)) (V, error) {
	c.mu.Lock()
	if v, ok := m()[key]; ok {
		c.mu.Unlock()
		return v, nil
	}
	epoch := c.epoch
	c.mu.Unlock()
	v, err := load()
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == epoch {
		m()[key] = v
	}
	return v, nil
}

const namesQuery = `SELECT pg_catalog.convert_to(pg_catalog.json_agg(pg_catalog.json_build_object('schema', n.nspname, 'oid', c.oid::bigint,
'kind', c.relkind))::text, 'UTF8') FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = $1::text::name AND c.relkind IN ('r','p','v','m','f','S')`

// named lists the relations of that name in all schemas.
func (c *catalog) named(ctx context.Context, q Querier, name string) ([]located, error) {
	return cached(c, func() map[string][]located { return c.names }, name, func() (found []located, err error) {
		return found, queryJSON(ctx, q, &found, namesQuery, []byte(name))
	})
}

// Any overload that is volatile makes the name volatile, except that in pg_catalog nothing writes tables (setval and nextval
// change sequences, lo_* large objects: both stay local).
const functionsQuery = `SELECT pg_catalog.convert_to(pg_catalog.json_agg(pg_catalog.json_build_object('schema', x.nspname, 'volatile', x.v))::text, 'UTF8')
FROM (SELECT n.nspname, pg_catalog.bool_or(p.provolatile = 'v') AND n.nspname <> 'pg_catalog' AS v FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE p.proname = $1::text::name GROUP BY 1) x`

// overloads lists the functions of that name, by schema.
func (c *catalog) overloads(ctx context.Context, q Querier, name string) ([]function, error) {
	return cached(c, func() map[string][]function { return c.functions }, name, func() (found []function, err error) {
		return found, queryJSON(ctx, q, &found, functionsQuery, []byte(name))
	})
}

// Row security as check_enable_rls decides it, for a role that is not the current one.
const grantQuery = `SELECT pg_catalog.convert_to(pg_catalog.json_build_object(
'select', pg_catalog.has_table_privilege($1::text::oid, c.oid, 'SELECT') AND pg_catalog.has_schema_privilege($1::text::oid, c.relnamespace, 'USAGE'),
'hidden', c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
  AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role($1::text::oid, c.relowner, 'USAGE')),
'owner', pg_catalog.pg_has_role($1::text::oid, c.relowner, 'USAGE'))::text, 'UTF8')
FROM pg_catalog.pg_class c, pg_catalog.pg_roles r WHERE c.oid = $2::text::oid AND r.oid = $1::text::oid`

// grant tells what role may do with table.
func (c *catalog) grant(ctx context.Context, q Querier, role, table uint32) (grant, error) {
	key := grantee{role, table}
	return cached(c, func() map[grantee]grant { return c.grants }, key, func() (g grant, err error) {
		return g, queryJSON(ctx, q, &g, grantQuery, oidArg(role), oidArg(table))
	})
}

// server gives server_version_num.
func (c *catalog) server(ctx context.Context, q Querier) (int, error) {
	c.mu.Lock()
	v := c.version
	c.mu.Unlock()
	if v != 0 {
		return v, nil
	}
	if err := queryJSON(ctx, q, &v, `SELECT pg_catalog.convert_to(pg_catalog.current_setting('server_version_num'), 'UTF8')`); err != nil {
		return 0, err
	}
	c.mu.Lock()
	c.version = v
	c.mu.Unlock()
	return v, nil
}

// queryJSON runs a query that gives one JSON document as UTF-8 bytes, whatever the session's client_encoding, and
// decodes it. No row, or NULL, leaves into as it is.
func queryJSON(ctx context.Context, q Querier, into any, sql string, args ...[]byte) error {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return fmt.Errorf("read catalog: %w", err)
	}
	if len(rows) == 0 || rows[0][0] == nil {
		return nil
	}
	if err := json.Unmarshal(rows[0][0], into); err != nil {
		return fmt.Errorf("decode catalog: %w", err)
	}
	return nil
}

func oidArg(oid uint32) []byte { return strconv.AppendUint(nil, uint64(oid), 10) }
