package conflict

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pgproxy/journal"
)

// shelf is a Source as the journal is one: what has come, by the keys of the row index.
type shelf struct {
	cases map[journal.ID]*Case
	near  map[journal.RowKey][]journal.ID
}

func (s *shelf) Case(id journal.ID) (*Case, error) { return s.cases[id], nil }

func (s *shelf) Near(k journal.RowKey) ([]journal.ID, error) { return s.near[k], nil }

func (s *shelf) Ended(*journal.Relation) []*Change { return nil }

func (s *shelf) put(c *Case) {
	s.cases[c.ID] = c
	for _, k := range slices.Concat(c.tx.RowKeys(), c.tx.ClaimKeys()) {
		s.near[k] = append(s.near[k], c.ID)
	}
}

// arrive gives transactions in an order in which causes come before effects.
func arrive(t *rapid.T, all []*Case) []*Case {
	var out []*Case
	has, left := journal.Vector{}, slices.Clone(all)
	for len(left) > 0 {
		var may []*Case
		for _, c := range left {
			if has.Includes(c.Knew) {
				may = append(may, c)
			}
		}
		c := may[rapid.IntRange(0, len(may)-1).Draw(t, "next")]
		out = append(out, c)
		has[c.ID.Origin] = c.ID.Seq
		left = slices.DeleteFunc(left, func(o *Case) bool { return o == c })
	}
	return out
}

// TestJudgeFindsWhatAgreeFinds lets transactions arrive in any order, and compares after each.
func TestJudgeFindsWhatAgreeFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := newVillage(t)
		j := NewJudge(v.rules)
		s := &shelf{cases: map[journal.ID]*Case{}, near: map[journal.RowKey][]journal.ID{}}
		order := arrive(t, v.all)
		for i, c := range order {
			s.put(c)
			r, err := j.Hear(c, s)
			if err != nil {
				t.Fatal(err)
			}
			for id, f := range r.Findings {
				if !f.None() || j.Verdict(id) != nil {
					j.Accept(s.cases[id], f)
				}
			}
			want := v.agree(order[:i+1])
			for _, o := range order[:i+1] {
				if got := j.Verdict(o.ID); !got.Equal(want.Verdicts[o.ID]) {
					t.Fatalf("after %v: %v is %+v, want %+v:%s", c.ID, o.ID, got, want.Verdicts[o.ID], v.told(order[:i+1]))
				}
			}
		}
	})
}
