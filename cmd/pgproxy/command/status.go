package command

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pgproxy/audit"
	"pgproxy/cmd/pgproxy/admin"
)

// watchInterval is how often status --watch looks.
const watchInterval = 2 * time.Second

func (c *cli) status() *cobra.Command {
	var dir *dataDir
	var format string
	var watch, ready bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show a node on one screen: its database, its peers, what waits, what stands still",
		Example: `  pgproxy status --data-dir ./a
  pgproxy status --data-dir ./a --watch
  pgproxy status --data-dir ./a -o json | jq .peers`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return c.watchStatus(cmd.Context(), dir, format)
			}
			s, err := c.showStatus(cmd.Context(), dir, format)
			if err == nil && ready && !s.Ready {
				return admin.Fail(admin.ExitUnreachable, "", "node %s is not ready: %s", s.Node, s.State)
			}
			return err
		},
	}
	dir = c.dataDir(cmd.Flags())
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again every 2 s")
	cmd.Flags().BoolVar(&ready, "ready", false, "exit code 4 unless the node is ready, for health checks")
	c.formatFlag(cmd.Flags(), &format, "table", "json")
	return cmd
}

func (c *cli) watchStatus(ctx context.Context, dir *dataDir, format string) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		if format == "table" && terminal(c.Stdout) {
			fmt.Fprint(c.Stdout, "\x1b[H\x1b[2J")
		}
		if _, err := c.showStatus(ctx, dir, format); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *cli) showStatus(ctx context.Context, dir *dataDir, format string) (admin.Status, error) {
	path, client, err := dir.client()
	if err != nil {
		return admin.Status{}, err
	}
	var s admin.Status
	if client != nil {
		s, _, err = client.Status(ctx)
	} else {
		s, err = stoppedStatus(dir, path)
	}
	if err != nil {
		return s, err
	}
	if format == "json" {
		return s, writeJSON(c.Stdout, s)
	}
	return s, c.printStatus(s)
}

func (c *cli) printStatus(s admin.Status) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s %s\n", name, audit.Line(fmt.Sprintf(format, args...)))
	}
	line("node", "%s (%s), number %d of cluster %s, start %d", s.Node, s.State, s.Number, short(s.Cluster), s.Incarnation)
	line("clients", "on %s, %d logins since the start", strings.Join(s.Listen, ", "), s.Logins)
	upstream := "not reachable: " + s.Upstream.Error
	if s.Upstream.Reachable {
		upstream = "PostgreSQL " + s.Upstream.Version
	}
	line("database", "%s as %s, %s", s.Upstream.Address, s.Upstream.User, upstream)
	size := bytesText(s.Journal.Bytes)
	if s.Journal.MaxBytes > 0 {
		size += " of " + bytesText(s.Journal.MaxBytes)
	}
	line("journal", "%s, %d records, %d in doubt", size, s.Journal.Records, s.InDoubt)
	if s.Journal.Error != "" {
		line("", "ERROR: %s", s.Journal.Error)
	}
	line("agreement", "%d conflicts, %d writes not replicated", s.Conflicts, s.NotReplicated)
	if len(s.Members) > 0 { // a node that is stopped says nothing of them
		line("line", "%s", lineText(&s))
	}
	for _, st := range s.Streams {
		line("STOPPED", "%s/%d cannot be applied here since %s: %s", st.Origin, st.Seq, st.Since.UTC().Format(time.DateTime), st.Reason)
	}
	for _, w := range s.Waiting {
		what := fmt.Sprintf("%d records of %s, from %s/%d on, are about to be applied", w.Records, w.Origin, w.Origin, w.Seq)
		if w.Needs != "" {
			what = fmt.Sprintf("%d records of %s: %s/%d waits for %s", w.Records, w.Origin, w.Origin, w.Seq, w.Needs)
		}
		line("waiting", "%s", what)
	}
	for _, w := range s.Warnings {
		line("WARNING", "%s", w)
	}
	b.WriteByte('\n')
	if _, err := fmt.Fprint(c.Stdout, b.String()); err != nil {
		return err
	}
	return c.printStatusTables(s)
}

// lineText says up to when nothing more can come, and who holds that up.
func lineText(s *admin.Status) string {
	text := "nothing is known yet to be applied everywhere"
	if s.Line != nil {
		text = "all is applied everywhere up to " + s.Line.Format(time.DateTime)
	}
	var late []string
	for _, m := range s.Members {
		switch {
		case m.Mark == nil:
			late = append(late, m.Name+" has said nothing yet")
		case m.LagSeconds > 0:
			late = append(late, fmt.Sprintf("%s is %.1f s behind", m.Name, m.LagSeconds))
		}
	}
	if len(late) == 0 {
		return text
	}
	return text + "; " + strings.Join(late, ", ")
}

func (c *cli) printStatusTables(s admin.Status) error {
	peers := audit.NewTable(c.Stdout, audit.Head{Name: "peer"}, audit.Head{Name: "address"}, audit.Head{Name: "link"},
		audit.Head{Name: "queued", Right: true}, audit.Head{Name: "lag", Right: true}, audit.Head{Name: "last error", Max: 80})
	for _, p := range s.Peers {
		link := "down"
		if p.Connected {
			link = "up"
		}
		if err := peers.Row(p.Name, p.Address, link, fmt.Sprint(p.Queued), fmt.Sprintf("%.1f s", p.LagSeconds), p.LastError); err != nil {
			return err
		}
	}
	if err := peers.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(c.Stdout)
	origins := audit.NewTable(c.Stdout, audit.Head{Name: "origin"}, audit.Head{Name: "in journal", Right: true}, audit.Head{Name: "in database", Right: true})
	for _, o := range slices.Sorted(maps.Keys(s.Stored)) {
		if err := origins.Row(o, fmt.Sprint(s.Stored[o]), fmt.Sprint(s.Applied[o])); err != nil {
			return err
		}
	}
	return origins.Flush()
}

// short is an id as people compare it.
func short(id string) string {
	if id == "" {
		return "(none yet)"
	}
	return id[:min(8, len(id))]
}
