package parser

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// assignments reads the list of SET. constant is a relation whose columns count as constants: excluded, in DO UPDATE.
func assignments(list []*pg.Node, t Target, constant string) []Assignment {
	all := make([]Assignment, 0, len(list))
	for _, n := range list {
		r := n.GetResTarget()
		if r == nil {
			continue
		}
		a := Assignment{Column: r.Name}
		if len(r.Indirection) == 0 { // SET x.field = .. and SET x[1] = .. set a part of x
			d := delta{target: t, column: r.Name, constant: constant}
			a.Intent = d.intent(assigned(r.Val))
		}
		all = append(all, a)
	}
	return all
}

// assigned gives the expression that a column gets: of (a, b) = ROW(x, y) the one that belongs to it, nil if a
// sub-select gives them all.
func assigned(n *pg.Node) *pg.Node {
	m := n.GetMultiAssignRef()
	if m == nil {
		return n
	}
	row := m.Source.GetRowExpr().GetArgs()
	if len(row) != int(m.Ncolumns) || m.Colno < 1 || int(m.Colno) > len(row) {
		return nil
	}
	return row[m.Colno-1]
}

// delta recognizes x = x + k.
type delta struct {
	target   Target
	column   string
	constant string
}

func (d delta) intent(n *pg.Node) Intent {
	switch d.sum(n) {
	case sumColumn:
		return IntentDelta
	case sumCoalesced:
		return IntentDeltaUnlessNull
	}
	return IntentSet
}

// sum says what an expression is, seen as a sum.
type sum uint8

const (
	sumOther     sum = iota
	sumConstant      // mentions no column
	sumColumn        // the column plus or minus constants; at least one of them
	sumCoalesced     // the same with COALESCE(column, constant) in its place
	sumBare          // the column itself
	sumBareCoalesced
)

// sum looks through casts around the whole, but not around the column: a cast there may round.
func (d delta) sum(n *pg.Node) sum {
	switch e := n.GetNode().(type) {
	case *pg.Node_TypeCast:
		if s := d.sum(e.TypeCast.Arg); s != sumBare && s != sumBareCoalesced {
			return s
		}
		return sumOther
	case *pg.Node_ColumnRef:
		if ownColumn(n, d.target, true) == d.column {
			return sumBare
		}
	case *pg.Node_CoalesceExpr:
		args := e.CoalesceExpr.Args
		if len(args) == 2 && d.sum(args[0]) == sumBare && isConstant(args[1]) {
			return sumBareCoalesced
		}
	case *pg.Node_AExpr:
		if e.AExpr.Kind == pg.A_Expr_Kind_AEXPR_OP && e.AExpr.Lexpr != nil {
			if s := d.binary(operatorName(e.AExpr), e.AExpr.Lexpr, e.AExpr.Rexpr); s != sumOther {
				return s
			}
		}
	}
	if d.hasNoColumn(n) {
		return sumConstant
	}
	return sumOther
}

// binary is sum for a + b and a - b.
func (d delta) binary(op string, left, right *pg.Node) sum {
	if op != "+" && op != "-" {
		return sumOther
	}
	l, r := d.sum(left), d.sum(right)
	if r != sumConstant {
		if op == "-" || l != sumConstant {
			return sumOther // k - x, x + x
		}
		l = r
	}
	switch l {
	case sumBare, sumColumn:
		return sumColumn
	case sumBareCoalesced, sumCoalesced:
		return sumCoalesced
	}
	return l
}

// hasNoColumn reports whether an expression can be known without looking at any row: no column, no sub-select. Columns
// of the relation that counts as constant are allowed.
func (d delta) hasNoColumn(n *pg.Node) bool {
	if n == nil {
		return false
	}
	free := true
	var visit func(m protoreflect.Message)
	visit = func(m protoreflect.Message) {
		switch e := m.Interface().(type) {
		case *pg.ColumnRef:
			f := e.Fields
			free = free && d.constant != "" && len(f) == 2 && strings.EqualFold(f[0].GetString_().GetSval(), d.constant)
			return
		case *pg.SubLink, *pg.SetToDefault:
			free = false
		}
		eachMessage(m, visit)
	}
	visit(n.ProtoReflect())
	return free
}
