package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// node is one host of the story: its database and its proxy.
type node struct {
	name    string
	db      *cluster
	proxy   *child
	dataDir string
	peers   string // address for peers
	addr    string // address for clients
	conns   map[string]*pgx.Conn
}

// readyLine is what serve prints when it takes clients.
var readyLine = regexp.MustCompile(`(?m)^ready .*? listen=(\S+)`)

// serve starts the node's proxy. peers are name=address.
func (n *node) serve(ctx context.Context, exe string, args []string, peers []string) error {
	args = append(slices.Clone(args), "serve", "--node", n.name, "--listen", "127.0.0.1:0", "--upstream", n.db.conninfo("postgres"),
		"--data-dir", n.dataDir, "--peer-listen", n.peers, "--peer-insecure", "--log-format", "text")
	for _, p := range peers {
		args = append(args, "--peer", p)
	}
	cmd := exec.Command(exe, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	proxy, err := startChild("pgproxy "+n.name, cmd, filepath.Join(filepath.Dir(n.dataDir), n.name+".log"), syscall.SIGTERM)
	if err != nil {
		return err
	}
	n.proxy = proxy
	return nil
}

// ready waits for the line that says where clients connect.
func (n *node) ready(ctx context.Context) error {
	return until(ctx, startTimeout, "pgproxy "+n.name+" is ready", func() error {
		if err := n.proxy.alive(); err != nil {
			return giveUp{err}
		}
		text, err := os.ReadFile(n.proxy.log)
		if err != nil {
			return err
		}
		m := readyLine.FindSubmatch(text)
		if m == nil {
			return errors.New(n.proxy.tail())
		}
		n.addr = string(m[1])
		return nil
	})
}

// url is what a person types to connect as user.
func (n *node) url(user string) string {
	return fmt.Sprintf("postgres://%s@%s/%s", user, n.addr, database)
}

// conn gives user's connection through the proxy, opened once.
func (n *node) conn(ctx context.Context, user string) (*pgx.Conn, error) {
	if c := n.conns[user]; c != nil && !c.IsClosed() {
		return c, nil
	}
	config, err := pgx.ParseConfig(n.url(user) + "?application_name=shop-" + n.name + "&sslmode=disable")
	if err != nil {
		return nil, err
	}
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", n.name, err)
	}
	n.conns[user] = c
	return c, nil
}

func (n *node) stop(ctx context.Context) {
	for _, c := range n.conns {
		_ = c.Close(ctx) // the proxy ends right after
	}
	if n.proxy != nil {
		n.proxy.stop()
	}
	if n.db != nil {
		n.db.server.stop()
	}
}
