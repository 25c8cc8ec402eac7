package proxy

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// Times and sizes of pruning.
const (
	pruneEvery = time.Hour
	pruneBatch = 50_000 // rows deleted in one transaction
	// pruneAge is how old a marker row must be: its outcome is in the journal, durably, for as long; and no COMMIT that a
	// fence must hold off is under way any more.
	pruneAge = "1 day"
)

// pruneSQL deletes old marker rows of one origin and moves the horizon over them, in one transaction. The highest stays:
// it tells a journal that went back in time.
const pruneSQL = `WITH gone AS (
	DELETE FROM pgproxy.marker WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM pgproxy.marker WHERE origin = $1 AND at < now() - interval '` + pruneAge + `'
			AND seq < least($2, (SELECT max(seq) FROM pgproxy.marker WHERE origin = $1)) LIMIT $3))
	RETURNING seq
), moved AS (
	INSERT INTO pgproxy.horizon AS h SELECT $1, max(seq) FROM gone HAVING count(*) > 0
	ON CONFLICT (origin) DO UPDATE SET seq = greatest(h.seq, excluded.seq)
)
SELECT count(*) FROM gone`

// PruneMarkers deletes this node's old marker rows in a database and gives their number.
func (s *Server) PruneMarkers(ctx context.Context, database string) (int64, error) {
	c, err := s.o.Connect(ctx, database)
	if err != nil {
		return 0, fmt.Errorf("connect to database %s: %w", database, err)
	}
	defer c.Close(context.WithoutCancel(ctx))
	origin := s.o.Journal.Identity().Node
	below := uint64(math.MaxInt64)
	for _, in := range s.o.Journal.InDoubt() {
		below = min(below, in.ID().Seq)
	}
	var total int64
	for {
		args := [][]byte{origin[:], binary.BigEndian.AppendUint64(nil, below), binary.BigEndian.AppendUint64(nil, pruneBatch)}
		res := c.ExecParams(ctx, pruneSQL, args, []uint32{oidUUID, oidInt8, oidInt8}, []int16{1}, []int16{1}).Read()
		if res.Err != nil {
			return total, fmt.Errorf("delete old markers: %w", res.Err)
		}
		n := int64(binary.BigEndian.Uint64(res.Rows[0][0]))
		total += n
		if n < pruneBatch {
			return total, nil
		}
	}
}

// prune deletes old marker rows in the databases that were written to, from time to time, until ctx is done.
func (s *Server) prune(ctx context.Context) {
	t := time.NewTicker(pruneEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for _, db := range s.markers.known() {
			if n, err := s.PruneMarkers(ctx, db); err != nil {
				s.o.Logger.Warn("cannot delete old markers", "database", db, "err", err)
			} else if n > 0 {
				s.o.Logger.Info("deleted old markers", "database", db, "count", n)
			}
		}
	}
}

// known gives the databases that have the marker table.
func (m *markers) known() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]string, 0, len(m.done))
	for db, ok := range m.done {
		if ok {
			out = append(out, db)
		}
	}
	return out
}
