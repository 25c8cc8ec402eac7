package demo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// place is the temporary folder of a demo, and the user its database servers run as.
type place struct {
	folder string
	as     *syscall.Credential // nil: the demo's own user
}

func newPlace() (*place, error) {
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "pgproxy-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	p := &place{folder, as}
	if as != nil {
		if err := os.Chmod(folder, 0o711); err != nil {
			p.remove()
			return nil, fmt.Errorf("open temporary folder to the servers' user: %w", err)
		}
	}
	return p, nil
}

func (p *place) remove() { os.RemoveAll(p.folder) }

// sub makes a folder for a database server.
func (p *place) sub(name string) (string, error) {
	dir := filepath.Join(p.folder, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	if p.as != nil {
		if err := os.Chown(dir, int(p.as.Uid), int(p.as.Gid)); err != nil {
			return "", fmt.Errorf("give folder to the servers' user: %w", err)
		}
	}
	return dir, nil
}

// unprivileged gives the user that database servers run as if the demo runs as root, as whom PostgreSQL refuses to.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is no user postgres or nobody: run the demo as another user")
}

// freeAddr gives a loopback address on which nobody listens at this moment.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
