package command

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pgproxy/audit"
)

const clock = "2006-01-02 15:04:05.000"

func (c *cli) auditSession() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "session NODE.START.NUMBER",
		Short: "Replay one session: every statement in order, also those that failed or came to nothing",
		Long: `Replay one client's connection in order: its begin, every statement of every transaction with its outcome, also of those that
rolled back or failed, and its end. Reads are there if the node records them.

A session is named by its node, the number of that node's start, and its own number, as ls -o json and show tell.`,
		Example: "  pgproxy audit session --data-dir ./a a.3.17\n  pgproxy audit session --data-dir ./a a.3.17 -o json",
		Args:    cobra.ExactArgs(1),
	}
	a := c.asking(cmd.Flags(), audit.VerbSession)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a.q.Session = args[0]
		return a.show(cmd.Context(), gridOf(sessionRow, audit.Head{Name: "time"}, audit.Head{Name: "record"}, audit.Head{Name: "outcome"},
			audit.Head{Name: "database", Max: 20}, audit.Head{Name: "rows", Right: true}, audit.Head{Name: "ms", Right: true}, audit.Head{Name: "statement"}))
	}
	return cmd
}

func sessionRow(e *audit.SessionEntry) [][]string {
	if e.Statement == nil {
		text := e.Text
		if e.Head != nil {
			text += fmt.Sprintf("  user %s, client %s", e.Head.User, e.Head.Client)
		}
		return [][]string{{e.Time.UTC().Format(clock), e.Record, "", e.Database, "", "", text}}
	}
	rows := ""
	if e.Statement.RowsAffected != nil {
		rows = strconv.FormatInt(*e.Statement.RowsAffected, 10)
	}
	return [][]string{{e.Time.UTC().Format(clock), e.Record, e.Outcome, e.Database, rows, millis(e.Statement.DurationUS), e.Statement.Summary()}}
}

func millis(us int64) string { return strconv.FormatFloat(float64(us)/1000, 'f', 1, 64) }

func (c *cli) auditLogons() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logons",
		Short: "Each user's last login, last refusal, and refusals since",
		Example: `  pgproxy audit logons --data-dir ./a
  pgproxy audit logons --data-dir ./a --user alice --since 30d`,
		Args: cobra.NoArgs,
	}
	a := c.asking(cmd.Flags(), audit.VerbLogons)
	a.span(cmd.Flags())
	cmd.Flags().StringVar(&a.q.User, "user", "", "only this login user")
	cmd.Flags().StringVar(&a.q.Database, "database", "", "only into this database")
	cmd.Flags().StringVar(&a.q.Client, "client", "", "only from this `address`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.times(); err != nil {
			return err
		}
		return a.show(cmd.Context(), gridOf(logonRow, heads("user", "last success", "client", "application", "last failure", "from", "error", "failures since", "logins")...))
	}
	return cmd
}

func logonRow(l *audit.Logon) [][]string {
	failure := l.SQLState
	if l.Message != "" {
		failure += " " + l.Message
	}
	return [][]string{{l.User, clockOf(l.LastSuccess), l.Client, l.Application, clockOf(l.LastFailure), l.From, failure,
		strconv.FormatInt(l.Since, 10), strconv.FormatInt(l.Successes, 10)}}
}

func clockOf(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(clock)
}

func (c *cli) auditStats() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "How much was done, by user, table, class and other marks",
		Example: `  pgproxy audit stats --data-dir ./a --since 1d
  pgproxy audit stats --data-dir ./a --user alice -o csv`,
		Args: cobra.NoArgs,
	}
	a := c.asking(cmd.Flags(), audit.VerbStats)
	a.filters(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.times(); err != nil {
			return err
		}
		head := heads("by", "name")
		for _, h := range heads("transactions", "committed", "aborted", "statements", "failed", "inserted", "updated", "deleted", "ms") {
			h.Right = true
			head = append(head, h)
		}
		return a.show(cmd.Context(), gridOf(countRow, head...))
	}
	return cmd
}

func countRow(n *audit.Count) [][]string {
	row := []string{n.By, n.Name}
	for _, v := range []int64{n.Transactions, n.Committed, n.Aborted, n.Statements, n.Failed, n.Inserted, n.Updated, n.Deleted} {
		row = append(row, strconv.FormatInt(v, 10))
	}
	return [][]string{append(row, millis(n.DurationUS))}
}
