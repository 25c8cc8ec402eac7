package parser

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// refusesBlock reports whether PostgreSQL refuses to run a statement inside a transaction block, as far as its text can
// say: REINDEX and CLUSTER of a partitioned relation refuse too, which only the catalog knows.
func refusesBlock(n *pg.Node) bool {
	switch s := n.GetNode().(type) {
	case *pg.Node_TransactionStmt:
		k := s.TransactionStmt.Kind
		return k == pg.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED || k == pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED
	case *pg.Node_CreateTableSpaceStmt, *pg.Node_DropTableSpaceStmt, *pg.Node_CreatedbStmt, *pg.Node_DropdbStmt,
		*pg.Node_AlterSystemStmt:
		return true
	case *pg.Node_AlterDatabaseStmt:
		return option(s.AlterDatabaseStmt.Options, "tablespace") != nil
	case *pg.Node_IndexStmt:
		return s.IndexStmt.Concurrent
	case *pg.Node_DropStmt:
		return s.DropStmt.Concurrent
	case *pg.Node_ReindexStmt:
		return refusesReindex(s.ReindexStmt)
	case *pg.Node_AlterTableStmt:
		return detachesConcurrently(s.AlterTableStmt)
	case *pg.Node_VacuumStmt:
		return s.VacuumStmt.IsVacuumcmd
	case *pg.Node_ClusterStmt:
		return s.ClusterStmt.Relation == nil
	case *pg.Node_CreateSubscriptionStmt:
		return createsSlot(s.CreateSubscriptionStmt.Options)
	case *pg.Node_AlterSubscriptionStmt:
		return refusesSubscription(s.AlterSubscriptionStmt)
	case *pg.Node_DropSubscriptionStmt:
		return true // unless it has no slot any more, which only the catalog knows
	case *pg.Node_DiscardStmt:
		return s.DiscardStmt.Target == pg.DiscardMode_DISCARD_ALL
	}
	return false
}

// option finds an option by its name; nil if it is not given.
func option(options []*pg.Node, name string) *pg.DefElem {
	for _, n := range options {
		if d := n.GetDefElem(); d.GetDefname() == name {
			return d
		}
	}
	return nil
}

func refusesReindex(s *pg.ReindexStmt) bool {
	if d := option(s.Params, "concurrently"); d != nil && isOn(d) {
		return true
	}
	return s.Kind == pg.ReindexObjectType_REINDEX_OBJECT_SCHEMA || s.Kind == pg.ReindexObjectType_REINDEX_OBJECT_SYSTEM ||
		s.Kind == pg.ReindexObjectType_REINDEX_OBJECT_DATABASE
}

func detachesConcurrently(s *pg.AlterTableStmt) bool {
	for _, n := range s.Cmds {
		c := n.GetAlterTableCmd()
		if c.GetSubtype() == pg.AlterTableType_AT_DetachPartition && c.Def.GetPartitionCmd().GetConcurrent() {
			return true
		}
	}
	return false
}

// createsSlot: CREATE SUBSCRIPTION connects and makes a slot unless it is told not to.
func createsSlot(options []*pg.Node) bool {
	if d := option(options, "create_slot"); d != nil {
		return isOn(d)
	}
	d := option(options, "connect")
	return d == nil || isOn(d)
}

// refusesSubscription: whatever refreshes the publications, or asks the publisher to change the slot.
func refusesSubscription(s *pg.AlterSubscriptionStmt) bool {
	switch s.Kind {
	case pg.AlterSubscriptionType_ALTER_SUBSCRIPTION_REFRESH:
		return true
	case pg.AlterSubscriptionType_ALTER_SUBSCRIPTION_SET_PUBLICATION, pg.AlterSubscriptionType_ALTER_SUBSCRIPTION_ADD_PUBLICATION,
		pg.AlterSubscriptionType_ALTER_SUBSCRIPTION_DROP_PUBLICATION:
		d := option(s.Options, "refresh")
		return d == nil || isOn(d)
	case pg.AlterSubscriptionType_ALTER_SUBSCRIPTION_OPTIONS:
		return option(s.Options, "failover") != nil || option(s.Options, "two_phase") != nil
	}
	return false
}

// temporary reports whether a statement makes something that only this session sees.
func temporary(n *pg.Node) bool {
	var r *pg.RangeVar
	switch s := n.GetNode().(type) {
	case *pg.Node_CreateStmt:
		r = s.CreateStmt.Relation
	case *pg.Node_CreateTableAsStmt:
		r = s.CreateTableAsStmt.Into.GetRel()
	case *pg.Node_ViewStmt:
		r = s.ViewStmt.View
	case *pg.Node_CreateSeqStmt:
		r = s.CreateSeqStmt.Sequence
	case *pg.Node_SelectStmt:
		r = intoOf(s.SelectStmt).GetRel()
	}
	return r.GetRelpersistence() == "t" || r.GetSchemaname() == "pg_temp"
}

// unlogged reports whether a statement makes a table that a crash empties.
func unlogged(n *pg.Node) bool {
	switch s := n.GetNode().(type) {
	case *pg.Node_CreateStmt:
		return s.CreateStmt.Relation.GetRelpersistence() == "u"
	case *pg.Node_CreateTableAsStmt:
		return s.CreateTableAsStmt.Into.GetRel().GetRelpersistence() == "u"
	case *pg.Node_CreateSeqStmt:
		return s.CreateSeqStmt.Sequence.GetRelpersistence() == "u"
	case *pg.Node_SelectStmt:
		return intoOf(s.SelectStmt).GetRel().GetRelpersistence() == "u"
	}
	return false
}

// intoOf gives the INTO of a SELECT: it stands in the first arm of set operations.
func intoOf(s *pg.SelectStmt) *pg.IntoClause {
	for s != nil {
		if s.IntoClause != nil {
			return s.IntoClause
		}
		s = s.Larg
	}
	return nil
}
