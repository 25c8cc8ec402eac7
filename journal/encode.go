package journal

import (
	"encoding/binary"
	"slices"
	"time"
)

// encoder appends the journal's binary form. Everything is deterministic: maps and vectors are written in key order.
// Numbers are varints, strings and lists carry their length first; a nil list or map is written as 0 and one of n
// elements as n+1, so that decoding gives back exactly what was encoded.
type encoder struct{ b []byte }

func (e *encoder) byte(v byte)     { e.b = append(e.b, v) }
func (e *encoder) uint(v uint64)   { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) int(v int64)     { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) fixed(v uint64)  { e.b = binary.BigEndian.AppendUint64(e.b, v) }
func (e *encoder) raw(b []byte)    { e.b = append(e.b, b...) }
func (e *encoder) string(s string) { e.uint(uint64(len(s))); e.b = append(e.b, s...) }
func (e *encoder) node(n NodeID)   { e.b = append(e.b, n[:]...) }

func (e *encoder) bool(v bool) {
	if v {
		e.byte(1)
	} else {
		e.byte(0)
	}
}

// time writes nanoseconds since the Unix epoch; the zero time is kept apart.
func (e *encoder) time(t time.Time) {
	e.bool(!t.IsZero())
	if !t.IsZero() {
		e.int(t.UnixNano())
	}
}

// sequence writes s's length and then each element.
func sequence[T any](e *encoder, s []T, each func(*encoder, *T)) {
	if s == nil {
		e.uint(0)
		return
	}
	e.uint(uint64(len(s)) + 1)
	for i := range s {
		each(e, &s[i])
	}
}

func (e *encoder) ints(s []int) {
	sequence(e, s, func(e *encoder, v *int) { e.int(int64(*v)) })
}

func (e *encoder) strings(s []string) {
	sequence(e, s, func(e *encoder, v *string) { e.string(*v) })
}

func (e *encoder) stringMap(m map[string]string) {
	if m == nil {
		e.uint(0)
		return
	}
	e.uint(uint64(len(m)) + 1)
	for _, k := range sortedNames(m) {
		e.string(k)
		e.string(m[k])
	}
}

// vector writes v in the order of its nodes, without the zero entries and without the node skip.
func (e *encoder) vector(v Vector, skip NodeID) {
	nodes := make([]NodeID, 0, len(v))
	for n, s := range v {
		if s > 0 && n != skip {
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, func(a, b NodeID) int { return slices.Compare(a[:], b[:]) })
	e.uint(uint64(len(nodes)))
	for _, n := range nodes {
		e.node(n)
		e.uint(v[n])
	}
}

func (e *encoder) value(v *Value) {
	e.byte(byte(v.Kind))
	if v.Kind == ValueText || v.Kind == ValueBinary {
		e.string(v.Data)
	}
}

func (e *encoder) values(s []Value) { sequence(e, s, (*encoder).value) }

func (e *encoder) param(p *Param) {
	e.string(p.Type)
	e.value(&p.Value)
}

func (e *encoder) tx(t *Tx) {
	e.raw(t.Marker[:])
	e.images(t.Images) // Raw.Images looks here
	e.time(t.Start)
	e.time(t.End)
	e.string(t.User)
	e.string(t.Database)
	e.string(t.Application)
	e.string(t.Client)
	e.uint(t.Session)
	e.uint(uint64(t.Backend))
	e.uint(t.XID)
	sequence(e, t.Relations, (*encoder).relation)
	sequence(e, t.Statements, (*encoder).statement)
}

func (e *encoder) relation(r *Relation) {
	e.string(r.Schema)
	e.string(r.Name)
	sequence(e, r.Columns, (*encoder).column)
	e.ints(r.Key)
	sequence(e, r.Groups, func(e *encoder, g *[]int) { e.ints(*g) })
	sequence(e, r.Uniques, (*encoder).unique)
	sequence(e, r.References, (*encoder).reference)
}

func (e *encoder) column(c *Column) {
	e.string(c.Name)
	e.string(c.Type)
	e.bool(c.NotNull)
	e.bool(c.Generated)
	e.byte(c.Identity)
}

func (e *encoder) unique(u *Unique) {
	e.string(u.Name)
	e.ints(u.Columns)
	e.string(u.Definition)
	e.bool(u.NullsNotDistinct)
}

func (e *encoder) reference(r *Reference) {
	e.string(r.Name)
	e.ints(r.Columns)
	e.string(r.Schema)
	e.string(r.Table)
	e.strings(r.Foreign)
	e.byte(r.OnDelete)
	e.byte(r.OnUpdate)
	e.bool(r.Deferrable)
	e.bool(r.InitiallyDefer)
}

func (e *encoder) statement(s *Statement) {
	e.string(s.Query)
	sequence(e, s.Params, (*encoder).param)
	e.string(s.Command)
	e.byte(byte(s.Class))
	e.string(s.Role)
	e.byte(byte(s.RoleSource))
	e.strings(s.Tables)
	sequence(e, s.Objects, (*encoder).object)
	e.byte(byte(s.Protocol))
	e.string(s.Prepared)
	e.string(s.Portal)
	e.uint(uint64(s.Part))
	e.uint(uint64(s.Parts))
	e.string(s.Context)
	e.byte(byte(s.Redacted))
	e.bool(s.Copy != nil)
	if s.Copy != nil {
		e.copyData(s.Copy)
	}
	e.byte(byte(s.Capture))
	e.string(s.Note)
	sequence(e, s.Changes, (*encoder).change)
	e.span(s.Stored)
	e.int(s.RowsAffected)
	e.time(s.Start)
	e.int(int64(s.Duration))
	e.string(s.SQLState)
	e.string(s.Message)
	e.bool(s.RolledBack)
	e.bool(s.NotExecuted)
	e.bool(s.Replay != nil)
	if s.Replay != nil {
		e.replay(s.Replay)
	}
}

func (e *encoder) object(o *Object) {
	e.string(o.Type)
	e.string(o.Name)
}

func (e *encoder) copyData(c *CopyData) {
	e.int(c.Bytes)
	e.int(c.Messages)
	e.raw(c.SHA256[:])
}

func (e *encoder) replay(r *Replay) {
	e.string(r.Text)
	sequence(e, r.Params, (*encoder).param)
	e.stringMap(r.Settings)
	e.string(r.Role)
	e.strings(r.Tables)
	e.bool(r.NoBlock)
}

func (e *encoder) change(c *Change) {
	e.uint(uint64(c.Relation))
	e.byte(byte(c.Op))
	e.values(c.Before)
	e.values(c.After)
	e.ints(c.Set)
	e.ints(c.Delta)
	e.ints(c.Upsert)
	e.bool(c.Cascade)
}

func (e *encoder) member(m *Member) {
	e.node(m.Cluster)
	e.node(m.Node)
	e.string(m.Name)
	e.uint(uint64(m.Number))
	e.uint(uint64(m.FreeFrom))
	e.uint(uint64(m.FreeTo))
	e.bool(m.Retired)
}

func (e *encoder) conflict(c *Conflict) {
	e.string(c.Kind)
	e.time(c.Time)
	e.string(c.Database)
	e.string(c.Schema)
	e.string(c.Table)
	e.stringMap(c.Key)
	e.id(c.Winner)
	e.id(c.Loser)
	e.strings(c.Columns)
	e.string(c.Rule)
	e.string(c.LoserSQL)
}

func (e *encoder) id(id ID) {
	e.node(id.Origin)
	e.uint(id.Seq)
}
