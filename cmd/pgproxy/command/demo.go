package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"pgproxy/cmd/pgproxy/demo"
)

func (c *cli) demo() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Three databases, three proxies, a cut link, a merge and a clash, in a minute",
		Long: `Start three throwaway PostgreSQL servers and three proxies on this machine, cut one off, write on all sides, join them
again, and show what became of each write. Needs PostgreSQL's server programs. Everything is removed at the end, also after
^C.`,
		Example: "  pgproxy demo\n  pgproxy demo --keep",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, args, err := c.Executable()
			if err != nil {
				return fmt.Errorf("find own executable: %w", err)
			}
			return demo.Run(cmd.Context(), demo.Options{
				Out: c.Stdout, Err: c.Stderr, Executable: file, Args: args, Keep: keep, Now: c.Now,
				Command: func(ctx context.Context, args ...string) int { return Run(ctx, args, c.Environment) },
			})
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave everything up until ^C and print the connection strings")
	return cmd
}
