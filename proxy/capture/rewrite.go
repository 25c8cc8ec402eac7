package capture

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"pgproxy/journal"
)

// Some DDL gives rows as well as a schema: a query's result, or a default that is different for every row or every time.
// Peers repeat the schema and are given the rows.

// shipPart is the part of ScanPages up to which such rows are shipped.
const shipPart = 8

var (
	withData   = regexp.MustCompile(`(?i)\bwith\s+(no\s+)?data\s*$`)
	constantly = regexp.MustCompile(`^(-?[0-9.]+|'([^']|'')*'|true|false|NULL)(::[a-z_ "().\[\],0-9]+)*$`)
)

// emptied turns a CREATE TABLE AS into one that makes the table alone.
func emptied(text string) string { return withData.ReplaceAllString(text, "") + " WITH NO DATA" }

// finishTableAs ships the rows of a table that a query made.
func (w *work) finishTableAs() error {
	rel, err := w.created()
	if err != nil || rel == nil {
		return err
	}
	r := w.effect.Replay
	if w.st.Command == "SELECT INTO" || strings.Contains(strings.ToLower(r.Text), "execute") {
		r.Text = createText(rel)
	} else {
		r.Text = emptied(r.Text)
	}
	if w.session.stays(rel) != "" {
		return nil
	}
	leaves, _, err := w.leaves(rel)
	if err != nil {
		return err
	}
	count := 0
	if len(leaves) > 0 && w.pages > maxHeldPages {
		count = streamRows
	}
	return w.streamed(count, func() error { return w.copiedByScan(rel) })
}

// maxHeldPages is the size up to which the rows of a table made by a query are held in memory.
const maxHeldPages = 64

// created finds the one table that the statement has made.
func (w *work) created() (*relation, error) {
	if len(w.st.Objects) == 0 {
		return nil, nil
	}
	t, err := w.session.resolve(w.ctx, w.who, w.st.Objects[0])
	if err != nil || t.missing || t.temp {
		return nil, err
	}
	return w.relationOf(t.OID)
}

// createText writes CREATE TABLE for a table that a query made: such a table has nothing but columns.
func createText(rel *relation) string {
	var cols []string
	for _, c := range rel.Columns {
		cols = append(cols, quote(c.Name)+" "+c.TypeName)
	}
	return "CREATE TABLE " + rel.quoted() + " (" + strings.Join(cols, ", ") + ")"
}

const defaultsQuery = `SELECT a.attnum::pg_catalog.int4, pg_catalog.convert_to(coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), CASE WHEN a.attidentity <> '' THEN 'identity()' ELSE 'NULL' END), 'UTF8')
FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = $1::text::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''`

// finishAlter ships the values that ADD COLUMN gave to old rows, unless they are a constant that peers will give too.
func (w *work) finishAlter() error {
	old := w.plan.rel
	rel, err := w.relationOf(old.OID)
	if err != nil {
		return err
	}
	fresh := []int{}
	for i, c := range rel.Columns {
		if _, was := old.numbers[c.Number]; !was && c.Generated == "" {
			fresh = append(fresh, i)
		}
	}
	if len(fresh) == 0 || rel.OID != old.OID {
		return nil
	}
	rows, err := w.session.inner.Query(w.ctx, defaultsQuery, oidArg(rel.OID))
	if err != nil {
		return fmt.Errorf("read defaults: %w", err)
	}
	for _, r := range rows {
		if i, ok := rel.numbers[int(be32(r[0]))]; ok && constantly.MatchString(string(r[1])) {
			fresh = slices.DeleteFunc(fresh, func(f int) bool { return f == i })
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return w.fill(rel, fresh)
}

// fill records the present values of columns as updates of all rows.
func (w *work) fill(rel *relation, fresh []int) error {
	leaves, why, err := w.leaves(rel)
	if err != nil {
		return err
	}
	if limit := w.session.capturer.options.ScanPages / shipPart; why == "" && w.pages > limit {
		why = fmt.Sprintf("the table is too large (%d pages) for the new column's values to be shipped", w.pages)
	}
	if why == "" && w.pages > 0 && len(rel.key) == 0 {
		why = "the rows of a table without key cannot be given the new column's values"
	}
	if why != "" {
		w.lost(rel.full(), "%s", why)
		return nil
	}
	sh := shapeOf(rel, w.who.Encoding)
	var changes []journal.Change
	for _, l := range leaves {
		found, err := w.session.inner.Query(w.ctx, fmt.Sprintf("SELECT %s FROM ONLY %s o", sh.columns("o"), l.name))
		if err != nil {
			return fmt.Errorf("read the new column's values: %w", err)
		}
		for _, f := range found {
			row, err := sh.decode(f[0], w.who.transcode)
			if err != nil {
				return err
			}
			before := slices.Clone(row)
			for _, i := range fresh {
				before[i] = journal.Value{}
			}
			changes = append(changes, journal.Change{Op: journal.OpUpdate, Before: before, After: row, Set: slices.Clone(fresh)})
		}
	}
	return w.record(rel, changes)
}
