package capture

import (
	"fmt"
	"strconv"
	"strings"
)

// snapshot is what a transaction can see of others, as pg_current_snapshot tells: xmin:xmax:running ones. The ids are cut to
// the 32 bits that rows carry. nil is that of READ COMMITTED, which sees all that is committed.
type snapshot struct {
	xmin, xmax uint32
	running    map[uint32]bool
}

// firstNormal is FirstNormalTransactionId: the ids below it are for ever committed.
const firstNormal = 3

// snapshot asks the client's session for its snapshot, if that is older than the statement.
func (w *work) snapshot() (*snapshot, error) {
	rows, err := w.session.inner.Query(w.ctx, "SELECT pg_catalog.current_setting('transaction_isolation'), pg_catalog.pg_current_snapshot()::pg_catalog.text")
	if err != nil {
		return nil, fmt.Errorf("ask for the snapshot: %w", err)
	}
	if level := string(rows[0][0]); !strings.HasPrefix(level, "repeatable") && level != "serializable" {
		return nil, nil
	}
	return parseSnapshot(string(rows[0][1]))
}

func parseSnapshot(text string) (*snapshot, error) {
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 {
		return nil, fmt.Errorf("read snapshot %q: no three parts", text)
	}
	s := &snapshot{running: map[uint32]bool{}}
	var ids []uint32
	for _, field := range append(parts[:2], strings.FieldsFunc(parts[2], func(r rune) bool { return r == ',' })...) {
		id, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read snapshot %q: %w", text, err)
		}
		ids = append(ids, uint32(id))
	}
	s.xmin, s.xmax = ids[0], ids[1]
	for _, id := range ids[2:] {
		s.running[id] = true
	}
	return s, nil
}

// saw reports whether a committed row with this xmin, in decimal digits, was there when the snapshot was taken. The list of running
// transactions lacks their savepoints': a row that such a one has written, and that somebody has locked since, counts
// as seen.
func (s *snapshot) saw(xmin []byte) bool {
	if s == nil {
		return true
	}
	id64, err := strconv.ParseUint(string(xmin), 10, 32)
	if err != nil {
		return false
	}
	id := uint32(id64)
	switch {
	case id < firstNormal, int32(id-s.xmin) < 0: // ids go round
		return true
	case int32(id-s.xmax) >= 0:
		return false
	}
	return !s.running[id]
}
