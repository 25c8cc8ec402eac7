package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// stopGrace is how long a server gets to stop before it is killed.
	stopGrace = 10 * time.Second
	// startTimeout is how long a server gets to take connections.
	startTimeout = 30 * time.Second
	// pollEvery is the pause between two looks at something that takes its time.
	pollEvery = 50 * time.Millisecond
)

// findBinaries gives the folder of initdb and postgres: of the newest local installation, else what pg_config or PATH say.
func findBinaries(ctx context.Context) (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is right
	more, _ := filepath.Glob("/usr/pgsql-*/bin/initdb")
	found = append(found, more...)
	version := func(path string) int {
		name := filepath.Base(filepath.Dir(filepath.Dir(path)))
		n, err := strconv.Atoi(strings.TrimPrefix(name, "pgsql-"))
		if err != nil {
			return 0
		}
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	dirs := []string{}
	for _, f := range found {
		dirs = append(dirs, filepath.Dir(f))
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if f, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(f))
	}
	for _, d := range dirs {
		if executable(filepath.Join(d, "initdb")) && executable(filepath.Join(d, "postgres")) {
			return d, nil
		}
	}
	return "", errors.New("found no PostgreSQL server here (looked for initdb and postgres in /usr/lib/postgresql, /usr/pgsql-*, pg_config --bindir and PATH); " +
		"on Debian: apt-get install postgresql")
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// cluster is one throwaway PostgreSQL server; it listens on a unix socket only.
type cluster struct {
	folder string
	server *child
}

// conninfo is how its proxy reaches it.
func (c *cluster) conninfo(database string) string {
	return fmt.Sprintf("host=%s user=postgres dbname=%s", c.folder, database)
}

// newCluster makes and starts a server in folder, which belongs to the user it runs as.
func newCluster(ctx context.Context, bin, folder string, as *syscall.Credential) (*cluster, error) {
	data := filepath.Join(folder, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true}
	initdb.Dir = folder
	var out bytes.Buffer
	initdb.Stdout, initdb.Stderr = &out, &out
	if err := initdb.Run(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out.String())
	}
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off",
		"-c", "synchronous_commit=off", "-c", "max_connections=50", "-c", "shared_buffers=16MB", "-c", "log_destination=stderr", "-c", "logging_collector=off")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true}
	cmd.Dir = folder
	server, err := startChild("PostgreSQL", cmd, filepath.Join(folder, "postgres.log"), syscall.SIGINT)
	if err != nil {
		return nil, err
	}
	c := &cluster{folder, server}
	if err := c.ready(ctx); err != nil {
		server.stop()
		return nil, err
	}
	return c, nil
}

func (c *cluster) ready(ctx context.Context) error {
	return until(ctx, startTimeout, "PostgreSQL takes connections", func() error {
		if err := c.server.alive(); err != nil {
			return giveUp{err}
		}
		conn, err := pgx.Connect(ctx, c.conninfo("postgres"))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

// giveUp is an error after which waiting makes no sense.
type giveUp struct{ error }

// until calls try until it returns nil; what names the thing waited for.
func until(ctx context.Context, timeout time.Duration, what string, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := try()
		var final giveUp
		if err == nil || errors.As(err, &final) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w (last: %w)", what, ctx.Err(), err)
		case <-tick.C:
		}
	}
}
