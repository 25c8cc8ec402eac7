package apply

import (
	"fmt"
	"slices"
	"strings"

	"pgproxy/journal"
)

// table is what apply must know of a local table, by column name.
type table struct {
	quoted  string // schema.name
	kind    byte   // pg_class.relkind: r, p
	columns map[string]column
	uniques [][]string // the columns, sorted, of the unique indexes that ON CONFLICT can infer from columns alone
	checks  []check
	parents []string // schema.table of those that it inherits from, or is a partition of
	lenient bool     // columns that are not here are left out
}

type column struct {
	typ        string // without modifier
	generated  bool
	always     bool // GENERATED ALWAYS AS IDENTITY: can be inserted, not updated
	comparable bool // has equality
}

// check is a CHECK constraint.
type check struct {
	expression string
	columns    []string
}

const columnsQuery = `SELECT c.relkind::text, a.attname::text, format_type(a.atttypid, NULL), (a.attgenerated <> '')::text, (a.attidentity = 'a')::text,
  (EXISTS (SELECT FROM pg_type t LEFT JOIN pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype
     WHERE t.oid = a.atttypid AND (coalesce(b.typtype, t.typtype) IN ('e','r','m')
       OR EXISTS (SELECT FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod
                  WHERE o.opcdefault AND m.amname IN ('btree','hash') AND o.opcintype = coalesce(b.oid, t.oid))
       OR coalesce(b.typname, t.typname) = 'varchar')))::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = $1::text AND c.relname = $2::text AND c.relkind IN ('r','p')`

const uniquesQuery = `SELECT (SELECT string_agg(a.attname::text, E'\x01' ORDER BY a.attname) FROM pg_attribute a
  WHERE a.attrelid = i.indrelid AND a.attnum IN (SELECT k FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u (k, o) WHERE o <= i.indnkeyatts))
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1::text AND c.relname = $2::text AND i.indisunique AND i.indisvalid AND i.indimmediate
  AND i.indpred IS NULL AND i.indexprs IS NULL`

const checksQuery = `SELECT pg_get_expr(k.conbin, k.conrelid), (SELECT string_agg(a.attname::text, E'\x01') FROM pg_attribute a
  WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1::text AND c.relname = $2::text AND k.contype = 'c'`

const parentsQuery = `WITH RECURSIVE up (oid) AS (
  SELECT i.inhparent FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = $1::text AND c.relname = $2::text
  UNION SELECT i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.oid)
SELECT n.nspname || '.' || c.relname FROM up JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace`

// loadTable reads a table from the catalog; nil if there is none.
func loadTable(s *session, schema, name string) (*table, error) {
	f := &flight{}
	args := []journal.Value{journal.Text(schema), journal.Text(name)}
	cols, uniques, checks := f.add(columnsQuery, args...), f.add(uniquesQuery, args...), f.add(checksQuery, args...)
	parents := f.add(parentsQuery, args...)
	if err := s.do(f); err != nil {
		return nil, fmt.Errorf("read table %s.%s from the catalog: %w", schema, name, err)
	}
	if len(cols.rows) == 0 {
		return nil, nil
	}
	t := &table{quoted: ident(schema) + "." + ident(name), columns: map[string]column{}}
	for _, r := range cols.rows {
		t.kind = r[0][0]
		if r[1] != nil {
			t.columns[string(r[1])] = column{string(r[2]), string(r[3]) == "true", string(r[4]) == "true", string(r[5]) == "true"}
		}
	}
	for _, r := range uniques.rows {
		names := strings.Split(string(r[0]), "\x01")
		slices.Sort(names)
		t.uniques = append(t.uniques, names)
	}
	for _, r := range checks.rows {
		t.checks = append(t.checks, check{string(r[0]), strings.Split(string(r[1]), "\x01")})
	}
	for _, r := range parents.rows {
		t.parents = append(t.parents, string(r[0]))
	}
	return t, nil
}

// without gives t as it is for records that write columns that were removed.
func (t *table) without() *table {
	l := *t
	l.lenient = true
	return &l
}

// arbiter reports whether ON CONFLICT can name these columns.
func (t *table) arbiter(columns []string) bool {
	sorted := slices.Sorted(slices.Values(columns))
	return slices.ContainsFunc(t.uniques, func(u []string) bool { return slices.Equal(u, sorted) })
}

// checked gives the constraints that look at any of the columns.
func (t *table) checked(columns []string) []check {
	var out []check
	for _, c := range t.checks {
		if slices.ContainsFunc(c.columns, func(n string) bool { return slices.Contains(columns, n) }) {
			out = append(out, c)
		}
	}
	return out
}

// only keeps a statement from reaching into tables that inherit from t, whose rows have names of their own.
func (t *table) only() string {
	if t.kind == 'p' {
		return t.quoted
	}
	return "ONLY " + t.quoted
}

func ident(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
