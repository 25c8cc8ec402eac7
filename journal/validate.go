package journal

import "fmt"

// validate checks what every reader of a transaction relies on: indexes point at what they index, and images are as long
// as their relation. It is asked before a transaction is sealed and after one is decoded.
func (t *Tx) validate() error {
	for i := range t.Relations {
		if err := t.Relations[i].validate(); err != nil {
			return fmt.Errorf("relation %d: %w", i, err)
		}
	}
	for i := range t.Statements {
		for k := range t.Statements[i].Changes {
			if err := t.validateChange(&t.Statements[i].Changes[k]); err != nil {
				return fmt.Errorf("statement %d, change %d: %w", i, k, err)
			}
		}
	}
	return t.validateStored()
}

func (r *Relation) validate() error {
	n := len(r.Columns)
	if err := within("key", r.Key, n); err != nil {
		return err
	}
	for _, g := range r.Groups {
		if err := within("group", g, n); err != nil {
			return err
		}
	}
	for i := range r.Uniques {
		if err := within("unique", r.Uniques[i].Columns, n); err != nil {
			return err
		}
	}
	for i := range r.References {
		if err := within("reference", r.References[i].Columns, n); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tx) validateChange(c *Change) error {
	if c.Relation < 0 || c.Relation >= len(t.Relations) {
		return fmt.Errorf("relation %d of %d: %w", c.Relation, len(t.Relations), errMalformed)
	}
	n := len(t.Relations[c.Relation].Columns)
	if c.Before != nil && len(c.Before) != n || c.After != nil && len(c.After) != n {
		return fmt.Errorf("image of %d and %d values for %d columns: %w", len(c.Before), len(c.After), n, errMalformed)
	}
	switch c.Op {
	case OpInsert, OpUpdate, OpDelete:
	default:
		return fmt.Errorf("operation %q: %w", byte(c.Op), errMalformed)
	}
	for _, s := range [][]int{c.Set, c.Delta, c.Upsert} {
		if err := within("column", s, n); err != nil {
			return err
		}
	}
	return nil
}

func within(what string, s []int, n int) error {
	for _, v := range s {
		if v < 0 || v >= n {
			return fmt.Errorf("%s %d of %d: %w", what, v, n, errMalformed)
		}
	}
	return nil
}
