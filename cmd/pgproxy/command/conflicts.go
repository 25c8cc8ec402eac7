package command

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
)

func (c *cli) conflicts() *cobra.Command {
	var dir *dataDir
	var format string
	var limit int
	ls := &cobra.Command{
		Use:   "ls",
		Short: "List conflicts with both sides",
		Example: `  pgproxy conflicts ls --data-dir ./a
  pgproxy conflicts ls --data-dir ./a -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.listConflicts(cmd.Context(), dir, limit, format)
		},
	}
	dir = c.dataDir(ls.Flags())
	ls.Flags().IntVar(&limit, "limit", defaultScreen, "at most `N`; 0 is all")
	c.formatFlag(ls.Flags(), &format, "table", "json")
	return group(&cobra.Command{
		Use:     "conflicts",
		Short:   "What was overwritten or dropped where two nodes changed the same unaware of each other",
		Example: "  pgproxy conflicts ls --data-dir ./a",
	}, ls)
}

func (c *cli) listConflicts(ctx context.Context, dir *dataDir, limit int, format string) error {
	n := 0
	show := func(k *audit.Conflict) error {
		n++
		if format == "json" {
			return writeJSON(c.Stdout, k)
		}
		return c.printConflict(k)
	}
	err := dir.read(ctx, func(client *admin.Client) error {
		return client.Conflicts(ctx, limit, func(raw []byte) error {
			var k audit.Conflict
			if err := json.Unmarshal(raw, &k); err != nil {
				return err
			}
			return show(&k)
		})
	}, func(r audit.Reader) error {
		for k, err := range audit.Conflicts(r, limit) {
			if err == nil {
				k = dir.veil.Show(k).(audit.Conflict)
				err = show(&k)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && format != "json" {
		_, err = fmt.Fprintf(c.Stdout, "(%s)\n", counted(n, "conflict"))
	}
	return err
}

// printConflict shows one conflict as a short block: what, where, who won, who lost, and how to bring it back.
func (c *cli) printConflict(k *audit.Conflict) error {
	keys := make([]string, 0, len(k.Key))
	for col, v := range k.Key {
		keys = append(keys, col+"="+v)
	}
	slices.Sort(keys)
	where := fmt.Sprintf("%s %s.%s (%s)", k.Database, k.Schema, k.Table, strings.Join(keys, ", "))
	if len(k.Columns) > 0 {
		where += " " + strings.Join(k.Columns, ", ")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %s  (%s)\n", k.Time.UTC().Format(time.DateTime), k.Kind, audit.Line(where), audit.Line(k.Rule))
	if k.Winner.Seq > 0 { // else it lost to nobody, but for what it built on
		sideText(&b, "stands  ", &k.Winner)
	}
	sideText(&b, "gave way", &k.Loser)
	if k.LoserSQL != "" {
		fmt.Fprintf(&b, "  to bring it back: %s\n", audit.Line(k.LoserSQL))
	}
	_, err := fmt.Fprintln(c.Stdout, b.String())
	return err
}

func sideText(b *strings.Builder, role string, s *audit.Side) {
	fmt.Fprintf(b, "  %s  %s/%d  %s  %s%s\n", role, s.Origin, s.Seq, audit.Line(s.User), audit.Line(strings.Join(s.Queries, "; ")), audit.Line(s.Missing))
	for i := range s.Rows {
		fmt.Fprintf(b, "            %s\n", audit.Line(s.Rows[i].Summary()))
	}
}
