package command

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"pgproxy/audit"

	"github.com/spf13/pflag"

	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/cmd/pgproxy/config"
	"pgproxy/journal"
)

// dataDir is the --data-dir of the commands that ask a node.
type dataDir struct {
	c    *cli
	path string
	veil *audit.Veil // over what is shown of a journal that is read from its files
}

func (c *cli) dataDir(fs *pflag.FlagSet) *dataDir {
	d := &dataDir{c: c}
	fs.StringVar(&d.path, "data-dir", "", "the node's data `folder` ($PGPROXY_DATA_DIR)")
	return d
}

// folder gives the folder, which is there.
func (d *dataDir) folder() (string, error) {
	path := d.path
	if path == "" {
		path = d.c.Getenv(config.Variable("data-dir"))
	}
	if path == "" {
		return "", admin.Fail(admin.ExitUsage, "give the folder that pgproxy serve was started with", "--data-dir is missing")
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", admin.Fail(admin.ExitError, "give the folder that pgproxy serve was started with", "there is no journal in %s: no such folder", path)
	case err != nil:
		return "", admin.Fail(admin.ExitError, "", "look into data folder: %w", err)
	case !info.IsDir():
		return "", admin.Fail(admin.ExitError, "", "data folder %s is no folder", path)
	}
	return path, nil
}

// client gives the way to the running node, or nil if it is not running.
func (d *dataDir) client() (string, *admin.Client, error) {
	path, err := d.folder()
	if err != nil {
		return "", nil, err
	}
	client := admin.NewClient(path)
	running, err := client.Running()
	if err != nil || !running {
		return path, nil, err
	}
	return path, client, nil
}

// running is client for the commands that a stopped node cannot answer.
func (d *dataDir) running() (*admin.Client, error) {
	path, client, err := d.client()
	if err == nil && client == nil {
		return nil, admin.Fail(admin.ExitUnreachable, "start it with pgproxy serve", "the node of data folder %s is not running", path)
	}
	return client, err
}

// open opens the journal of a node that is not running.
func (d *dataDir) open(path string) (*journal.ReadOnly, error) {
	r, err := journal.OpenReadOnly(path)
	switch {
	case err == nil:
		return r, nil
	case errors.Is(err, journal.ErrLocked):
		return nil, admin.Fail(admin.ExitError, "it is starting or stopping: try again in a moment", "the journal in %s is in use by a node that does not answer: %w", path, err)
	case errors.Is(err, journal.ErrDamaged):
		return nil, admin.Fail(admin.ExitDifference, "pgproxy journal check --data-dir "+path, "open journal: %w", err)
	case errors.Is(err, fs.ErrNotExist):
		return nil, admin.Fail(admin.ExitError, "give the folder that pgproxy serve was started with", "there is no journal in %s", path)
	}
	return nil, admin.Fail(admin.ExitError, "", "open journal: %w", err)
}

// read calls online with a client if the node runs, else offline with the opened journal.
func (d *dataDir) read(ctx context.Context, online func(*admin.Client) error, offline func(audit.Reader) error) error {
	path, client, err := d.client()
	if err != nil {
		return err
	}
	if client != nil {
		if err := online(client); !errors.Is(err, admin.ErrNotRunning) {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := d.open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	key, err := readMaskKey(path)
	if err == nil {
		d.veil, err = audit.VeilOf(r, key)
	}
	if err != nil {
		return admin.Fail(admin.ExitError, "", "open journal: %w", err)
	}
	return offline(r)
}
