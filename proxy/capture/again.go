package capture

import (
	"fmt"
	"slices"
	"strings"

	"pgproxy/journal"
	"pgproxy/parser"
)

// again is the last resort for a statement whose rows could not all be had (row security, a role that may not look, a table too
// large to be searched): its text is run again at the peers, with what it sets off there, in place of what is known
// of its rows. It stays missing where the text would mean something else in another session, and where only what it has set
// off is not known whole: its own rows travel exactly.
func (w *work) again() error {
	if !w.missing || w.effect.Replay != nil || w.plan.how == howRows || !repeatable(w.st) {
		return nil
	}
	rows, err := w.session.inner.Query(w.ctx, "SELECT pg_catalog.pg_my_temp_schema() <> 0")
	if err != nil {
		return fmt.Errorf("look for temporary tables: %w", err)
	}
	if isTrue(rows[0][0]) { // it may be about one, by its name or through a function
		return nil
	}
	e := &w.effect
	slices.Sort(e.Tables)
	e.Replay = replayOf(w.who, w.st.Text, slices.Compact(slices.Clone(e.Tables)))
	e.Changes, e.Capture, w.missing = nil, journal.CaptureStatement, false
	w.notes = []string{"run again at the peers, because its rows are not all known: " + strings.Join(w.notes, "; ")}
	return nil
}

// repeatable reports whether a statement's text says all that it does.
func repeatable(st *parser.Statement) bool {
	if st == nil || st.RefusesBlock || st.Cursor != "" || len(st.Secrets) > 0 || st.SecretCall {
		return false
	}
	switch st.Command {
	case "INSERT", "UPDATE", "DELETE", "MERGE", "SELECT", "DO", "CALL":
		return true
	}
	return false
}
