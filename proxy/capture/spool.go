package capture

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// The rows of one statement come faster than they can be looked at: nothing may be asked before the statement has ended. Up to
// spoolBytes they are held in memory, then they go to a file, and come back in blocks.
const (
	spoolBytes = 1 << 20
	blockBytes = 512 << 10
)

// rowSpool holds the appended columns of a statement's rows in their order.
type rowSpool struct {
	make  func() (*os.File, error)
	rows  [][]byte // behind those in the file
	chunk []byte   // what rows are cut from
	held  int      // bytes of rows
	size  int64    // of all
	file  *os.File // gone from its folder already; nil: all are in rows
	write *bufio.Writer
}

// chunkBytes is how much row data is allocated at once.
const chunkBytes = 64 << 10

// add takes a row, which it copies; digits says that it is hexadecimal.
func (s *rowSpool) add(col []byte, digits bool) error {
	n := len(col)
	if digits {
		n = hex.DecodedLen(n)
	}
	if s.held += n; s.held > spoolBytes {
		if err := s.spill(); err != nil {
			return fmt.Errorf("put rows aside: %w", err)
		}
		s.held = n
	}
	s.size += int64(n)
	if cap(s.chunk)-len(s.chunk) < n {
		s.chunk = make([]byte, 0, max(n, min(chunkBytes, 256<<min(len(s.rows), 16))))
	}
	start := len(s.chunk)
	s.chunk = s.chunk[:start+n]
	row := s.chunk[start : start+n : start+n]
	if !digits {
		copy(row, col)
	} else if _, err := hex.Decode(row, col); err != nil {
		return fmt.Errorf("decode appended column: %w", err)
	}
	s.rows = append(s.rows, row)
	return nil
}

// spill moves the rows to the file.
func (s *rowSpool) spill() (err error) {
	if s.file == nil {
		if s.file, err = s.make(); err != nil {
			return err
		}
		s.write = bufio.NewWriterSize(s.file, 64<<10)
	}
	for _, row := range s.rows {
		if _, err = s.write.Write(binary.BigEndian.AppendUint32(nil, uint32(len(row)))); err == nil {
			_, err = s.write.Write(row)
		}
		if err != nil {
			return err
		}
	}
	s.rows, s.chunk, s.held = s.rows[:0], nil, 0
	return nil
}

// blocks gives the rows in blocks of about blockBytes; without a file all at once. A block is valid during the call.
func (s *rowSpool) blocks(f func(rows [][]byte) error) error {
	if s.file == nil {
		return f(s.rows)
	}
	if err := s.spill(); err != nil {
		return fmt.Errorf("put rows aside: %w", err)
	}
	if err := s.write.Flush(); err != nil {
		return fmt.Errorf("put rows aside: %w", err)
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read rows put aside: %w", err)
	}
	in := bufio.NewReaderSize(s.file, 64<<10)
	var rows [][]byte
	held := 0
	for {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); errors.Is(err, io.EOF) {
			if len(rows) == 0 {
				return nil
			}
			return f(rows)
		} else if err != nil {
			return fmt.Errorf("read rows put aside: %w", err)
		}
		row := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(in, row); err != nil {
			return fmt.Errorf("read rows put aside: %w", err)
		}
		rows = append(rows, row)
		if held += len(row); held >= blockBytes {
			if err := f(rows); err != nil {
				return err
			}
			rows, held = rows[:0], 0
		}
	}
}

// all brings back all rows into memory.
func (s *rowSpool) all() ([][]byte, error) {
	if s.file == nil {
		return s.rows, nil
	}
	var rows [][]byte
	err := s.blocks(func(block [][]byte) error {
		rows = append(rows, block...)
		return nil
	})
	return rows, err
}

// close gives everything back.
func (s *rowSpool) close() {
	if s.file != nil {
		_ = s.file.Close() // it has no name any more
	}
	s.file, s.write, s.rows, s.chunk = nil, nil, nil, nil
}
