package journal

import (
	"fmt"
	"runtime/debug"
)

// guard runs f, which reads a mapped file, and turns a panic of bbolt or a fault of the memory map into ErrDamaged. It
// reaches only what happens in f's own goroutine; what bbolt does in others is prevented by checking the pages first.
func guard(path string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read %s: %w: %v", path, ErrDamaged, p)
		}
	}()
	return f()
}
