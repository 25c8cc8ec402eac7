package command

import (
	"strings"
	"testing"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
)

func TestUndoIsGuardedSQL(t *testing.T) {
	dir := writeStock(t)
	for _, c := range []struct {
		name string
		args []string
		code int
		want []string // the statements
	}{
		{"update", []string{"a/4"}, 0, []string{`UPDATE /* pgproxy undo of a/4 */ "public"."stock" SET "note" = '' WHERE "item" = 'apple' AND "note" = 'NULL';  -- UPDATE 1`}},
		{"an addition is taken back by an addition", []string{"a/2"}, 0,
			[]string{`UPDATE /* pgproxy undo of a/2 */ "public"."stock" SET "qty" = "qty" + (3) WHERE "item" = 'apple' AND "qty" = '7';  -- UPDATE 1`}},
		{"refused, a later one changed it", []string{"a/3"}, admin.AuditGap, nil},
		{"cascade", []string{"a/3", "--mode", "cascade"}, 0, []string{
			`UPDATE /* pgproxy undo of a/4 */ "public"."stock" SET "note" = '' WHERE "item" = 'apple' AND "note" = 'NULL';  -- UPDATE 1`,
			`UPDATE /* pgproxy undo of a/3 */ "public"."stock" SET "note" = NULL WHERE "item" = 'apple' AND "note" = '';  -- UPDATE 1`}},
		{"force", []string{"a/3", "--mode", "force"}, 0, []string{`UPDATE /* pgproxy undo of a/3 */ "public"."stock" SET "note" = NULL WHERE "item" = 'apple';  -- UPDATE 1`}},
		{"only what is unaffected", []string{"a/3", "--mode", "nonconflict"}, 0, nil},
		{"a range, backwards", []string{"a/5..6"}, 0, []string{
			`INSERT /* pgproxy undo of a/6 */ INTO "public"."stock" ("item", "qty", "note") VALUES ('bread', '1', 'x');  -- INSERT 0 1`,
			`DELETE /* pgproxy undo of a/5 */ FROM "public"."stock" WHERE "item" = 'bread' AND "qty" = '1' AND "note" = 'x';  -- DELETE 1`}},
		{"an insert on which all rests", []string{"a/1"}, admin.AuditGap, nil},
		{"what has no effect", []string{"a/99"}, admin.AuditNothing, nil},
		{"a range that is none", []string{"a/6..5"}, admin.AuditError, nil},
		{"a range beyond the end", []string{"a/5..99"}, admin.AuditError, nil},
		{"nonsense", []string{"x"}, admin.AuditError, nil},
		{"a mode that is none", []string{"a/1", "--mode", "all"}, admin.AuditError, nil},
		{"apply to a stopped node", []string{"a/4", "--apply"}, admin.AuditError, []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, append([]string{"audit", "undo", "--data-dir", dir}, c.args...)...)
			r.expect(t, c.code)
			var got []string
			for l := range strings.SplitSeq(r.out, "\n") {
				if strings.Contains(l, " "+audit.UndoMark) {
					got = append(got, l)
				}
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"), r.err)
			}
		})
	}
	run(t, "audit", "undo", "a/3", "--data-dir", dir).expect(t, admin.AuditGap, "public.stock (item=apple) was changed by a/4 (carol) after a/3", "HINT: --mode cascade",
		"-- changed since a/3: public.stock (item=apple) by a/4, carol")
	run(t, "audit", "undo", "a/4", "-o", "csv", "--data-dir", dir).expect(t, 0, "undoes,expect,sql\na/4,UPDATE 1,")
	run(t, "audit", "undo", "a/4", "-o", "json", "--data-dir", dir).expect(t, 0, `"blocked":false`, `"expect":"UPDATE 1"`)
}
