//go:build unix

package command

import (
	"os"

	"golang.org/x/sys/unix"
)

// windowColumns asks the terminal for its width; 0 if it does not say.
func windowColumns(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
