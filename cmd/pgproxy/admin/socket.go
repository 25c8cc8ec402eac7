package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// SocketName is the admin socket in the data folder.
const SocketName = "admin.sock"

// maxSocketPath is the longest path every system takes for a unix socket (104 bytes on macOS, 108 on Linux, with the NUL).
const maxSocketPath = 100

// Listen opens the admin socket. The caller holds the journal's lock, so that a socket that stands there is a left-over of a
// process that died.
func Listen(dataDir string) (net.Listener, error) {
	path := filepath.Join(dataDir, SocketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old admin socket: %w", err)
	}
	var l *net.UnixListener
	err := throughShortPath(path, func(short string) error {
		var err error
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on admin socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // its address may be the short path
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("protect admin socket: %w", err)
	}
	return &listener{l, path}, nil
}

type listener struct {
	*net.UnixListener
	path string
}

// Close removes the socket, too.
func (l *listener) Close() error {
	os.Remove(l.path)
	return l.UnixListener.Close()
}

// dial connects to the admin socket; ErrNotRunning if nobody listens there.
func dial(dataDir string) (net.Conn, error) {
	path := filepath.Join(dataDir, SocketName)
	var c net.Conn
	err := throughShortPath(path, func(short string) error {
		var err error
		c, err = net.Dial("unix", short)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("connect to admin socket %s: %w", path, err)
	}
	return c, nil
}

// throughShortPath calls use with a name for path that fits into a socket address: path itself, or one through a symbolic
// link to its folder that lives as long as the call.
func throughShortPath(path string, use func(short string) error) error {
	if len(path) <= maxSocketPath {
		return use(path)
	}
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return err
	}
	place, err := os.MkdirTemp("", "pgp")
	if err != nil {
		return fmt.Errorf("make a short path: %w", err)
	}
	defer os.RemoveAll(place)
	link := filepath.Join(place, "d")
	if err := os.Symlink(folder, link); err != nil {
		return fmt.Errorf("make a short path: %w", err)
	}
	return use(filepath.Join(link, filepath.Base(path)))
}
