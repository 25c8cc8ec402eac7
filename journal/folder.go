package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Names inside the data folder. They are part of the format.
const (
	segmentsFolder = "segments"
	identityFile   = "identity.db"
	lockFile       = "journal.lock"
)

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// makeFolders creates the data folder and the one for segments, readable by their owner alone.
func makeFolders(dir string) error {
	segments := filepath.Join(dir, segmentsFolder)
	if err := os.MkdirAll(segments, folderMode); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	if err := os.Chmod(segments, folderMode); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	if err := errors.Join(syncFolder(dir), syncFolder(filepath.Dir(dir))); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	return nil
}

// lockFolder takes the journal's lock: exclusive for the node, shared for readers and checks. The lock is gone when the file
// is closed or the process ends, however it ends.
func lockFolder(dir string, exclusive bool) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	flags, how := os.O_RDWR|os.O_CREATE, syscall.LOCK_EX
	if !exclusive {
		flags, how = os.O_RDONLY, syscall.LOCK_SH // a reader may have no right to write
	}
	f, err := os.OpenFile(path, flags, fileMode)
	if errors.Is(err, os.ErrNotExist) {
		f, err = os.OpenFile(path, flags|os.O_CREATE, fileMode) // a copy of a journal may lack the file
	}
	if err != nil {
		return nil, fmt.Errorf("lock journal: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w: another pgproxy runs with this data folder", path, ErrLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}
