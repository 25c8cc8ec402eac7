package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pgproxy/journal"
)

// The modes of an undo: what becomes of it where later transactions changed the same.
const (
	UndoRefuse      = "refuse"      // nothing is undone
	UndoCascade     = "cascade"     // they are undone too, whole, and what depends on them
	UndoForce       = "force"       // what they made of it is overwritten
	UndoNonconflict = "nonconflict" // rows that they changed are left out
)

// UndoModes lists the modes, the default first.
func UndoModes() []string { return []string{UndoRefuse, UndoCascade, UndoForce, UndoNonconflict} }

// UndoPlan is the first thing that an undo gives: what it would undo, and what stands in its way. UndoStatements follow if nothing
// does.
type UndoPlan struct {
	Database string      `json:"database"`
	Mode     string      `json:"mode"`
	Undoes   []Author    `json:"undoes"`          // the newest first: the order in which they are taken back
	Added    []string    `json:"added,omitempty"` // of Undoes, those that were not asked for (cascade)
	Later    []Dependent `json:"later,omitempty"` // what was changed by others since; the first hundred
	Cannot   []string    `json:"cannot,omitempty"`
	Blocked  bool        `json:"blocked"` // Later or Cannot stand in the way: no statements follow
}

// Dependent is a later transaction that changed what would be undone.
type Dependent struct {
	Author
	Row    string `json:"row"`
	Undone string `json:"undone"` // the transaction whose effect it changed
	Query  string `json:"query"`
}

// UndoStatement takes one change of one row back.
type UndoStatement struct {
	SQL    string `json:"sql"`    // one statement; its WHERE holds what must be there
	Expect string `json:"expect"` // the command tag; any other means that the row is not as it was left
	Undoes string `json:"undoes"` // ORIGIN/SEQ
	Schema string `json:"schema"`
	Table  string `json:"table"`
	Where  string `json:"where"` // the condition that finds the row, for a DELETE
}

// mostLater is how many dependents are told.
const mostLater = 100

// undoer works out an undo.
type undoer struct {
	h       *historian
	mode    string
	set     map[journal.ID]journal.Item
	added   map[journal.ID]bool
	rows    map[journal.RowKey]*undoneRow
	plan    UndoPlan
	told    map[string]bool
	problem map[journal.ID]bool // what of it cannot be undone has been told
}

// undoneRow is a row that the set changed.
type undoneRow struct {
	steps map[journal.ID]step // of the set
	loose map[string]bool     // columns to which others added since
	later bool                // others changed what the set did
}

func answerUndo(ctx context.Context, r Reader, q Question, aid Aid, give func(any) error) error {
	if q.Mode == "" {
		q.Mode = UndoRefuse
	}
	if !slices.Contains(UndoModes(), q.Mode) {
		return wrong("mode %q is none of %s", q.Mode, strings.Join(UndoModes(), ", "))
	}
	u := &undoer{h: newHistorian(r, aid.Fold), mode: q.Mode, set: map[journal.ID]journal.Item{}, added: map[journal.ID]bool{},
		told: map[string]bool{}, problem: map[journal.ID]bool{}}
	if err := u.targets(q.Targets); err != nil {
		return err
	}
	for again := true; again; {
		var err error
		if again, err = u.analyse(ctx); err != nil {
			return err
		}
	}
	order := u.order()
	for _, it := range order {
		u.plan.Undoes = append(u.plan.Undoes, u.h.author(it))
		if u.added[it.Record.ID] {
			u.plan.Added = append(u.plan.Added, u.h.id(it.Record.ID))
		}
	}
	u.plan.Mode = q.Mode
	strict := q.Mode == UndoRefuse || q.Mode == UndoCascade
	u.plan.Blocked = strict && len(u.plan.Cannot) > 0 || q.Mode == UndoRefuse && len(u.plan.Later) > 0
	if err := give(u.plan); err != nil || u.plan.Blocked {
		return err
	}
	for _, it := range order {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := u.emit(it, give); err != nil {
			return err
		}
	}
	return nil
}

// targets reads ORIGIN/SEQ and ORIGIN/SEQ..SEQ.
func (u *undoer) targets(names []string) error {
	if len(names) == 0 {
		return wrong("name the transactions to undo: ORIGIN/SEQ, or ORIGIN/SEQ..SEQ")
	}
	for _, n := range names {
		first, last, ranged := strings.Cut(n, "..")
		from, err := ParseID(first, u.h.names)
		if err != nil {
			return wrong("%w", err)
		}
		to := from
		if ranged {
			if !strings.Contains(last, "/") {
				origin, _, _ := strings.Cut(first, "/")
				last = origin + "/" + last
			}
			if to, err = ParseID(last, u.h.names); err != nil {
				return wrong("%w", err)
			}
			if to.Origin != from.Origin || to.Seq < from.Seq {
				return wrong("%s is no range of one node's transactions, the first first", n)
			}
		}
		for id := from; id.Seq <= to.Seq; id.Seq++ {
			if err := u.target(id, ranged); err != nil {
				return err
			}
		}
	}
	if len(u.set) == 0 {
		return wrong("there is no committed transaction in %s", strings.Join(names, ", "))
	}
	return nil
}

func (u *undoer) target(id journal.ID, ranged bool) error {
	it, err := u.h.r.Get(id)
	switch {
	case ranged && errors.Is(err, journal.ErrNotFound):
		return wrong("the range goes beyond what this journal has: %s is not in it", u.h.id(id))
	case err != nil:
		return fmt.Errorf("read transaction %s: %w", u.h.id(id), err)
	case it.Record.Tx == nil || it.Outcome != journal.OutcomeCommitted:
		if ranged {
			return nil // nothing to undo
		}
		return wrong("%s has no effect to undo: it is a %s, %s", u.h.id(id), kindName(it.Record), OutcomeName(it.Outcome))
	}
	if u.plan.Database == "" {
		u.plan.Database = it.Record.Tx.Database
	}
	if it.Record.Tx.Database != u.plan.Database {
		return wrong("%s is of database %s, others of %s: undo them apart", u.h.id(id), it.Record.Tx.Database, u.plan.Database)
	}
	u.set[id] = it
	return nil
}

// order lists the set, the newest first.
func (u *undoer) order() []journal.Item {
	var items []journal.Item
	for _, it := range u.set {
		items = append(items, it)
	}
	slices.SortFunc(items, func(a, b journal.Item) int {
		return journal.Order(b.Record.HLC, b.Record.ID, a.Record.HLC, a.Record.ID)
	})
	return items
}

// analyse plays every row that the set changed, and finds what others made of it since. It says true if the set has grown.
func (u *undoer) analyse(ctx context.Context) (grown bool, err error) {
	u.rows = map[journal.RowKey]*undoneRow{}
	u.plan.Later, u.told = nil, map[string]bool{}
	for _, it := range u.order() {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		tx := it.Record.Tx
		if !u.problem[it.Record.ID] {
			u.problem[it.Record.ID] = true
			u.problems(it)
		}
		for _, c := range effective(tx) {
			rel := &tx.Relations[c.Relation]
			if len(rel.Key) == 0 {
				continue
			}
			for _, row := range [][]journal.Value{c.Before, c.After} {
				if row == nil {
					continue
				}
				k := tx.RowKey(rel, row)
				if u.rows[k] != nil {
					continue
				}
				more, err := u.row(rowOf{tx.Database, rel, []journal.RowKey{k}})
				if err != nil {
					return false, err
				}
				grown = grown || more
			}
		}
	}
	return grown, nil
}

// effective lists the changes of a transaction that had an effect.
func effective(tx *journal.Tx) []*journal.Change {
	var out []*journal.Change
	for i := range tx.Statements {
		if st := &tx.Statements[i]; !st.RolledBack && st.SQLState == "" {
			for k := range st.Changes { // what is in images is among the problems
				out = append(out, &st.Changes[k])
			}
		}
	}
	return out
}

// problems tells what of a transaction cannot be taken back from its rows.
func (u *undoer) problems(it journal.Item) {
	for i := range it.Record.Tx.Statements {
		st := &it.Record.Tx.Statements[i]
		if st.RolledBack || st.SQLState != "" {
			continue
		}
		switch {
		case st.Stored != nil:
			u.cannot("%s: %s changed %d rows, which is too many to be undone in one", u.h.id(it.Record.ID), Cut(Line(st.Query), 80), st.Count())
		case st.Replay != nil:
			u.cannot("%s: %s has no rows by which it could be undone", u.h.id(it.Record.ID), Cut(Line(st.Query), 80))
		case st.Capture == journal.CaptureMissing:
			u.cannot("%s: the effect of %s was not captured", u.h.id(it.Record.ID), Cut(Line(st.Query), 80))
		}
	}
}

func (u *undoer) cannot(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(u.plan.Cannot, text) {
		u.plan.Cannot = append(u.plan.Cannot, text)
	}
}

// row plays one row.
func (u *undoer) row(row rowOf) (grown bool, err error) {
	x := &undoneRow{steps: map[journal.ID]step{}, loose: map[string]bool{}}
	u.rows[row.keys[0]] = x
	for s, err := range u.h.steps(row) {
		if err != nil {
			return false, err
		}
		id := s.item.Record.ID
		if _, ours := u.set[id]; ours {
			x.steps[id] = s
			continue
		}
		undone, clash := x.clash(row, s)
		if !clash {
			continue
		}
		if u.mode == UndoCascade {
			u.set[id], u.added[id], grown = s.item, true, true
			x.steps[id] = s
			continue
		}
		x.later = true
		u.later(row, s, undone)
	}
	return grown, nil
}

func (u *undoer) later(row rowOf, s step, undone journal.ID) {
	v := u.h.version(row, s)
	d := Dependent{Author: v.Author, Row: rowName(&v), Undone: u.h.id(undone)}
	if len(v.Queries) > 0 {
		d.Query = v.Queries[0]
	}
	if name := d.Record + " " + d.Row; !u.told[name] && len(u.plan.Later) < mostLater {
		u.told[name] = true
		u.plan.Later = append(u.plan.Later, d)
	}
}

func rowName(v *Version) string {
	parts := make([]string, len(v.Key))
	for i, c := range v.Key {
		parts[i] = c.Name + "=" + c.Value.String()
	}
	return v.Schema + "." + v.Table + " (" + strings.Join(parts, ", ") + ")"
}

// clash reports whether a step of somebody else, later than those of x, changes what one of these did; and which. Sums are in
// nobody's way: a column to which both added is loose.
func (x *undoneRow) clash(row rowOf, s step) (journal.ID, bool) {
	changed := cells(row.relation, s.before, s.after)
	added := addedColumns(s.item.Record.Tx, row)
	for id, ours := range x.steps {
		mine := cells(row.relation, ours.before, ours.after)
		if len(mine) == 0 || len(changed) == 0 {
			continue
		}
		if (ours.before == nil) != (ours.after == nil) || (s.before == nil) != (s.after == nil) {
			return id, true
		}
		both := addedColumns(ours.item.Record.Tx, row)
		for _, c := range changed {
			if !slices.ContainsFunc(mine, func(m ColumnChange) bool { return m.Column == c.Column }) {
				continue
			}
			if !added[c.Column] || !both[c.Column] {
				return id, true
			}
			x.loose[c.Column] = true
		}
	}
	return journal.ID{}, false
}

// addedColumns gives the columns of a row to which a transaction did nothing but add.
func addedColumns(tx *journal.Tx, row rowOf) map[string]bool {
	out := map[string]bool{}
	set := map[string]bool{}
	for _, c := range effective(tx) {
		rel := &tx.Relations[c.Relation]
		if c.Op != journal.OpUpdate || c.Before == nil || !slices.Contains(row.keys, tx.RowKey(rel, c.Before)) {
			continue
		}
		for _, i := range c.Set {
			if slices.Contains(c.Delta, i) {
				out[rel.Columns[i].Name] = true
			} else {
				set[rel.Columns[i].Name] = true
			}
		}
	}
	for name := range set {
		delete(out, name)
	}
	return out
}
