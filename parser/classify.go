package parser

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// verb is what the kind of a statement says before its details are looked at.
type verb struct {
	class   Class
	command string
}

// classify names every statement of the grammar. What it does not know is ClassOpaque: it may do anything.
func classify(n *pg.Node) verb {
	switch s := n.GetNode().(type) {
	case *pg.Node_SelectStmt:
		return verb{ClassRead, "SELECT"}
	case *pg.Node_InsertStmt:
		return verb{ClassWrite, "INSERT"}
	case *pg.Node_UpdateStmt:
		return verb{ClassWrite, "UPDATE"}
	case *pg.Node_DeleteStmt:
		return verb{ClassWrite, "DELETE"}
	case *pg.Node_MergeStmt:
		return verb{ClassWrite, "MERGE"}
	case *pg.Node_CopyStmt:
		if s.CopyStmt.IsFrom {
			return verb{ClassCopyFrom, "COPY"}
		}
		return verb{ClassRead, "COPY"}
	case *pg.Node_TruncateStmt:
		return verb{ClassTruncate, "TRUNCATE TABLE"}
	case *pg.Node_TransactionStmt:
		return verb{ClassTransaction, transactionCommand(s.TransactionStmt.Kind)}
	case *pg.Node_PrepareStmt:
		return verb{ClassPrepare, "PREPARE"}
	case *pg.Node_DeallocateStmt:
		if s.DeallocateStmt.Isall {
			return verb{ClassPrepare, "DEALLOCATE ALL"}
		}
		return verb{ClassPrepare, "DEALLOCATE"}
	case *pg.Node_DeclareCursorStmt:
		return verb{ClassCursor, "DECLARE CURSOR"}
	case *pg.Node_ClosePortalStmt:
		if s.ClosePortalStmt.Portalname == "" {
			return verb{ClassCursor, "CLOSE CURSOR ALL"}
		}
		return verb{ClassCursor, "CLOSE CURSOR"}
	case *pg.Node_FetchStmt:
		if s.FetchStmt.Ismove {
			return verb{ClassCursor, "MOVE"}
		}
		return verb{ClassRead, "FETCH"}
	case *pg.Node_ExplainStmt:
		return verb{ClassRead, "EXPLAIN"}
	case *pg.Node_VariableShowStmt:
		return verb{ClassRead, "SHOW"}
	case *pg.Node_ExecuteStmt:
		return verb{ClassOpaque, "EXECUTE"}
	case *pg.Node_DoStmt:
		return verb{ClassOpaque, "DO"}
	case *pg.Node_CallStmt:
		return verb{ClassOpaque, "CALL"}
	case *pg.Node_RefreshMatViewStmt:
		return verb{ClassOpaque, "REFRESH MATERIALIZED VIEW"}
	}
	if v, ok := classifySession(n); ok {
		return v
	}
	if command := ddlCommand(n); command != "" {
		return verb{ClassDDL, command}
	}
	return verb{ClassOpaque, unknownCommand(n)}
}

// classifySession knows the statements that change the session alone, and maintenance.
func classifySession(n *pg.Node) (verb, bool) {
	switch s := n.GetNode().(type) {
	case *pg.Node_VariableSetStmt:
		if isTransactionSetting(s.VariableSetStmt) {
			return verb{ClassTransaction, "SET"}, true
		}
		if isReset(s.VariableSetStmt) {
			return verb{ClassSession, "RESET"}, true
		}
		return verb{ClassSession, "SET"}, true
	case *pg.Node_ConstraintsSetStmt:
		return verb{ClassSession, "SET CONSTRAINTS"}, true
	case *pg.Node_DiscardStmt:
		return verb{ClassSession, discardCommand(s.DiscardStmt.Target)}, true
	case *pg.Node_ListenStmt:
		return verb{ClassSession, "LISTEN"}, true
	case *pg.Node_UnlistenStmt:
		return verb{ClassSession, "UNLISTEN"}, true
	case *pg.Node_NotifyStmt:
		return verb{ClassSession, "NOTIFY"}, true
	case *pg.Node_LoadStmt:
		return verb{ClassSession, "LOAD"}, true
	case *pg.Node_VacuumStmt:
		if s.VacuumStmt.IsVacuumcmd {
			return verb{ClassMaintenance, "VACUUM"}, true
		}
		return verb{ClassMaintenance, "ANALYZE"}, true
	case *pg.Node_CheckPointStmt:
		return verb{ClassMaintenance, "CHECKPOINT"}, true
	case *pg.Node_ReindexStmt:
		return verb{ClassMaintenance, "REINDEX"}, true
	case *pg.Node_ClusterStmt:
		return verb{ClassMaintenance, "CLUSTER"}, true
	case *pg.Node_LockStmt:
		return verb{ClassMaintenance, "LOCK TABLE"}, true
	case *pg.Node_AlterSystemStmt: // the server's own configuration file
		return verb{ClassMaintenance, "ALTER SYSTEM"}, true
	}
	return verb{}, false
}

// unknownCommand makes a name for a statement that the room does not know: its node's name.
func unknownCommand(n *pg.Node) string {
	if n.GetNode() == nil {
		return ""
	}
	m := n.ProtoReflect()
	fd := m.WhichOneof(m.Descriptor().Oneofs().Get(0))
	return strings.ToUpper(strings.ReplaceAll(string(fd.Name()), "_", " "))
}

func transactionCommand(k pg.TransactionStmtKind) string {
	switch k {
	case pg.TransactionStmtKind_TRANS_STMT_BEGIN:
		return "BEGIN"
	case pg.TransactionStmtKind_TRANS_STMT_START:
		return "START TRANSACTION"
	case pg.TransactionStmtKind_TRANS_STMT_COMMIT:
		return "COMMIT"
	case pg.TransactionStmtKind_TRANS_STMT_ROLLBACK, pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:
		return "ROLLBACK"
	case pg.TransactionStmtKind_TRANS_STMT_SAVEPOINT:
		return "SAVEPOINT"
	case pg.TransactionStmtKind_TRANS_STMT_RELEASE:
		return "RELEASE"
	case pg.TransactionStmtKind_TRANS_STMT_PREPARE:
		return "PREPARE TRANSACTION"
	case pg.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED:
		return "COMMIT PREPARED"
	case pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED:
		return "ROLLBACK PREPARED"
	}
	return "TRANSACTION"
}

func discardCommand(m pg.DiscardMode) string {
	switch m {
	case pg.DiscardMode_DISCARD_PLANS:
		return "DISCARD PLANS"
	case pg.DiscardMode_DISCARD_SEQUENCES:
		return "DISCARD SEQUENCES"
	case pg.DiscardMode_DISCARD_TEMP:
		return "DISCARD TEMP"
	}
	return "DISCARD ALL"
}
