package capture

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// column is one of a table's columns.
type column struct {
	name      string
	kind      kind
	notNull   bool
	fallback  string // its DEFAULT
	generated bool
	always    bool // GENERATED ALWAYS AS IDENTITY: only OVERRIDING writes it
}

// table is a random table.
type table struct {
	name    string // as SQL writes it
	columns []column
	key     []int // columns of its primary key
	parent  *table
	cascade string // what a foreign key to parent does
	hidden  bool   // written by triggers and functions only
}

// quote writes an identifier.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// names are tables' names: what parsers and search paths stumble over is among them.
func names() []string {
	return []string{"plain", "old", "new", "Mixed Case", `qu"ote`, "line\nend", "select", "été", "keyless", "composite", "parted", "child", "heir", "logged", "t", "x.y"}
}

// span is how many different keys there are: few, so that statements meet on them.
const span = 25

func randomTable(r *rand.Rand, name string) *table {
	t := &table{name: quote(name)}
	t.columns = append(t.columns, column{name: "k", kind: kinds()[0], notNull: true})
	all := kinds()
	for i := range 2 + r.IntN(5) {
		k := all[r.IntN(len(all))]
		c := column{name: "c" + strconv.Itoa(i), kind: k, notNull: r.IntN(6) == 0}
		if r.IntN(3) == 0 {
			c.fallback = k.literal(r)
		}
		if r.IntN(8) == 0 {
			c.name = `we"ird ` + strconv.Itoa(i)
		}
		t.columns = append(t.columns, c)
	}
	t.columns = append(t.columns, column{name: "n", kind: kinds()[0], fallback: "0"})
	t.key = []int{0}
	return t
}

// column gives the DDL of a column.
func (c column) ddl() string {
	s := quote(c.name) + " " + c.kind.name
	switch {
	case c.generated:
		return s + " GENERATED ALWAYS AS (k * 2 + coalesce(n, 0)) STORED"
	case c.always:
		s += " GENERATED ALWAYS AS IDENTITY"
	case c.fallback != "":
		s += " DEFAULT " + c.fallback
	}
	if c.notNull {
		s += " NOT NULL"
	}
	return s
}

func (t *table) ddl(suffix string) string {
	var parts []string
	for _, c := range t.columns {
		parts = append(parts, c.ddl())
	}
	if len(t.key) > 0 {
		parts = append(parts, "PRIMARY KEY ("+t.list(t.key)+")")
	}
	if t.parent != nil {
		parts = append(parts, fmt.Sprintf("FOREIGN KEY (n) REFERENCES %s (k) ON DELETE %s ON UPDATE CASCADE", t.parent.name, t.cascade))
	}
	return "CREATE TABLE " + t.name + " (" + strings.Join(parts, ", ") + ")" + suffix
}

// list names columns, for SQL.
func (t *table) list(columns []int) string {
	var out []string
	for _, i := range columns {
		out = append(out, quote(t.columns[i].name))
	}
	return strings.Join(out, ", ")
}

// schema is the tables of a script and the statements that make them.
type schema struct {
	tables []*table
	setup  []string
}

// randomSchema makes one table of each sort: plain ones under hard names, without key, with two key columns, with generated and
// identity columns, partitioned, a child by foreign key, an heir by inheritance, and one that only triggers write.
func randomSchema(r *rand.Rand) *schema {
	s := &schema{setup: strings.Split(types, ";\n")}
	by := map[string]*table{}
	for _, name := range names() {
		t := randomTable(r, name)
		suffix, after := "", ""
		switch name {
		case "keyless":
			t.key = nil
		case "composite":
			t.columns = append(t.columns, column{name: "k2", kind: kinds()[7], notNull: true, fallback: "'x'"})
			t.key = []int{0, len(t.columns) - 1}
		case "Mixed Case":
			t.columns = append(t.columns, column{name: "twice", kind: kinds()[0], generated: true})
		case "parted":
			suffix = " PARTITION BY RANGE (k)"
			after = "CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (MINVALUE) TO (10); CREATE TABLE parted_rest PARTITION OF parted DEFAULT"
		case "child":
			t.columns[len(t.columns)-1].fallback = ""
			t.parent, t.cascade = by["plain"], []string{"CASCADE", "SET NULL", "RESTRICT", "NO ACTION"}[r.IntN(4)]
		case "heir":
			t.columns = append([]column{}, by["t0"].columns...)
			suffix = " INHERITS (t0)"
		case "t":
			after = `CREATE UNIQUE INDEX ON t (n) WHERE n > 500`
		case "logged":
			t = &table{name: "logged", hidden: true, columns: []column{{name: "k", kind: kinds()[0]}, {name: "what", kind: kinds()[7]}}}
		}
		if name == "old" {
			base := randomTable(r, "t0")
			by["t0"] = base
			s.add(base, "", "")
		}
		by[name] = t
		s.add(t, suffix, after)
	}
	s.setup = append(s.setup, program(by)...)
	return s
}

func (s *schema) add(t *table, suffix, after string) {
	s.tables = append(s.tables, t)
	s.setup = append(s.setup, t.ddl(suffix))
	if after != "" {
		s.setup = append(s.setup, strings.Split(after, "; ")...)
	}
}

// program makes views, triggers, rules and functions over the tables.
func program(by map[string]*table) []string {
	return []string{
		`CREATE VIEW v_plain AS SELECT k, n FROM plain WHERE k < 1000`,
		`CREATE VIEW v_instead AS SELECT k, n FROM "select"`,
		`CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE "select" SET n = NEW.n WHERE k = NEW.k; RETURN NEW; END $$`,
		`CREATE TRIGGER instead INSTEAD OF UPDATE ON v_instead FOR EACH ROW EXECUTE FUNCTION instead()`,
		`CREATE FUNCTION raise_n() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.k = 13 THEN RETURN NULL; END IF; NEW.n := coalesce(NEW.n, 0) + 1; RETURN NEW; END $$`,
		`CREATE TRIGGER before_it BEFORE INSERT OR UPDATE ON "Mixed Case" FOR EACH ROW EXECUTE FUNCTION raise_n()`,
		`CREATE FUNCTION log_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO logged VALUES (coalesce(NEW.k, OLD.k), TG_OP); RETURN NULL; END $$`,
		`CREATE TRIGGER after_it AFTER INSERT OR UPDATE OR DELETE ON "old" FOR EACH ROW EXECUTE FUNCTION log_it()`,
		`CREATE RULE also AS ON INSERT TO "x.y" DO ALSO INSERT INTO logged VALUES (NEW.k, 'rule')`,
		`CREATE FUNCTION touch(key int, by int) RETURNS int LANGUAGE plpgsql AS $$ DECLARE c int; BEGIN UPDATE t SET n = n + by WHERE k = key; GET DIAGNOSTICS c = ROW_COUNT; RETURN c; END $$`,
		`CREATE PROCEDURE twice(key int) LANGUAGE plpgsql AS $$ BEGIN UPDATE "new" SET n = n + 1 WHERE k = key; DELETE FROM keyless WHERE k = key; END $$`,
	}
}
