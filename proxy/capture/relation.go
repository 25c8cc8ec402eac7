package capture

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/journal"
)

var errNoRelation = errors.New("relation does not exist")

// relation is one table (or view) as the catalog describes it. It is never changed after it was loaded.
type relation struct {
	relationData
	record  journal.Relation
	types   []*typ // by column
	key     []int  // columns, by index; nil without key
	keyFast bool   // the key is checked at once: at any moment it finds one row at most
	keyOps  []string
	numbers map[int]int // attribute number -> column index
	single  []bool      // column may fold as a delta: a number in no group, key or unique constraint
}

// relationData is the shape of relationQuery's document.
type relationData struct {
	OID         uint32           `json:"oid"`
	Schema      string           `json:"schema"`
	Name        string           `json:"name"`
	Kind        string           `json:"kind"`
	Persistence string           `json:"persistence"`
	Owner       uint32           `json:"owner"`
	Pages       int64            `json:"pages"`
	Root        uint32           `json:"root"`     // topmost partitioned table; 0 if it is no partition
	Children    bool             `json:"children"` // has inheritance children or partitions
	Columns     []columnData     `json:"columns"`
	Indexes     []indexData      `json:"indexes"`
	Constraints []constraintData `json:"constraints"` // its own checks and foreign keys
	Referenced  []constraintData `json:"referenced"`  // foreign keys of others that point here
	Triggers    []triggerData    `json:"triggers"`    // enabled user triggers, on its partitions too
	Rules       []ruleData       `json:"rules"`
	PartColumns []int            `json:"partcolumns"`
	PartExpr    bool             `json:"partexpr"`
	Volatile    bool             `json:"volatile"` // view whose definition calls volatile user functions
	Types       []typeData       `json:"types"`
}

type columnData struct {
	Number    int    `json:"num"`
	Name      string `json:"name"`
	Type      uint32 `json:"type"`
	TypeName  string `json:"typename"`
	CastName  string `json:"cast"` // without type modifier
	NotNull   bool   `json:"notnull"`
	Generated string `json:"generated"`
	Identity  string `json:"identity"`
}

type indexData struct {
	Name      string   `json:"name"`
	Primary   bool     `json:"primary"`
	Unique    bool     `json:"unique"`
	Exclusion bool     `json:"exclusion"`
	Immediate bool     `json:"immediate"`
	Keys      []int    `json:"keys"`
	Expr      bool     `json:"expr"`
	Pred      bool     `json:"pred"`
	NotDist   bool     `json:"notdistinct"`
	Def       string   `json:"def"`
	Ops       []string `json:"ops"`
}

type constraintData struct {
	OID        uint32   `json:"oid"`
	Name       string   `json:"name"`
	Type       string   `json:"type"`
	Table      uint32   `json:"table"`
	Keys       []int    `json:"keys"`
	FSchema    string   `json:"fschema"`
	FTable     string   `json:"ftable"`
	FColumns   []string `json:"fcolumns"`
	FKeys      []int    `json:"fkeys"`
	OnDelete   string   `json:"ondelete"`
	OnUpdate   string   `json:"onupdate"`
	Deferrable bool     `json:"deferrable"`
	Deferred   bool     `json:"deferred"`
	Child      bool     `json:"child"` // inherited from the partitioned table's constraint
}

type triggerData struct {
	Name     string `json:"name"`
	Bits     int    `json:"bits"` // pg_trigger.tgtype
	Schema   string `json:"schema"`
	Language string `json:"language"`
	Source   string `json:"source"` // of its function
}

// The bits of pg_trigger.tgtype.
const (
	triggerRow      = 1
	triggerBefore   = 2
	triggerInsert   = 4
	triggerDelete   = 8
	triggerUpdate   = 16
	triggerTruncate = 32
	triggerInstead  = 64
)

type ruleData struct {
	Event   string `json:"event"` // 1 SELECT, 2 UPDATE, 3 INSERT, 4 DELETE
	Instead bool   `json:"instead"`
}

// relationQuery describes the relation of oid $1 in one document. Names of types are always qualified outside
// pg_catalog, so that the answer does not depend on the search_path of the session that asks.
const relationQuery = `SELECT pg_catalog.convert_to(pg_catalog.json_build_object(
'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence,
'owner', c.relowner::bigint, 'pages', c.relpages,
'root', CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid)::oid::bigint ELSE 0 END,
'children', EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid),
'columns', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('num', a.attnum, 'name', a.attname, 'type', a.atttypid::bigint,
  'notnull', a.attnotnull, 'generated', a.attgenerated, 'identity', a.attidentity,
  'typename', CASE WHEN tn.nspname = 'pg_catalog' THEN pg_catalog.format_type(a.atttypid, a.atttypmod)
    ELSE pg_catalog.format('%I.%I', tn.nspname, coalesce(e.typname, t.typname)) ||
      coalesce((pg_catalog.regexp_match(pg_catalog.format_type(a.atttypid, a.atttypmod), '[(][^()]*[)]'))[1], '') || CASE WHEN e.oid IS NULL THEN '' ELSE '[]' END END,
  'cast', CASE WHEN tn.nspname = 'pg_catalog' THEN pg_catalog.format_type(a.atttypid, -1)
    ELSE pg_catalog.format('%I.%I', tn.nspname, coalesce(e.typname, t.typname)) || CASE WHEN e.oid IS NULL THEN '' ELSE '[]' END END) ORDER BY a.attnum)
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' AND t.typlen = -1
  JOIN pg_catalog.pg_namespace tn ON tn.oid = coalesce(e.typnamespace, t.typnamespace)
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
'indexes', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', ic.relname, 'primary', i.indisprimary, 'unique', i.indisunique,
  'exclusion', i.indisexclusion, 'immediate', i.indimmediate, 'keys', (i.indkey::int2[])[0:i.indnkeyatts-1], 'expr', i.indexprs IS NOT NULL,
  'pred', i.indpred IS NOT NULL, 'notdistinct', coalesce((pg_catalog.to_jsonb(i)->>'indnullsnotdistinct')::bool, false), 'def', CASE WHEN $2::text::bool AND NOT i.indisprimary THEN pg_catalog.pg_get_indexdef(i.indexrelid) ELSE '' END,
  'ops', (SELECT pg_catalog.json_agg(pg_catalog.format('OPERATOR(%I.%s)', opn.nspname, o.oprname) ORDER BY k.k)
    FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) k(k) JOIN pg_catalog.pg_opclass oc ON oc.oid = i.indclass[k.k]
    JOIN pg_catalog.pg_amop am ON am.amopfamily = oc.opcfamily AND am.amoplefttype = oc.opcintype AND am.amoprighttype = oc.opcintype AND am.amopstrategy = 3
    JOIN pg_catalog.pg_operator o ON o.oid = am.amopopr JOIN pg_catalog.pg_namespace opn ON opn.oid = o.oprnamespace WHERE i.indisunique)) ORDER BY ic.relname)
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
  WHERE i.indrelid = c.oid AND i.indisvalid AND (i.indisunique OR i.indisexclusion)),
'constraints', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('oid', k.oid::bigint, 'name', k.conname, 'type', k.contype, 'table', k.conrelid::bigint, 'keys', k.conkey,
  'fschema', fn.nspname, 'ftable', f.relname, 'fcolumns', (SELECT pg_catalog.json_agg(fa.attname ORDER BY u.ord)
    FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY u(num, ord) JOIN pg_catalog.pg_attribute fa ON fa.attrelid = k.confrelid AND fa.attnum = u.num),
  'fkeys', k.confkey, 'ondelete', k.confdeltype, 'onupdate', k.confupdtype, 'deferrable', k.condeferrable, 'deferred', k.condeferred,
  'child', k.conparentid <> 0) ORDER BY k.conname)
  FROM pg_catalog.pg_constraint k LEFT JOIN pg_catalog.pg_class f ON f.oid = k.confrelid LEFT JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
  WHERE k.conrelid = c.oid AND k.contype IN ('f', 'c') AND NOT (k.contype = 'f' AND EXISTS (SELECT FROM pg_catalog.pg_constraint kp
    WHERE kp.oid = k.conparentid AND kp.conrelid = k.conrelid))),
'referenced', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('oid', k.oid::bigint, 'name', k.conname, 'type', k.contype, 'table', k.conrelid::bigint, 'keys', k.conkey,
  'fkeys', k.confkey, 'ondelete', k.confdeltype, 'onupdate', k.confupdtype, 'child', k.conparentid <> 0))
  FROM pg_catalog.pg_constraint k WHERE k.confrelid = c.oid AND k.contype = 'f'),
'triggers', (SELECT pg_catalog.json_agg(DISTINCT pg_catalog.jsonb_build_object('name', g.tgname, 'bits', g.tgtype,
    'schema', fn.nspname, 'language', l.lanname, 'source', f.prosrc))
  FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc f ON f.oid = g.tgfoid JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = f.prolang WHERE NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')
  AND (g.tgrelid = c.oid OR c.relkind = 'p' AND g.tgrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(c.oid) p))),
'rules', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('event', r.ev_type, 'instead', r.is_instead))
  FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN' AND r.ev_enabled IN ('O', 'A')),
'partcolumns', (SELECT pg_catalog.array_agg(DISTINCT u.num) FROM pg_catalog.pg_partitioned_table p, pg_catalog.unnest(p.partattrs::int2[]) u(num)
  WHERE p.partrelid = c.oid OR c.relkind = 'p' AND p.partrelid IN (SELECT t.relid FROM pg_catalog.pg_partition_tree(c.oid) t WHERE NOT t.isleaf)),
'partexpr', EXISTS (SELECT FROM pg_catalog.pg_partitioned_table p WHERE p.partexprs IS NOT NULL
  AND (p.partrelid = c.oid OR c.relkind = 'p' AND p.partrelid IN (SELECT t.relid FROM pg_catalog.pg_partition_tree(c.oid) t))),
'volatile', c.relkind = 'v' AND EXISTS (WITH RECURSIVE v(oid) AS (SELECT c.oid UNION
    SELECT d.refobjid FROM v JOIN pg_catalog.pg_rewrite r ON r.ev_class = v.oid JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
      AND d.refclassid = 'pg_catalog.pg_class'::regclass)
  SELECT FROM v JOIN pg_catalog.pg_rewrite r ON r.ev_class = v.oid JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_catalog.pg_proc'::regclass JOIN pg_catalog.pg_proc f ON f.oid = d.refobjid AND f.provolatile = 'v'
    JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace AND fn.nspname <> 'pg_catalog'),
'types', (WITH RECURSIVE need(oid) AS (SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    UNION SELECT s.x FROM need d JOIN pg_catalog.pg_type t ON t.oid = d.oid CROSS JOIN LATERAL (
      SELECT t.typelem AS x WHERE t.typelem <> 0 AND t.typlen = -1 UNION ALL SELECT t.typbasetype WHERE t.typtype = 'd'
      UNION ALL SELECT ca.atttypid FROM pg_catalog.pg_attribute ca WHERE t.typtype = 'c' AND ca.attrelid = t.typrelid AND ca.attnum > 0 AND NOT ca.attisdropped
      UNION ALL SELECT g.rngsubtype FROM pg_catalog.pg_range g WHERE g.rngtypid = t.oid
      UNION ALL SELECT g.rngtypid FROM pg_catalog.pg_range g WHERE g.rngmultitypid = t.oid) s)
  SELECT pg_catalog.json_agg(pg_catalog.json_build_object('oid', t.oid::bigint, 'name', t.typname, 'kind', t.typtype, 'category', t.typcategory, 'len', t.typlen, 'elem', t.typelem::bigint,
    'base', t.typbasetype::bigint, 'delim', t.typdelim, 'send', t.typsend::oid <> 0, 'catalog', t.typnamespace = 'pg_catalog'::regnamespace,
    'sub', coalesce((SELECT g.rngsubtype FROM pg_catalog.pg_range g WHERE g.rngtypid = t.oid), (SELECT g.rngtypid FROM pg_catalog.pg_range g WHERE g.rngmultitypid = t.oid), 0)::bigint))
  FROM need JOIN pg_catalog.pg_type t ON t.oid = need.oid)
)::text, 'UTF8') FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::text::oid`

// relation gives the relation of that oid; errNoRelation if there is none. The definitions of indexes need a lock on the
// table; where somebody holds it exclusively (perhaps the very client that we serve) they are left out for now.
func (c *catalog) relation(ctx context.Context, q Querier, oid uint32) (*relation, error) {
	r, err := cached(c, func() map[uint32]*relation { return c.relations }, oid, func() (*relation, error) {
		return loadRelation(ctx, q, oid, "true")
	})
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == lockNotAvailable {
		return loadRelation(ctx, q, oid, "false")
	}
	return r, err
}

// lockNotAvailable is the SQLSTATE of a lock_timeout.
const lockNotAvailable = "55P03"

func loadRelation(ctx context.Context, q Querier, oid uint32, definitions string) (*relation, error) {
	r := &relation{}
	if err := queryJSON(ctx, q, &r.relationData, relationQuery, oidArg(oid), []byte(definitions)); err != nil {
		return nil, err
	}
	if r.OID == 0 {
		return nil, fmt.Errorf("oid %d: %w", oid, errNoRelation)
	}
	r.derive()
	return r, nil
}

// forgetRelation drops one relation that may be, or (different) has turned out to be, no longer as it was cached.
func (c *catalog) forgetRelation(oid uint32, different bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if different {
		c.epoch++
	}
	delete(c.relations, oid)
}

// forgetName drops what is known of a name.
func (c *catalog) forgetName(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.names, name)
}

// derive works out what the rest of the room uses from what was read.
func (r *relation) derive() {
	tree := newTypes(r.Types)
	r.record = journal.Relation{Schema: r.Schema, Name: r.Name}
	r.numbers = make(map[int]int, len(r.Columns))
	r.single = make([]bool, len(r.Columns))
	for i, c := range r.Columns {
		r.numbers[c.Number] = i
		r.types = append(r.types, tree.of(c.Type))
		col := journal.Column{Name: c.Name, Type: c.TypeName, NotNull: c.NotNull, Generated: c.Generated != ""}
		if c.Identity != "" {
			col.Identity = c.Identity[0]
		}
		r.record.Columns = append(r.record.Columns, col)
		r.single[i] = slices.Contains([]uint32{oidInt2, oidInt4, oidInt8, oidNumeric}, tree.of(c.Type).base().OID)
	}
	r.deriveKey()
	for _, x := range r.Indexes {
		r.deriveIndex(x)
	}
	for _, k := range r.Constraints {
		cols := r.columnsOf(k.Keys)
		r.group(cols)
		if k.Type == "f" {
			r.record.References = append(r.record.References, journal.Reference{Name: k.Name, Columns: cols, Schema: k.FSchema, Table: k.FTable,
				Foreign: k.FColumns, OnDelete: k.OnDelete[0], OnUpdate: k.OnUpdate[0], Deferrable: k.Deferrable, InitiallyDefer: k.Deferred})
		}
	}
	for _, g := range r.record.Groups {
		for _, c := range g {
			r.single[c] = false
		}
	}
}

// deriveKey picks what identifies a row: the primary key, else the first (by name) whole unique index of NOT NULL columns.
func (r *relation) deriveKey() {
	var best *indexData
	for i := range r.Indexes {
		x := &r.Indexes[i]
		if !x.Unique || x.Expr || x.Pred || len(x.Keys) == 0 || len(x.Ops) != len(x.Keys) || !x.Primary && (!x.Immediate || !r.allNotNull(x.Keys)) {
			continue
		}
		if best == nil || x.Primary && !best.Primary {
			best = x
		}
	}
	if best == nil {
		return
	}
	r.key, r.keyFast, r.keyOps = r.columnsOf(best.Keys), best.Immediate, best.Ops
	r.record.Key = r.key
	for _, k := range r.key {
		r.single[k] = false
	}
}

func (r *relation) deriveIndex(x indexData) {
	cols := r.columnsOf(x.Keys)
	if !x.Expr && slices.Equal(cols, r.key) && !x.Pred && x.Unique {
		return
	}
	r.group(cols)
	for _, c := range cols {
		r.single[c] = false
	}
	u := journal.Unique{Name: x.Name, Columns: cols, Definition: x.Def, NullsNotDistinct: x.NotDist}
	if x.Expr {
		u.Columns = nil
	}
	r.record.Uniques = append(r.record.Uniques, u)
}

func (r *relation) group(cols []int) {
	if len(cols) > 1 && !slices.ContainsFunc(r.record.Groups, func(g []int) bool { return slices.Equal(g, cols) }) {
		r.record.Groups = append(r.record.Groups, cols)
	}
}

func (r *relation) allNotNull(numbers []int) bool {
	for _, n := range numbers {
		i, ok := r.numbers[n]
		if !ok || !r.Columns[i].NotNull {
			return false
		}
	}
	return true
}

// columnsOf turns attribute numbers into column indexes; expressions (0) and system columns are left out.
func (r *relation) columnsOf(numbers []int) []int {
	var cols []int
	for _, n := range numbers {
		if i, ok := r.numbers[n]; ok {
			cols = append(cols, i)
		}
	}
	return cols
}

// column gives the index of a column by name, or -1.
func (r *relation) column(name string) int {
	return slices.IndexFunc(r.Columns, func(c columnData) bool { return c.Name == name })
}

// full is the table's name as records show it.
func (r *relation) full() string { return r.Schema + "." + r.Name }

// quoted is the table's name for SQL.
func (r *relation) quoted() string { return quote(r.Schema) + "." + quote(r.Name) }

// rows names the relation for reading: its own rows and those of its partitions, not those of tables that inherit from it.
func (r *relation) rows() string {
	if r.Kind == "r" {
		return "ONLY " + r.quoted()
	}
	return r.quoted()
}

// triggered reports whether an enabled user trigger fires on the event; before: only row triggers that may change the row.
func (r *relation) triggered(event int, before bool) bool {
	return slices.ContainsFunc(r.Triggers, func(t triggerData) bool {
		return t.Bits&event != 0 && (!before || t.Bits&triggerBefore != 0 && t.Bits&triggerRow != 0)
	})
}

// ruled reports whether a rewrite rule stands on the event ('2' UPDATE, '3' INSERT, '4' DELETE).
func (r *relation) ruled(event string) (instead, also bool) {
	for _, x := range r.Rules {
		if x.Event == event {
			instead, also = instead || x.Instead, also || !x.Instead
		}
	}
	return instead, also
}
