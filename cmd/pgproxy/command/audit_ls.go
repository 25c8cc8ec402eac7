package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
)

// auditList is the flags of audit ls and tail.
type auditList struct {
	*asking
	limit int
}

func (c *cli) auditLs() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List what was done, newest first, by any of its marks",
		Long: `List what was done, newest first: transactions of this node and its peers, those that rolled back and failed among them, and
with --all sessions, refused logins, acts of operators and gaps too. What is asked of a statement (class, role, command,
SQLSTATE, text) must be true of one and the same statement. By table, key, user, session and most other marks it reads little
more than it shows.

A page ends with the position to go on from; new transactions do not move it.`,
		Example: `  pgproxy audit ls --data-dir ./a --user alice --since 1h --outcome aborted
  pgproxy audit ls --data-dir ./a --table public.stock --key apple
  pgproxy audit ls --data-dir ./a --class DDL --all -o json | jq -r '.statements[].query'
  pgproxy audit ls --data-dir ./a --sqlstate 23505 --client 10.0.0.7`,
		Args: cobra.NoArgs,
	}
	l := c.newAuditList(cmd.Flags())
	cmd.Flags().BoolVarP(&l.q.Follow, "follow", "f", false, "then show what comes")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context(), cmd.Flags()) }
	return cmd
}

func (c *cli) auditTail() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show what is done as it comes (ls --follow)",
		Example: `  pgproxy audit tail --data-dir ./a
  pgproxy audit tail --data-dir ./a --class ROLE --all -o json`,
		Args: cobra.NoArgs,
	}
	l := c.newAuditList(cmd.Flags())
	l.q.Follow = true
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context(), cmd.Flags()) }
	return cmd
}

func (c *cli) newAuditList(fs *pflag.FlagSet) *auditList {
	l := &auditList{asking: c.asking(fs, audit.VerbList)}
	l.filters(fs)
	fs.IntVar(&l.limit, "limit", defaultScreen, "at most `N`; 0 is all, which is the default for json and csv")
	fs.Uint64Var(&l.q.After, "page", 0, "go on from this `position`, as the page before said")
	fs.BoolVar(&l.q.Forward, "oldest-first", false, "turn the order round")
	fs.BoolVar(&l.q.All, "all", false, "also what is no transaction: sessions, refused logins, acts, gaps, members")
	return l
}

// filters adds the flags by which transactions are chosen.
func (a *asking) filters(fs *pflag.FlagSet) {
	a.span(fs)
	q := &a.q
	fs.StringVar(&q.User, "user", "", "of this login user")
	fs.StringVar(&q.Role, "role", "", "run as this role (SET ROLE)")
	fs.StringVar(&q.Database, "database", "", "in this database")
	fs.StringVar(&q.Table, "table", "", "that touched this table: name or schema.name")
	fs.StringVar(&q.Key, "key", "", "that touched the row with this `key`: VALUE, COLUMN=VALUE,.. or a JSON object; needs --table")
	fs.StringVar(&q.Class, "class", "", "READ, WRITE, FUNCTION, ROLE, DDL, MISC, MISC_SET or UNKNOWN")
	fs.StringVar(&q.Command, "command", "", "such as INSERT or 'CREATE TABLE'")
	fs.StringVar(&q.Outcome, "outcome", "", "committed, aborted or unknown")
	fs.StringVar(&q.SQLState, "sqlstate", "", "with an error of this `code`")
	fs.StringVar(&q.Client, "client", "", "from this `address`, with or without port")
	fs.StringVar(&q.Application, "application", "", "with this application_name, which the client claims")
	fs.StringVar(&q.Session, "session", "", "of this `NODE.START.NUMBER`")
	fs.StringVar(&q.Transaction, "transaction", "", "this one: ORIGIN/SEQ, marker id or xid")
	fs.StringVar(&q.Text, "text", "", "with this in a statement, a parameter or an error, whatever the case")
	fs.StringVar(&q.Origin, "origin", "", "written at this node")
}

func (l *auditList) run(ctx context.Context, fs *pflag.FlagSet) error {
	if err := l.times(); err != nil {
		return err
	}
	if l.limit < 0 {
		return auditFail(admin.AuditError, "", "--limit %d is negative", l.limit)
	}
	l.q.Limit = l.limit
	switch {
	case fs.Changed("limit"):
	case l.q.Follow:
		l.q.Limit = defaultTail
	case l.format != "table":
		l.q.Limit = 0
	}
	w, err := audit.NewWriter(l.c.Stdout, l.format, l.c.columns(l.c.Stdout))
	if err != nil {
		return err
	}
	out := &listed{w: w, limit: l.q.Limit, prompt: l.q.Follow}
	if l.q.Limit > 0 && !l.q.Follow {
		l.q.Limit++ // to know whether there are more
	}
	l.quiet = l.q.Follow
	l.beforeOffline = func() {
		if l.q.Follow {
			fmt.Fprintln(l.c.Stderr, "-- the node is stopped: nothing new will come")
			l.q.Follow = false
		}
	}
	err = l.ask(ctx, out.raw(l.format == "json", l.c.Stdout))
	if errors.Is(err, syscall.EPIPE) || l.quiet && ctx.Err() != nil {
		return w.Flush() // the reader has seen enough
	}
	if err != nil {
		if out.shown > 0 {
			_ = w.Flush() // what came before the error is worth seeing; the error itself is told
		}
		return err
	}
	if err := w.End(); err != nil {
		return err
	}
	if out.more {
		fmt.Fprintf(l.c.Stderr, "-- %d shown; the next page: --page %d   all: --limit 0\n", out.limit, out.last)
	}
	return nil
}

func (c *cli) auditShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ORIGIN/SEQ | @POSITION | MARKER",
		Short: "Show one transaction or event whole",
		Long: `Show one transaction whole: statements, parameters, rows before and after, outcome. What has no place in a stream (attempts,
sessions, refused logins) is named by its position in this journal, which -o json shows.`,
		Example: `  pgproxy audit show --data-dir ./a a/12
  pgproxy audit show --data-dir ./a @4711 -o json`,
		Args: cobra.ExactArgs(1),
	}
	a := c.asking(cmd.Flags(), audit.VerbShow)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a.q.Transaction = args[0]
		return a.ask(cmd.Context(), func(raw []byte) error {
			var t audit.Transaction
			if err := json.Unmarshal(raw, &t); err != nil {
				return err
			}
			if a.format == "table" {
				return audit.Show(c.Stdout, &t)
			}
			w, err := audit.NewWriter(c.Stdout, a.format, 0)
			if err != nil {
				return err
			}
			return errors.Join(w.Write(&t), w.End())
		})
	}
	return cmd
}
