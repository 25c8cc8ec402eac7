package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/journal"
)

func (c *cli) journalStats() *cobra.Command {
	var dir *dataDir
	var format string
	cmd := &cobra.Command{
		Use:     "stats",
		Short:   "Count what the journal holds",
		Example: "  pgproxy journal stats --data-dir ./a\n  pgproxy journal stats --data-dir ./a -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var s journal.Stats
			err := dir.read(cmd.Context(), func(client *admin.Client) (err error) {
				s, err = client.Stats(cmd.Context())
				return err
			}, func(r audit.Reader) error {
				s = r.Stats()
				return nil
			})
			if err != nil {
				return err
			}
			return c.printStats(s, format)
		},
	}
	dir = c.dataDir(cmd.Flags())
	c.formatFlag(cmd.Flags(), &format, "table", "json")
	return cmd
}

// statsJSON is what `journal stats -o json` promises.
type statsJSON struct {
	Records       int64 `json:"records"`
	Transactions  int64 `json:"transactions"`
	Attempts      int64 `json:"attempts"`
	Conflicts     int64 `json:"conflicts"`
	NotReplicated int64 `json:"not_replicated"`
	InDoubt       int64 `json:"in_doubt"`
	Bytes         int64 `json:"bytes"`
	Segments      int64 `json:"segments"`
}

func (c *cli) printStats(s journal.Stats, format string) error {
	j := statsJSON{s.Records, s.Transactions, s.Attempts, s.Conflicts, s.NotReplicated, s.InDoubt, s.Bytes, s.Segments}
	if format == "json" {
		return writeJSON(c.Stdout, j)
	}
	t := audit.NewTable(c.Stdout, audit.Head{Name: "what"}, audit.Head{Name: "count", Right: true})
	for _, r := range []struct {
		what  string
		count int64
	}{
		{"records", j.Records}, {"transactions", j.Transactions}, {"attempts that did not commit", j.Attempts}, {"conflicts", j.Conflicts},
		{"writes not replicated", j.NotReplicated}, {"in doubt", j.InDoubt}, {"files", j.Segments}, {"bytes", j.Bytes},
	} {
		if err := t.Row(r.what, fmt.Sprint(r.count)); err != nil {
			return err
		}
	}
	return t.Flush()
}
