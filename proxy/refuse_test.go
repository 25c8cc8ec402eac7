package proxy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/test/harness"
)

// TestUnreplicable: what cannot be replicated runs and is counted, or is refused and changes nothing.
func TestUnreplicable(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		t.Run(fmt.Sprint(refuse), func(t *testing.T) {
			pg := harness.Postgres(t)
			r := newRig(t, pg, func(r *rig) { r.options.RefuseUnreplicable = refuse })
			c := r.client("postgres")
			for _, sql := range []string{"CREATE TABLE t (id int PRIMARY KEY)", "CREATE UNLOGGED TABLE u (id int)", "CREATE ROLE writer LOGIN", "GRANT INSERT ON t TO writer",
				"CREATE TABLE hidden (id int PRIMARY KEY)", "GRANT INSERT ON hidden TO writer",
				"CREATE FUNCTION also() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO hidden VALUES (NEW.id); RETURN NEW; END'",
				"CREATE TABLE loud (id int PRIMARY KEY)", "CREATE TRIGGER also AFTER INSERT ON loud FOR EACH ROW EXECUTE FUNCTION also()", "GRANT SELECT, INSERT ON loud TO writer"} {
				must(t, c, sql)
			}
			before := r.server.Metrics().Missing.Load()
			writes := []string{"TRUNCATE t, u /* %d */", "SET ROLE writer; INSERT INTO loud VALUES (%d)"} // told beforehand; told afterwards
			n := 0
			for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement} {
				for _, block := range []bool{false, true} {
					for _, w := range writes {
						n++
						role, sql, as := strings.Cut(w, "; ")
						if !as {
							role, sql = "RESET ROLE", w
						}
						must(t, c, role)
						if block {
							must(t, c, "BEGIN")
						}
						_, err := c.Exec(context.Background(), fmt.Sprintf(sql, n), mode)
						switch {
						case !refuse && err != nil:
							t.Errorf("%s: %v", w, err)
						case refuse && sqlstate(err) != "0A000":
							t.Errorf("%s in mode %v: %v", w, mode, err)
						case refuse && !strings.Contains(err.(*pgconn.PgError).Hint, "unreplicable"):
							t.Errorf("the hint does not say the way out: %q", err.(*pgconn.PgError).Hint)
						}
						if block {
							if status := c.PgConn().TxStatus(); refuse != (status == 'E') {
								t.Errorf("status %c", status)
							}
							must(t, c, "ROLLBACK")
						}
					}
				}
			}
			rows := exec(t, pg, "postgres", "SELECT count(*) FROM loud")[0][0]
			missing := r.server.Metrics().Missing.Load() - before
			if refuse && (rows != "0" || missing != 0) || !refuse && (rows != "3" || missing < 6) {
				t.Errorf("%s rows, %d counted", rows, missing)
			}
			must(t, c, "RESET ROLE")
			must(t, c, "INSERT INTO t VALUES (1000)")
		})
	}
}
