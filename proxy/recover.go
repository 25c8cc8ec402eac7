package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/journal"
)

// Times of the resolver.
const (
	resolveFirst   = 100 * time.Millisecond // wait after a pass that left something
	resolveLast    = 30 * time.Second
	resolveTimeout = 20 * time.Second // of one intent
)

// lockTimeout bounds how long the fence waits for the transaction that holds the marker; it is shorter where the database
// has prepared transactions, which hold it for as long as they please.
const (
	lockTimeoutSQL         = `SET lock_timeout = '5s'; SET synchronous_commit = 'local'`
	lockTimeoutPreparedSQL = `SET lock_timeout = '200ms'`
	anyPreparedSQL         = `SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())`
	fenceSQL               = `INSERT INTO pgproxy.marker (id, origin, seq, aborted) VALUES ($1, $2, $3, true) ON CONFLICT (id) DO NOTHING`
	verdictSQL             = `SELECT aborted FROM pgproxy.marker WHERE id = $1`
	horizonSQL             = `SELECT coalesce(max(seq), 0) FROM pgproxy.horizon WHERE origin = $1`
)

var (
	errUndecidable = errors.New("only an operator can tell the outcome")
	errPastHorizon = errors.New("marker rows of that age were deleted; the journal went back in time")
)

// Resolver settles the intents whose outcome no session heard. It is exact in every case: it puts its own row, marked
// aborted, in the place of the transaction's marker, and reads what stands there. If the transaction committed, its
// marker was there first; if it did not, it never can any more, as its own marker would be a duplicate.
type Resolver struct {
	srv    *Server
	wake   chan struct{}
	warned map[journal.ID]bool
}

func newResolver(s *Server) *Resolver {
	return &Resolver{srv: s, wake: make(chan struct{}, 1), warned: map[journal.ID]bool{}}
}

// Wake makes the resolver look at once.
func (r *Resolver) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run settles intents until ctx is done: those found at the start, and those that sessions leave behind. Old marker rows are
// deleted meanwhile.
func (r *Resolver) Run(ctx context.Context) error {
	go r.srv.prune(ctx)
	delay := resolveFirst
	for {
		left := r.Pass(ctx)
		wait := time.Duration(1<<63 - 1)
		if left > 0 {
			wait = delay
			delay = min(2*delay, resolveLast)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		case <-r.wake:
			t.Stop()
			delay = resolveFirst
		}
	}
}

// Pass tries each intent in doubt once and gives how many are left to be tried again.
func (r *Resolver) Pass(ctx context.Context) (left int) {
	conns := map[string]*pgconn.PgConn{}
	defer func() {
		for _, c := range conns {
			_ = c.Close(context.WithoutCancel(ctx))
		}
	}()
	for _, in := range r.srv.o.Journal.InDoubt() {
		if err := r.resolve(ctx, conns, in); err != nil {
			left++
			r.complain(in, err)
			if errors.Is(err, errUndecidable) || errors.Is(err, errPastHorizon) {
				left--
			}
		}
	}
	return left
}

func (r *Resolver) complain(in *journal.Intent, err error) {
	if r.warned[in.ID()] {
		return
	}
	r.warned[in.ID()] = true
	r.srv.o.Logger.Warn("a transaction stays in doubt for now", "record", in.ID().String(), "err", err)
}

// resolve settles one intent.
func (r *Resolver) resolve(ctx context.Context, conns map[string]*pgconn.PgConn, in *journal.Intent) error {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	tx := in.Record().Tx
	if tx == nil {
		return errUndecidable
	}
	c := conns[tx.Database]
	if c == nil || c.IsClosed() {
		var err error
		if c, err = r.connect(ctx, tx.Database); err != nil {
			return err
		}
		conns[tx.Database] = c
	}
	var aborted bool
	var err error
	if alone := refusesBlock(tx); alone != nil {
		aborted, err = r.byCatalog(ctx, c, alone)
		aborted = !aborted
	} else {
		aborted, err = r.fence(ctx, c, in)
	}
	if err != nil {
		return err
	}
	r.srv.o.Fault("recover.fenced")
	if aborted {
		err = in.Abort("found aborted after the connection was lost")
	} else {
		err = in.Commit()
	}
	if err != nil {
		return fmt.Errorf("write the outcome: %w", err)
	}
	delete(r.warned, in.ID())
	r.srv.metrics.Resolved.Add(1)
	r.srv.o.Logger.Info("settled a transaction in doubt", "record", in.ID().String(), "committed", !aborted)
	return nil
}

// refusesBlock gives the statement of a record that has no marker.
func refusesBlock(tx *journal.Tx) *journal.Statement {
	for i := range tx.Statements {
		if p := tx.Statements[i].Replay; p != nil && p.NoBlock {
			return &tx.Statements[i]
		}
	}
	return nil
}

// connect opens the resolver's connection to a database.
func (r *Resolver) connect(ctx context.Context, database string) (*pgconn.PgConn, error) {
	if err := r.srv.markers.ensure(ctx, database); err != nil {
		return nil, err
	}
	c, err := r.srv.o.Connect(ctx, database)
	if err != nil {
		return nil, fmt.Errorf("connect to database %s: %w", database, err)
	}
	if _, err := c.Exec(ctx, lockTimeoutSQL).ReadAll(); err != nil {
		_ = c.Close(ctx)
		return nil, fmt.Errorf("prepare the resolver's connection: %w", err)
	}
	prepared, err := scalar(c.Exec(ctx, anyPreparedSQL).ReadAll())
	if err == nil && prepared == "t" {
		_, err = c.Exec(ctx, lockTimeoutPreparedSQL).ReadAll()
	}
	if err != nil {
		_ = c.Close(ctx)
		return nil, fmt.Errorf("look for prepared transactions: %w", err)
	}
	return c, nil
}

func scalar(res []*pgconn.Result, err error) (string, error) {
	if err != nil {
		return "", err
	}
	if len(res) != 1 || len(res[0].Rows) != 1 || len(res[0].Rows[0]) != 1 {
		return "", errors.New("not one row of one value")
	}
	return string(res[0].Rows[0][0]), nil
}

// fence puts the aborted row in the marker's place unless the marker is there, and reads what stands there. Insert and read
// are two transactions: the second sees what the first met.
func (r *Resolver) fence(ctx context.Context, c *pgconn.PgConn, in *journal.Intent) (aborted bool, err error) {
	id := in.Marker()
	origin, seq := in.ID().Origin, int64(in.ID().Seq)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(seq))
	bin := []int16{1}
	oids := []uint32{oidUUID, oidUUID, oidInt8}
	past := c.ExecParams(ctx, horizonSQL, [][]byte{origin[:]}, oids[:1], bin, bin).Read()
	if past.Err != nil {
		return false, fmt.Errorf("read the horizon: %w", past.Err)
	}
	if h := int64(binary.BigEndian.Uint64(past.Rows[0][0])); seq <= h {
		return false, fmt.Errorf("record %d, horizon %d: %w", seq, h, errPastHorizon)
	}
	res := c.ExecParams(ctx, fenceSQL, [][]byte{id[:], origin[:], n[:]}, oids, bin, nil).Read()
	if res.Err != nil {
		return false, fmt.Errorf("fence off the transaction: %w", res.Err)
	}
	res = c.ExecParams(ctx, verdictSQL, [][]byte{id[:]}, oids[:1], bin, bin).Read()
	if res.Err != nil {
		return false, fmt.Errorf("read the marker: %w", res.Err)
	}
	if len(res.Rows) != 1 {
		return false, errors.New("read the marker: it is not there")
	}
	return res.Rows[0][0][0] == 1, nil
}
