package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/cmd/pgproxy/config"
)

func (c *cli) serve() *cobra.Command {
	set := config.Default()
	var file string
	var check, sample bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run this host's node",
		Long: `Run this host's node: take clients, keep the journal, exchange writes with the peers, apply theirs to the local database.

Each setting is a flag, a key of the file given by --config (` + "`pgproxy serve --sample`" + ` prints one), and a variable: --data-dir,
data-dir, PGPROXY_DATA_DIR. Flags win over variables, variables over the file. When clients are taken, one line beginning with
"ready" is written to standard error. SIGTERM and ^C stop the node after the running transactions.`,
		Example: `  pgproxy serve --node a --listen 127.0.0.1:6433 --upstream 'host=127.0.0.1 port=5433 user=postgres' \
                --data-dir ./a --peer-listen 127.0.0.1:7433 --peer b=127.0.0.1:7434 --peer c=127.0.0.1:7435 --peer-insecure
  pgproxy serve --config /etc/pgproxy.yaml
  pgproxy serve --config /etc/pgproxy.yaml --check`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if sample {
				_, err := fmt.Fprint(c.Stdout, config.Sample)
				return err
			}
			warnings, err := config.Load(cmd.Flags(), file, c.Environ)
			for _, w := range warnings {
				fmt.Fprintln(c.Stderr, "pgproxy: warning:", w)
			}
			if err == nil {
				err = set.Validate()
			}
			if err != nil {
				return admin.Fail(admin.ExitUsage, "pgproxy serve --help tells the settings", "%w", err)
			}
			if check {
				return c.checkServe(cmd.Context(), set)
			}
			return c.runServe(cmd.Context(), set)
		},
	}
	set.Bind(cmd.Flags())
	cmd.Flags().StringVar(&file, "config", "", "YAML `file` of settings")
	cmd.Flags().BoolVar(&check, "check", false, "only check the settings and the database, start nothing")
	cmd.Flags().BoolVar(&sample, "sample", false, "only print a commented sample of the file")
	return cmd
}

// checkServe looks at what can be looked at without starting anything.
func (c *cli) checkServe(ctx context.Context, set *config.Config) error {
	u, err := newUpstream(set.Upstream)
	if err != nil {
		return admin.Fail(admin.ExitUsage, "", "--upstream: %w", err)
	}
	if err := u.probe(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.Stdout, "settings are right; the database at %s is PostgreSQL %s\n", u.address(), u.version)
	return err
}

// runServe starts the node, runs it until ctx ends or a part of it fails, and stops it.
func (c *cli) runServe(ctx context.Context, set *config.Config) error {
	log := newLogger(c.Stderr, set.LogLevel, set.LogFormat)
	n := &node{c: c, set: set, log: log, started: c.Now(), failed: make(chan error, 8)}
	defer n.close()
	if err := n.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while starting
		}
		return err
	}
	fmt.Fprintf(c.Stderr, "ready node=%s listen=%s%s\n", set.Node, strings.Join(n.listenNames(), ","), n.peerName())
	select {
	case <-ctx.Done():
		log.Info("stopping", "patience", set.ShutdownTimeout.String())
		return nil
	case err := <-n.failed:
		return admin.Fail(admin.ExitError, "", "node %s stops: %w", set.Node, err)
	}
}

// start is the way from settings to a node that takes clients.
func (n *node) start(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"open journal", n.openJournal},
		{"open admin socket", n.openAdmin},
		{"read certificate", n.readCertificate},
		{"open listeners", n.openListeners},
		{"reach database", n.reachDatabase},
		{"make rooms", n.makeRooms},
		{"write the audit trail", n.runSinks},
		{"resolve what is in doubt", n.resolve},
		{"prepare apply", n.prepareApply},
		{"join cluster", n.join},
		{"apply", n.runApply},
		{"take clients", n.takeClients},
	} {
		begin := n.c.Now()
		if err := step.do(ctx); err != nil {
			return err
		}
		n.log.Debug("started", "step", step.name, "took", n.c.Now().Sub(begin).Round(time.Millisecond).String())
	}
	return nil
}

// openListeners takes the addresses before anything else can fail late because of them; clients wait in the queue.
func (n *node) openListeners(context.Context) error {
	for _, addr := range n.set.Listen {
		l, err := listenClients(addr)
		if err != nil {
			return portTaken("--listen", addr, err)
		}
		n.listeners = append(n.listeners, l)
	}
	if n.set.PeerListen == "" {
		return nil
	}
	l, err := net.Listen("tcp", n.set.PeerListen)
	if err != nil {
		return portTaken("--peer-listen", n.set.PeerListen, err)
	}
	n.peerListener = l
	return nil
}

func portTaken(flag, addr string, err error) error {
	hint := ""
	if errors.Is(err, errInUse) {
		hint = "another program listens there; port 0 takes a free one"
	}
	return admin.Fail(admin.ExitError, hint, "%s %s: %w", flag, addr, err)
}

// reachDatabase probes the database, once or, if the settings say so, until it answers.
func (n *node) reachDatabase(ctx context.Context) error {
	var err error
	if n.upstream, err = newUpstream(n.set.Upstream); err != nil {
		return admin.Fail(admin.ExitUsage, "", "--upstream: %w", err)
	}
	const pause = time.Second
	tick := time.NewTicker(pause)
	defer tick.Stop()
	told := ""
	for {
		err := n.upstream.probe(ctx)
		if err == nil {
			n.log.Info("database reached", "address", n.upstream.address(), "version", n.upstream.version)
			return nil
		}
		if !n.set.WaitUpstream {
			return err
		}
		if told != err.Error() {
			told = err.Error()
			n.log.Warn("waiting for the database", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (n *node) listenNames() []string {
	var out []string
	for _, l := range n.listeners {
		out = append(out, l.Addr().String())
	}
	return out
}

func (n *node) peerName() string {
	if n.peerListener == nil {
		return ""
	}
	return " peer-listen=" + n.peerListener.Addr().String()
}

// room is the log of a room.
func (n *node) room(name string) *slog.Logger { return n.log.With("room", name) }

// socketMode lets every local user connect; the database decides who may log in, as with PostgreSQL's own socket.
const socketMode = 0o777

// listenClients listens on a TCP address or a unix socket's path. A socket on which nobody answers is removed.
func listenClients(addr string) (net.Listener, error) {
	if !config.IsSocket(addr) {
		return net.Listen("tcp", addr)
	}
	if c, err := net.Dial("unix", addr); err == nil {
		c.Close()
		return nil, fmt.Errorf("listen: %w", errInUse)
	} else if info, statErr := os.Stat(addr); statErr == nil && info.Mode()&os.ModeSocket != 0 {
		_ = os.Remove(addr) // if it stays, listening fails and says so
	}
	l, err := net.Listen("unix", addr)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(addr, socketMode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
