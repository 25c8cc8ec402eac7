package proxy

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
)

// The marker table (one row per transaction of the proxy's; design, section 4).
const (
	lockSchemaSQL = `SELECT pg_advisory_xact_lock(hashtext('pgproxy.schema'))`
	haveMarkerSQL = `SELECT to_regclass('pgproxy.marker') IS NOT NULL AND to_regclass('pgproxy.horizon') IS NOT NULL`
	makeMarkerSQL = `
CREATE SCHEMA IF NOT EXISTS pgproxy;
CREATE TABLE IF NOT EXISTS pgproxy.marker (
	id uuid PRIMARY KEY,
	origin uuid NOT NULL,
	seq bigint NOT NULL,
	aborted boolean NOT NULL DEFAULT false,
	at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS pgproxy.horizon (
	origin uuid PRIMARY KEY,
	seq bigint NOT NULL
);
GRANT USAGE ON SCHEMA pgproxy TO PUBLIC;
GRANT SELECT, INSERT ON pgproxy.marker TO PUBLIC;`
	// A commit that is acknowledged must be on disk, whatever the client set: its own commit record is the marker's.
	markerSQL = `INSERT INTO pgproxy.marker (id, origin, seq) SELECT $1, $2, $3
WHERE CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'local', true) ELSE '' END
	IS NOT NULL`
)

// Types of the marker statement's parameters.
const (
	oidInt8 = 20
	oidText = 25
	oidUUID = 2950
)

// markers makes sure that a database has the marker table before its first write.
type markers struct {
	srv *Server

	mu   sync.Mutex
	done map[string]bool
	busy map[string]chan struct{}
}

func (m *markers) init(s *Server) {
	m.srv = s
	m.done = map[string]bool{}
	m.busy = map[string]chan struct{}{}
}

func (m *markers) close() {}

// ensure makes the marker table unless it is known to be there. Failures are not remembered.
func (m *markers) ensure(ctx context.Context, database string) error {
	for {
		m.mu.Lock()
		if m.done[database] {
			m.mu.Unlock()
			return nil
		}
		wait, busy := m.busy[database]
		if !busy {
			wait = make(chan struct{})
			m.busy[database] = wait
		}
		m.mu.Unlock()
		if busy {
			<-wait
			continue
		}
		err := m.srv.EnsureMarker(ctx, database)
		m.mu.Lock()
		m.done[database] = err == nil
		delete(m.busy, database)
		close(wait)
		m.mu.Unlock()
		if err != nil {
			m.srv.o.Logger.Error("cannot prepare a database for journaling", "database", database, "err", err)
			return wrapf(errNoDatabase, "%v", err)
		}
		return nil
	}
}

// forget makes the next write look again: the marker table was not there.
func (m *markers) forget(database string) {
	m.mu.Lock()
	delete(m.done, database)
	m.mu.Unlock()
}

// EnsureMarker makes schema pgproxy and its marker table in a database, unless they exist.
func (s *Server) EnsureMarker(ctx context.Context, database string) error {
	c, err := s.o.Connect(ctx, database)
	if err != nil {
		return fmt.Errorf("connect to database %s: %w", database, err)
	}
	defer c.Close(context.WithoutCancel(ctx))
	res, err := c.Exec(ctx, haveMarkerSQL).ReadAll()
	if err != nil {
		return fmt.Errorf("look for the marker table: %w", err)
	}
	if len(res) == 1 && len(res[0].Rows) == 1 && string(res[0].Rows[0][0]) == "t" {
		return nil
	}
	if _, err := c.Exec(ctx, "BEGIN; "+lockSchemaSQL+"; "+makeMarkerSQL+" COMMIT").ReadAll(); err != nil {
		return fmt.Errorf("make the marker table: %w", err)
	}
	return nil
}

// sendMarker sends the marker's statement without flushing.
func (s *session) sendMarker(id [16]byte, seq uint64, r *run) uint64 {
	node := s.srv.o.Journal.Identity().Node
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], seq)
	return s.sendOwn(markerSQL, []uint32{oidUUID, oidUUID, oidInt8}, []int16{1}, [][]byte{id[:], node[:], n[:]}, r)
}

// markEarly writes the marker of a transaction that is about to become read-only. Its sequence is not known yet; the
// resolver goes by the id alone.
func (s *session) markEarly(t *tx) error {
	if t.marked {
		return nil
	}
	seq := s.sendMarker(t.marker, 0, &run{collect: true})
	_ = s.bw.Empty('H') // sticks
	if err := s.collect(seq, nil, false); err != nil {
		return err
	}
	t.marked = true
	return nil
}
