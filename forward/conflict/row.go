package conflict

import (
	"maps"

	"pgproxy/journal"
)

// Row is a row's known values by column name. A column that is not in it is not known: it keeps what it has.
type Row map[string]journal.Value

// Base gives the row as it was before the first of its changes, in the global order; nil if there was none. Its author
// cannot have seen the effect of a later one, so its before-image is the row that all nodes started from.
func Base(first *Change) Row {
	if first.Op == journal.OpInsert || first.Ends {
		return nil // of an ending nobody knows, and nothing is left
	}
	image := first.Before
	if image == nil {
		image = first.After // unknown: the columns that it did not set are as before, the others are about to be set
	}
	return rowOf(first.Relation, image)
}

func rowOf(rel *journal.Relation, image []journal.Value) Row {
	row := make(Row, len(image))
	for i, v := range image {
		if known(v) {
			row[rel.Columns[i].Name] = v
		}
	}
	return row
}

// known reports whether v is a value of the column, as opposed to a remark about it.
func known(v journal.Value) bool {
	return v.Kind == journal.ValueNull || v.Kind == journal.ValueText || v.Kind == journal.ValueBinary
}

// contribution is a list, newest first, of the changes that made up a column's value since it was last set outright.
// It is never modified, so that states can share it.
type contribution struct {
	change *Change
	prev   *contribution
}

// state is a row while it is being folded.
type state struct {
	living bool
	row    Row
	made   map[string]*contribution // none: the base
}

func start(base Row) *state {
	return &state{living: base != nil, row: maps.Clone(base), made: map[string]*contribution{}}
}

func (s *state) clone() *state {
	return &state{living: s.living, row: maps.Clone(s.row), made: maps.Clone(s.made)}
}
