package command

import (
	"github.com/spf13/cobra"
)

func (c *cli) journal() *cobra.Command {
	return group(&cobra.Command{
		Use:   "journal",
		Short: "Who changed what: list, show and check the journal",
		Example: `  pgproxy journal ls --data-dir ./a --user alice --since 1h
  pgproxy journal show --data-dir ./a a/12
  pgproxy journal check --data-dir ./a`,
	}, c.journalLs(), c.journalTail(), c.journalShow(), c.journalCheck(), c.journalStats())
}
