package conflict

import (
	"maps"
	"slices"

	"pgproxy/journal"
)

// The rules beyond one row, in the words that people see.
const (
	RuleClaimed  = "of two unaware changes that claim one unique key, the first keeps it"
	RuleReferred = "a delete loses to a reference that did not know of it"
	RuleKeyMoved = "a changed key gives way: the row was changed or referred to by somebody who did not know of it"
	RuleKnewRow  = "it builds on a row that is not there without the losers"
	RuleKnewKey  = "it takes a key that is taken without the losers"
	RuleKnewRef  = "it refers to a row that is not there without the losers"
	RuleChild    = "a delete would leave a row that refers to it, which is there without the losers"
)

// Loss is one thing that a transaction lost, and to whom.
type Loss struct {
	Kind    string
	Rule    string
	Winner  journal.ID // zero where it lost to nobody, but for what it knew
	Place   int        // the change that lost; of a whole transaction the one that it lost by
	Columns []string   // what the row gave up
}

// Verdict is what the rules beyond one row take from a transaction. The zero value takes nothing.
type Verdict struct {
	Aside  bool                 // nothing of it stands
	Stuck  bool                 // it lost, and cannot be taken back: it stops its stream
	Lost   map[int]bool         // deletes, with what their cascades did, by place
	Given  map[int]map[int]bool // values that are NULL instead, by place and column
	Losses []Loss
}

// Empty reports whether everything stands.
func (v *Verdict) Empty() bool {
	return v == nil || !v.Aside && !v.Stuck && len(v.Lost) == 0 && len(v.Given) == 0
}

// Equal reports whether two verdicts leave the same.
func (v *Verdict) Equal(w *Verdict) bool {
	if v.Empty() || w.Empty() {
		return v.Empty() && w.Empty()
	}
	return v.Aside == w.Aside && v.Stuck == w.Stuck && maps.Equal(v.Lost, w.Lost) &&
		maps.EqualFunc(v.Given, w.Given, func(a, b map[int]bool) bool { return maps.Equal(a, b) })
}

// Stands gives the change as it is to be played: c itself where all of it stands.
func (v *Verdict) Stands(c *Change) *Change {
	if v.Empty() {
		return c
	}
	if v.Aside || v.Lost[c.Place] {
		void := *c
		void.Void = true
		return &void
	}
	given := v.Given[c.Place]
	if len(given) == 0 {
		return c
	}
	less := *c
	less.After = slices.Clone(c.After)
	for i := range given {
		less.After[i] = journal.Null()
	}
	return &less
}

// tell keeps one loss per kind and place: that to the first winner in the order.
func (v *Verdict) tell(l Loss) {
	for i := range v.Losses {
		if o := &v.Losses[i]; o.Kind == l.Kind && o.Place == l.Place && o.Rule == l.Rule {
			return
		}
	}
	v.Losses = append(v.Losses, l)
}

// aside sets the whole transaction aside.
func (v *Verdict) aside(c *Case, l Loss) (changed bool) {
	v.tell(l)
	if c.Binding {
		changed, v.Stuck = !v.Stuck, true
		return changed
	}
	changed, v.Aside = !v.Aside, true
	return changed
}

// lose takes a delete, with what stands and falls with it.
func (v *Verdict) lose(c *Case, l Loss) (changed bool) {
	if c.Binding {
		return v.aside(c, l)
	}
	v.tell(l)
	if v.Lost == nil {
		v.Lost = map[int]bool{}
	}
	for open := []int{l.Place}; len(open) > 0; open = open[1:] {
		if !v.Lost[open[0]] {
			v.Lost[open[0]], changed = true, true
			open = append(open, c.parts[open[0]]...)
		}
	}
	return changed
}

// give makes a row give up the value of a unique key, or sets its transaction aside.
func (v *Verdict) give(c *Case, cl claim, r *Rules, l Loss) (changed bool) {
	columns := r.give(cl.rel, cl.unique)
	if len(columns) == 0 || c.Binding {
		return v.aside(c, l)
	}
	for _, i := range columns {
		l.Columns = append(l.Columns, cl.rel.Columns[i].Name)
	}
	v.tell(l)
	if v.Given == nil {
		v.Given = map[int]map[int]bool{}
	}
	if v.Given[cl.place] == nil {
		v.Given[cl.place] = map[int]bool{}
	}
	for _, i := range columns {
		changed = changed || !v.Given[cl.place][i]
		v.Given[cl.place][i] = true
	}
	return changed
}

// Rules are what the verdicts depend on beside the records. It must be the same at every node.
type Rules struct {
	// Give says which columns become NULL where a row has to give up its value of a unique key; none sets the transaction
	// aside. nil is GiveNull.
	Give func(rel *journal.Relation, u *journal.Unique) []int
	// Check is Fold's.
	Check Check
}

func (r *Rules) give(rel *journal.Relation, u *journal.Unique) []int {
	if r.Give != nil {
		return r.Give(rel, u)
	}
	return GiveNull(rel, u)
}

// GiveNull is the policy "null": the columns of the key that may be NULL, as long as one NULL makes the row hold no value.
func GiveNull(rel *journal.Relation, u *journal.Unique) []int {
	if u.NullsNotDistinct || !u.Plain() {
		return nil
	}
	var out []int
	for _, c := range u.Columns {
		if col := rel.Columns[c]; !col.NotNull && !col.Generated && !slices.Contains(rel.Key, c) {
			out = append(out, c)
		}
	}
	return out
}
