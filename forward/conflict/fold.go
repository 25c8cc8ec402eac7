package conflict

import (
	"fmt"
	"maps"
	"slices"

	"pgproxy/journal"
)

// Check says whether the database would take a row that holds these values: its CHECK constraints, and whatever else a
// sum of deltas can break. It must be a function of the row alone.
type Check func(rel *journal.Relation, row Row) (bool, error)

// Result is what a row's changes make of it.
type Result struct {
	Living    bool
	Row       Row // what it last held, also where it is not living any more: nil then
	Decisions []Decision
}

// Fold plays changes, in whatever order they are given, over base (nil: no row) in the global order. It is the plain
// version: it costs the square of the changes. A nil check takes everything.
func Fold(base Row, changes []*Change, check Check) (Result, error) {
	sorted := slices.Clone(changes)
	slices.SortFunc(sorted, Order)
	s, told := start(base), []Decision(nil)
	for i, c := range sorted {
		var winner *Change
		for _, later := range sorted[i+1:] {
			if saves(later, c) {
				winner = later
				break
			}
		}
		d := &decisions{}
		if err := s.step(c, winner, check, d); err != nil {
			return Result{}, err
		}
		told = append(told, d.list...)
	}
	return s.result(told), nil
}

// saves reports whether a later change keeps the row that d deletes: an update whose author did not know of the delete.
func saves(later, d *Change) bool {
	return d.Op == journal.OpDelete && !d.Moved && !d.Ends && !d.Void && later.Op == journal.OpUpdate && !later.Void && !later.knows(d)
}

func (s *state) result(told []Decision) Result {
	r := Result{Living: s.living, Decisions: told}
	if s.living {
		r.Row = maps.Clone(s.row)
	}
	return r
}

// step plays one change; winner is the update that a delete loses to.
func (s *state) step(c *Change, winner *Change, check Check, d *decisions) error {
	if c.Void {
		return nil
	}
	switch c.Op {
	case journal.OpInsert:
		switch {
		case !s.living:
			s.living, s.row, s.made = true, Row{}, map[string]*contribution{}
			s.assign(c, all(c), d)
		case c.Upsert != nil:
			return s.update(c, c.Upsert, check, d)
		default:
			s.assign(c, all(c), d)
		}
	case journal.OpUpdate:
		if !s.living {
			d.add("update/missing", RuleMissing, journal.ID{}, c)
			return nil
		}
		return s.update(c, c.Set, check, d)
	case journal.OpDelete:
		if winner != nil {
			d.add("delete/update", RuleNeeded, winner.ID, c)
			return nil
		}
		s.end(c, d)
	default:
		return fmt.Errorf("fold record %s: unknown operation %q", c.ID, c.Op)
	}
	return nil
}

func all(c *Change) []int {
	cols := make([]int, len(c.After))
	for i := range cols {
		cols[i] = i
	}
	return cols
}

// assign sets columns to the change's after-image, and tells whom it did not know of and overwrote.
func (s *state) assign(c *Change, cols []int, d *decisions) {
	for _, i := range cols {
		if i >= len(c.After) || !known(c.After[i]) {
			continue
		}
		name := c.Relation.Columns[i].Name
		if old, ok := s.row[name]; ok && old != c.After[i] {
			s.tell(c, name, RuleNewest, opName(c), d)
		}
		s.row[name] = c.After[i]
		s.made[name] = &contribution{change: c}
	}
}

// tell makes a decision for each change behind the column's value that c did not know of.
func (s *state) tell(c *Change, name, rule, by string, d *decisions) (told bool) {
	for m := s.made[name]; m != nil; m = m.prev {
		if !c.knows(m.change) {
			kind := opName(m.change) + "/" + by
			if by == "oversold" {
				kind = by
			}
			d.add(kind, rule, c.ID, m.change, name)
			told = true
		}
	}
	return told
}

// update sets or adds columns. The whole step falls back to the author's after-image where a sum cannot stand.
func (s *state) update(c *Change, cols []int, check Check, d *decisions) error {
	sums := map[int]journal.Value{}
	broken := false
	for _, i := range cols {
		if !slices.Contains(c.Delta, i) {
			continue
		}
		if v, ok, fits := s.sum(c, i); ok {
			sums[i], broken = v, broken || !fits
		}
	}
	if !broken && check != nil && s.differs(c, sums) {
		next := maps.Clone(s.row)
		for _, i := range cols {
			if v, ok := sums[i]; ok {
				next[c.Relation.Columns[i].Name] = v
			} else if i < len(c.After) && known(c.After[i]) {
				next[c.Relation.Columns[i].Name] = c.After[i]
			}
		}
		ok, err := check(c.Relation, next)
		if err != nil {
			return fmt.Errorf("check the sum of record %s: %w", c.ID, err)
		}
		broken = !ok
	}
	if broken {
		s.oversold(c, sums, d)
		sums = map[int]journal.Value{}
	}
	s.assign(c, slices.DeleteFunc(slices.Clone(cols), func(i int) bool { _, ok := sums[i]; return ok }), d)
	for _, i := range cols {
		if v, ok := sums[i]; ok {
			name := c.Relation.Columns[i].Name
			s.row[name] = v
			s.made[name] = &contribution{c, s.made[name]}
		}
	}
	return nil
}

// sum adds a delta to the column; not ok where either side is no number, and the after-image is set instead.
func (s *state) sum(c *Change, i int) (v journal.Value, ok, fits bool) {
	if i >= len(c.After) {
		return v, false, false
	}
	col := c.Relation.Columns[i]
	after, ok := parseDecimal(c.After[i])
	if !ok {
		return v, false, false
	}
	step := after
	if c.Op == journal.OpUpdate {
		if i >= len(c.Before) {
			return v, false, false
		}
		before, ok := parseDecimal(c.Before[i])
		if !ok {
			return v, false, false
		}
		step = after.sub(before)
	}
	now, ok := parseDecimal(s.row[col.Name])
	if !ok {
		return v, false, false
	}
	n := now.add(step)
	return journal.Text(n.String()), true, n.fits(col.Type)
}

// differs reports whether a sum is not what the author saw: only then can it break what held there.
func (s *state) differs(c *Change, sums map[int]journal.Value) bool {
	for i, v := range sums {
		if v != c.After[i] {
			return true
		}
	}
	return false
}

// oversold sets the author's after-image of the groups that hold the sums.
func (s *state) oversold(c *Change, sums map[int]journal.Value, d *decisions) {
	group := map[int]bool{}
	for i := range sums {
		group[i] = true
		for _, g := range c.Relation.Groups {
			if slices.Contains(g, i) {
				for _, j := range g {
					group[j] = true
				}
			}
		}
	}
	told := false
	cols := slices.Sorted(maps.Keys(group))
	for _, i := range cols {
		if i >= len(c.After) || !known(c.After[i]) {
			continue
		}
		name := c.Relation.Columns[i].Name
		told = s.tell(c, name, RuleLimit, "oversold", d) || told
		s.row[name] = c.After[i]
		s.made[name] = &contribution{change: c}
	}
	if !told {
		d.add("oversold", RuleLimit, journal.ID{}, c)
	}
}

// end deletes the row, and tells whose changes fall with it.
func (s *state) end(c *Change, d *decisions) {
	if !s.living {
		return // somebody else deleted it too: nothing is lost
	}
	rule := RuleEnded
	switch {
	case c.Moved:
		rule = RuleMoved
	case c.Ends:
		rule = RuleTruncated
	}
	for _, name := range slices.Sorted(maps.Keys(s.row)) {
		s.tell(c, name, rule, opName(c), d)
	}
	s.living, s.row, s.made = false, nil, map[string]*contribution{}
}
