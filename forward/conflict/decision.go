package conflict

import (
	"slices"

	"pgproxy/journal"
)

// The rules that a decision can be due to, in the words that people see.
const (
	RuleNewest    = "the newer change wins the column"
	RuleEnded     = "an update that the delete did not know of, and that is older, falls with the row"
	RuleNeeded    = "a delete loses to a newer update that did not know of it"
	RuleMoved     = "the key was changed: updates under the old key fall"
	RuleLimit     = "the sum breaks a limit or a check: the author's own value is set"
	RuleTruncated = "the table was truncated by somebody who did not know of the change, which is older"
	RuleMissing   = "there is no such row: the change does nothing"
)

// Decision says that a change lost something to another.
type Decision struct {
	Kind    string // "update/update": the loser's operation, then the winner's; "oversold"; "update/missing"
	Winner  journal.ID
	Loser   journal.ID
	Place   int      // the loser's place in its record
	Columns []string // what the loser wrote and was lost; all of it where empty
	Rule    string
}

// decisions collects one decision per kind and pair of changes.
type decisions struct{ list []Decision }

func (d *decisions) add(kind, rule string, winner journal.ID, loser *Change, columns ...string) {
	for i := range d.list {
		if o := &d.list[i]; o.Kind == kind && o.Winner == winner && o.Loser == loser.ID && o.Place == loser.Place {
			for _, c := range columns {
				if !slices.Contains(o.Columns, c) {
					o.Columns = append(o.Columns, c)
				}
			}
			return
		}
	}
	d.list = append(d.list, Decision{Kind: kind, Winner: winner, Loser: loser.ID, Place: loser.Place,
		Columns: slices.Clone(columns), Rule: rule})
}

func opName(c *Change) string {
	switch {
	case c.Ends:
		return "truncate"
	case c.Moved:
		return "move"
	case c.Op == journal.OpInsert:
		return "insert"
	case c.Op == journal.OpUpdate:
		return "update"
	}
	return "delete"
}
