package capture

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/test/harness"
)

// net is what a transaction did to the tables: how many rows of a text came and went. Rows that came and went again are none.
type net map[string]int

func (n net) add(row string, by int) {
	if n[row] += by; n[row] == 0 {
		delete(n, row)
	}
}

// historySchema is where the triggers write to. The settings make the texts canonical.
const historySchema = `CREATE SCHEMA history;
CREATE TABLE history.row (id bigserial, tab text, before text[], after text[])`

// watch makes, or makes anew, the history trigger of a table.
func (t *table) watch() string {
	var old, now []string
	for _, c := range t.columns {
		old = append(old, literal(c.name), printed("OLD."+quote(c.name)))
		now = append(now, literal(c.name), printed("NEW."+quote(c.name)))
	}
	f := "history." + quote("f "+t.name)
	return fmt.Sprintf(`CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql
 SET DateStyle = 'ISO' SET IntervalStyle = 'postgres' SET TimeZone = 'UTC' SET bytea_output = hex SET extra_float_digits = 1 AS $f$
BEGIN
 INSERT INTO history.row (tab, before, after) VALUES (%s,
  CASE WHEN TG_OP <> 'INSERT' THEN ARRAY[%s] END, CASE WHEN TG_OP <> 'DELETE' THEN ARRAY[%s] END);
 RETURN NULL;
END $f$;
CREATE OR REPLACE TRIGGER zz_history AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION %s();`,
		f, literal(unquote(t.name)), strings.Join(old, ", "), strings.Join(now, ", "), t.name, f)
}

// printed gives a value as its type's output function writes it (a cast to text is another thing), NULL as NULL (a row of NULLs is
// not).
func printed(v string) string {
	return fmt.Sprintf("CASE num_nulls(%s) WHEN 0 THEN format('%%s', %s) END", v, v)
}

func unquote(name string) string {
	return strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(name, `"`), `"`), `""`, `"`)
}

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// seen takes what the triggers wrote since it was called last.
func seen(t *testing.T, c *pgconn.PgConn) net {
	t.Helper()
	r := c.ExecParams(context.Background(), `WITH taken AS (DELETE FROM history.row RETURNING *)
 SELECT tab, (SELECT string_agg(coalesce(length(v)::text || ':' || v, 'NULL'), ' ' ORDER BY i) FROM unnest(before) WITH ORDINALITY u(v, i)),
  (SELECT string_agg(coalesce(length(v)::text || ':' || v, 'NULL'), ' ' ORDER BY i) FROM unnest(after) WITH ORDINALITY u(v, i)) FROM taken`, nil, nil, nil, nil).Read()
	if r.Err != nil {
		t.Fatalf("read history: %v", r.Err)
	}
	n := net{}
	for _, row := range r.Rows {
		if row[1] != nil {
			n.add(string(row[0])+" "+string(row[1]), -1)
		}
		if row[2] != nil {
			n.add(string(row[0])+" "+string(row[2]), 1)
		}
	}
	return n
}

// told sums up what a journal says of a transaction. columns gives a table's columns in order.
func told(x harness.Transaction, columns func(table string) []string) net {
	n := net{}
	for _, st := range x.Statements {
		if st.RolledBack || st.SQLState != "" {
			continue
		}
		for _, row := range st.Rows {
			if row.Before != nil {
				n.add(image(row.Table, row.Before, columns(row.Table)), -1)
			}
			if row.After != nil {
				n.add(image(row.Table, row.After, columns(row.Table)), 1)
			}
		}
	}
	return n
}

// image writes a row as history's query does.
func image(table string, row map[string]any, columns []string) string {
	var out []string
	field := func(v any) {
		if s, ok := v.(string); ok {
			out = append(out, fmt.Sprintf("%d:%s", len([]rune(s)), s))
		} else if v == nil {
			out = append(out, "NULL")
		} else {
			out = append(out, fmt.Sprintf("?%v", v))
		}
	}
	for _, c := range columns {
		v, ok := row[c]
		if !ok {
			out = append(out, "absent")
			continue
		}
		field(c)
		field(v)
	}
	return table + " " + strings.Join(out, " ")
}
