package conflict

import (
	"maps"
	"slices"

	"pgproxy/journal"
)

// Source is where a Judge finds the transactions that are here: everything that is applied, and the one that is heard.
type Source interface {
	// Near gives the transactions that the row index knows under a key, in whatever order. Some may have nothing to do with it.
	Near(key journal.RowKey) ([]journal.ID, error)
	// Case reads one.
	Case(id journal.ID) (*Case, error)
	// Ended gives the TRUNCATEs here that took the rows of a table. nil has none.
	Ended(rel *journal.Relation) []*Change
}

// Finding is what a Judge keeps of a transaction whose verdict its author may have seen otherwise.
type Finding struct {
	Verdict
	// Causes has everything that the verdict is due to. Whoever knew all of it saw this verdict.
	Causes journal.Vector
}

// Judge gives the verdicts that Agree gives, for one transaction after the other, at the cost of what is near to each. The
// order in which they come is any in which causes come before effects. It is not safe for concurrent use.
type Judge struct {
	rules    Rules
	findings map[journal.ID]*Finding
	rows     map[journal.RowKey][]journal.ID // findings by changed row
}

// NewJudge makes one that has found nothing yet.
func NewJudge(r Rules) *Judge {
	return &Judge{rules: r, findings: map[journal.ID]*Finding{}, rows: map[journal.RowKey][]journal.ID{}}
}

// Ruling is what one transaction changes: findings by transaction, the own one included. It changes nothing before Accept.
type Ruling struct {
	Findings map[journal.ID]*Finding
	cases    map[journal.ID]*Case
}

// Case gives a transaction of the ruling.
func (r *Ruling) Case(id journal.ID) *Case { return r.cases[id] }

// Verdict gives what is found about a transaction; nil where everything stands.
func (j *Judge) Verdict(id journal.ID) *Verdict {
	if f := j.findings[id]; f != nil {
		return &f.Verdict
	}
	return nil
}

// Concerned reports whether a transaction meets a finding that its author may have seen otherwise: it must be heard then,
// whether or not anybody else's transaction concerns it.
func (j *Judge) Concerned(c *Case, from Source) (bool, error) {
	h := hearing{j: j, from: from, cases: map[journal.ID]*Case{c.ID: c}}
	s, err := h.suspects(c)
	return len(s) > 0, err
}

// Accept makes a ruling, or one that was kept, the Judge's own.
func (j *Judge) Accept(c *Case, f *Finding) {
	if j.findings[c.ID] == nil {
		for _, k := range c.rows {
			j.rows[k] = append(j.rows[k], c.ID)
		}
	}
	j.findings[c.ID] = f
}

// Hear judges a transaction that has just come, and again those whose verdict it may change.
func (j *Judge) Hear(c *Case, from Source) (*Ruling, error) {
	h := hearing{j: j, from: from, cases: map[journal.ID]*Case{c.ID: c}, found: map[journal.ID]*Finding{}}
	open := []*Case{c}
	near, err := h.near(c)
	if err != nil {
		return nil, err
	}
	for _, o := range near {
		if _, theirs := h.meet(c, o, &Verdict{}, &Verdict{}); theirs {
			open = append(open, o)
		}
	}
	for len(open) > 0 {
		slices.SortFunc(open, orderCases) // what a transaction knew is judged before it
		x := open[0]
		open = slices.DeleteFunc(open, func(o *Case) bool { return o.ID == x.ID })
		f, err := h.judge(x)
		if err != nil {
			return nil, err
		}
		was := h.finding(x.ID)
		h.found[x.ID] = f
		if was == nil && f.Empty() || was != nil && was.Equal(&f.Verdict) {
			continue
		}
		later, err := h.later(x)
		if err != nil {
			return nil, err
		}
		open = append(open, later...)
	}
	return &Ruling{Findings: h.found, cases: h.cases}, nil
}

// hearing is one Hear.
type hearing struct {
	j     *Judge
	from  Source
	cases map[journal.ID]*Case
	found map[journal.ID]*Finding // anew
}

func (h *hearing) finding(id journal.ID) *Finding {
	if f := h.found[id]; f != nil {
		return f
	}
	return h.j.findings[id]
}

func (h *hearing) verdict(id journal.ID) *Verdict {
	if f := h.finding(id); f != nil {
		return &f.Verdict
	}
	return nil
}

func (h *hearing) load(id journal.ID) (*Case, error) {
	if c := h.cases[id]; c != nil {
		return c, nil
	}
	c, err := h.from.Case(id)
	if err == nil {
		h.cases[id] = c
	}
	return c, err
}

// meet is clash, in the right order.
func (h *hearing) meet(c, o *Case, vc, vo *Verdict) (mine, theirs bool) {
	if orderCases(c, o) < 0 {
		return clash(c, o, vc, vo, &h.j.rules)
	}
	theirs, mine = clash(o, c, vo, vc, &h.j.rules)
	return mine, theirs
}

// near gives the transactions that c may clash with, in order.
func (h *hearing) near(c *Case) ([]*Case, error) {
	return h.gather(slices.Concat(c.rows, c.Beyond()), func(id journal.ID) bool { return !c.knows(id) }, func(o *Case) bool { return unaware(c, o) })
}

// later gives the transactions that knew c and whose verdict may depend on what becomes of c: on the rows that c changed, with
// whatever anybody gave them.
func (h *hearing) later(c *Case) ([]*Case, error) {
	var keys []journal.RowKey
	for _, row := range c.rows {
		keys = append(keys, row, row.Referenced())
		touching, err := h.gather([]journal.RowKey{row}, func(journal.ID) bool { return true }, func(*Case) bool { return true })
		if err != nil {
			return nil, err
		}
		for _, o := range touching {
			for _, t := range o.Touches {
				if t.Key != row && t.Other != row {
					continue
				}
				values, refers := o.held(t)
				for _, k := range values {
					keys = append(keys, k.Claimed(), k.Referenced())
				}
				for _, k := range refers {
					keys = append(keys, k.Released())
				}
			}
		}
	}
	return h.gather(keys, func(id journal.ID) bool { return id != c.ID && !c.knows(id) }, func(o *Case) bool { return o.knows(c.ID) })
}

func (h *hearing) gather(keys []journal.RowKey, may func(journal.ID) bool, is func(*Case) bool) ([]*Case, error) {
	seen := map[journal.ID]bool{}
	var out []*Case
	for _, k := range keys {
		ids, err := h.from.Near(k)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if seen[id] || !may(id) {
				continue
			}
			seen[id] = true
			o, err := h.load(id)
			if err != nil {
				return nil, err
			}
			if is(o) {
				out = append(out, o)
			}
		}
	}
	slices.SortFunc(out, orderCases)
	return out, nil
}

// judge gives the verdict of one transaction as things are.
func (h *hearing) judge(c *Case) (*Finding, error) {
	f := &Finding{Causes: journal.Vector{}}
	near, err := h.near(c)
	if err != nil {
		return nil, err
	}
	for _, o := range near {
		if mine, _ := h.meet(c, o, &f.Verdict, &Verdict{}); mine {
			f.Causes[o.ID.Origin] = max(f.Causes[o.ID.Origin], o.ID.Seq)
		}
	}
	suspects, err := h.suspects(c)
	if err != nil {
		return nil, err
	}
	again := !f.Empty() || len(suspects) > 0
	for _, s := range suspects {
		for n, seq := range s.Causes {
			f.Causes[n] = max(f.Causes[n], seq)
		}
	}
	if again {
		w := &nearView{h: h, c: c}
		err = (&recheck{c: c, v: &f.Verdict, w: w, r: &h.j.rules}).judge()
	}
	return f, err
}

// suspects gives the findings that c's author knew the transactions of, that may matter for c, and that are due to something
// that the author did not know.
func (h *hearing) suspects(c *Case) ([]*Finding, error) {
	if len(h.j.findings) == 0 && len(h.found) == 0 {
		return nil, nil
	}
	rows := map[journal.RowKey]bool{}
	for _, k := range c.rows {
		rows[k] = true
	}
	w := &nearView{h: h, c: c}
	for _, n := range c.needs {
		rows[n.key] = true
		if err := w.add(rows, w.holders, n.key); err != nil {
			return nil, err
		}
	}
	for _, cl := range c.claims {
		if err := w.add(rows, w.holders, cl.key); err != nil {
			return nil, err
		}
	}
	for _, g := range c.gone {
		if err := w.add(rows, w.refer, g.key); err != nil {
			return nil, err
		}
	}
	seen := map[journal.ID]bool{c.ID: true}
	var out []*Finding
	look := func(id journal.ID) {
		if f := h.finding(id); !seen[id] && c.knows(id) && f != nil && !c.Knew.Includes(f.Causes) {
			out = append(out, f)
		}
		seen[id] = true
	}
	for k := range rows {
		for _, id := range h.j.rows[k] {
			look(id)
		}
	}
	for id := range h.found {
		if o := h.cases[id]; slices.ContainsFunc(o.rows, func(k journal.RowKey) bool { return rows[k] }) {
			look(id)
		}
	}
	return out, nil
}

// none reports whether there is nothing to keep.
func (f *Finding) none() bool { return f.Empty() && len(f.Causes) == 0 }

// None reports whether the finding is that nothing ever spoke against the transaction.
func (f *Finding) None() bool { return f.none() }

// nearView is what c's author had, as far as the index finds it.
type nearView struct {
	h *hearing
	c *Case
}

func (w *nearView) knew(key journal.RowKey) ([]*Case, error) {
	return w.h.gather([]journal.RowKey{key}, func(id journal.ID) bool { return id != w.c.ID && w.c.knows(id) }, func(*Case) bool { return true })
}

func (w *nearView) row(k journal.RowKey) (found, bool, error) {
	cases, err := w.knew(k)
	if err != nil {
		return found{}, false, err
	}
	var all []*Change
	var base Row
	for _, c := range cases {
		for _, t := range c.Touches {
			if t.Key == k && !t.Keyless {
				if len(all) == 0 {
					base = Base(t.Change)
				}
				all = append(all, w.h.verdict(c.ID).Stands(t.Change))
			}
		}
	}
	if len(all) == 0 {
		return found{s: start(nil)}, false, nil
	}
	for _, e := range w.h.from.Ended(all[0].Relation) {
		if e.ID != w.c.ID && w.c.knows(e.ID) {
			all = append(all, e)
		}
	}
	r, err := Fold(base, all, w.h.j.rules.Check)
	if err != nil {
		return found{}, false, err
	}
	return found{all[0].Relation, start(r.Row)}, true, nil
}

// add puts the rows that find gives for a key into a set.
func (w *nearView) add(rows map[journal.RowKey]bool, find func(journal.RowKey) ([]journal.RowKey, error), key journal.RowKey) error {
	found, err := find(key)
	for _, k := range found {
		rows[k] = true
	}
	return err
}

func (w *nearView) holders(value journal.RowKey) ([]journal.RowKey, error) {
	return w.touched(value.Claimed(), func(c *Case, t Touch) bool {
		values, _ := c.held(t)
		return slices.Contains(values, value)
	})
}

func (w *nearView) refer(to journal.RowKey) ([]journal.RowKey, error) {
	return w.touched(to.Referenced(), func(c *Case, t Touch) bool {
		_, refers := c.held(t)
		return slices.Contains(refers, to)
	})
}

// touched gives the rows of keyed tables with a touch that is asked for.
func (w *nearView) touched(key journal.RowKey, is func(*Case, Touch) bool) ([]journal.RowKey, error) {
	cases, err := w.knew(key)
	if err != nil {
		return nil, err
	}
	rows := map[journal.RowKey]bool{}
	for _, c := range append(cases, w.c) {
		for _, t := range c.Touches {
			if !t.Keyless && !rows[t.Key] && is(c, t) {
				rows[t.Key] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(rows)), nil
}
