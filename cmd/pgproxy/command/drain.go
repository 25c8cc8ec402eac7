package command

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pgproxy/cmd/pgproxy/admin"
)

const defaultDrainTimeout = 60 * time.Second

func (c *cli) drain() *cobra.Command {
	var dir *dataDir
	var peer, format string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Reconnect to the peers and wait until they have everything",
		Long: `Reconnect to the peers at once and wait until every write that was committed before the call is acknowledged by each
configured peer, or by the named one: then it is durable there. It also waits until the peers' databases have it, unless a peer
makes no headway with that; what it still has to apply is shown then.

Exit code 0: they have everything. 3: time is up; the counts left are shown.`,
		Example: "  pgproxy drain --data-dir ./a\n  pgproxy drain --data-dir ./a --peer b --timeout 5m",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return admin.Fail(admin.ExitUsage, "", "--timeout %s is not above zero", timeout)
			}
			client, err := dir.running()
			if err != nil {
				return err
			}
			return c.runDrain(cmd.Context(), client, peer, timeout, format)
		},
	}
	dir = c.dataDir(cmd.Flags())
	cmd.Flags().StringVar(&peer, "peer", "", "only this peer")
	cmd.Flags().DurationVar(&timeout, "timeout", defaultDrainTimeout, "give up after this time")
	c.formatFlag(cmd.Flags(), &format, "table", "json")
	return cmd
}

func (c *cli) runDrain(ctx context.Context, client *admin.Client, peer string, timeout time.Duration, format string) error {
	last := ""
	return client.Drain(ctx, peer, timeout, func(raw []byte) error {
		var p admin.DrainProgress
		if err := json.Unmarshal(raw, &p); err != nil {
			return err
		}
		if format == "json" {
			_, err := fmt.Fprintf(c.Stdout, "%s\n", raw)
			return err
		}
		text := drainText(p)
		switch {
		case p.Done:
			fmt.Fprintf(c.Stdout, "drained in %.1f s: %s\n", p.Elapsed, text)
		case text != last:
			fmt.Fprintf(c.Stderr, "draining: %s\n", text)
		}
		last = text
		return nil
	})
}

// drainText is one line about what is left.
func drainText(p admin.DrainProgress) string {
	if len(p.Peers) == 0 {
		return "no peers"
	}
	parts := make([]string, len(p.Peers))
	for i, peer := range p.Peers {
		switch {
		case peer.Left == 0 && peer.Unapplied > 0:
			parts[i] = fmt.Sprintf("%s has everything, and %d to apply", peer.Peer, peer.Unapplied)
		case peer.Left == 0:
			parts[i] = peer.Peer + " has everything"
		case peer.Connected:
			parts[i] = fmt.Sprintf("%s %d left", peer.Peer, peer.Left)
		default:
			parts[i] = fmt.Sprintf("%s %d left, not connected", peer.Peer, peer.Left)
			if peer.LastError != "" {
				parts[i] += " (" + peer.LastError + ")"
			}
		}
	}
	return strings.Join(parts, "; ")
}
