package command

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
)

func (c *cli) doctor() *cobra.Command {
	var dir *dataDir
	var upstreamText, database, format string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "What in the databases will not replicate exactly, and what to do",
		Long: `Look at the databases of a running node (--data-dir), or of any server (--upstream), and list what will not replicate
exactly: tables without key, triggers that would run again, rules, row security, unlogged and foreign tables, large objects,
tables of extensions, roles that may write what they may not read. Nothing is changed.

Exit code 0: nothing found. 3: something was found. 4: the database cannot be reached.`,
		Example: `  pgproxy doctor --upstream 'host=127.0.0.1 port=5433 user=postgres'
  pgproxy doctor --data-dir ./a --database shop -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.runDoctor(cmd.Context(), dir, upstreamText, database, format)
		},
	}
	dir = c.dataDir(cmd.Flags())
	cmd.Flags().StringVar(&upstreamText, "upstream", "", "look at this server, as libpq takes it, and ask no node")
	cmd.Flags().StringVar(&database, "database", "", "only this database")
	c.formatFlag(cmd.Flags(), &format, "text", "json")
	return cmd
}

func (c *cli) runDoctor(ctx context.Context, dir *dataDir, upstreamText, database, format string) error {
	found, last := 0, ""
	show := func(f *admin.Finding) error {
		found++
		if format == "json" {
			return writeJSON(c.Stdout, f)
		}
		var b strings.Builder
		if head := f.Database + " " + f.Kind + f.Problem + f.Remedy; head != last {
			where := "the server"
			if f.Database != "" {
				where = "database " + audit.Line(f.Database)
			}
			fmt.Fprintf(&b, "\n%s, %s: %s\n  to do: %s\n", where, f.Kind, audit.Line(f.Problem), audit.Line(f.Remedy))
			last = head
		}
		fmt.Fprintf(&b, "    %s\n", audit.Line(f.Object))
		_, err := fmt.Fprint(c.Stdout, b.String())
		return err
	}
	var err error
	if upstreamText != "" {
		err = examine(ctx, upstreamText, database, show)
	} else {
		var client *admin.Client
		if client, err = dir.running(); err != nil {
			return err
		}
		err = client.Doctor(ctx, database, func(raw []byte) error {
			var f admin.Finding
			if err := json.Unmarshal(raw, &f); err != nil {
				return err
			}
			return show(&f)
		})
	}
	if err != nil {
		return err
	}
	if format != "json" {
		if found > 0 {
			fmt.Fprintln(c.Stdout)
		}
		if _, err := fmt.Fprintf(c.Stdout, "(%s)\n", counted(found, "finding")); err != nil {
			return err
		}
	}
	if found > 0 {
		return admin.Fail(admin.ExitDifference, "", "%s: not everything will replicate exactly", counted(found, "finding"))
	}
	return nil
}

// examine looks at a server that no node need be running for.
func examine(ctx context.Context, text, database string, report func(*admin.Finding) error) error {
	u, err := newUpstream(text)
	if err != nil {
		return admin.Fail(admin.ExitUsage, "", "--upstream: %w", err)
	}
	if err := u.probe(ctx); err != nil {
		return err
	}
	return u.examine(ctx, database, report)
}
