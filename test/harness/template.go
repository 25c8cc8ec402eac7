package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// templateOf gives a freshly initialised data folder of inst to be copied: initdb takes longer than everything that most
// tests do. It is made once per machine, user and version.
func templateOf(inst Installation, cred *syscall.Credential) (string, error) {
	uid := os.Getuid()
	if cred != nil {
		uid = int(cred.Uid)
	}
	info, err := os.Stat(filepath.Join(inst.Bin, "postgres"))
	if err != nil {
		return "", fmt.Errorf("look at postgres: %w", err)
	}
	// An upgraded binary makes a new template.
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("pgp-template-%d-%d-%d", inst.Major, uid, info.ModTime().Unix()))
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil {
		return dir, nil
	}
	tmp, err := os.MkdirTemp("", "pgp-initdb-")
	if err != nil {
		return "", fmt.Errorf("make folder for template: %w", err)
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command(filepath.Join(inst.Bin, "initdb"), "-D", filepath.Join(tmp, "data"), "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--wal-segsize=4")
	cmd.Dir = tmp
	if cred != nil {
		if err := os.Chown(tmp, int(cred.Uid), int(cred.Gid)); err != nil {
			return "", fmt.Errorf("give folder to server's user: %w", err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("run initdb: %w: %s", err, out)
	}
	if err := os.Rename(filepath.Join(tmp, "data"), dir); err != nil && !errors.Is(err, os.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return "", fmt.Errorf("keep template: %w", err)
	}
	return dir, nil
}

// tailBytes is how much of a log is printed when a test failed.
const tailBytes = 48 << 10

// tail gives the end of a file.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return errNote(err)
	}
	if len(b) > tailBytes {
		b = b[len(b)-tailBytes:]
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			b = b[i+1:]
		}
	}
	return string(b)
}

// childrenOf lists the processes that pid has started.
func childrenOf(pid int) []int {
	files, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	if err != nil {
		return nil
	}
	var out []int
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		for _, s := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(s); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

// zombie reports whether pid has ended and only waits to be reaped.
func zombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	i := bytes.LastIndexByte(b, ')')
	return i >= 0 && i+2 < len(b) && b[i+2] == 'Z'
}
