package command

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
)

func (c *cli) verify() *cobra.Command {
	var dir *dataDir
	var database, table, format string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare the tables with those of the peers",
		Long: `Compare every replicated table with each reachable peer, after what is in flight has arrived: checksums by key ranges,
computed in the databases. Names the tables and keys that differ.

Exit code 0: equal. 3: different. 4: a peer could not be reached.`,
		Example: "  pgproxy verify --data-dir ./a\n  pgproxy verify --data-dir ./a --database shop --table public.stock",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := dir.running()
			if err != nil {
				return err
			}
			return c.runVerify(cmd.Context(), client, database, table, format)
		},
	}
	dir = c.dataDir(cmd.Flags())
	cmd.Flags().StringVar(&database, "database", "", "only this database")
	cmd.Flags().StringVar(&table, "table", "", "only this table: name or schema.name")
	c.formatFlag(cmd.Flags(), &format, "table", "json")
	return cmd
}

func (c *cli) runVerify(ctx context.Context, client *admin.Client, database, table, format string) error {
	t := audit.NewTable(c.Stdout, audit.Head{Name: "peer"}, audit.Head{Name: "database"}, audit.Head{Name: "table"},
		audit.Head{Name: "rows", Right: true}, audit.Head{Name: "result"})
	err := client.Verify(ctx, database, table, func(raw []byte) error {
		if format == "json" {
			_, err := fmt.Fprintf(c.Stdout, "%s\n", raw)
			return err
		}
		var p admin.VerifyProgress
		if err := json.Unmarshal(raw, &p); err != nil {
			return err
		}
		return verifyRows(t, p)
	})
	if format != "json" {
		if e := t.Flush(); err == nil {
			err = e
		}
	}
	return err
}

func verifyRows(t *audit.Table, p admin.VerifyProgress) error {
	rows := fmt.Sprint(p.Rows)
	result := "equal"
	switch {
	case p.Unreachable:
		rows, result = "", "unreachable: "+p.Error
	case p.Error != "":
		rows, result = "", "error: "+p.Error
	case !p.Equal && p.Reason != "":
		result = "DIFFERENT: " + p.Reason
	case !p.Equal:
		result = "DIFFERENT"
	}
	if err := t.Row(p.Peer, p.Database, p.Table, rows, result); err != nil {
		return err
	}
	for _, d := range p.Differences {
		if err := t.Row("", "", "", "", "  "+d.Key+": "+d.What); err != nil {
			return err
		}
	}
	if p.More {
		return t.Row("", "", "", "", "  ... and more")
	}
	return nil
}
