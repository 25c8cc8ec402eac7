package parser

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// walker goes over the whole tree of one statement and collects what may stand anywhere in it: relations, functions,
// parameters, writing WITH members. It descends into every field of every node by reflection, so that no new kind of
// node can hide something from it.
type walker struct {
	st               *Statement
	src              source
	marks            *marks
	ctes             []string              // names of the WITH members in scope, innermost last
	own              map[*pg.RangeVar]bool // relations that were dealt with: targets and objects
	reads, functions nameSet
	exposed          bool     // somewhere all columns of a relation are asked for
	returning        int      // inside lists that do not count for that
	bare             []string // columns without a relation, which may be relations
	aliases          []string // what WITH members are called
	inert            bool     // the statement only stores what it holds (a rule, a function): nothing in it is written now
}

func (w *walker) node(n *pg.Node) {
	if n != nil {
		w.message(n.ProtoReflect())
	}
}

// message visits one node; scopes and targets are dealt with on the way down.
func (w *walker) message(m protoreflect.Message) {
	switch n := m.Interface().(type) {
	case *pg.RangeVar:
		w.relation(n)
	case *pg.FuncCall:
		w.function(n)
	case *pg.ColumnRef:
		w.column(n)
	case *pg.JoinExpr:
		w.exposed = w.exposed || n.IsNatural
	case *pg.ParamRef:
		w.st.MaxParam = max(w.st.MaxParam, int(n.Number))
	case *pg.SelectStmt:
		w.scoped(m, n.WithClause)
		return
	case *pg.InsertStmt:
		w.write(m, &pg.Node{Node: &pg.Node_InsertStmt{InsertStmt: n}}, n.WithClause)
		return
	case *pg.UpdateStmt:
		w.write(m, &pg.Node{Node: &pg.Node_UpdateStmt{UpdateStmt: n}}, n.WithClause)
		return
	case *pg.DeleteStmt:
		w.write(m, &pg.Node{Node: &pg.Node_DeleteStmt{DeleteStmt: n}}, n.WithClause)
		return
	case *pg.MergeStmt:
		w.write(m, &pg.Node{Node: &pg.Node_MergeStmt{MergeStmt: n}}, n.WithClause)
		return
	}
	w.fields(m)
}

// fields visits what stands below a node.
func (w *walker) fields(m protoreflect.Message) {
	eachField(m, func(fd protoreflect.FieldDescriptor, v protoreflect.Value) {
		switch {
		case fd.Name() == "with_clause":
		case fd.Name() == "returning_list" && w.alone(m):
			w.returning++
			eachValue(fd, v, w.message)
			w.returning--
		default:
			eachValue(fd, v, w.message)
		}
	})
}

// alone reports whether the * of a RETURNING can mean nothing but the columns of the statement's own target.
func (w *walker) alone(m protoreflect.Message) bool {
	switch n := m.Interface().(type) {
	case *pg.InsertStmt:
		return true
	case *pg.UpdateStmt:
		return len(n.FromClause) == 0
	case *pg.DeleteStmt:
		return len(n.UsingClause) == 0
	}
	return false
}

// column notes what may show all columns of a WITH member: *, or its name alone.
func (w *walker) column(c *pg.ColumnRef) {
	if len(c.Fields) == 0 {
		return
	}
	last := c.Fields[len(c.Fields)-1]
	switch {
	case last.GetAStar() != nil:
		w.exposed = w.exposed || w.returning == 0
	case len(c.Fields) == 1:
		w.bare = append(w.bare, last.GetString_().GetSval())
	}
}

// scoped visits a query with the names of its WITH members in scope.
func (w *walker) scoped(m protoreflect.Message, with *pg.WithClause) {
	outer := len(w.ctes)
	w.with(with)
	w.fields(m)
	w.ctes = w.ctes[:outer]
}

func (w *walker) with(with *pg.WithClause) {
	if with == nil {
		return
	}
	if with.Recursive {
		for _, n := range with.Ctes {
			w.ctes = append(w.ctes, n.GetCommonTableExpr().GetCtename())
		}
	}
	for _, n := range with.Ctes {
		cte := n.GetCommonTableExpr()
		if t, r := targetOf(cte.GetCtequery()); r != nil && !w.inert {
			t.InCTE, t.CTE = true, cte.Ctename
			w.target(t, r, w.src.endOfMember(int(cte.Location)))
		}
		w.message(n.ProtoReflect())
		w.ctes = append(w.ctes, cte.GetCtename())
	}
}

// write visits a writing statement: its target is not something that it reads.
func (w *walker) write(m protoreflect.Message, n *pg.Node, with *pg.WithClause) {
	if t, r := targetOf(n); !w.inert && !w.own[r] {
		w.target(t, r, w.marks.last)
	}
	w.scoped(m, with)
}

// target notes what is written, and the token behind which text can be spliced.
func (w *walker) target(t Target, r *pg.RangeVar, last int) {
	w.claim(r)
	w.st.Targets = append(w.st.Targets, t)
	w.marks.targets = append(w.marks.targets, last)
}

// claim marks a relation as dealt with.
func (w *walker) claim(r *pg.RangeVar) {
	if r == nil {
		return
	}
	if w.own == nil {
		w.own = make(map[*pg.RangeVar]bool)
	}
	w.own[r] = true
}

func (w *walker) relation(r *pg.RangeVar) {
	if w.own[r] {
		return
	}
	if r.Schemaname == "" && slices.Contains(w.ctes, r.Relname) {
		w.aliases = append(w.aliases, r.Relname, r.GetAlias().GetAliasname())
		return
	}
	w.reads.add(rangeName(r))
}

func (w *walker) function(f *pg.FuncCall) {
	n := listName(f.Funcname)
	w.functions.add(n)
	if n.Name == "set_config" {
		w.setConfig(f)
	}
}

// setConfig judges the setting by its name, where the call says it.
func (w *walker) setConfig(f *pg.FuncCall) {
	name := ""
	if len(f.Args) > 0 {
		name = strings.ToLower(f.Args[0].GetAConst().GetSval().GetSval())
	}
	w.st.AltersSession = w.st.AltersSession || name == "" || !harmlessSetting(name)
	w.st.ReadOnly = w.st.ReadOnly || name == "transaction_read_only" || name == "default_transaction_read_only"
}

// nameSet is a list of different names, in the order they came.
type nameSet struct {
	list []Name
	seen map[Name]bool // once the list is long
}

func (s *nameSet) add(n Name) {
	if s.seen[n] || n.Name == "" || s.seen == nil && slices.Contains(s.list, n) {
		return
	}
	if s.list = append(s.list, n); len(s.list) < 64 {
		return
	}
	if s.seen == nil {
		s.seen = make(map[Name]bool)
		for _, n := range s.list {
			s.seen[n] = true
		}
	}
	s.seen[n] = true
}

// expose says of the targets in WITH whether all their columns are asked for.
func (w *walker) expose() {
	exposed := w.exposed || slices.ContainsFunc(w.bare, func(name string) bool { return slices.Contains(w.aliases, name) })
	for i := range w.st.Targets {
		t := &w.st.Targets[i]
		t.Exposed = t.InCTE && t.Returning && exposed
	}
}

// finish hands over what was collected, and removes from Reads what the statement writes.
func (w *walker) finish() {
	w.st.Reads, w.st.Functions = w.reads.list, w.functions.list
	w.expose()
	if len(w.st.Targets) == 0 {
		return
	}
	w.st.Reads = slices.DeleteFunc(w.st.Reads, func(n Name) bool {
		return slices.ContainsFunc(w.st.Targets, func(t Target) bool { return t.Name == n })
	})
	if len(w.st.Reads) == 0 {
		w.st.Reads = nil
	}
}

func addName(names []Name, n Name) []Name {
	if n.Name == "" || slices.Contains(names, n) {
		return names
	}
	return append(names, n)
}
