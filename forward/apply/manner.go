package apply

import (
	"strings"

	"pgproxy/forward/conflict"
	"pgproxy/journal"
)

// A row that everybody adds to has thousands of changes that nobody knew of when he added, and each new one is held against all
// of them. What counts there is the manner of a change, not its values: which columns it sets, and which of them it adds to.
// There are few manners, so each is looked at once, by one change that stands for all of its kind.

// manners remembers the manners of records' changes of rows.
type manners struct {
	of    map[rowAt][]string        // by record and row
	touch map[string]conflict.Touch // one for each manner
}

// rowAt is what a record does to a row.
type rowAt struct {
	id  journal.ID
	key journal.RowKey
}

// maxManners bounds what is remembered; beyond, it is begun anew.
const maxManners = 200_000

// get gives the manners of a record's changes of a row; load reads them where they are not known.
func (m *manners) get(at rowAt, load func() ([]conflict.Touch, error)) ([]string, error) {
	if known, ok := m.of[at]; ok {
		return known, nil
	}
	touches, err := load()
	if err != nil {
		return nil, err
	}
	if m.of == nil || len(m.of) >= maxManners {
		m.of, m.touch = map[rowAt][]string{}, map[string]conflict.Touch{}
	}
	found := []string{}
	for _, t := range touches {
		text := mannerOf(t)
		if _, known := m.touch[text]; !known {
			m.touch[text] = t
		}
		found = append(found, text)
	}
	m.of[at] = found
	return found, nil
}

// mannerOf names everything of a change that apart looks at.
func mannerOf(t conflict.Touch) string {
	c := t.Change
	var b strings.Builder
	b.WriteByte(byte(c.Op))
	if t.Keyless {
		b.WriteByte('k')
	}
	if c.Before == nil {
		b.WriteByte('?')
	}
	for _, i := range c.Set {
		if adds(c, i) {
			b.WriteByte('+')
		}
		b.WriteString(c.Relation.Columns[i].Name)
		b.WriteByte(0)
	}
	return b.String()
}

// adds reports whether a change adds to a column that it sets.
func adds(c *conflict.Change, i int) bool {
	for _, d := range c.Delta {
		if d == i && i < len(c.Before) && i < len(c.After) {
			_, ok := conflict.Difference(c.Before[i], c.After[i])
			return ok
		}
	}
	return false
}
