// Package conflict says what a row is: the fold of its changes in the one global order of (HLC, origin).
//
//	record --Touches--> changes by row --Fold--> row, living or not
//	                                       \---> decisions: which change lost which columns to which, and by what rule
//
// It is pure: the result is a function of the set of changes, never of the order in which they arrived, so that nodes
// that have applied the same records have the same rows without any decision ever travelling. "Unaware" means that the
// later change's author had not applied the earlier one (record.Knew).
//
// Fold is the plain version and the oracle; History gives the same result incrementally, at the cost of the changes
// behind the place where a late one falls in. Counts is the fold of tables without key: a count per distinct row.
//
// The rules, for one row:
//
//   - insert sets every column. Over a living row the newer insert wins every column; INSERT .. ON CONFLICT DO UPDATE folds
//     as its DO UPDATE there.
//   - update sets its Set columns. Disjoint columns merge silently; of one column the newer wins and the loser is told.
//   - a delta adds after minus before. Where the sum overflows or breaks a check, its author's after-image of the group is
//     set instead ("oversold").
//   - delete ends the row, and with it the unaware updates before it; it loses to an unaware update after it: the row then
//     goes on as if never deleted.
//   - a changed key is a delete under the old key and an insert under the new one. The delete half never loses (the row
//     would be doubled): unaware updates under the old key fall with it and are told.
//   - TRUNCATE ends every row born before it and never loses (Ending).
//
// Columns are matched by name. A column that a change does not show is left as it is.
package conflict
