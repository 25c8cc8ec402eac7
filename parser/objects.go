package parser

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// rangeName gives a relation's name. A database in front is dropped: PostgreSQL takes none but the current one.
func rangeName(r *pg.RangeVar) Name { return Name{r.GetSchemaname(), r.GetRelname()} }

// listName gives the name that a list of String nodes spells.
func listName(list []*pg.Node) Name {
	var n Name
	if l := len(list); l > 0 {
		n.Name = list[l-1].GetString_().GetSval()
		if l > 1 {
			n.Schema = list[l-2].GetString_().GetSval()
		}
	}
	return n
}

// nodeNames gives the names of objects in the many forms that the grammar has for them.
func nodeNames(n *pg.Node) []Name {
	switch o := n.GetNode().(type) {
	case *pg.Node_RangeVar:
		return []Name{rangeName(o.RangeVar)}
	case *pg.Node_String_:
		return []Name{{Name: o.String_.Sval}}
	case *pg.Node_TypeName:
		return []Name{listName(o.TypeName.Names)}
	case *pg.Node_ObjectWithArgs:
		return []Name{listName(o.ObjectWithArgs.Objname)}
	case *pg.Node_RoleSpec:
		return []Name{roleName(o.RoleSpec)}
	case *pg.Node_AccessPriv:
		return []Name{{Name: o.AccessPriv.PrivName}}
	case *pg.Node_List:
		if names := stringsOnly(o.List.Items); len(names) > 0 {
			return []Name{listName(names)}
		}
		var all []Name // a cast: two types
		for _, t := range o.List.Items {
			all = append(all, nodeNames(t)...)
		}
		return all
	case *pg.Node_VacuumRelation:
		return []Name{rangeName(o.VacuumRelation.Relation)}
	}
	return nil
}

// stringsOnly leaves out what is no part of a name (the types of a cast or of an operator class).
func stringsOnly(list []*pg.Node) []*pg.Node {
	for i, n := range list {
		if n.GetString_() == nil {
			return list[:i]
		}
	}
	return list
}

func roleName(r *pg.RoleSpec) Name {
	switch r.GetRoletype() {
	case pg.RoleSpecType_ROLESPEC_CURRENT_ROLE, pg.RoleSpecType_ROLESPEC_CURRENT_USER:
		return Name{Name: "current_user"}
	case pg.RoleSpecType_ROLESPEC_SESSION_USER:
		return Name{Name: "session_user"}
	case pg.RoleSpecType_ROLESPEC_PUBLIC:
		return Name{Name: "public"}
	}
	return Name{Name: r.GetRolename()}
}

// objects lists what a DDL statement creates, alters or drops, and claims the relations among it, so that they are not
// taken for something it reads.
func (w *walker) objects(n *pg.Node) {
	relation := func(r *pg.RangeVar) {
		if r != nil {
			w.claim(r)
			w.st.Objects = addName(w.st.Objects, rangeName(r))
		}
	}
	named := func(name Name) { w.st.Objects = addName(w.st.Objects, name) }
	nodes := func(list ...*pg.Node) {
		for _, o := range list {
			w.claim(o.GetRangeVar())
			w.claim(o.GetVacuumRelation().GetRelation())
			for _, name := range nodeNames(o) {
				named(name)
			}
		}
	}
	switch s := n.GetNode().(type) {
	case *pg.Node_CreateStmt:
		relation(s.CreateStmt.Relation)
	case *pg.Node_CreateForeignTableStmt:
		relation(s.CreateForeignTableStmt.BaseStmt.GetRelation())
	case *pg.Node_CreateTableAsStmt:
		relation(s.CreateTableAsStmt.Into.GetRel())
	case *pg.Node_ViewStmt:
		relation(s.ViewStmt.View)
	case *pg.Node_CreateSeqStmt:
		relation(s.CreateSeqStmt.Sequence)
	case *pg.Node_AlterSeqStmt:
		relation(s.AlterSeqStmt.Sequence)
	case *pg.Node_CompositeTypeStmt:
		relation(s.CompositeTypeStmt.Typevar)
	case *pg.Node_IndexStmt:
		// The index lives in its table's schema; without a name of its own the table stands for it.
		relation(s.IndexStmt.Relation)
		if s.IndexStmt.Idxname != "" {
			named(Name{s.IndexStmt.Relation.GetSchemaname(), s.IndexStmt.Idxname})
		}
	case *pg.Node_AlterTableStmt:
		relation(s.AlterTableStmt.Relation)
	case *pg.Node_TruncateStmt:
		nodes(s.TruncateStmt.Relations...)
	case *pg.Node_LockStmt:
		nodes(s.LockStmt.Relations...)
	case *pg.Node_VacuumStmt:
		nodes(s.VacuumStmt.Rels...)
	case *pg.Node_ClusterStmt:
		relation(s.ClusterStmt.Relation)
	case *pg.Node_ReindexStmt:
		relation(s.ReindexStmt.Relation)
		named(Name{Name: s.ReindexStmt.Name})
	case *pg.Node_RefreshMatViewStmt:
		relation(s.RefreshMatViewStmt.Relation)
	case *pg.Node_DropStmt:
		nodes(onTable(s.DropStmt.RemoveType, s.DropStmt.Objects...)...)
	case *pg.Node_CommentStmt:
		nodes(onTable(s.CommentStmt.Objtype, s.CommentStmt.Object)...)
	case *pg.Node_SecLabelStmt:
		nodes(onTable(s.SecLabelStmt.Objtype, s.SecLabelStmt.Object)...)
	case *pg.Node_CreateSchemaStmt:
		w.schemaObjects(n, s.CreateSchemaStmt.SchemaElts)
	case *pg.Node_GrantStmt:
		nodes(s.GrantStmt.Objects...)
	case *pg.Node_GrantRoleStmt:
		nodes(s.GrantRoleStmt.GrantedRoles...)
		nodes(s.GrantRoleStmt.GranteeRoles...)
	case *pg.Node_RenameStmt:
		relation(s.RenameStmt.Relation)
		nodes(s.RenameStmt.Object)
		w.renamed(s.RenameStmt)
	case *pg.Node_AlterObjectSchemaStmt:
		relation(s.AlterObjectSchemaStmt.Relation)
		nodes(s.AlterObjectSchemaStmt.Object)
		if len(w.st.Objects) > 0 {
			named(Name{s.AlterObjectSchemaStmt.Newschema, w.st.Objects[0].Name})
		}
	case *pg.Node_AlterObjectDependsStmt:
		relation(s.AlterObjectDependsStmt.Relation)
		nodes(s.AlterObjectDependsStmt.Object)
	case *pg.Node_AlterOwnerStmt:
		relation(s.AlterOwnerStmt.Relation)
		nodes(s.AlterOwnerStmt.Object)
	case *pg.Node_CreateStatsStmt:
		named(listName(s.CreateStatsStmt.Defnames))
	default:
		if table, name := partOfTable(n); table != nil {
			relation(table)
			named(Name{Name: name})
			return
		}
		for _, name := range plainObjects(n) {
			named(name)
		}
	}
}

// schemaObjects lists a schema and what is created with it, in it.
func (w *walker) schemaObjects(n *pg.Node, elements []*pg.Node) {
	w.st.Objects = plainObjects(n)
	for _, e := range elements {
		w.objects(e)
	}
	for i := 1; i < len(w.st.Objects); i++ {
		if o := &w.st.Objects[i]; o.Schema == "" {
			o.Schema = w.st.Objects[0].Name
		}
	}
}

// partOfTable gives the table and the name of what belongs to one.
func partOfTable(n *pg.Node) (*pg.RangeVar, string) {
	switch s := n.GetNode().(type) {
	case *pg.Node_CreateTrigStmt:
		return s.CreateTrigStmt.Relation, s.CreateTrigStmt.Trigname
	case *pg.Node_RuleStmt:
		return s.RuleStmt.Relation, s.RuleStmt.Rulename
	case *pg.Node_CreatePolicyStmt:
		return s.CreatePolicyStmt.Table, s.CreatePolicyStmt.PolicyName
	case *pg.Node_AlterPolicyStmt:
		return s.AlterPolicyStmt.Table, s.AlterPolicyStmt.PolicyName
	}
	return nil, ""
}

// onTable splits the names of what belongs to a table into the table and the rest: a trigger's name alone says nothing, a
// column has none.
func onTable(kind pg.ObjectType, objects ...*pg.Node) []*pg.Node {
	switch kind {
	case pg.ObjectType_OBJECT_COLUMN, pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_RULE, pg.ObjectType_OBJECT_POLICY,
		pg.ObjectType_OBJECT_TABCONSTRAINT:
	default:
		return objects
	}
	var all []*pg.Node
	for _, o := range objects {
		items := o.GetList().GetItems()
		if len(items) < 2 {
			all = append(all, o)
			continue
		}
		n := len(items) - 1
		all = append(all, &pg.Node{Node: &pg.Node_List{List: &pg.List{Items: items[:n]}}})
		if kind != pg.ObjectType_OBJECT_COLUMN {
			all = append(all, items[n])
		}
	}
	return all
}

// renamed adds the name that something gets, in the schema of what it was.
func (w *walker) renamed(s *pg.RenameStmt) {
	switch s.RenameType {
	case pg.ObjectType_OBJECT_COLUMN, pg.ObjectType_OBJECT_ATTRIBUTE, pg.ObjectType_OBJECT_TABCONSTRAINT,
		pg.ObjectType_OBJECT_DOMCONSTRAINT, pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_RULE, pg.ObjectType_OBJECT_POLICY:
		return
	}
	n := Name{Name: s.Newname}
	if len(w.st.Objects) > 0 {
		n.Schema = w.st.Objects[0].Schema
	} else {
		// a role, schema or database: what it was called is no node of its own
		w.st.Objects = addName(w.st.Objects, Name{Name: s.Subname})
	}
	w.st.Objects = addName(w.st.Objects, n)
}

// plainObjects gives the names of what is no relation.
func plainObjects(n *pg.Node) []Name {
	one := func(name string) []Name { return []Name{{Name: name}} }
	list := func(names []*pg.Node) []Name { return []Name{listName(names)} }
	switch s := n.GetNode().(type) {
	case *pg.Node_CreateSchemaStmt:
		if s.CreateSchemaStmt.Schemaname == "" {
			return []Name{roleName(s.CreateSchemaStmt.Authrole)}
		}
		return one(s.CreateSchemaStmt.Schemaname)
	case *pg.Node_CreateFunctionStmt:
		return list(s.CreateFunctionStmt.Funcname)
	case *pg.Node_AlterFunctionStmt:
		return list(s.AlterFunctionStmt.Func.GetObjname())
	case *pg.Node_CreateDomainStmt:
		return list(s.CreateDomainStmt.Domainname)
	case *pg.Node_AlterDomainStmt:
		return list(s.AlterDomainStmt.TypeName)
	case *pg.Node_CreateEnumStmt:
		return list(s.CreateEnumStmt.TypeName)
	case *pg.Node_AlterEnumStmt:
		return list(s.AlterEnumStmt.TypeName)
	case *pg.Node_CreateRangeStmt:
		return list(s.CreateRangeStmt.TypeName)
	case *pg.Node_AlterTypeStmt:
		return list(s.AlterTypeStmt.TypeName)
	case *pg.Node_DefineStmt:
		return list(s.DefineStmt.Defnames)
	case *pg.Node_AlterOperatorStmt:
		return list(s.AlterOperatorStmt.Opername.GetObjname())
	case *pg.Node_CreateOpClassStmt:
		return list(s.CreateOpClassStmt.Opclassname)
	case *pg.Node_CreateOpFamilyStmt:
		return list(s.CreateOpFamilyStmt.Opfamilyname)
	case *pg.Node_AlterOpFamilyStmt:
		return list(s.AlterOpFamilyStmt.Opfamilyname)
	case *pg.Node_AlterStatsStmt:
		return list(s.AlterStatsStmt.Defnames)
	case *pg.Node_AlterCollationStmt:
		return list(s.AlterCollationStmt.Collname)
	case *pg.Node_CreateConversionStmt:
		return list(s.CreateConversionStmt.ConversionName)
	case *pg.Node_AlterTsdictionaryStmt:
		return list(s.AlterTsdictionaryStmt.Dictname)
	case *pg.Node_AlterTsconfigurationStmt:
		return list(s.AlterTsconfigurationStmt.Cfgname)
	case *pg.Node_CreateCastStmt:
		return append(list(s.CreateCastStmt.Sourcetype.GetNames()), listName(s.CreateCastStmt.Targettype.GetNames()))
	case *pg.Node_CreateTransformStmt:
		return list(s.CreateTransformStmt.TypeName.GetNames())
	case *pg.Node_CreateRoleStmt:
		return one(s.CreateRoleStmt.Role)
	case *pg.Node_AlterRoleStmt:
		return []Name{roleName(s.AlterRoleStmt.Role)}
	case *pg.Node_AlterRoleSetStmt:
		return []Name{roleName(s.AlterRoleSetStmt.Role)}
	case *pg.Node_DropRoleStmt:
		return roleNames(s.DropRoleStmt.Roles)
	case *pg.Node_DropOwnedStmt:
		return roleNames(s.DropOwnedStmt.Roles)
	case *pg.Node_ReassignOwnedStmt:
		return roleNames(s.ReassignOwnedStmt.Roles)
	}
	return serverObjects(n)
}

// serverObjects gives the names of what belongs to no schema.
func serverObjects(n *pg.Node) []Name {
	name := ""
	switch s := n.GetNode().(type) {
	case *pg.Node_CreatedbStmt:
		name = s.CreatedbStmt.Dbname
	case *pg.Node_AlterDatabaseStmt:
		name = s.AlterDatabaseStmt.Dbname
	case *pg.Node_AlterDatabaseSetStmt:
		name = s.AlterDatabaseSetStmt.Dbname
	case *pg.Node_AlterDatabaseRefreshCollStmt:
		name = s.AlterDatabaseRefreshCollStmt.Dbname
	case *pg.Node_DropdbStmt:
		name = s.DropdbStmt.Dbname
	case *pg.Node_CreateTableSpaceStmt:
		name = s.CreateTableSpaceStmt.Tablespacename
	case *pg.Node_DropTableSpaceStmt:
		name = s.DropTableSpaceStmt.Tablespacename
	case *pg.Node_AlterTableSpaceOptionsStmt:
		name = s.AlterTableSpaceOptionsStmt.Tablespacename
	case *pg.Node_AlterTableMoveAllStmt:
		name = s.AlterTableMoveAllStmt.OrigTablespacename
	case *pg.Node_CreateExtensionStmt:
		name = s.CreateExtensionStmt.Extname
	case *pg.Node_AlterExtensionStmt:
		name = s.AlterExtensionStmt.Extname
	case *pg.Node_AlterExtensionContentsStmt:
		name = s.AlterExtensionContentsStmt.Extname
	case *pg.Node_CreateFdwStmt:
		name = s.CreateFdwStmt.Fdwname
	case *pg.Node_AlterFdwStmt:
		name = s.AlterFdwStmt.Fdwname
	case *pg.Node_CreateForeignServerStmt:
		name = s.CreateForeignServerStmt.Servername
	case *pg.Node_AlterForeignServerStmt:
		name = s.AlterForeignServerStmt.Servername
	case *pg.Node_CreateUserMappingStmt:
		name = s.CreateUserMappingStmt.Servername
	case *pg.Node_AlterUserMappingStmt:
		name = s.AlterUserMappingStmt.Servername
	case *pg.Node_DropUserMappingStmt:
		name = s.DropUserMappingStmt.Servername
	case *pg.Node_ImportForeignSchemaStmt:
		name = s.ImportForeignSchemaStmt.LocalSchema
	case *pg.Node_CreateAmStmt:
		name = s.CreateAmStmt.Amname
	case *pg.Node_CreateEventTrigStmt:
		name = s.CreateEventTrigStmt.Trigname
	case *pg.Node_AlterEventTrigStmt:
		name = s.AlterEventTrigStmt.Trigname
	case *pg.Node_CreatePlangStmt:
		name = s.CreatePlangStmt.Plname
	case *pg.Node_CreatePublicationStmt:
		name = s.CreatePublicationStmt.Pubname
	case *pg.Node_AlterPublicationStmt:
		name = s.AlterPublicationStmt.Pubname
	case *pg.Node_CreateSubscriptionStmt:
		name = s.CreateSubscriptionStmt.Subname
	case *pg.Node_AlterSubscriptionStmt:
		name = s.AlterSubscriptionStmt.Subname
	case *pg.Node_DropSubscriptionStmt:
		name = s.DropSubscriptionStmt.Subname
	default:
		return nil
	}
	return []Name{{Name: name}}
}

func roleNames(list []*pg.Node) []Name {
	var names []Name
	for _, n := range list {
		names = append(names, roleName(n.GetRoleSpec()))
	}
	return names
}
