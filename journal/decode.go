package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// errMalformed is the decoder's only complaint; its callers say of what.
var errMalformed = errors.New("malformed bytes")

// decoder reads what encoder wrote. It works on a string so that the strings it gives out share one allocation with
// their record. Once it has failed, it gives zeros; the caller looks at err at the end. It never allocates more than a
// constant times the bytes it was given.
type decoder struct {
	s   string
	err error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errMalformed
	}
	d.s = ""
}

// take gives the next n bytes.
func (d *decoder) take(n uint64) string {
	if n > uint64(len(d.s)) {
		d.fail()
		return ""
	}
	b := d.s[:n]
	d.s = d.s[n:]
	return b
}

func (d *decoder) byte() byte {
	b := d.take(1)
	if b == "" {
		return 0
	}
	return b[0]
}

func (d *decoder) bool() bool {
	switch d.byte() {
	case 0:
		return false
	case 1:
		return true
	}
	d.fail()
	return false
}

// uint reads a varint in its shortest form; any other form is malformed, so that decoding and encoding are inverse.
func (d *decoder) uint() uint64 {
	var v uint64
	for i := 0; i < len(d.s) && i < binary.MaxVarintLen64; i++ {
		b := d.s[i]
		if i == binary.MaxVarintLen64-1 && b > 1 || i > 0 && b == 0 {
			break
		}
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			d.s = d.s[i+1:]
			return v
		}
	}
	d.fail()
	return 0
}

func (d *decoder) int() int64 {
	u := d.uint()
	v := int64(u >> 1)
	if u&1 != 0 {
		v = ^v
	}
	return v
}

func (d *decoder) uint32() uint32 {
	v := d.uint()
	if v > math.MaxUint32 {
		d.fail()
		return 0
	}
	return uint32(v)
}

func (d *decoder) fixed() uint64 {
	b := d.take(8)
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64([]byte(b))
}

func (d *decoder) string() string { return d.take(d.uint()) }

func (d *decoder) node() (n NodeID) {
	copy(n[:], d.take(uint64(len(n))))
	return n
}

func (d *decoder) hash() (h [32]byte) {
	copy(h[:], d.take(uint64(len(h))))
	return h
}

func (d *decoder) time() time.Time {
	if !d.bool() {
		return time.Time{}
	}
	t := time.Unix(0, d.int()).UTC()
	return t
}

// items reads what sequence wrote. least is the fewest bytes that an element can take.
func items[T any](d *decoder, least int, each func(*decoder, *T)) []T {
	n := d.uint()
	if n == 0 {
		return nil
	}
	n--
	if n > uint64(len(d.s)/least) {
		d.fail()
		return nil
	}
	s := make([]T, n)
	for i := range s {
		each(d, &s[i])
		if d.err != nil {
			return nil
		}
	}
	return s
}

func (d *decoder) ints() []int {
	return items(d, 1, func(d *decoder, v *int) { *v = int(d.int()) })
}

func (d *decoder) strings() []string {
	return items(d, 1, func(d *decoder, v *string) { *v = d.string() })
}

func (d *decoder) stringMap() map[string]string {
	n := d.uint()
	if n == 0 {
		return nil
	}
	n--
	if n > uint64(len(d.s)/2) {
		d.fail()
		return nil
	}
	m := make(map[string]string, min(n, 64))
	last := ""
	for i := uint64(0); i < n && d.err == nil; i++ {
		k := d.string()
		if i > 0 && k <= last {
			d.fail()
		}
		m[k] = d.string()
		last = k
	}
	return m
}

func (d *decoder) vector() Vector {
	n := d.uint()
	if n > uint64(len(d.s)/17) {
		d.fail()
		return nil
	}
	v := make(Vector, n+1)
	var last NodeID
	for i := uint64(0); i < n && d.err == nil; i++ {
		node := d.node()
		seq := d.uint()
		if seq == 0 || i > 0 && string(node[:]) <= string(last[:]) {
			d.fail()
		}
		v[node] = seq
		last = node
	}
	return v
}

func (d *decoder) value(v *Value) {
	v.Kind = ValueKind(d.byte())
	switch v.Kind {
	case ValueText, ValueBinary:
		v.Data = d.string()
	case ValueAbsent, ValueNull, ValueUnchanged, ValueRedacted:
	default:
		d.fail()
	}
}

func (d *decoder) values() []Value { return items(d, 1, (*decoder).value) }

func (d *decoder) param(p *Param) {
	p.Type = d.string()
	d.value(&p.Value)
}

func (d *decoder) tx() *Tx {
	t := &Tx{}
	copy(t.Marker[:], d.take(uint64(len(t.Marker))))
	t.Images = d.images()
	t.Start = d.time()
	t.End = d.time()
	t.User = d.string()
	t.Database = d.string()
	t.Application = d.string()
	t.Client = d.string()
	t.Session = d.uint()
	t.Backend = d.uint32()
	t.XID = d.uint()
	t.Relations = items(d, 7, (*decoder).relation)
	t.Statements = items(d, 27, (*decoder).statement)
	if d.err == nil {
		d.err = t.validate()
	}
	return t
}

func (d *decoder) relation(r *Relation) {
	r.Schema = d.string()
	r.Name = d.string()
	r.Columns = items(d, 5, (*decoder).column)
	r.Key = d.ints()
	r.Groups = items(d, 1, func(d *decoder, g *[]int) { *g = d.ints() })
	r.Uniques = items(d, 4, (*decoder).unique)
	r.References = items(d, 9, (*decoder).reference)
}

func (d *decoder) column(c *Column) {
	c.Name = d.string()
	c.Type = d.string()
	c.NotNull = d.bool()
	c.Generated = d.bool()
	c.Identity = d.byte()
}

func (d *decoder) unique(u *Unique) {
	u.Name = d.string()
	u.Columns = d.ints()
	u.Definition = d.string()
	u.NullsNotDistinct = d.bool()
}

func (d *decoder) reference(r *Reference) {
	r.Name = d.string()
	r.Columns = d.ints()
	r.Schema = d.string()
	r.Table = d.string()
	r.Foreign = d.strings()
	r.OnDelete = d.byte()
	r.OnUpdate = d.byte()
	r.Deferrable = d.bool()
	r.InitiallyDefer = d.bool()
}

func (d *decoder) statement(s *Statement) {
	s.Query = d.string()
	s.Params = items(d, 2, (*decoder).param)
	s.Command = d.string()
	s.Class = Class(d.byte())
	s.Role = d.string()
	s.RoleSource = RoleSource(d.byte())
	s.Tables = d.strings()
	s.Objects = items(d, 2, (*decoder).object)
	s.Protocol = Protocol(d.byte())
	s.Prepared = d.string()
	s.Portal = d.string()
	s.Part = d.uint32()
	s.Parts = d.uint32()
	s.Context = d.string()
	s.Redacted = Redaction(d.byte())
	if d.bool() {
		s.Copy = &CopyData{Bytes: d.int(), Messages: d.int(), SHA256: d.hash()}
	}
	s.Capture = Capture(d.byte())
	s.Note = d.string()
	s.Changes = items(d, 8, (*decoder).change)
	s.Stored = d.span()
	s.RowsAffected = d.int()
	s.Start = d.time()
	s.Duration = time.Duration(d.int())
	s.SQLState = d.string()
	s.Message = d.string()
	s.RolledBack = d.bool()
	s.NotExecuted = d.bool()
	if d.bool() {
		s.Replay = d.replay()
	}
}

func (d *decoder) object(o *Object) {
	o.Type = d.string()
	o.Name = d.string()
}

func (d *decoder) replay() *Replay {
	return &Replay{
		Text:     d.string(),
		Params:   items(d, 2, (*decoder).param),
		Settings: d.stringMap(),
		Role:     d.string(),
		Tables:   d.strings(),
		NoBlock:  d.bool(),
	}
}

func (d *decoder) change(c *Change) {
	r := d.uint()
	if r > math.MaxInt32 {
		d.fail()
	}
	c.Relation = int(r)
	c.Op = Op(d.byte())
	c.Before = d.values()
	c.After = d.values()
	c.Set = d.ints()
	c.Delta = d.ints()
	c.Upsert = d.ints()
	c.Cascade = d.bool()
}

func (d *decoder) member() *Member {
	return &Member{
		Cluster: d.node(), Node: d.node(), Name: d.string(), Number: d.uint32(),
		FreeFrom: d.uint32(), FreeTo: d.uint32(), Retired: d.bool(),
	}
}

func (d *decoder) conflict() Conflict {
	return Conflict{
		Kind: d.string(), Time: d.time(), Database: d.string(), Schema: d.string(), Table: d.string(),
		Key: d.stringMap(), Winner: d.id(), Loser: d.id(), Columns: d.strings(), Rule: d.string(), LoserSQL: d.string(),
	}
}

func (d *decoder) id() ID { return ID{Origin: d.node(), Seq: d.uint()} }

// end fails unless everything was read.
func (d *decoder) end() error {
	if d.err == nil && d.s != "" {
		d.err = fmt.Errorf("%w: %d bytes too many", errMalformed, len(d.s))
	}
	return d.err
}
