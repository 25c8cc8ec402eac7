package parser

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// copyDetails looks into COPY.
func (w *walker) copyDetails(s *pg.CopyStmt) {
	st := w.st
	st.CopyStdin = s.IsFrom && s.Filename == "" && !s.IsProgram
	st.CopyFormat = "text"
	for _, n := range s.Attlist {
		st.CopyColumns = append(st.CopyColumns, n.GetString_().GetSval())
	}
	for _, n := range s.Options {
		o := copyOption(n.GetDefElem())
		if o.Name == "format" {
			st.CopyFormat = strings.ToLower(o.Value)
			continue
		}
		st.CopyOptions = append(st.CopyOptions, o)
	}
}

// copyOption reads one option: (NULL 'x'), (FORCE_NULL (a, b)), (HEADER), (FORCE_QUOTE *).
func copyOption(d *pg.DefElem) Option {
	o := Option{Name: strings.ToLower(d.GetDefname())}
	switch a := d.GetArg().GetNode().(type) {
	case *pg.Node_List:
		for _, n := range a.List.Items {
			o.Values = append(o.Values, n.GetString_().GetSval())
		}
	case *pg.Node_AStar:
		o.Value = "*"
	case nil:
		o.Value = "true"
	default:
		o.Value = scalar(d.GetArg())
	}
	return o
}

// scalar gives the text of an option's value.
func scalar(n *pg.Node) string {
	switch v := n.GetNode().(type) {
	case *pg.Node_String_:
		return v.String_.Sval
	case *pg.Node_Integer:
		return itoa(v.Integer.Ival)
	case *pg.Node_Float:
		return v.Float.Fval
	case *pg.Node_Boolean:
		return either(v.Boolean.Boolval, "true", "false")
	case *pg.Node_TypeName:
		return listName(v.TypeName.Names).Name
	case *pg.Node_AConst:
		switch c := v.AConst.Val.(type) {
		case *pg.A_Const_Ival:
			return itoa(c.Ival.Ival)
		case *pg.A_Const_Fval:
			return c.Fval.Fval
		case *pg.A_Const_Boolval:
			return either(c.Boolval.Boolval, "true", "false")
		case *pg.A_Const_Sval:
			return c.Sval.Sval
		}
	}
	return ""
}

// isOn reads an option that is a boolean; one without a value is true.
func isOn(d *pg.DefElem) bool {
	switch strings.ToLower(scalar(d.GetArg())) {
	case "false", "off", "no", "0", "f", "n":
		return false
	}
	return true
}
