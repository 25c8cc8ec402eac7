package conflict

import "pgproxy/journal"

// clash judges two transactions that did not know of each other, a before b in the order, and reports whose verdict it
// changed. It looks at what they did, never at what became of it: so what it takes is taken for good, whatever else arrives.
func clash(a, b *Case, va, vb *Verdict, r *Rules) (changedA, changedB bool) {
	changedA, changedB = claims(a, b, va, vb, r)
	more := func(x, y bool) { changedA, changedB = changedA || x, changedB || y }
	more(needs(a, b, va, vb))
	y, x := needs(b, a, vb, va)
	more(x, y)
	more(rows(a, b, va, vb))
	return changedA, changedB
}

// claims is rule V1.
func claims(a, b *Case, va, vb *Verdict, r *Rules) (changedA, changedB bool) {
	for _, first := range a.claims {
		for _, later := range b.claimsOf[first.key] {
			if first.row == later.row {
				continue
			}
			if b.Binding && !a.Binding {
				changedA = va.give(a, first, r, Loss{Kind: "unique/unique", Rule: RuleClaimed, Winner: b.ID, Place: first.place}) || changedA
			} else {
				changedB = vb.give(b, later, r, Loss{Kind: "unique/unique", Rule: RuleClaimed, Winner: a.ID, Place: later.place}) || changedB
			}
		}
	}
	return changedA, changedB
}

// needs is rule V2 for references: what a refers to, b takes away.
func needs(a, b *Case, va, vb *Verdict) (changedA, changedB bool) {
	for _, n := range a.needs {
		for _, g := range b.goneOf[n.key] {
			switch {
			case b.Binding && !a.Binding:
				changedA = va.aside(a, Loss{Kind: "reference/delete", Rule: RuleKnewRef, Winner: b.ID, Place: n.place}) || changedA
			case g.alone:
				changedB = vb.lose(b, Loss{Kind: "delete/reference", Rule: RuleReferred, Winner: a.ID, Place: g.place}) || changedB
			default:
				changedB = vb.aside(b, Loss{Kind: "move/reference", Rule: RuleKeyMoved, Winner: a.ID, Place: g.place}) || changedB
			}
		}
	}
	return changedA, changedB
}

// rows judges what both did to one row: deletes that lose to a later update, and changed keys.
func rows(a, b *Case, va, vb *Verdict) (changedA, changedB bool) {
	if len(a.gone) == 0 && len(b.gone) == 0 {
		return false, false
	}
	for _, x := range a.Touches {
		if x.Keyless {
			continue
		}
		for _, q := range b.touchesOf[x.Key] {
			p := x.Change
			switch {
			case q.Moved && (p.Moved || !b.Binding || a.Binding): // of two moves the later
				changedB = vb.aside(b, Loss{Kind: "move/" + opName(p), Rule: RuleKeyMoved, Winner: a.ID, Place: q.Place}) || changedB
			case q.Moved:
				changedA = va.aside(a, Loss{Kind: opName(p) + "/move", Rule: RuleKeyMoved, Winner: b.ID, Place: p.Place}) || changedA
			case p.Moved && a.Binding && !b.Binding:
				changedB = vb.aside(b, Loss{Kind: opName(q) + "/move", Rule: RuleKeyMoved, Winner: a.ID, Place: q.Place}) || changedB
			case p.Moved:
				changedA = va.aside(a, Loss{Kind: "move/" + opName(q), Rule: RuleKeyMoved, Winner: b.ID, Place: p.Place}) || changedA
			case p.Op == journal.OpDelete && q.Op == journal.OpUpdate:
				changedA = va.lose(a, Loss{Kind: "delete/update", Rule: RuleNeeded, Winner: b.ID, Place: p.Place}) || changedA
			}
		}
	}
	return changedA, changedB
}
