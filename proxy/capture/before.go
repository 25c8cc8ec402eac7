package capture

import (
	"encoding/hex"
	"fmt"
	"strings"

	"pgproxy/journal"
)

// committed reads rows by key through pgproxy's own connection: the last committed versions, which our client's row
// locks have frozen. Rows that are not there are not in the map.
func (w *work) committed(rel *relation, keys [][]journal.Value) (map[string][]journal.Value, error) {
	if w.unborn(rel) {
		return nil, nil
	}
	return w.byKey(w.session.db.pool, shapeOf(rel, "UTF8"), nil, keys)
}

// unborn reports whether the open transaction has created the table: then nobody else has seen any row of it.
func (w *work) unborn(rel *relation) bool {
	if w.session.private == nil {
		return false
	}
	rows, err := w.session.db.pool.Query(w.ctx, "SELECT FROM pg_catalog.pg_class c WHERE c.oid = $1::text::oid", oidArg(rel.OID))
	return err == nil && len(rows) == 0
}

// current reads rows by key as the client's transaction sees them now.
func (w *work) current(rel *relation, keys [][]journal.Value) (map[string][]journal.Value, error) {
	return w.byKey(w.session.inner, shapeOf(rel, w.who.Encoding), w.who.transcode, keys)
}

// keyBatch is how many rows are asked for at once.
const keyBatch = 5000

func (w *work) byKey(q Querier, sh shape, tc transcoder, keys [][]journal.Value) (map[string][]journal.Value, error) {
	found := make(map[string][]journal.Value, len(keys))
	foreign := q == w.session.inner && w.foreign()
	sql := byKeyQuery(sh, foreign)
	for len(keys) > 0 {
		batch := keys[:min(len(keys), keyBatch)]
		keys = keys[len(batch):]
		rows, err := q.Query(w.ctx, sql, keyArrays(sh.rel, batch, foreign)...)
		if err != nil {
			return nil, fmt.Errorf("read rows by key: %w", err)
		}
		for _, r := range rows {
			v, err := sh.decode(r[0], tc)
			if err != nil {
				return nil, err
			}
			found[sh.rel.rowKey(v)] = v
		}
	}
	return found, nil
}

// foreign reports whether the client's session does not speak UTF-8: then our arguments go as hexadecimal digits.
func (w *work) foreign() bool { return w.who.Encoding != "UTF8" }

// byKeyQuery joins the table with arrays of key values, one per key column.
func byKeyQuery(sh shape, foreign bool) string {
	format := "pg_catalog.unnest($%d::pg_catalog.text::%s[])"
	if foreign {
		format = "pg_catalog.unnest(pg_catalog.convert_from(pg_catalog.decode($%d::pg_catalog.text, 'hex'), 'UTF8')::%s[])"
	}
	var arrays, names, where []string
	for i, k := range sh.rel.key {
		c := sh.rel.Columns[k]
		arrays = append(arrays, fmt.Sprintf(format, i+1, c.CastName))
		names = append(names, fmt.Sprintf("k%d", i))
		where = append(where, fmt.Sprintf("o.%s %s u.k%d", quote(c.Name), sh.rel.keyOps[i], i))
	}
	return fmt.Sprintf("SELECT %s FROM ROWS FROM (%s) u(%s) JOIN %s o ON %s", sh.columns("o"),
		strings.Join(arrays, ", "), strings.Join(names, ", "), sh.rel.rows(), strings.Join(where, " AND "))
}

// keyArrays writes the key columns of rows as array literals.
func keyArrays(rel *relation, rows [][]journal.Value, foreign bool) [][]byte {
	args := make([][]byte, len(rel.key))
	for i, k := range rel.key {
		args[i] = arrayLiteral(rows, k)
		if foreign {
			args[i] = hex.AppendEncode(nil, args[i])
		}
	}
	return args
}

func arrayLiteral(rows [][]journal.Value, column int) []byte {
	b := []byte{'{'}
	for n, row := range rows {
		if n > 0 {
			b = append(b, ',')
		}
		if row[column].Kind != journal.ValueText {
			b = append(b, "NULL"...)
			continue
		}
		b = append(b, '"')
		for _, c := range []byte(row[column].Data) {
			if c == '"' || c == '\\' {
				b = append(b, '\\')
			}
			b = append(b, c)
		}
		b = append(b, '"')
	}
	return append(b, '}')
}
