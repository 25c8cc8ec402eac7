package forward

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"pgproxy/forward/peerpb"
)

const (
	// bucketRows is how many rows may be listed at once; larger buckets are divided further.
	bucketRows = 1000
	// bucketsAtOnce bounds the prefixes that are divided further in one scan.
	bucketsAtOnce = 16
	// looks is how often rows that differ are looked at again before they are called changing.
	looks = 6
)

// differ finds the rows of one table that differ: one sum over all, then sums by the first digits of the hash of the
// keys, then the rows of those that differ. Equal tables cost one scan on each side.
type differ struct {
	v *verifier
	s *peerpb.Selection
	r *VerifyResult
}

// bucket is the rows whose key's hash begins with prefix.
type bucket struct {
	prefix string
	rows   int64 // on the side that has more
}

// pair is a row as the two sides have it; nil where it is missing.
type pair [2]*peerpb.Row

func (p pair) same() bool {
	return p[0] != nil && p[1] != nil && p[0].RowHash == p[1].RowHash && p[0].Count == p[1].Count
}

func (d *differ) compare(ctx context.Context) error {
	for range looks {
		d.r.More = false
		if err := d.once(ctx); err != nil {
			return err
		}
		if !d.r.More || len(d.r.Differences) > 0 {
			return nil
		}
		// More was seen than can be named, and what was looked at was only in flight: the rest may be so too.
	}
	return nil
}

func (d *differ) once(ctx context.Context) error {
	whole, err := d.sums(ctx, nil, 0)
	if err != nil || len(whole) == 0 {
		return err
	}
	digits := 1
	for rows := max(d.r.Rows, d.r.PeerRows) / 16; rows > bucketRows/4 && digits < maxDigits; rows /= 16 {
		digits++
	}
	todo, err := d.sums(ctx, nil, digits)
	if err != nil {
		return err
	}
	suspects := map[string]pair{}
	for len(todo) > 0 && len(suspects) <= d.v.o.Keys {
		var group []bucket
		group, todo = nextGroup(todo)
		if len(group) == 1 && group[0].rows > bucketRows && len(group[0].prefix) < 32 {
			finer, err := d.sums(ctx, []string{group[0].prefix}, len(group[0].prefix)+1)
			if err != nil {
				return err
			}
			todo = append(finer, todo...)
			continue
		}
		prefixes := make([]string, len(group))
		for i, b := range group {
			prefixes[i] = b.prefix
		}
		found, err := d.list(ctx, prefixes)
		if err != nil {
			return err
		}
		for k, p := range found {
			suspects[k] = p
		}
	}
	d.r.More = len(todo) > 0
	return d.confirm(ctx, suspects)
}

// nextGroup takes the buckets that can be listed in one scan. Their prefixes have one length.
func nextGroup(todo []bucket) (group, rest []bucket) {
	rows := int64(0)
	for i, b := range todo {
		rows += b.rows
		if i > 0 && (rows > bucketRows || i >= bucketsAtOnce*bucketsAtOnce || len(b.prefix) != len(todo[0].prefix)) {
			return todo[:i], todo[i:]
		}
	}
	return todo, nil
}

// sums gives the buckets that differ. Without digits it also fills in the rows of both sides.
func (d *differ) sums(ctx context.Context, prefixes []string, digits int) ([]bucket, error) {
	s := proto.CloneOf(d.s)
	s.Prefixes = prefixes
	answers, err := d.v.both(ctx, &peerpb.Ask{Question: &peerpb.Ask_Sums{Sums: &peerpb.AskSums{Selection: s, Digits: uint32(digits)}}})
	if err != nil {
		return nil, err
	}
	type both [2]*peerpb.Sum
	all := map[string]both{}
	for i, a := range answers {
		for _, sum := range a.Sums {
			b := all[sum.Prefix]
			b[i] = sum
			all[sum.Prefix] = b
		}
	}
	if digits == 0 {
		d.r.Rows, d.r.PeerRows = all[""][0].GetCount(), all[""][1].GetCount()
	}
	var out []bucket
	for prefix, b := range all {
		if b[0].GetCount() != b[1].GetCount() || b[0].GetSum() != b[1].GetSum() {
			out = append(out, bucket{prefix, max(b[0].GetCount(), b[1].GetCount())})
		}
	}
	slices.SortFunc(out, func(a, b bucket) int {
		if a.prefix < b.prefix {
			return -1
		}
		return 1
	})
	return out, nil
}

// list gives the rows that differ in the buckets, by the hash of their key.
func (d *differ) list(ctx context.Context, prefixes []string) (map[string]pair, error) {
	s := proto.CloneOf(d.s)
	s.Prefixes = prefixes
	answers, err := d.v.both(ctx, &peerpb.Ask{Question: &peerpb.Ask_Rows{Rows: &peerpb.AskRows{Selection: s, Limit: maxAnswerRows}}})
	if err != nil {
		return nil, err
	}
	all := map[string]pair{}
	last := ""
	for i, a := range answers {
		if a.Cut && len(a.Rows) > 0 { // what lies beyond was not listed on both sides
			d.r.More = true
			if end := a.Rows[len(a.Rows)-1].KeyHash; last == "" || end < last {
				last = end
			}
		}
		for _, row := range a.Rows {
			p := all[row.KeyHash]
			p[i] = row
			all[row.KeyHash] = p
		}
	}
	for k, p := range all {
		if p.same() || last != "" && k > last {
			delete(all, k)
		}
	}
	return all, nil
}

// confirm looks at the suspects again, after what was in flight has arrived, until each is equal or has stayed as
// different as it was.
func (d *differ) confirm(ctx context.Context, suspects map[string]pair) error {
	for range looks {
		if len(suspects) == 0 {
			return nil
		}
		if err := d.v.settle(ctx); err != nil {
			return err
		}
		keys := make([]string, 0, len(suspects))
		for k := range suspects {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		if len(keys) > maxAnswerRows/2 {
			keys, d.r.More = keys[:maxAnswerRows/2], true
		}
		now, err := d.list(ctx, keys)
		if err != nil {
			return err
		}
		left := map[string]pair{}
		for _, k := range keys {
			p, differs := now[k]
			switch {
			case !differs:
			case alike(p[0], suspects[k][0]) && alike(p[1], suspects[k][1]):
				d.name(p)
			default:
				left[k] = p
			}
		}
		suspects = left
	}
	return nil // what is left was another one at every look: it is being written to, and not stuck
}

// alike reports whether one side has shown the same row twice.
func alike(a, b *peerpb.Row) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.RowHash == b.RowHash && a.Count == b.Count
}

// name puts a difference into the result.
func (d *differ) name(p pair) {
	if len(d.r.Differences) >= d.v.o.Keys {
		d.r.More = true
		return
	}
	out := Difference{Key: map[string]string{}, Where: "both"}
	row := p[0]
	switch {
	case p[0] == nil:
		out.Where, row = "there", p[1]
	case p[1] == nil:
		out.Where = "here"
	}
	columns := d.s.Key
	if len(columns) == 0 {
		columns = []string{""}
		out.Count = p[1].GetCount() - p[0].GetCount()
	}
	for i, c := range columns {
		if i < len(row.Key) {
			out.Key[c] = row.Key[i]
		}
	}
	d.r.Differences = append(d.r.Differences, out)
}
