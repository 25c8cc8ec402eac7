package audit

import (
	"context"
)

// Blame says who gave a column of a row the value that it has, or had last.
type Blame struct {
	ColumnChange
	*Author         // nil: it is older than what this journal knows of the row
	Query   string  `json:"query,omitempty"`
	Deleted bool    `json:"deleted,omitempty"` // the row is not there any more; this is who ended it
	Key     Columns `json:"key"`
	of      rowOf   // for those who go on from here
}

func answerBlame(ctx context.Context, r Reader, q Question, aid Aid, give func(any) error) error {
	row, err := q.findRow(r)
	if err != nil {
		return err
	}
	h := newHistorian(r, aid.Fold)
	last := map[string]Blame{}
	var newest *Version
	for s, err := range h.steps(row) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if q.Until != nil && s.item.Record.HLC.Wall().After(*q.Until) {
			break
		}
		v := h.version(row, s)
		if v.Base != nil {
			for _, c := range *v.Base {
				last[c.Name] = Blame{ColumnChange: ColumnChange{Column: c.Name, New: Maybe{true, c.Value}}}
			}
		}
		for _, c := range v.Changes {
			b := Blame{ColumnChange: c, Author: &v.Author, Deleted: v.Row == nil}
			if len(v.Queries) > 0 {
				b.Query = v.Queries[len(v.Queries)-1]
			}
			last[c.Column] = b
		}
		newest = &v
	}
	if newest == nil {
		return nil
	}
	show := newest.Row
	if show == nil {
		show = &Columns{}
		for _, c := range newest.Changes {
			*show = append(*show, Column{Name: c.Column})
		}
	}
	for _, c := range *show {
		if b, ok := last[c.Name]; ok && (q.Column == "" || q.Column == c.Name) {
			b.Key, b.of = newest.Key, row
			if err := give(b); err != nil {
				return err
			}
		}
	}
	return nil
}
