package command

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pgproxy/audit"
)

func (c *cli) auditExport() *cobra.Command {
	formats := audit.ExportFormats()
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the journal in a form that other programs read",
		Long: `Write what the filters let through to standard output, the oldest first, with sessions, refused logins and gaps:

  jsonl           the native form, one object a transaction or event, whose fields stay
  csv             one line a statement
  debezium        change events, of committed changes alone; what Debezium lacks stands under "pgproxy"
  cloudevents     CloudEvents 1.0 whose data is the native form
  ocsf            OCSF 1.3: Datastore Activity and Authentication
  pgaudit         the log lines that pgAudit would have written, with client and outcome before them
  logged_actions  the classic audit.logged_actions, as CSV, with the columns that it lacked

NULL, empty, absent, unchanged and redacted values are different in each. No text of a client can begin a line of its own or
become a formula of a spreadsheet. --page goes on behind a position, which every form but debezium and pgaudit has in each record.`,
		Example: `  pgproxy audit export --data-dir ./a --format jsonl --since 1d > day.jsonl
  pgproxy audit export --data-dir ./a --format ocsf --class ROLE
  pgproxy audit export --data-dir ./a --format logged_actions --table public.stock > stock.csv`,
		Args: cobra.NoArgs,
	}
	a := c.asking(cmd.Flags(), audit.VerbList, formats...)
	a.filters(cmd.Flags())
	cmd.Flags().Var(&choice{&a.format, formats}, "format", "the same as --output: "+strings.Join(formats, ", "))
	cmd.Flags().IntVar(&a.q.Limit, "limit", 0, "at most `N` transactions and events; 0 is all")
	cmd.Flags().Uint64Var(&a.q.After, "page", 0, "go on behind this `position`")
	a.q.Forward, a.q.All = true, true
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.times(); err != nil {
			return err
		}
		return a.export(cmd.Context())
	}
	return cmd
}

func (a *asking) export(ctx context.Context) error {
	out := bufio.NewWriter(a.c.Stdout)
	w, err := audit.NewExport(out, a.format)
	if err != nil {
		return err
	}
	err = a.ask(ctx, func(raw []byte) error {
		if a.format == "jsonl" {
			return writeLine(out, raw)
		}
		var t audit.Transaction
		if err := json.Unmarshal(raw, &t); err != nil {
			return err
		}
		return w.Write(&t)
	})
	if errors.Is(err, syscall.EPIPE) {
		return nil // the reader has seen enough
	}
	return errors.Join(err, w.End(), out.Flush())
}
