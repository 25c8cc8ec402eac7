package capture

import (
	"fmt"

	"pgproxy/journal"
	"pgproxy/parser"
)

// printQuery sums up the rows of the system catalogs that this transaction has written, temporary objects aside: it
// changes when a statement changes the schema without its text saying so (DO, CALL, a function).
func printQuery() string {
	sql := "SELECT pg_catalog.convert_to(coalesce(pg_catalog.sum(x.n), 0)::pg_catalog.text || ':' || coalesce(pg_catalog.sum(x.h), 0)::pg_catalog.text, 'UTF8') FROM ("
	for i, c := range []string{"pg_class", "pg_type", "pg_proc", "pg_namespace", "pg_attribute", "pg_attrdef", "pg_constraint", "pg_index", "pg_trigger", "pg_rewrite", "pg_policy",
		"pg_enum", "pg_extension", "pg_sequence", "pg_inherits", "pg_description", "pg_operator", "pg_cast", "pg_auth_members", "pg_publication", "pg_event_trigger", "pg_default_acl"} {
		if i > 0 {
			sql += " UNION ALL "
		}
		where := ""
		switch c {
		case "pg_class":
			where = " AND o.relpersistence <> 't' AND o.relkind <> 't'"
		case "pg_namespace":
			where = " AND pg_catalog.left(o.nspname::pg_catalog.text, 3) <> 'pg_'"
		case "pg_type":
			where = " AND o.typnamespace <> pg_catalog.pg_my_temp_schema()"
		case "pg_attribute", "pg_attrdef", "pg_constraint", "pg_index", "pg_trigger", "pg_rewrite", "pg_sequence", "pg_inherits":
			column := map[string]string{"pg_attribute": "attrelid", "pg_attrdef": "adrelid", "pg_constraint": "conrelid", "pg_index": "indrelid", "pg_trigger": "tgrelid",
				"pg_rewrite": "ev_class", "pg_sequence": "seqrelid", "pg_inherits": "inhrelid"}[c]
			where = " AND NOT EXISTS (SELECT FROM pg_catalog.pg_class t WHERE t.oid = o." + column + " AND (t.relpersistence = 't' OR t.relkind = 't' OR t.relnamespace = 'pg_toast'::pg_catalog.regnamespace))"
		}
		sql += fmt.Sprintf("SELECT pg_catalog.count(*) AS n, pg_catalog.sum(pg_catalog.hashtext(o.tableoid::pg_catalog.text || o.ctid::pg_catalog.text || o.xmin::pg_catalog.text)) AS h FROM pg_catalog.%s o WHERE %s%s", c, ownRow, where)
	}
	return sql + ") x"
}

// fingerprint reads the sum; "0:0" where the transaction has not written anything.
func (w *work) fingerprint() (string, error) {
	rows, err := w.session.inner.Query(w.ctx, w.session.capturer.printSQL)
	if err != nil {
		return "", fmt.Errorf("look for changes of the schema: %w", err)
	}
	return string(rows[0][0]), nil
}

// noSchema is the fingerprint of a transaction that has not changed the schema.
const noSchema = "0:0"

// hiddenDDL looks whether an opaque statement has changed the schema; then it has to be repeated as text, whatever rows
// it wrote besides.
func (w *work) hiddenDDL(dropped bool) (bool, error) {
	print, err := w.fingerprint()
	if err != nil {
		return false, err
	}
	known := w.tx.schema
	if known == "" {
		known = noSchema
	}
	w.tx.schema = print
	return print != known || dropped, nil
}

// repeat turns the effect into a text to be run again; exclusive are the tables that it may have altered.
func (w *work) repeat(exclusive []string) {
	for _, t := range exclusive {
		w.touch(t)
	}
	w.session.AlteredSchema()
	if w.st == nil && parser.RedactUnread(w.plan.Text) != w.plan.Text || w.st != nil && len(w.st.Secrets) > 0 {
		w.missing = true
		w.note("it changed the schema, and may hold a secret: it cannot be repeated elsewhere")
		return
	}
	r := replayOf(w.who, w.plan.Text, w.effect.Tables)
	w.effect.Replay, w.effect.Capture, w.effect.Changes = r, journal.CaptureStatement, nil
	w.missing = false
	w.note("it changed the schema without its text saying so, and is repeated as text")
}

// opaque reports whether the statement may run DDL of which the text says nothing.
func (w *work) opaque() bool {
	if w.st == nil {
		return true
	}
	switch w.st.Class {
	case parser.ClassOpaque, parser.ClassRead, parser.ClassCursor:
		return true
	}
	return false
}
