package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
)

func (c *cli) auditPurge() *cobra.Command {
	var dir *dataDir
	var format, before string
	var really bool
	cmd := &cobra.Command{
		Use:   "purge --before T",
		Short: "Delete the oldest part of the journal, as far as no node needs it any more",
		Long: `Delete the journal's oldest files whole, as far as all in them was recorded before T and no node needs it any more: every member has
acknowledged and applied it, and nothing that is still to come can ask for it. Without --yes it only says what would go.

What is left stays provable: it begins with the state of the Merkle tree before it, and with a record of the purge, so "audit
verify" starts there and says so. serve --retain does the same from time to time.`,
		Example: `  pgproxy audit purge --data-dir ./a --before 90d
  pgproxy audit purge --data-dir ./a --before 2026-01-01 --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := audit.ParseWhen(before, c.Now())
			if err != nil {
				return auditFail(admin.AuditError, "give --before T", "--before: %w", err)
			}
			client, err := dir.running()
			if err != nil {
				return err
			}
			p, err := client.Purge(cmd.Context(), at, really)
			if err != nil {
				return asTold(err)
			}
			if format == "json" {
				return writeJSON(c.Stdout, p)
			}
			c.printPurged(&p)
			return nil
		},
	}
	dir = c.dataDir(cmd.Flags())
	c.formatFlag(cmd.Flags(), &format, "table", "json")
	cmd.Flags().StringVar(&before, "before", "", "what was recorded before `T`")
	cmd.Flags().BoolVar(&really, "yes", false, "do it")
	return cmd
}

func (c *cli) printPurged(p *admin.Purged) {
	verb := "would be deleted; --yes does it"
	if p.Done {
		verb = "deleted"
	}
	fmt.Fprintf(c.Stdout, "%d files, %d bytes, entries before %d: %s\n", p.Segments, p.Bytes, p.First, verb)
	if p.Held != "" {
		fmt.Fprintf(c.Stdout, "the next file stays: %s\n", p.Held)
	}
}
