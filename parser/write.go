package parser

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// targetOf gives what a writing statement writes to; nil for any other statement.
func targetOf(n *pg.Node) (Target, *pg.RangeVar) {
	var r *pg.RangeVar
	t := Target{SpliceAt: -1}
	switch s := n.GetNode().(type) {
	case *pg.Node_InsertStmt:
		t.Command, r, t.Returning = "INSERT", s.InsertStmt.Relation, len(s.InsertStmt.ReturningList) > 0
	case *pg.Node_UpdateStmt:
		t.Command, r, t.Returning = "UPDATE", s.UpdateStmt.Relation, len(s.UpdateStmt.ReturningList) > 0
	case *pg.Node_DeleteStmt:
		t.Command, r, t.Returning = "DELETE", s.DeleteStmt.Relation, len(s.DeleteStmt.ReturningList) > 0
	case *pg.Node_MergeStmt:
		t.Command, r, t.Returning = "MERGE", s.MergeStmt.Relation, len(s.MergeStmt.ReturningList) > 0
	}
	if r == nil {
		return Target{}, nil
	}
	t.Name, t.Only = rangeName(r), !r.Inh
	t.Alias = t.Name.Name
	if a := r.GetAlias().GetAliasname(); a != "" {
		t.Alias = a
	}
	return t, r
}

// writeDetails looks into INSERT, UPDATE, DELETE and MERGE.
func (w *walker) writeDetails(n *pg.Node) {
	t, r := targetOf(n)
	if r == nil {
		return
	}
	st := w.st
	st.Returning = t.Returning
	w.marks.splice = w.marks.last
	switch s := n.GetNode().(type) {
	case *pg.Node_InsertStmt:
		if c := s.InsertStmt.OnConflictClause; c != nil {
			st.Conflict = true
			if c.Action == pg.OnConflictAction_ONCONFLICT_UPDATE {
				st.DoUpdate = assignments(c.TargetList, t, "excluded")
			}
		}
	case *pg.Node_UpdateStmt:
		st.Assignments = assignments(s.UpdateStmt.TargetList, t, "")
		st.Pinned = pinned(s.UpdateStmt.WhereClause, t, len(s.UpdateStmt.FromClause) == 0)
		st.Cursor = cursorOf(s.UpdateStmt.WhereClause)
	case *pg.Node_DeleteStmt:
		st.Pinned = pinned(s.DeleteStmt.WhereClause, t, len(s.DeleteStmt.UsingClause) == 0)
		st.Cursor = cursorOf(s.DeleteStmt.WhereClause)
	case *pg.Node_MergeStmt:
		st.Assignments = mergeAssignments(s.MergeStmt, t)
	}
}

// cursorOf gives the cursor of WHERE CURRENT OF, "" if there is none.
func cursorOf(where *pg.Node) string { return where.GetCurrentOfExpr().GetCursorName() }

// mergeAssignments joins the assignments of all UPDATE actions. A column that one of them sets and another one adds to
// is set.
func mergeAssignments(s *pg.MergeStmt, t Target) []Assignment {
	var all []Assignment
	for _, n := range s.MergeWhenClauses {
		c := n.GetMergeWhenClause()
		if c.GetCommandType() != pg.CmdType_CMD_UPDATE {
			continue
		}
	next:
		for _, a := range assignments(c.TargetList, t, "") {
			for i := range all {
				if all[i].Column == a.Column {
					if all[i].Intent != a.Intent {
						all[i].Intent = IntentSet
					}
					continue next
				}
			}
			all = append(all, a)
		}
	}
	return all
}

// pinned lists the columns that a condition fixes to one value: column = constant or parameter, joined by AND alone.
// Where other relations are in reach (alone is false) only columns named with their table count.
func pinned(where *pg.Node, t Target, alone bool) []string {
	var columns []string
	var add func(n *pg.Node)
	add = func(n *pg.Node) {
		if b := n.GetBoolExpr(); b != nil && b.Boolop == pg.BoolExprType_AND_EXPR {
			for _, a := range b.Args {
				add(a)
			}
			return
		}
		e := n.GetAExpr()
		if e == nil || e.Kind != pg.A_Expr_Kind_AEXPR_OP || operatorName(e) != "=" {
			return
		}
		for _, side := range [2][2]*pg.Node{{e.Lexpr, e.Rexpr}, {e.Rexpr, e.Lexpr}} {
			if c := ownColumn(side[0], t, alone); c != "" && isConstant(side[1]) {
				columns = append(columns, c)
				return
			}
		}
	}
	add(where)
	return columns
}

// ownColumn gives the name of the target's column that an expression is; "" if it is anything else.
func ownColumn(n *pg.Node, t Target, bare bool) string {
	f := n.GetColumnRef().GetFields()
	name := func(i int) string { return f[i].GetString_().GetSval() }
	switch {
	case len(f) == 1 && bare:
		return name(0)
	case len(f) == 2 && name(0) == t.Alias:
		return name(1)
	case len(f) == 3 && t.Alias == t.Name.Name && name(1) == t.Name.Name && name(0) == t.Schema:
		return name(2)
	}
	return ""
}

// isConstant reports whether an expression is a constant or a parameter, casts around it allowed.
func isConstant(n *pg.Node) bool {
	switch e := n.GetNode().(type) {
	case *pg.Node_AConst:
		return !e.AConst.Isnull
	case *pg.Node_ParamRef:
		return true
	case *pg.Node_TypeCast:
		return isConstant(e.TypeCast.Arg)
	}
	return false
}

// operatorName gives an operator's name; one of another schema than pg_catalog is no operator that we know.
func operatorName(e *pg.A_Expr) string {
	n := listName(e.Name)
	if n.Schema != "" && n.Schema != "pg_catalog" {
		return ""
	}
	return n.Name
}
