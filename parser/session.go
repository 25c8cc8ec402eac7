package parser

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// transactionKinds maps libpg_query's kinds.
func transactionKind(k pg.TransactionStmtKind) Transaction {
	switch k {
	case pg.TransactionStmtKind_TRANS_STMT_BEGIN, pg.TransactionStmtKind_TRANS_STMT_START:
		return Begin
	case pg.TransactionStmtKind_TRANS_STMT_COMMIT:
		return Commit
	case pg.TransactionStmtKind_TRANS_STMT_ROLLBACK:
		return Rollback
	case pg.TransactionStmtKind_TRANS_STMT_SAVEPOINT:
		return Savepoint
	case pg.TransactionStmtKind_TRANS_STMT_RELEASE:
		return Release
	case pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:
		return RollbackTo
	case pg.TransactionStmtKind_TRANS_STMT_PREPARE:
		return PrepareTransaction
	case pg.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED:
		return CommitPrepared
	case pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED:
		return RollbackPrepared
	}
	return NoTransaction
}

// transactionDetails looks into BEGIN, COMMIT and their like.
func (w *walker) transactionDetails(s *pg.TransactionStmt) {
	w.st.Transaction = transactionKind(s.Kind)
	w.st.AndChain = s.Chain
	w.st.Name = s.SavepointName
	if s.Gid != "" {
		w.st.Name = s.Gid
	}
	w.st.ReadOnly = hasReadOnly(s.Options)
}

func hasReadOnly(options []*pg.Node) bool {
	for _, n := range options {
		if d := n.GetDefElem(); d.GetDefname() == "transaction_read_only" {
			return d.Arg.GetAConst().GetIval().GetIval() != 0
		}
	}
	return false
}

func isReset(s *pg.VariableSetStmt) bool {
	return s.Kind == pg.VariableSetKind_VAR_RESET || s.Kind == pg.VariableSetKind_VAR_RESET_ALL
}

// isTransactionSetting recognizes SET TRANSACTION .. and SET SESSION CHARACTERISTICS ..
func isTransactionSetting(s *pg.VariableSetStmt) bool {
	return s.Kind == pg.VariableSetKind_VAR_SET_MULTI
}

// setDetails looks into SET and RESET.
func (w *walker) setDetails(s *pg.VariableSetStmt) {
	st := w.st
	if isTransactionSetting(s) {
		st.Transaction = SetTransaction
		st.ReadOnly = hasReadOnly(s.Args)
		st.Name = s.Name
		return
	}
	st.Local = s.IsLocal
	st.Setting = strings.ToLower(s.Name)
	if s.Kind == pg.VariableSetKind_VAR_RESET_ALL {
		st.Setting = "all"
	}
	st.AltersSession = !harmlessSetting(st.Setting)
	if st.Setting == "transaction_read_only" || st.Setting == "default_transaction_read_only" {
		st.ReadOnly = !isReset(s) && len(s.Args) == 1 && !isFalse(s.Args[0])
	}
}

// isFalse reports whether a setting's value surely means false.
func isFalse(n *pg.Node) bool {
	c := n.GetAConst()
	if c.GetIval() != nil {
		return c.GetIval().GetIval() == 0
	}
	switch v := strings.ToLower(c.GetSval().GetSval()); v {
	case "f", "fa", "fal", "fals", "false", "of", "off", "n", "no", "0":
		return true
	}
	return false
}

// harmlessSetting reports whether a setting changes neither what a name means, nor who asks, nor what a value reads
// like. Settings with a dot in their name are the application's own.
func harmlessSetting(name string) bool {
	for _, prefix := range []string{"enable_", "jit", "log_", "geqo", "debug_", "max_parallel_", "vacuum_cost_", "tcp_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.Contains(name, ".") || slices.Contains([]string{
		"application_name", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
		"idle_session_timeout", "transaction_timeout", "client_min_messages", "work_mem", "maintenance_work_mem",
		"synchronous_commit", "random_page_cost", "seq_page_cost", "effective_cache_size", "deadlock_timeout",
		"transaction_read_only", "default_transaction_read_only", "transaction_isolation", "default_transaction_isolation",
		"default_transaction_deferrable", "transaction_deferrable", "constraint_exclusion", "plan_cache_mode",
		"statement_mem", "temp_buffers", "hash_mem_multiplier", "from_collapse_limit", "join_collapse_limit",
	}, name)
}

// discardDetails looks into DISCARD.
func (w *walker) discardDetails(s *pg.DiscardStmt) {
	switch s.Target {
	case pg.DiscardMode_DISCARD_SEQUENCES:
	case pg.DiscardMode_DISCARD_TEMP:
		w.st.AltersSession = true
	case pg.DiscardMode_DISCARD_PLANS:
		w.st.DropsPrepared = true
	default:
		w.st.AltersSession, w.st.DropsPrepared, w.st.RefusesBlock = true, true, true
	}
}
