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
// Columns are matched by name. A column that a change does not show is left as it is. Columns that stand together in a unique
// or foreign key are set together, so that no row ends with a value of it that nobody wrote.
//
// # Beyond one row
//
// Agree says of a set of whole transactions which of them, or what of them, does not stand; what stands is folded. It is the
// plain version and the oracle; Judge gives the same verdicts for one transaction after the other, by the journal's row index.
//
//		records --NewCase--> each two that are unaware: clash (V1, V2)
//		                     each in its author's eyes, without the losers: recheck (V3)
//		                           \---> Verdict: set aside, deletes lost, values given up; Stands gives what is played
//
//	  - V1 of two unaware claims of one value of a unique key for different rows, the first keeps it. The later row gives it up
//	    where a column of the key may be NULL; else its transaction is set aside.
//	  - V2 a delete loses to an unaware later update of its row and to any unaware reference to it, together with what its own
//	    cascade took and with the deletes of the rows that its row referred to. A changed key gives way to any unaware change
//	    of its row and any reference to it, by setting its transaction aside; of two, the later.
//	  - V3 a transaction is checked again in what its author knew, without the losers: a row that it changes, a key that it
//	    takes, a row that it refers to. A delete that would leave a child loses alone.
//
// What V1 and V2 take depends on two transactions alone, never on what became of them: so it is taken for good, and V3, which
// looks only at what is known, can be decided in the order. A Judge keeps what a verdict is due to (Finding.Causes): whoever
// knew all of that saw the same, and needs no second look. A transaction with statements that are run again does not lose:
// the other one does.
//
// Not compared: values of unique keys with an expression or a predicate, exclusion constraints, and equality under a collation
// that holds different texts equal.
package conflict
