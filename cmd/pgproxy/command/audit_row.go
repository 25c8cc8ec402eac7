package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
)

// keyHelp says how a row is named.
const keyHelp = `TABLE is a name or schema.name. KEY is the value of a key of one column; or COLUMN=VALUE,COLUMN=VALUE; or a JSON object. Values are
written as the journal shows them.`

func (c *cli) auditHistory() *cobra.Command {
	var asOf string
	cmd := &cobra.Command{
		Use:   "history TABLE KEY",
		Short: "Every version of one row, on whatever node it was made",
		Long: `Show every version of one row in the order in which the nodes count them, whichever of them it was made on: who, when, by which
statement, and what changed. Where two nodes changed it unaware of each other, what was decided stands with the version.

` + keyHelp,
		Example: `  pgproxy audit history --data-dir ./a public.stock apple
  pgproxy audit history --data-dir ./a stock apple --column qty
  pgproxy audit history --data-dir ./a stock apple --as-of '2h ago'`,
		Args: cobra.ExactArgs(2),
	}
	a := c.asking(cmd.Flags(), audit.VerbHistory)
	a.span(cmd.Flags())
	cmd.Flags().StringVar(&a.q.Database, "database", "", "in this database")
	cmd.Flags().StringVar(&a.q.Column, "column", "", "only versions that changed this column")
	cmd.Flags().StringVar(&asOf, "as-of", "", "only the row as it was at `T`")
	cmd.Flags().IntVar(&a.q.Limit, "limit", 0, "at most `N`, the oldest first; 0 is all")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if asOf != "" {
			if a.until != "" || a.since != "" || a.q.Column != "" {
				return auditFail(admin.AuditError, "", "--as-of goes alone")
			}
			a.until, a.q.Mode = asOf, audit.ModeAsOf
		}
		return a.row(cmd.Context(), args, gridOf(versionRows, heads("time", "record", "user", "op", "change", "statement")...))
	}
	return cmd
}

// row asks about the row that the arguments name.
func (a *asking) row(ctx context.Context, args []string, g grid) error {
	a.q.Table, a.q.Key = args[0], args[1]
	if err := a.times(); err != nil {
		return err
	}
	return a.show(ctx, g)
}

// versionRows gives a line for a version, and one for each decision.
func versionRows(v *audit.Version) [][]string {
	user := v.User
	if len(v.UndoOf) > 0 {
		user += " (undo of " + strings.Join(v.UndoOf, ", ") + ")"
	}
	rows := [][]string{{v.Time.UTC().Format(clock), v.Record, user, v.Op, changeText(v.Changes), strings.Join(v.Queries, "; ")}}
	for _, d := range v.Verdicts {
		text := d.Loser + " gave way"
		if d.Winner != "" {
			text = d.Winner + " stands, " + text
		}
		if len(d.Columns) > 0 {
			text += " in " + strings.Join(d.Columns, ", ")
		}
		rows = append(rows, []string{"", "", "", "conflict", text, d.Rule})
	}
	return rows
}

func changeText(changes []audit.ColumnChange) string {
	parts := make([]string, len(changes))
	for i := range changes {
		parts[i] = changes[i].Column + ": " + changes[i].Old.String() + " -> " + changes[i].New.String()
	}
	return strings.Join(parts, ", ")
}

func (c *cli) auditBlame() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "blame TABLE KEY",
		Short: "Who gave each column of one row its value, on whatever node",
		Long: `Show for each column of one row who wrote it last, on whatever node, and what it was before. Of a row that is gone, who ended it.

` + keyHelp,
		Example: "  pgproxy audit blame --data-dir ./a public.stock apple\n  pgproxy audit blame --data-dir ./a stock item=apple --column qty -o json",
		Args:    cobra.ExactArgs(2),
	}
	a := c.asking(cmd.Flags(), audit.VerbBlame)
	cmd.Flags().StringVar(&a.q.Database, "database", "", "in this database")
	cmd.Flags().StringVar(&a.q.Column, "column", "", "only this column")
	cmd.Flags().StringVar(&a.until, "as-of", "", "as it was at `T`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.row(cmd.Context(), args, gridOf(blameRow, heads("column", "old", "new", "record", "time", "user", "node", "statement")...))
	}
	return cmd
}

func blameRow(b *audit.Blame) [][]string {
	if b.Author == nil {
		return [][]string{{b.Column, "", b.New.String(), "", "", "", "", "(as it was before the first change that this journal knows)"}}
	}
	now := b.New.String()
	if b.Deleted {
		now = "(row deleted)"
	}
	return [][]string{{b.Column, b.Old.String(), now, b.Record, b.Time.UTC().Format(clock), b.User, b.Node, b.Query}}
}

func (c *cli) auditDiff() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "diff --from T [--to T]",
		Short: "What a span of time did to the rows, all in all",
		Long: `Show the rows that are different at two moments: what came, what went, what changed, all in all, and who took part. What was
changed and changed back is not shown. TRUNCATE and what was recorded as a statement has no rows, and is not in it.`,
		Example: `  pgproxy audit diff --data-dir ./a --from 1h --table public.stock
  pgproxy audit diff --data-dir ./a --from 2026-01-31T12:00:00Z --to 2026-01-31T13:00:00Z -o json`,
		Args: cobra.NoArgs,
	}
	a := c.asking(cmd.Flags(), audit.VerbDiff)
	cmd.Flags().StringVar(&from, "from", "", "the first moment `T`")
	cmd.Flags().StringVar(&to, "to", "now", "the second moment `T`")
	cmd.Flags().StringVar(&a.q.Database, "database", "", "only in this database")
	cmd.Flags().StringVar(&a.q.Table, "table", "", "only in this table: name or schema.name")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if from == "" {
			return auditFail(admin.AuditError, "", "--from is missing: the moment from which to compare")
		}
		a.since, a.until = from, to
		if err := a.times(); err != nil {
			return err
		}
		return a.show(cmd.Context(), gridOf(differenceRow, heads("op", "table", "key", "change", "users", "transactions")...))
	}
	return cmd
}

func differenceRow(d *audit.Difference) [][]string {
	key := make([]string, len(d.Key))
	for i, c := range d.Key {
		key[i] = c.Name + "=" + c.Value.String()
	}
	change := changeText(d.Changes)
	if d.Count != 0 {
		change = fmt.Sprintf("%+d of %s", d.Count, rowText(d))
	}
	return [][]string{{d.Op, d.Schema + "." + d.Table, strings.Join(key, ", "), change, strings.Join(d.Users, ", "), strings.Join(d.Records, ", ")}}
}

func rowText(d *audit.Difference) string {
	row := d.After
	if row == nil {
		row = d.Before
	}
	var parts []string
	if row != nil {
		for _, c := range *row {
			parts = append(parts, c.Name+"="+c.Value.String())
		}
	}
	return "(" + strings.Join(parts, ", ") + ")"
}
