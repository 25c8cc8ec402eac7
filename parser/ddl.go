package parser

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// ddlCommand gives the command tag of a statement that changes what the catalog says, "" for any other.
func ddlCommand(n *pg.Node) string {
	switch s := n.GetNode().(type) {
	case *pg.Node_DropStmt:
		return "DROP " + objectWord(s.DropStmt.RemoveType)
	case *pg.Node_RenameStmt:
		return "ALTER " + renamedWord(s.RenameStmt)
	case *pg.Node_AlterObjectDependsStmt:
		return "ALTER " + objectWord(s.AlterObjectDependsStmt.ObjectType)
	case *pg.Node_AlterObjectSchemaStmt:
		return "ALTER " + objectWord(s.AlterObjectSchemaStmt.ObjectType)
	case *pg.Node_AlterOwnerStmt:
		return "ALTER " + objectWord(s.AlterOwnerStmt.ObjectType)
	case *pg.Node_AlterTableStmt:
		return "ALTER " + objectWord(s.AlterTableStmt.Objtype)
	case *pg.Node_AlterTableMoveAllStmt:
		return "ALTER " + objectWord(s.AlterTableMoveAllStmt.Objtype)
	case *pg.Node_AlterFunctionStmt:
		return "ALTER " + objectWord(s.AlterFunctionStmt.Objtype)
	case *pg.Node_DefineStmt:
		return "CREATE " + objectWord(s.DefineStmt.Kind)
	case *pg.Node_GrantStmt:
		return either(s.GrantStmt.IsGrant, "GRANT", "REVOKE")
	case *pg.Node_GrantRoleStmt:
		return either(s.GrantRoleStmt.IsGrant, "GRANT ROLE", "REVOKE ROLE")
	case *pg.Node_CreateFunctionStmt:
		return either(s.CreateFunctionStmt.IsProcedure, "CREATE PROCEDURE", "CREATE FUNCTION")
	case *pg.Node_AlterOpFamilyStmt:
		return "ALTER OPERATOR FAMILY"
	case *pg.Node_CreateTableAsStmt:
		switch {
		case s.CreateTableAsStmt.IsSelectInto:
			return "SELECT INTO"
		case s.CreateTableAsStmt.Objtype == pg.ObjectType_OBJECT_MATVIEW:
			return "CREATE MATERIALIZED VIEW"
		}
		return "CREATE TABLE AS"
	}
	if c := createCommand(n); c != "" {
		return c
	}
	return alterCommand(n)
}

func either(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// createCommand knows the statements that make something.
func createCommand(n *pg.Node) string {
	switch n.GetNode().(type) {
	case *pg.Node_CreateSchemaStmt:
		return "CREATE SCHEMA"
	case *pg.Node_CreateStmt:
		return "CREATE TABLE"
	case *pg.Node_CreateForeignTableStmt:
		return "CREATE FOREIGN TABLE"
	case *pg.Node_CreateTableSpaceStmt:
		return "CREATE TABLESPACE"
	case *pg.Node_CreateExtensionStmt:
		return "CREATE EXTENSION"
	case *pg.Node_CreateFdwStmt:
		return "CREATE FOREIGN DATA WRAPPER"
	case *pg.Node_CreateForeignServerStmt:
		return "CREATE SERVER"
	case *pg.Node_CreateUserMappingStmt:
		return "CREATE USER MAPPING"
	case *pg.Node_ImportForeignSchemaStmt:
		return "IMPORT FOREIGN SCHEMA"
	case *pg.Node_CreatePolicyStmt:
		return "CREATE POLICY"
	case *pg.Node_CreateAmStmt:
		return "CREATE ACCESS METHOD"
	case *pg.Node_CreateTrigStmt:
		return "CREATE TRIGGER"
	case *pg.Node_CreateEventTrigStmt:
		return "CREATE EVENT TRIGGER"
	case *pg.Node_CreatePlangStmt:
		return "CREATE LANGUAGE"
	case *pg.Node_CreateRoleStmt:
		return "CREATE ROLE"
	case *pg.Node_CreateSeqStmt:
		return "CREATE SEQUENCE"
	case *pg.Node_CreateDomainStmt:
		return "CREATE DOMAIN"
	case *pg.Node_CreateOpClassStmt:
		return "CREATE OPERATOR CLASS"
	case *pg.Node_CreateOpFamilyStmt:
		return "CREATE OPERATOR FAMILY"
	case *pg.Node_IndexStmt:
		return "CREATE INDEX"
	case *pg.Node_CreateStatsStmt:
		return "CREATE STATISTICS"
	case *pg.Node_RuleStmt:
		return "CREATE RULE"
	case *pg.Node_CompositeTypeStmt, *pg.Node_CreateEnumStmt, *pg.Node_CreateRangeStmt:
		return "CREATE TYPE"
	case *pg.Node_ViewStmt:
		return "CREATE VIEW"
	case *pg.Node_CreatedbStmt:
		return "CREATE DATABASE"
	case *pg.Node_CreateConversionStmt:
		return "CREATE CONVERSION"
	case *pg.Node_CreateCastStmt:
		return "CREATE CAST"
	case *pg.Node_CreateTransformStmt:
		return "CREATE TRANSFORM"
	case *pg.Node_CreatePublicationStmt:
		return "CREATE PUBLICATION"
	case *pg.Node_CreateSubscriptionStmt:
		return "CREATE SUBSCRIPTION"
	}
	return ""
}

// alterCommand knows the statements that change or remove something.
func alterCommand(n *pg.Node) string {
	switch n.GetNode().(type) {
	case *pg.Node_AlterCollationStmt:
		return "ALTER COLLATION"
	case *pg.Node_AlterDomainStmt:
		return "ALTER DOMAIN"
	case *pg.Node_AlterDefaultPrivilegesStmt:
		return "ALTER DEFAULT PRIVILEGES"
	case *pg.Node_DropTableSpaceStmt:
		return "DROP TABLESPACE"
	case *pg.Node_AlterTableSpaceOptionsStmt:
		return "ALTER TABLESPACE"
	case *pg.Node_AlterExtensionStmt, *pg.Node_AlterExtensionContentsStmt:
		return "ALTER EXTENSION"
	case *pg.Node_AlterFdwStmt:
		return "ALTER FOREIGN DATA WRAPPER"
	case *pg.Node_AlterForeignServerStmt:
		return "ALTER SERVER"
	case *pg.Node_AlterUserMappingStmt:
		return "ALTER USER MAPPING"
	case *pg.Node_DropUserMappingStmt:
		return "DROP USER MAPPING"
	case *pg.Node_AlterPolicyStmt:
		return "ALTER POLICY"
	case *pg.Node_AlterEventTrigStmt:
		return "ALTER EVENT TRIGGER"
	case *pg.Node_AlterRoleStmt, *pg.Node_AlterRoleSetStmt:
		return "ALTER ROLE"
	case *pg.Node_DropRoleStmt:
		return "DROP ROLE"
	case *pg.Node_AlterSeqStmt:
		return "ALTER SEQUENCE"
	case *pg.Node_CommentStmt:
		return "COMMENT"
	case *pg.Node_SecLabelStmt:
		return "SECURITY LABEL"
	case *pg.Node_AlterStatsStmt:
		return "ALTER STATISTICS"
	case *pg.Node_AlterOperatorStmt:
		return "ALTER OPERATOR"
	case *pg.Node_AlterTypeStmt, *pg.Node_AlterEnumStmt:
		return "ALTER TYPE"
	case *pg.Node_AlterDatabaseStmt, *pg.Node_AlterDatabaseSetStmt, *pg.Node_AlterDatabaseRefreshCollStmt:
		return "ALTER DATABASE"
	case *pg.Node_DropdbStmt:
		return "DROP DATABASE"
	case *pg.Node_DropOwnedStmt:
		return "DROP OWNED"
	case *pg.Node_ReassignOwnedStmt:
		return "REASSIGN OWNED"
	case *pg.Node_AlterTsdictionaryStmt:
		return "ALTER TEXT SEARCH DICTIONARY"
	case *pg.Node_AlterTsconfigurationStmt:
		return "ALTER TEXT SEARCH CONFIGURATION"
	case *pg.Node_AlterPublicationStmt:
		return "ALTER PUBLICATION"
	case *pg.Node_AlterSubscriptionStmt:
		return "ALTER SUBSCRIPTION"
	case *pg.Node_DropSubscriptionStmt:
		return "DROP SUBSCRIPTION"
	}
	return ""
}

// renamedWord says what kind of object a RENAME alters: that of the relation where a part of it gets the new name.
func renamedWord(s *pg.RenameStmt) string {
	switch s.RenameType {
	case pg.ObjectType_OBJECT_COLUMN, pg.ObjectType_OBJECT_ATTRIBUTE:
		return objectWord(s.RelationType)
	case pg.ObjectType_OBJECT_TABCONSTRAINT:
		return "TABLE"
	case pg.ObjectType_OBJECT_DOMCONSTRAINT:
		return "DOMAIN"
	}
	return objectWord(s.RenameType)
}

// objectWord names a kind of object as command tags do.
func objectWord(o pg.ObjectType) string {
	switch o {
	case pg.ObjectType_OBJECT_ACCESS_METHOD:
		return "ACCESS METHOD"
	case pg.ObjectType_OBJECT_EVENT_TRIGGER:
		return "EVENT TRIGGER"
	case pg.ObjectType_OBJECT_FDW:
		return "FOREIGN DATA WRAPPER"
	case pg.ObjectType_OBJECT_FOREIGN_SERVER:
		return "SERVER"
	case pg.ObjectType_OBJECT_FOREIGN_TABLE:
		return "FOREIGN TABLE"
	case pg.ObjectType_OBJECT_LARGEOBJECT:
		return "LARGE OBJECT"
	case pg.ObjectType_OBJECT_MATVIEW:
		return "MATERIALIZED VIEW"
	case pg.ObjectType_OBJECT_OPCLASS:
		return "OPERATOR CLASS"
	case pg.ObjectType_OBJECT_OPFAMILY:
		return "OPERATOR FAMILY"
	case pg.ObjectType_OBJECT_STATISTIC_EXT:
		return "STATISTICS"
	case pg.ObjectType_OBJECT_TSCONFIGURATION:
		return "TEXT SEARCH CONFIGURATION"
	case pg.ObjectType_OBJECT_TSDICTIONARY:
		return "TEXT SEARCH DICTIONARY"
	case pg.ObjectType_OBJECT_TSPARSER:
		return "TEXT SEARCH PARSER"
	case pg.ObjectType_OBJECT_TSTEMPLATE:
		return "TEXT SEARCH TEMPLATE"
	case pg.ObjectType_OBJECT_ATTRIBUTE:
		return "TYPE"
	case pg.ObjectType_OBJECT_USER_MAPPING:
		return "USER MAPPING"
	}
	const prefix = len("OBJECT_")
	if name := o.String(); len(name) > prefix {
		return name[prefix:]
	}
	return "OBJECT"
}
