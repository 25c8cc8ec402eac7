package capture

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// maxOwnConnections bounds pgproxy's own connections per database, so that a burst of sessions cannot use up the server's.
const maxOwnConnections = 4

// ownSetup makes an own connection's answers independent of the server's and the role's settings. lock_timeout matters
// most: an own session must never hang behind the very client it serves (the client's own ALTER, or one queued behind it).
const ownSetup = `SET search_path = ''; SET lock_timeout = '400ms'; SET statement_timeout = '30s';
SET idle_in_transaction_session_timeout = 0; SET default_transaction_isolation = 'read committed';
SET default_transaction_read_only = on; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC';
SET bytea_output = 'hex'; SET extra_float_digits = 1; SET client_encoding = 'UTF8'; SET row_security = off`

// pool is a few own connections to one database.
type pool struct {
	connect func(ctx context.Context) (*pgconn.PgConn, error)
	slots   chan struct{} // one per connection that may exist

	mu     sync.Mutex
	idle   []*ownConn
	closed bool
}

// ownConn is an own connection with its prepared statements.
type ownConn struct {
	conn     *pgconn.PgConn
	prepared map[string]string // SQL -> statement name
	named    int               // names given so far
}

func newPool(connect func(ctx context.Context) (*pgconn.PgConn, error)) *pool {
	return &pool{connect: connect, slots: make(chan struct{}, maxOwnConnections)}
}

var _ Querier = (*pool)(nil)

// Query runs sql on any own connection, in a transaction of its own. A connection that was found broken is replaced once.
func (p *pool) Query(ctx context.Context, sql string, args ...[]byte) ([][][]byte, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for attempt := 0; ; attempt++ {
		c, fresh, err := p.take(ctx)
		if err != nil {
			return nil, err
		}
		rows, err := c.query(ctx, sql, args)
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == featureNotSupported { // "cached plan must not change result type"
			rows, err = c.query(ctx, sql, args)
		}
		if err == nil || !c.conn.IsClosed() {
			p.put(c)
			return rows, err
		}
		if fresh || attempt > maxOwnConnections || ctx.Err() != nil {
			return nil, err
		}
	}
}

func (p *pool) take(ctx context.Context) (*ownConn, bool, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, false, errors.New("own connections are closed")
	}
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c, false, nil
	}
	p.mu.Unlock()
	conn, err := p.connect(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("open own connection: %w", err)
	}
	if _, err := conn.Exec(ctx, ownSetup).ReadAll(); err != nil {
		conn.Close(ctx)
		return nil, false, fmt.Errorf("set up own connection: %w", err)
	}
	return &ownConn{conn: conn, prepared: map[string]string{}}, true, nil
}

func (p *pool) put(c *ownConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.conn.Close(context.Background())
		return
	}
	p.idle = append(p.idle, c)
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		c.conn.Close(context.Background())
	}
	p.idle = nil
}

// featureNotSupported is the SQLSTATE of a prepared statement that the tables have outgrown.
const featureNotSupported = "0A000"

// maxPrepared bounds an own connection's prepared statements (two or three per table).
const maxPrepared = 500

func (c *ownConn) query(ctx context.Context, sql string, args [][]byte) ([][][]byte, error) {
	name, ok := c.prepared[sql]
	if !ok {
		if len(c.prepared) >= maxPrepared {
			if _, err := c.conn.Exec(ctx, "DEALLOCATE ALL").ReadAll(); err != nil {
				return nil, fmt.Errorf("forget prepared statements: %w", err)
			}
			clear(c.prepared)
		}
		c.named++
		name = "p" + strconv.Itoa(c.named)
		if _, err := c.conn.Prepare(ctx, name, sql, nil); err != nil {
			return nil, fmt.Errorf("prepare own query: %w", err)
		}
		c.prepared[sql] = name
	}
	r := c.conn.ExecPrepared(ctx, name, args, nil, []int16{1}).Read()
	if r.Err != nil {
		delete(c.prepared, sql) // it may be the statement that is no longer right; the name is not used again
		return nil, fmt.Errorf("run own query: %w", r.Err)
	}
	return r.Rows, nil
}
