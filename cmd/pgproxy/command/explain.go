package command

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/proxy"
)

func (c *cli) explain() *cobra.Command {
	var dir *dataDir
	var q admin.ExplainQuery
	var format string
	cmd := &cobra.Command{
		Use:   "explain SQL",
		Short: "What pgproxy would do with a statement, and why",
		Long: `Say what the running node would do with each statement of SQL: whether it passes, how its effect would be captured, what
would be sent in its place, whether it would be refused. Nothing is run.

capture   exact: rows before and after    copy: COPY's stream, read back     hidden: found by locks and transaction id
          statement: the text, run again  local: stays on this host          missing: recorded, not replicated`,
		Example: `  pgproxy explain --data-dir ./a --database shop 'UPDATE stock SET qty = qty - 1 WHERE item = 7'
  pgproxy explain --data-dir ./a --database shop --user app 'TRUNCATE stock' -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := dir.running()
			if err != nil {
				return err
			}
			q.SQL = args[0]
			return c.runExplain(cmd.Context(), client, q, format)
		},
	}
	dir = c.dataDir(cmd.Flags())
	cmd.Flags().StringVar(&q.Database, "database", "", "the `database`; else the one of --upstream")
	cmd.Flags().StringVar(&q.User, "user", "", "as this `role`; else as pgproxy's own")
	c.formatFlag(cmd.Flags(), &format, "text", "json")
	return cmd
}

func (c *cli) runExplain(ctx context.Context, client *admin.Client, q admin.ExplainQuery, format string) error {
	return client.Explain(ctx, q, func(raw []byte) error {
		if format == "json" {
			_, err := fmt.Fprintf(c.Stdout, "%s\n", raw)
			return err
		}
		var e proxy.Explanation
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		return c.printExplanation(&e)
	})
}

func (c *cli) printExplanation(e *proxy.Explanation) error {
	var b strings.Builder
	line := func(name, text string) { fmt.Fprintf(&b, "  %-8s %s\n", name, text) }
	fmt.Fprintln(&b, audit.Line(e.Statement))
	line("capture", e.Capture)
	if e.Refused != "" {
		line("refused", audit.Line(e.Refused))
	}
	if len(e.Tables) > 0 {
		line("tables", audit.Line(strings.Join(e.Tables, ", ")))
	}
	for i, s := range e.How {
		name := ""
		if i == 0 {
			name = "how"
		}
		line(name, audit.Line(s))
	}
	if e.Sent != "" {
		line("sent", audit.Line(e.Sent))
	}
	_, err := fmt.Fprintln(c.Stdout, b.String())
	return err
}
