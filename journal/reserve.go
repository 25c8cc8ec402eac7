package journal

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// reserveBytes is the size of a file that is given up when the disk is full, so that outcomes can still be written, and
// the part of the disk budget kept for the same purpose.
const reserveBytes = 1 << 20

// reserveFile lies beside the segments.
const reserveFile = "reserve"

// findReserve looks whether the last run left a reserve.
func (j *Journal) findReserve() {
	_, err := os.Stat(filepath.Join(j.segmentsDir(), reserveFile))
	j.reserve = err == nil
}

// giveReserve deletes the reserve; false if there is none.
func (j *Journal) giveReserve() bool {
	if !j.reserve {
		return false
	}
	j.reserve = false
	return os.Remove(filepath.Join(j.segmentsDir(), reserveFile)) == nil
}

// keepReserve makes the reserve if it is missing and there is room for much more than it.
func (j *Journal) keepReserve() {
	if j.reserve {
		return
	}
	if free, err := freeBytes(j.segmentsDir()); err != nil || free < 4*reserveBytes {
		return
	}
	path := filepath.Join(j.segmentsDir(), reserveFile)
	if err := writeReserve(path); err != nil {
		os.Remove(path) // try again after another group
		return
	}
	j.reserve = true
}

func writeReserve(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, reserveBytes))
	return errors.Join(err, f.Close())
}

// freeBytes gives the space that is left on dir's filesystem.
func freeBytes(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}
