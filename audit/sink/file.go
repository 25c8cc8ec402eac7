package sink

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"pgproxy/audit"
)

// File is a file of JSON lines in the native form. Past Bytes it is put aside under its name with the position of its last line
// behind it (audit.jsonl.00000000000000004711), and a new one is begun. The file is what says how far it is: a line that a crash
// left without its end is cut off and written again.
type File struct {
	Path  string
	Bytes int64 // 0: never rotated

	f    *os.File
	size int64
	last uint64
}

// positionDigits is the width of the position behind the name of a file put aside, so that names sort as positions do.
const positionDigits = 20

// Name implements Output.
func (f *File) Name() string { return "file " + f.Path }

// Resume implements Output.
func (f *File) Resume(context.Context) (uint64, error) {
	if err := f.Close(); err != nil {
		return 0, err
	}
	file, err := os.OpenFile(f.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	f.f = file
	if err := f.find(); err != nil {
		return 0, errors.Join(err, f.Close())
	}
	return f.last, nil
}

// find finds the end of the last whole line, and its position.
func (f *File) find() error {
	end, err := f.lineEnd()
	if err != nil {
		return err
	}
	if err := f.f.Truncate(end); err != nil {
		return fmt.Errorf("cut off an unfinished line: %w", err)
	}
	f.size = end
	if end == 0 {
		f.last, err = f.aside()
		return err
	}
	begin, err := f.lastBreak(end - 1)
	if err != nil {
		return err
	}
	line := make([]byte, end-begin)
	if _, err := f.f.ReadAt(line, begin); err != nil {
		return fmt.Errorf("read the last line: %w", err)
	}
	var t struct {
		Position *uint64
		OriginID string `json:"origin_id"`
	}
	if err := json.Unmarshal(line, &t); err != nil || t.Position == nil || t.OriginID == "" {
		return fmt.Errorf("the last line of %s is not of an audit trail: it is left as it is; give another file, or put this one aside", f.Path)
	}
	f.last = *t.Position
	_, err = f.f.Seek(end, io.SeekStart)
	return err
}

// lineEnd gives the end of the last whole line.
func (f *File) lineEnd() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return f.lastBreak(info.Size())
}

// lastBreak gives the place behind the last line break before an offset; 0 if there is none.
func (f *File) lastBreak(before int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for before > 0 {
		n := min(int64(len(buf)), before)
		if _, err := f.f.ReadAt(buf[:n], before-n); err != nil {
			return 0, fmt.Errorf("look for the last line: %w", err)
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return before - n + int64(i) + 1, nil
		}
		before -= n
	}
	return 0, nil
}

// aside gives the position up to which files were put aside.
func (f *File) aside() (uint64, error) {
	found, err := os.ReadDir(filepath.Dir(f.Path))
	if err != nil {
		return 0, err
	}
	var last uint64
	for _, e := range found {
		digits, ok := strings.CutPrefix(e.Name(), filepath.Base(f.Path)+".")
		if n, err := strconv.ParseUint(digits, 10, 64); ok && len(digits) == positionDigits && err == nil {
			last = max(last, n)
		}
	}
	return last, nil
}

// Put implements Output.
func (f *File) Put(_ context.Context, entries []audit.Transaction) error {
	if f.Bytes > 0 && f.size >= f.Bytes {
		if err := f.rotate(); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
	}
	out := bufio.NewWriter(f.f)
	w, err := audit.NewExport(io.MultiWriter(out, (*counter)(&f.size)), "jsonl")
	if err != nil {
		return err
	}
	for i := range entries {
		if err := w.Write(&entries[i]); err != nil {
			return err
		}
	}
	if err := errors.Join(w.End(), out.Flush()); err != nil {
		return err
	}
	if err := f.f.Sync(); err != nil {
		return err
	}
	f.last = entries[len(entries)-1].Position
	return nil
}

// counter counts bytes.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// rotate puts the file aside and begins a new one. A crash in between leaves no file: Resume begins it.
func (f *File) rotate() error {
	name := fmt.Sprintf("%s.%0*d", f.Path, positionDigits, f.last)
	if err := os.Rename(f.Path, name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(f.Path))
	if err != nil {
		return err
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return err
	}
	_, err = f.Resume(context.Background())
	return err
}

// Close implements Output.
func (f *File) Close() error {
	if f.f == nil {
		return nil
	}
	file := f.f
	f.f = nil
	return file.Close()
}
