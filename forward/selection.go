package forward

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/forward/peerpb"
)

// keyTextChars is where the text of a key is cut off for showing.
const keyTextChars = 200

// selection is a part of a table whose rows can be summed up or listed by SQL. Rows are grouped by the hash of their
// keys and not by ranges of the keys themselves, because two servers may sort text differently (collations depend on
// the operating system), while the hash of a text is the same everywhere.
type selection struct {
	from     string // quoted
	columns  []string
	key      []string
	prefixes []string
	utf8     bool // the server's own encoding
}

// newSelection checks what the other node asks for against the catalog: nothing of its text gets into SQL unseen.
func newSelection(ctx context.Context, conn *pgconn.PgConn, p *peerpb.Selection) (*selection, error) {
	if len(p.GetColumns()) > maxColumns || len(p.GetPrefixes()) > maxPrefixes {
		return nil, errors.New("question over the limits")
	}
	var table *peerpb.Table
	if p.GetSchema() == "" {
		return nil, errors.New("question without a schema")
	}
	err := tables(ctx, conn, p.GetSchema(), p.GetTable(), func(t *peerpb.Table) error { table = t; return nil })
	if err != nil {
		return nil, err
	}
	if table == nil {
		return nil, fmt.Errorf("table %s.%s is not here", p.GetSchema(), p.GetTable())
	}
	for _, c := range slices.Concat(p.GetColumns(), p.GetKey()) {
		if !slices.Contains(table.Columns, c) {
			return nil, fmt.Errorf("table %s.%s has no column %s here", p.GetSchema(), p.GetTable(), c)
		}
	}
	for _, x := range p.GetPrefixes() {
		if len(x) == 0 || len(x) > 32 || strings.Trim(x, "0123456789abcdef") != "" || len(x) != len(p.GetPrefixes()[0]) {
			return nil, errors.New("question with a malformed prefix")
		}
	}
	return &selection{from: "ONLY " + quote(table.Schema) + "." + quote(table.Name), columns: p.GetColumns(), key: p.GetKey(),
		prefixes: p.GetPrefixes(), utf8: conn.ParameterStatus("server_encoding") == "UTF8"}, nil
}

// hash is the md5 of a text expression, of its UTF-8 form.
func (s *selection) hash(text string) string {
	if s.utf8 {
		return "md5(" + text + ")"
	}
	return "md5(convert_to(" + text + ", 'UTF8'))"
}

// record is the text of some columns together.
func record(columns []string) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = "t." + quote(c)
	}
	return "ROW(" + strings.Join(parts, ", ") + ")::text"
}

// rowHash and keyHash are expressions over t; a row without key is its own key.
func (s *selection) rowHash() string { return s.hash(record(s.columns)) }

func (s *selection) keyHash() string {
	if len(s.key) == 0 {
		return s.rowHash()
	}
	return s.hash(record(s.key))
}

// where restricts to the prefixes.
func (s *selection) where() (string, []string) {
	if len(s.prefixes) == 0 {
		return "", nil
	}
	return fmt.Sprintf(" WHERE left(%s, %d) = ANY ($1::text[])", s.keyHash(), len(s.prefixes[0])), []string{"{" + strings.Join(s.prefixes, ",") + "}"}
}

// sums gives, by the first digits of the key's hash after the prefix, how many rows there are and the sum of their hashes.
// A sum does not depend on the order of the rows, and counts equal rows.
func (s *selection) sums(digits int) (string, []string) {
	digits = min(max(digits, 0), 32)
	if len(s.prefixes) == 0 {
		digits = min(digits, maxDigits)
	} else {
		digits = min(digits, len(s.prefixes[0])+maxDigits)
	}
	group := "''"
	if digits > 0 {
		group = fmt.Sprintf("left(%s, %d)", s.keyHash(), digits)
	}
	where, params := s.where()
	return fmt.Sprintf(`SELECT %s, count(*), coalesce(sum(('x' || left(%s, 16))::bit(64)::bigint), 0) FROM %s t%s GROUP BY 1 ORDER BY 1`,
		group, s.rowHash(), s.from, where), params
}

// rows lists the rows themselves, sorted by the hash of the key.
func (s *selection) rows(limit int) (string, []string) {
	where, params := s.where()
	if len(s.key) == 0 {
		return fmt.Sprintf(`SELECT %s, %s, count(*), json_build_array(left(min(%s), %d)) FROM %s t%s GROUP BY 1, 2 ORDER BY %s COLLATE "C" LIMIT %d`,
			s.keyHash(), s.rowHash(), record(s.columns), keyTextChars, s.from, where, s.keyHash(), limit), params
	}
	keys := make([]string, len(s.key))
	for i, c := range s.key {
		keys[i] = fmt.Sprintf("left(t.%s::text, %d)", quote(c), keyTextChars)
	}
	return fmt.Sprintf(`SELECT %s, %s, 1, json_build_array(%s) FROM %s t%s ORDER BY %s COLLATE "C" LIMIT %d`,
		s.keyHash(), s.rowHash(), strings.Join(keys, ", "), s.from, where, s.keyHash(), limit), params
}
