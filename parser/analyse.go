package parser

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// source is a text as libpg_query gets it, with its tokens. Everything that has a place in a tree is looked up here as
// a token, so that places can be moved to another text with the same tokens.
type source struct {
	text   string
	tokens []token
}

// tokenAt gives the index of the first token that starts at the byte offset or behind it.
func (s source) tokenAt(offset int) int {
	return sort.Search(len(s.tokens), func(i int) bool { return int(s.tokens[i].from) >= offset })
}

// endOfMember gives the last token of the query of the WITH member whose name stands at the offset; -1 if the tokens
// are not what the grammar says.
func (s source) endOfMember(offset int) int {
	i := s.tokenAt(offset) + 1
	for i < len(s.tokens) && !s.tokens[i].word(s.text, "AS") { // past the list of column names
		i++
	}
	for i < len(s.tokens) && !s.tokens[i].is(s.text, '(') { // past [NOT] MATERIALIZED
		i++
	}
	depth := 0
	for ; i < len(s.tokens); i++ {
		switch {
		case s.tokens[i].is(s.text, '('):
			depth++
		case s.tokens[i].is(s.text, ')'):
			depth--
			if depth == 0 {
				return i - 1
			}
		}
	}
	return -1
}

// marks are the places of one statement as indexes of tokens; -1 where there is none.
type marks struct {
	first, last int
	splice      int
	main        int
	targets     []int  // by Statement.Targets
	password    [2]int // first and last token of the literal
	inner       *marks
}

// reading is what a text means: its statements, with their places still as tokens.
type reading struct {
	statements []*Statement
	marks      []*marks
	secret     bool // it calls what sounds secret: its texts must be searched for secrets
}

// analyse asks libpg_query what the text means.
func analyse(src source) (*reading, error) {
	tree, err := pg.Parse(src.text)
	if err != nil {
		return nil, syntaxError(err)
	}
	r := &reading{}
	for _, raw := range tree.Stmts {
		from := int(raw.StmtLocation)
		to := from + int(raw.StmtLen)
		if raw.StmtLen == 0 {
			to = len(src.text)
		}
		m := &marks{first: src.tokenAt(from), last: src.tokenAt(to) - 1}
		for m.last > m.first && src.tokens[m.last].is(src.text, ';') {
			m.last--
		}
		if m.first > m.last {
			return nil, fmt.Errorf("%w: statement without tokens", ErrLexical)
		}
		r.statements = append(r.statements, statement(raw.Stmt, src, m))
		r.marks = append(r.marks, m)
	}
	return r, nil
}

// syntaxError keeps the place and drops the quoted token, which may be a secret.
func syntaxError(err error) error {
	message, _, _ := strings.Cut(err.Error(), " at or near ")
	message, _, _ = strings.Cut(message, `"`)
	return fmt.Errorf("parse statement: %s", strings.TrimSpace(message))
}

// statement gives the meaning of one statement.
func statement(n *pg.Node, src source, m *marks) *Statement {
	v := classify(n)
	m.splice, m.main, m.password = -1, -1, [2]int{-1, -1}
	st := &Statement{Class: v.class, Command: v.command, SpliceAt: -1}
	w := &walker{st: st, src: src, marks: m}
	st.RefusesBlock = refusesBlock(n)
	w.objectsOf(n)
	w.inert = v.class == ClassDDL && n.GetCreateTableAsStmt() == nil || v.class == ClassPrepare
	if c := n.GetCopyStmt(); c.GetIsFrom() {
		w.target(Target{Name: rangeName(c.Relation), Command: "COPY", Alias: c.Relation.GetRelname()}, c.Relation, -1)
	}
	w.node(n)
	w.finish()
	w.details(n)
	w.mainVerb(n)
	switch st.Class {
	case ClassDDL:
		st.AltersSchema = true
		st.Temporary, st.Unlogged = temporary(n), unlogged(n)
		st.AltersSession = st.AltersSession || st.Temporary || n.GetCreateSchemaStmt() != nil
	case ClassOpaque: // code that we do not see
		st.AltersSession = st.AltersSession || len(st.Targets) == 0 && n.GetRefreshMatViewStmt() == nil
	}
	return st
}

// objectsOf lists what the statement is about, where that is not something it reads.
func (w *walker) objectsOf(n *pg.Node) {
	switch w.st.Class {
	case ClassDDL, ClassTruncate, ClassMaintenance, ClassOpaque:
		w.objects(n)
	case ClassRead:
		if c := n.GetExplainStmt().GetQuery(); c.GetCreateTableAsStmt() != nil {
			w.objects(c)
		}
		if into := intoOf(n.GetSelectStmt()); into != nil {
			w.st.Class, w.st.Command = ClassDDL, "SELECT INTO"
			w.claim(into.Rel)
			w.st.Objects = addName(nil, rangeName(into.Rel))
		}
	}
}

// details fills what only one kind of statement has.
func (w *walker) details(n *pg.Node) {
	st := w.st
	switch s := n.GetNode().(type) {
	case *pg.Node_SelectStmt:
		if st.Class == ClassRead && len(st.Targets) > 0 {
			st.Class = ClassWrite
		}
	case *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
		w.writeDetails(n)
	case *pg.Node_TransactionStmt:
		w.transactionDetails(s.TransactionStmt)
	case *pg.Node_VariableSetStmt:
		w.setDetails(s.VariableSetStmt)
	case *pg.Node_DiscardStmt:
		w.discardDetails(s.DiscardStmt)
	case *pg.Node_CopyStmt:
		w.copyDetails(s.CopyStmt)
		if s.CopyStmt.Query != nil {
			first, last := w.src.insideParens(w.marks.first)
			w.wrapped(s.CopyStmt.Query, first, last)
			if len(st.Targets) > 0 {
				st.Class = ClassOpaque
			}
		}
	case *pg.Node_ExplainStmt:
		w.explainDetails(s.ExplainStmt)
	case *pg.Node_PrepareStmt:
		st.Name = s.PrepareStmt.Name
		first, last := w.src.behindAs(w.marks)
		w.wrapped(s.PrepareStmt.Query, first, last)
	case *pg.Node_ExecuteStmt:
		st.Name = s.ExecuteStmt.Name
	case *pg.Node_DeallocateStmt:
		st.Name, st.DropsPrepared = s.DeallocateStmt.Name, s.DeallocateStmt.Isall
	case *pg.Node_DeclareCursorStmt:
		st.Name = s.DeclareCursorStmt.Portalname
	case *pg.Node_ClosePortalStmt:
		st.Name = s.ClosePortalStmt.Portalname
	case *pg.Node_FetchStmt:
		st.Name = s.FetchStmt.Portalname
	case *pg.Node_ListenStmt:
		st.Name = s.ListenStmt.Conditionname
	case *pg.Node_UnlistenStmt:
		st.Name = s.UnlistenStmt.Conditionname
	case *pg.Node_NotifyStmt:
		st.Name = s.NotifyStmt.Conditionname
	case *pg.Node_CreateRoleStmt:
		w.password(s.CreateRoleStmt.Options, s.CreateRoleStmt.Role)
	case *pg.Node_AlterRoleStmt:
		w.password(s.AlterRoleStmt.Options, roleName(s.AlterRoleStmt.Role).Name)
	case *pg.Node_DoStmt:
		code := w.src.statementText(w.marks)
		st.DropsPrepared = containsFold(code, "deallocate")
		st.AltersSchema = mayAlterSchema(code)
	}
}

// mainVerb finds where the statement goes on behind its WITH members.
func (w *walker) mainVerb(n *pg.Node) {
	var with *pg.WithClause
	switch s := n.GetNode().(type) {
	case *pg.Node_SelectStmt:
		with = s.SelectStmt.WithClause
	case *pg.Node_InsertStmt:
		with = s.InsertStmt.WithClause
	case *pg.Node_UpdateStmt:
		with = s.UpdateStmt.WithClause
	case *pg.Node_DeleteStmt:
		with = s.DeleteStmt.WithClause
	case *pg.Node_MergeStmt:
		with = s.MergeStmt.WithClause
	}
	if with == nil || len(with.Ctes) == 0 {
		return
	}
	last := with.Ctes[len(with.Ctes)-1].GetCommonTableExpr()
	i := w.src.endOfMember(int(last.GetLocation()))
	if i < 0 || last.SearchClause != nil || last.CycleClause != nil {
		return
	}
	if i+2 <= w.marks.last {
		w.marks.main = i + 2
	}
}

// explainDetails looks into EXPLAIN: with ANALYZE the statement runs.
func (w *walker) explainDetails(s *pg.ExplainStmt) {
	st := w.st
	d := option(s.Options, "analyze")
	if s.Query.GetSelectStmt() != nil && intoOf(s.Query.GetSelectStmt()) == nil || targetOk(s.Query) {
		first, last := w.src.behindExplain(w.marks)
		w.wrapped(s.Query, first, last)
	}
	if d == nil || !isOn(d) {
		st.Targets, w.marks.targets = nil, nil
		return
	}
	if s.Query.GetSelectStmt() == nil && s.Query.GetDeclareCursorStmt() == nil || len(st.Targets) > 0 ||
		intoOf(s.Query.GetSelectStmt()) != nil {
		st.Class = ClassOpaque
		st.AltersSchema = s.Query.GetCreateTableAsStmt() != nil || s.Query.GetSelectStmt() != nil && len(st.Targets) == 0
	}
}

// mayAlterSchema reports whether code mentions what changes the schema, or puts statements together.
func mayAlterSchema(code string) bool {
	for _, w := range []string{"create", "alter", "drop", "grant", "revoke", "execute", "comment"} {
		if containsFold(code, w) {
			return true
		}
	}
	return false
}

func targetOk(n *pg.Node) bool { _, r := targetOf(n); return r != nil }

// wrapped takes apart the statement inside PREPARE, EXPLAIN or COPY, whose tokens are first to last.
func (w *walker) wrapped(n *pg.Node, first, last int) {
	if first < 0 || first > last {
		return
	}
	m := &marks{first: first, last: last}
	w.st.Inner = statement(n, w.src, m)
	w.marks.inner = m
	for i := range w.marks.targets {
		w.marks.targets[i] = -1
	}
}

// insideParens gives the tokens inside the first pair of parentheses from a token on.
func (s source) insideParens(first int) (int, int) {
	depth, from := 0, -1
	for i := first; i < len(s.tokens); i++ {
		switch {
		case s.tokens[i].is(s.text, '('):
			if depth++; depth == 1 {
				from = i + 1
			}
		case s.tokens[i].is(s.text, ')'):
			if depth--; depth == 0 {
				return from, i - 1
			}
		}
	}
	return -1, -1
}

// behindAs gives the tokens behind AS outside parentheses: PREPARE name (types) AS ..
func (s source) behindAs(m *marks) (int, int) {
	depth := 0
	for i := m.first + 2; i <= m.last; i++ {
		switch {
		case s.tokens[i].is(s.text, '('):
			depth++
		case s.tokens[i].is(s.text, ')'):
			depth--
		case depth == 0 && s.tokens[i].word(s.text, "AS"):
			return i + 1, m.last
		}
	}
	return -1, -1
}

// behindExplain gives the tokens behind EXPLAIN and its options.
func (s source) behindExplain(m *marks) (int, int) {
	i := m.first + 1
	if i <= m.last && s.tokens[i].is(s.text, '(') && !s.startsQuery(i+1) {
		_, end := s.insideParens(i)
		i = end + 2
	}
	for i <= m.last && (s.tokens[i].word(s.text, "ANALYZE") || s.tokens[i].word(s.text, "ANALYSE") || s.tokens[i].word(s.text, "VERBOSE")) {
		i++
	}
	return i, m.last
}

// startsQuery reports whether a token begins a query in parentheses.
func (s source) startsQuery(i int) bool {
	for i < len(s.tokens) && s.tokens[i].is(s.text, '(') {
		i++
	}
	if i >= len(s.tokens) {
		return false
	}
	for _, k := range []string{"SELECT", "WITH", "VALUES", "TABLE"} {
		if s.tokens[i].word(s.text, k) {
			return true
		}
	}
	return false
}

// statementText gives the text of a statement.
func (s source) statementText(m *marks) string {
	return s.text[s.tokens[m.first].from:s.tokens[m.last].to]
}

// eachMessage calls f for every message directly below m, in the order of the fields.
func eachMessage(m protoreflect.Message, f func(protoreflect.Message)) {
	eachField(m, func(fd protoreflect.FieldDescriptor, v protoreflect.Value) { eachValue(fd, v, f) })
}

// eachField calls f for every field that holds messages, in their order: what is collected must not depend on chance.
func eachField(m protoreflect.Message, f func(protoreflect.FieldDescriptor, protoreflect.Value)) {
	d := m.Descriptor()
	if d.Oneofs().Len() == 1 && d.Fields().Len() > 20 { // a Node: one of hundreds
		if fd := m.WhichOneof(d.Oneofs().Get(0)); fd != nil {
			f(fd, m.Get(fd))
		}
		return
	}
	for i, fields := 0, d.Fields(); i < fields.Len(); i++ {
		if fd := fields.Get(i); fd.Message() != nil && m.Has(fd) {
			f(fd, m.Get(fd))
		}
	}
}

// eachValue calls f for the message that a field holds, or for each of its list.
func eachValue(fd protoreflect.FieldDescriptor, v protoreflect.Value, f func(protoreflect.Message)) {
	if !fd.IsList() {
		f(v.Message())
		return
	}
	for l, i := v.List(), 0; i < l.Len(); i++ {
		f(l.Get(i).Message())
	}
}

func itoa(i int32) string { return strconv.Itoa(int(i)) }
