package command

import (
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// Environment is everything the commands touch outside themselves, so that tests can give their own.
type Environment struct {
	Stdout, Stderr io.Writer
	Environ        []string // as os.Environ
	Now            func() time.Time
	// Executable is the file and arguments that start pgproxy again, as a child.
	Executable func() (string, []string, error)
}

// System is the environment of the process.
func System() Environment {
	return Environment{
		Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), Now: time.Now,
		Executable: func() (string, []string, error) {
			file, err := os.Executable()
			return file, nil, err
		},
	}
}

// Getenv gives a variable's value, "" if it is not set.
func (e *Environment) Getenv(name string) string {
	value := ""
	for _, kv := range e.Environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			value = v
		}
	}
	return value
}

// terminal reports whether w is a terminal.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// columns is the width of the terminal that w is; 0 if it is none.
func (e *Environment) columns(w io.Writer) int {
	if !terminal(w) {
		return 0
	}
	if n, err := strconv.Atoi(e.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if n := windowColumns(w.(*os.File)); n > 0 {
		return n
	}
	return 80
}

// Version is the version of this binary: the module's, else the commit it was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version, dirty := info.Main.Version, ""
	if version != "" && version != "(devel)" {
		return version
	}
	version = "devel"
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			version = "devel-" + s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+changes"
			}
		}
	}
	return version + dirty
}
