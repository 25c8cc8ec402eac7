package journal

import (
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// compareRows checks that every row's records are in the sealed index, and no others.
func compareRows(g *segment, x *index, sealed *sealedIndex) error {
	for h, refs := range x.rows {
		got, err := sealed.refs(g, h, 0)
		if err != nil {
			return err
		}
		slices.SortFunc(got, orderRefs)
		if !slices.Equal(got, refs) {
			return fmt.Errorf("index of rows is wrong at a row of record %s: %w", refs[0].id, ErrDamaged)
		}
	}
	return nil
}

func compareTerms(g *segment, x *index) error {
	return g.view(func(tx *bolt.Tx) error {
		for t, want := range x.terms {
			c := &termChunks{cursor: tx.Bucket(bucketTerms).Cursor(), term: t}
			p := g.first
			for _, w := range want {
				got, ok := c.next(p, true)
				if !ok || got != w {
					return fmt.Errorf("index of terms is wrong at %q: %w", t, ErrDamaged)
				}
				p = got + 1
			}
			if _, ok := c.next(p, true); ok || c.err != nil {
				return fmt.Errorf("index of terms is wrong at the end of %q: %w", t, ErrDamaged)
			}
		}
		return nil
	})
}

func compareKeys(g *segment, x *index, sealed *sealedIndex) error {
	for seq, want := range x.outcomes {
		if p, ok, err := sealed.outcomePosition(g, seq); err != nil || !ok || p != want {
			return fmt.Errorf("index of outcomes is wrong at %d: %w", seq, ErrDamaged)
		}
	}
	for k := range x.conflicts {
		if ok, err := sealed.hasConflict(g, k); err != nil || !ok {
			return fmt.Errorf("index of conflicts is wrong: %w", ErrDamaged)
		}
	}
	return nil
}
