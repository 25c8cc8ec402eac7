package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
)

func (c *cli) journalShow() *cobra.Command {
	var dir *dataDir
	var format string
	cmd := &cobra.Command{
		Use:   "show ORIGIN/SEQ",
		Short: "Show one transaction whole: statements, parameters, rows before and after, outcome",
		Long: `Show one transaction whole. For a client that got no answer to its COMMIT this is the final word: committed, aborted, or
unknown while the node is still finding out.`,
		Example: "  pgproxy journal show --data-dir ./a a/12\n  pgproxy journal show --data-dir ./a b/7 -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			origin, seq, ok := strings.Cut(args[0], "/")
			if !ok {
				return admin.Fail(admin.ExitUsage, "", "%q is no record; write ORIGIN/SEQ, such as a/12", args[0])
			}
			return c.show(cmd.Context(), dir, origin, seq, format)
		},
	}
	dir = c.dataDir(cmd.Flags())
	c.formatFlag(cmd.Flags(), &format, "table", "json")
	return cmd
}

func (c *cli) show(ctx context.Context, dir *dataDir, origin, seq, format string) error {
	var t audit.Transaction
	err := dir.read(ctx, func(client *admin.Client) error {
		raw, err := client.Record(ctx, origin, seq)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &t)
	}, func(r audit.Reader) (err error) {
		if t, err = audit.Get(r, origin+"/"+seq); err == nil {
			t = dir.veil.Show(t).(audit.Transaction)
		}
		return err
	})
	if errors.Is(err, admin.ErrNotRunning) {
		return fmt.Errorf("the node stopped while it was asked: %w", err)
	}
	if err != nil {
		return err
	}
	if format == "json" {
		return writeJSON(c.Stdout, &t)
	}
	return audit.Show(c.Stdout, &t)
}
