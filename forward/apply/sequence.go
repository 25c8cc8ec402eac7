package apply

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"pgproxy/journal"
)

// Stride is the distance between two values of a sequence at one node: the number of node numbers there are.
const Stride = 256

// residue gives the least value of a node's sequences. Number 0 begins at the stride itself: 0 is no good key.
func residue(number uint32) int64 {
	if number%Stride == 0 {
		return Stride
	}
	return int64(number % Stride)
}

// sequencesQuery lists the rising sequences with what they and the columns that they feed have reached. A sequence that
// is owned by a column, or is its default, must be past the greatest value in the column.
const sequencesQuery = `SELECT n.nspname::text, c.relname::text, s.seqincrement::text, s.seqstart::text, s.seqmax::text,
  tn.nspname::text, t.relname::text, a.attname::text
FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0
LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE c.relpersistence <> 't' AND s.seqincrement > 0 AND n.nspname NOT IN ('pgproxy', 'pg_catalog', 'information_schema')
ORDER BY 1, 2`

// ErrSequences is returned by WritableErr while sequences may still give values that another node gives too.
var ErrSequences = errors.New("the sequences are being set to this node's number")

// WritableErr says why clients' writes have to be refused now; nil if they need not be. A node that has just been admitted
// may take writes once its sequences have left the values that others give.
func (a *Applier) WritableErr() error {
	id := a.o.Journal.Identity()
	if !id.Cluster.IsZero() && a.strided.Load() != uint64(id.Number)+1 {
		return fmt.Errorf("%w: try again in a moment", ErrSequences)
	}
	return nil
}

// stride gives every sequence of every database the stride of this node's number, past all that its table holds, once per
// process and whenever the number has changed. Sequences that may not be altered, or end too early, are left and named in Status.
func (a *Applier) stride(ctx context.Context) (changed bool, err error) {
	id := a.o.Journal.Identity()
	if id.Cluster.IsZero() || a.strided.Load() == uint64(id.Number)+1 {
		return false, nil
	}
	names, err := a.o.Databases(ctx)
	if err != nil {
		return false, fmt.Errorf("list databases: %w", err)
	}
	var left []string
	for _, n := range names {
		d := &database{name: n}
		if err := d.connect(ctx, &a.o); err != nil {
			return false, err
		}
		bad, err := strideAll(d, id.Number, false)
		d.disconnect()
		if err != nil {
			return false, err
		}
		left = append(left, bad...)
	}
	for _, why := range left {
		a.o.Logger.Warn("a sequence may give the same values as another node's", "reason", why)
	}
	a.sequences = left
	a.strided.Store(uint64(id.Number) + 1)
	return true, nil
}

// strideNew gives sequences that a replayed statement has made, or reset, this node's stride.
func (a *Applier) strideNew(d *database, r *journal.Replay) error {
	id := a.o.Journal.Identity()
	if id.Cluster.IsZero() {
		return nil
	}
	bad, err := strideAll(d, id.Number, !strings.Contains(strings.ToUpper(r.Text), "RESTART"))
	for _, why := range bad {
		a.o.Logger.Warn("a sequence may give the same values as another node's", "reason", why)
		a.sequences = append(a.sequences, why)
	}
	return err
}

// strideAll works through a database; with fresh, only through sequences that have no stride yet. It gives those that
// have to stay as they are, with the reason.
func strideAll(d *database, number uint32, fresh bool) (left []string, err error) {
	rows, err := d.s.query(sequencesQuery)
	if err != nil {
		return nil, fmt.Errorf("list the sequences of database %s: %w", d.name, err)
	}
	for _, r := range rows {
		q := sequence{name: ident(string(r[0])) + "." + ident(string(r[1]))}
		q.increment, q.start, q.max = number64(r[2]), number64(r[3]), number64(r[4])
		if r[7] != nil {
			q.table, q.column = ident(string(r[5]))+"."+ident(string(r[6])), ident(string(r[7]))
		}
		if fresh && q.increment == Stride && q.start == residue(number) {
			continue
		}
		err := q.follow(d, number)
		var no *refusal
		switch {
		case err == nil:
		case errors.As(err, &no), sqlState(err) == "42501" && d.s.status == 'I': // insufficient privilege
			left = append(left, fmt.Sprintf("sequence %s in database %s: %v", q.name, d.name, err))
		default:
			return left, fmt.Errorf("set the stride of sequence %s in database %s: %w", q.name, d.name, err)
		}
	}
	return left, nil
}

func number64(b []byte) int64 {
	n, _ := strconv.ParseInt(string(b), 10, 64) // the server's own bigint
	return n
}

// sequence is one of a database, with the column that it feeds.
type sequence struct {
	name, table, column   string
	increment, start, max int64
}

// follow makes the sequence give values of the node's residue, beyond everything that it gave and that its column holds.
func (q *sequence) follow(d *database, number uint32) error {
	text := "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END::text FROM " + q.name
	f := &flight{}
	last := f.add(text)
	var top *step
	if q.column != "" {
		top = f.add("SELECT coalesce(max(" + q.column + ")::pg_catalog.int8, 0)::text FROM " + q.table)
	}
	if err := d.s.do(f); err != nil {
		return err
	}
	seen := number64(last.rows[0][0])
	used := seen
	if top != nil {
		used = max(used, number64(top.rows[0][0]))
	}
	n := residue(number)
	next := n
	if used >= n {
		next = n + (used-n+Stride)/Stride*Stride
	}
	if q.increment == Stride && q.start == n && (seen-n)%Stride == 0 && seen >= used || next > q.max {
		if next > q.max {
			return &refusal{state: "2200H", reason: fmt.Sprintf("the next value of this node would be %d, the sequence ends at %d", next, q.max)}
		}
		return nil
	}
	f = &flight{}
	f.add(fmt.Sprintf("ALTER SEQUENCE %s INCREMENT BY %d MINVALUE 1 START WITH %d RESTART WITH %d", q.name, Stride, n, next))
	return d.s.do(f)
}
