package capture

import (
	"context"
	"fmt"
	"time"
)

// DefaultRecheck is how often the catalogs in use are compared with the server's.
const DefaultRecheck = time.Second

// Most DDL is known at once: it went through a session, or somebody called Invalidate. What did not (a direct connection, a
// peer's DDL that was applied) is noticed here: first by the server's counts of changed catalog rows, which is cheap, then,
// since temporary tables move them too, by the rows themselves.
const (
	countsQuery = `SELECT pg_catalog.convert_to(pg_catalog.sum(pg_catalog.pg_stat_get_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_tuples_updated(c.oid) + pg_catalog.pg_stat_get_tuples_deleted(c.oid))::pg_catalog.text, 'UTF8')
FROM pg_catalog.pg_class c WHERE c.oid < 16384 AND c.relname IN ('pg_class', 'pg_attribute', 'pg_constraint', 'pg_trigger', 'pg_index', 'pg_rewrite', 'pg_policy', 'pg_proc', 'pg_type', 'pg_inherits', 'pg_auth_members', 'pg_authid')`

	rowsQuery = `WITH c AS MATERIALIZED (SELECT c.oid, c.xmin::pg_catalog.text || c.ctid::pg_catalog.text AS v FROM pg_catalog.pg_class c WHERE c.relpersistence <> 't' AND c.oid >= 16384)
SELECT pg_catalog.convert_to(pg_catalog.sum(pg_catalog.hashtext(x.v)::pg_catalog.int8)::pg_catalog.text || ':' || pg_catalog.count(*)::pg_catalog.text, 'UTF8') FROM (
SELECT c.v FROM c UNION ALL SELECT a.xmin::pg_catalog.text || a.ctid::pg_catalog.text FROM pg_catalog.pg_attribute a JOIN c ON c.oid = a.attrelid
UNION ALL SELECT k.xmin::pg_catalog.text || k.ctid::pg_catalog.text FROM pg_catalog.pg_constraint k JOIN c ON c.oid = k.conrelid
UNION ALL SELECT t.xmin::pg_catalog.text || t.ctid::pg_catalog.text FROM pg_catalog.pg_trigger t JOIN c ON c.oid = t.tgrelid
UNION ALL SELECT i.xmin::pg_catalog.text || i.ctid::pg_catalog.text FROM pg_catalog.pg_index i JOIN c ON c.oid = i.indrelid
UNION ALL SELECT r.xmin::pg_catalog.text || r.ctid::pg_catalog.text FROM pg_catalog.pg_rewrite r JOIN c ON c.oid = r.ev_class
UNION ALL SELECT p.xmin::pg_catalog.text || p.ctid::pg_catalog.text FROM pg_catalog.pg_policy p
UNION ALL SELECT p.xmin::pg_catalog.text || p.ctid::pg_catalog.text FROM pg_catalog.pg_proc p WHERE p.oid >= 16384
UNION ALL SELECT m.xmin::pg_catalog.text || m.ctid::pg_catalog.text FROM pg_catalog.pg_auth_members m
UNION ALL SELECT r.rolname || r.rolsuper::pg_catalog.text || r.rolbypassrls::pg_catalog.text FROM pg_catalog.pg_roles r) x`
)

// poll runs until the Capturer is closed.
func (c *Capturer) poll(ctx context.Context) {
	defer close(c.polled)
	tick := time.NewTicker(c.options.Recheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.mu.Lock()
		var used []*database
		for _, d := range c.databases {
			if d.used.Swap(false) {
				used = append(used, d)
			}
		}
		c.mu.Unlock()
		for _, d := range used {
			if err := d.recheck(ctx); err != nil && ctx.Err() == nil {
				c.options.Logger.Warn("catalog could not be compared with the server's", "database", d.name, "error", err)
			}
		}
	}
}

// recheck invalidates the catalog if the server's has changed since the last time.
func (d *database) recheck(ctx context.Context) error {
	counts, err := d.ask(ctx, countsQuery)
	if err != nil || counts == d.counts {
		return err
	}
	rows, err := d.ask(ctx, rowsQuery)
	if err != nil {
		return err
	}
	if d.rows != rows {
		d.catalog.invalidate() // the first time too: it may have changed between the first use and now
	}
	d.counts, d.rows = counts, rows
	return nil
}

func (d *database) ask(ctx context.Context, sql string) (string, error) {
	rows, err := d.pool.Query(ctx, sql)
	if err != nil {
		return "", fmt.Errorf("compare catalog: %w", err)
	}
	return string(rows[0][0]), nil
}
