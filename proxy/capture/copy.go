package capture

import (
	"context"

	"pgproxy/journal"
	"pgproxy/parser"
)

// copyKeys is what is known of a COPY's rows from its stream.
type copyKeys struct{}

// planCopy is for COPY .. FROM STDIN, a file or a program.
func (s *Session) planCopy(ctx context.Context, st *parser.Statement) (*Plan, error) {
	w, err := s.learn(ctx)
	if err != nil {
		return nil, err
	}
	if len(st.Targets) != 1 {
		return watched(st, ""), nil
	}
	rel, why, err := s.targetOf(ctx, w, st.Targets[0].Name)
	switch {
	case err != nil:
		return nil, err
	case why != "":
		return local(st, why), nil
	case rel == nil || rel.Kind != "r" && rel.Kind != "p":
		return watched(st, ""), nil
	}
	watch, err := s.loud(ctx, rel, triggerInsert)
	if err != nil {
		return nil, err
	}
	return &Plan{Capture: journal.CaptureCopy, Hold: true, Text: st.Text, how: howCopy, rel: rel, watch: watch}, nil
}

// Copy takes the payload of one CopyData message of the client.
func (e *Execution) Copy(data []byte) {}

// finishCopy reads the copied rows back: they are the own rows of the table that are not known yet.
func (w *work) finishCopy(tag string) error {
	rel, err := w.relationOf(w.plan.rel.OID)
	if err != nil {
		return err
	}
	cat, q := w.session.catalog()
	g, err := cat.grant(w.ctx, q, w.who.RoleOID, rel.OID)
	if err != nil {
		return err
	}
	if !g.Select || g.Hidden {
		w.lost(rel.full(), "the role may not read back what it copied")
		return nil
	}
	leaves, why, err := w.leaves(rel)
	if err != nil {
		return err
	}
	if why != "" {
		w.lost(rel.full(), "%s", why)
		return nil
	}
	added, err := w.added(rel, leaves)
	if err != nil {
		return err
	}
	state := w.tx.table(rel)
	var changes []journal.Change
	counts := map[string]int{}
	if len(rel.key) == 0 {
		for k, n := range state.added {
			counts[k] = n
		}
	}
	for _, row := range added {
		if len(rel.key) > 0 {
			if own, ok := state.rows[rel.rowKey(row)]; ok && own.current != nil {
				continue
			}
		} else if len(counts) > 0 {
			if k := allKey(row); counts[k] > 0 {
				counts[k]--
				continue
			}
		}
		changes = append(changes, journal.Change{Op: journal.OpInsert, After: row})
	}
	w.record(rel, changes)
	return nil
}
