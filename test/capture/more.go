package capture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// statement draws one statement.
func (s *script) statement(major int) step {
	extended := s.r.IntN(2) == 0
	switch s.r.IntN(20) {
	case 0, 1, 2, 3, 4:
		return step{sql: s.insert(), extended: extended}
	case 5, 6, 7, 8, 9:
		return step{sql: s.update(), extended: extended}
	case 10, 11:
		return step{sql: s.remove(), extended: extended}
	case 12:
		return s.copyIn()
	case 13, 14:
		return step{sql: s.common(), extended: extended}
	case 15:
		if major >= 15 {
			return step{sql: s.merge(), extended: extended}
		}
	case 16:
		return step{sql: s.hidden(), extended: extended}
	case 17:
		return step{sql: s.select1(), extended: extended}
	case 18:
		return step{sql: s.prepared()}
	}
	return step{sql: s.insertSelect(), extended: extended}
}

func (s *script) insertSelect() string {
	t := s.writable()
	if len(t.key) == 0 {
		return fmt.Sprintf("INSERT INTO %s SELECT * FROM %s z WHERE %s", t.name, t.name, s.where("z"))
	}
	return fmt.Sprintf("INSERT INTO logged SELECT z.k, 'copied' FROM %s z WHERE %s", t.name, s.where("z"))
}

// common draws a statement with writing WITH members.
func (s *script) common() string {
	t, u := s.writable(), s.writable()
	switch s.r.IntN(5) {
	case 0:
		return fmt.Sprintf("WITH d AS (DELETE FROM %s z WHERE %s RETURNING z.k) INSERT INTO logged SELECT k, 'moved' FROM d", t.name, s.where("z"))
	case 1:
		return fmt.Sprintf("WITH d AS (UPDATE %s z SET n = 7 WHERE %s RETURNING z.k) SELECT count(*) FROM d", t.name, s.where("z"))
	case 2:
		if t == u || t.parent == u || u.parent == t || t.name == `"t0"` || u.name == `"t0"` { // the same row twice has no meaning
			return s.update()
		}
		return fmt.Sprintf("WITH a AS (UPDATE %s z SET n = 8 WHERE %s), b AS (DELETE FROM %s z WHERE %s RETURNING z.k) SELECT max(k) FROM b",
			t.name, s.where("z"), u.name, s.where("z"))
	case 3:
		return fmt.Sprintf("WITH x AS (SELECT %d AS k) UPDATE %s z SET n = 9 FROM x WHERE z.k = x.k%s", s.key(), t.name, "")
	}
	return fmt.Sprintf("WITH i AS (INSERT INTO logged VALUES (%d, 'one'), (%d, NULL) RETURNING k) DELETE FROM %s z USING i WHERE z.k = i.k", s.key(), span+s.key(), t.name)
}

func (s *script) merge() string {
	t := s.tables[0] // the plain one: its columns may all be left out but the key
	if strings.Contains(t.ddl(""), "NOT NULL,") && strings.Count(t.ddl(""), "NOT NULL") > 1 {
		return s.update()
	}
	return fmt.Sprintf(`MERGE INTO %s z USING (VALUES (%d, 1), (%d, 2), (%d, 3)) u(k, v) ON z.k = u.k
WHEN MATCHED AND u.v = 1 THEN DELETE WHEN MATCHED THEN UPDATE SET n = z.n + u.v WHEN NOT MATCHED THEN INSERT (k, n) VALUES (u.k, u.v)`,
		t.name, s.key(), span+s.key(), 2*span+s.key())
}

// hidden draws a statement whose writes do not stand in its text.
func (s *script) hidden() string {
	switch s.r.IntN(6) {
	case 0:
		return fmt.Sprintf("SELECT touch(%d, %d)", s.key(), s.r.IntN(5))
	case 1:
		return fmt.Sprintf("CALL twice(%d)", s.key())
	case 2:
		return fmt.Sprintf("DO $$ BEGIN UPDATE t SET n = n + 1 WHERE k = %d; EXECUTE 'DELETE FROM keyless WHERE k = ' || %d; END $$", s.key(), s.key())
	case 3:
		return fmt.Sprintf("UPDATE v_plain SET n = n + 1 WHERE k = %d", s.key())
	case 4:
		return fmt.Sprintf("UPDATE v_instead SET n = %d WHERE k = %d", s.key(), s.key())
	}
	return fmt.Sprintf("INSERT INTO v_plain (k, n) VALUES (%d, 1)", s.key())
}

// select1 draws what only reads, or seems to.
func (s *script) select1() string {
	t := s.writable()
	return []string{
		fmt.Sprintf("SELECT count(*) FROM %s", t.name),
		fmt.Sprintf("SELECT k FROM %s z WHERE %s FOR UPDATE", t.name, s.where("z")),
		fmt.Sprintf("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) UPDATE t SET n = n + 2 WHERE k = %d", s.key()),
		"SELECT 1; SELECT 2",
	}[s.r.IntN(4)]
}

// prepared draws SQL's own PREPARE and EXECUTE, as one string.
func (s *script) prepared() string {
	return fmt.Sprintf("PREPARE p (int, text) AS INSERT INTO logged VALUES ($1, $2); EXECUTE p(%d, %s); EXECUTE p(%d, NULL); DEALLOCATE p",
		s.key(), text(s.r), s.key())
}

// alteration is a change of the schema, in a transaction of its own.
type alteration struct {
	table  *table
	before []column // what the table's columns are if it fails
}

// alter draws a change of the schema.
func (s *script) alter() ([]step, *alteration) {
	s.more++
	t := s.writable()
	for t.name == `"heir"` || t.name == `"t0"` {
		t = s.writable()
	}
	a := &alteration{t, slices.Clone(t.columns)}
	return s.alterTable(t), a
}

func (s *script) alterTable(t *table) []step {
	name := fmt.Sprintf("added%d", s.more)
	switch s.r.IntN(6) {
	case 0, 1:
		k := kinds()[s.r.IntN(len(kinds()))]
		c := column{name: name, kind: k}
		if s.r.IntN(2) == 0 {
			c.fallback = k.literal(s.r)
		}
		t.columns = append(t.columns, c)
		return []step{{sql: "ALTER TABLE " + t.name + " ADD COLUMN " + c.ddl()}}
	case 2:
		last := len(t.columns) - 1
		if c := t.columns[last]; strings.HasPrefix(c.name, "added") && s.r.IntN(2) == 0 {
			t.columns = t.columns[:last]
			return []step{{sql: "ALTER TABLE " + t.name + " DROP COLUMN " + quote(c.name)}}
		} else if strings.HasPrefix(c.name, "added") {
			t.columns = append([]column{}, t.columns...)
			t.columns[last].name = name
			return []step{{sql: "ALTER TABLE " + t.name + " RENAME COLUMN " + quote(c.name) + " TO " + name}}
		}
	case 3:
		return []step{{sql: fmt.Sprintf("CREATE INDEX %s_i ON %s (n)", name, t.name)}}
	case 4:
		return []step{{sql: fmt.Sprintf("CREATE TABLE %s AS SELECT k, n FROM %s", name, t.name)}, {sql: "DROP TABLE " + name}}
	}
	return []step{{sql: "TRUNCATE logged"}}
}

// settings are what sessions say, and what must not matter.
func settings(r *rand.Rand) string {
	all := []string{"SET DateStyle = 'SQL, DMY'", "SET DateStyle = 'German'", "SET IntervalStyle = 'iso_8601'", "SET TimeZone = 'Asia/Tokyo'", "SET bytea_output = escape",
		"SET extra_float_digits = -3", "SET search_path = public, pg_catalog", "RESET ALL", "SET client_min_messages = error"}
	return all[r.IntN(len(all))]
}

// transaction draws a transaction: its steps, and how it alters the schema, if it does.
func (s *script) transaction(major int) (steps []step, altered *alteration) {
	switch s.r.IntN(40) {
	case 0:
		return s.alter()
	case 1:
		return []step{{sql: settings(s.r)}}, nil
	}
	if s.r.IntN(3) > 0 {
		return []step{s.statement(major)}, nil
	}
	steps = []step{{sql: "BEGIN" + []string{"", " ISOLATION LEVEL REPEATABLE READ", " ISOLATION LEVEL SERIALIZABLE"}[s.r.IntN(3)]}}
	for range 1 + s.r.IntN(4) {
		switch s.r.IntN(6) {
		case 0:
			steps = append(steps, step{sql: "SAVEPOINT s"}, s.statement(major), step{sql: "ROLLBACK TO s"})
		case 1:
			steps = append(steps, step{sql: "SAVEPOINT s"}, s.statement(major), step{sql: "RELEASE s"})
		case 2:
			k := s.key()
			steps = append(steps, step{sql: fmt.Sprintf("DECLARE c CURSOR FOR SELECT * FROM t WHERE k = %d FOR UPDATE", k)}, step{sql: "FETCH c"},
				step{sql: "UPDATE t SET n = n + 1 WHERE CURRENT OF c"}, step{sql: "CLOSE c"})
		default:
			steps = append(steps, s.statement(major))
		}
	}
	return append(steps, step{sql: []string{"COMMIT", "COMMIT", "END", "ROLLBACK"}[s.r.IntN(4)]}), nil
}
