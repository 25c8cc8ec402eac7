package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt maps its files into memory and believes what stands there: a damaged page is a panic in a goroutine of its own,
// or a fault, and the end of the process. So a file's pages are looked at here first, by plain reads, before bbolt
// opens it. The layout is that of bbolt's file format version 2, little endian.

const (
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	pageHeader     = 16
	leafElement    = 16
	branchElement  = 16
	metaChecksumAt = 56
	bucketHeader   = 16
	leafBucketFlag = 1
	pageBranch     = 1
	pageLeaf       = 2
	pageMeta       = 4
	maxPageDepth   = 64
	minPageSize    = 512
	maxPageSize    = 64 << 10
)

// boltMeta is what a meta page says.
type boltMeta struct {
	pageSize int64
	root     uint64
	pages    uint64 // the number of pages in use: the file must have at least so many
	txid     uint64
}

// checkMeta checks a file's size and meta pages. Both meta pages must be good: bbolt goes on with one of them, but then the
// last commit may be silently gone.
func checkMeta(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = readMeta(f)
	return err
}

func readMeta(f *os.File) (boltMeta, error) {
	damaged := func(format string, args ...any) (boltMeta, error) {
		return boltMeta{}, fmt.Errorf("%s: %w: %s", f.Name(), ErrDamaged, fmt.Sprintf(format, args...))
	}
	st, err := f.Stat()
	if err != nil {
		return boltMeta{}, err
	}
	if st.Size() == 0 {
		return damaged("the file is empty")
	}
	first, err := readMetaAt(f, 0)
	if err != nil {
		return damaged("meta page 0: %v", err)
	}
	second, err := readMetaAt(f, first.pageSize)
	if err != nil {
		return damaged("meta page 1: %v", err)
	}
	if first.pageSize != second.pageSize {
		return damaged("the meta pages disagree about the page size")
	}
	m := first
	if second.txid > first.txid {
		m = second
	}
	if diff := int64(first.txid - second.txid); diff != 1 && diff != -1 && first.txid+second.txid > 1 {
		return damaged("the meta pages are of transactions %d and %d", first.txid, second.txid)
	}
	if st.Size() < int64(m.pages)*m.pageSize {
		return damaged("the file has %d bytes where %d are in use: it was cut off", st.Size(), int64(m.pages)*m.pageSize)
	}
	return m, nil
}

func readMetaAt(f *os.File, offset int64) (boltMeta, error) {
	b := make([]byte, pageHeader+metaChecksumAt+8)
	if _, err := f.ReadAt(b, offset); err != nil {
		return boltMeta{}, err
	}
	if binary.LittleEndian.Uint16(b[8:])&pageMeta == 0 {
		return boltMeta{}, errors.New("it is not a meta page")
	}
	b = b[pageHeader:]
	h := fnv.New64a()
	h.Write(b[:metaChecksumAt])
	m := boltMeta{
		pageSize: int64(binary.LittleEndian.Uint32(b[8:])),
		root:     binary.LittleEndian.Uint64(b[16:]),
		pages:    binary.LittleEndian.Uint64(b[40:]),
		txid:     binary.LittleEndian.Uint64(b[48:]),
	}
	switch {
	case binary.LittleEndian.Uint32(b) != boltMagic:
		return m, errors.New("wrong magic number")
	case binary.LittleEndian.Uint32(b[4:]) != boltVersion:
		return m, errors.New("unknown version")
	case h.Sum64() != binary.LittleEndian.Uint64(b[metaChecksumAt:]):
		return m, errors.New("checksum does not match")
	case m.pageSize < minPageSize || m.pageSize > maxPageSize || m.pageSize&(m.pageSize-1) != 0:
		return m, fmt.Errorf("page size %d", m.pageSize)
	case m.pages > 1<<40:
		return m, fmt.Errorf("%d pages", m.pages)
	}
	return m, nil
}

// checkPages checks the structure of every page in use: kinds, bounds, order of keys, and that no page is used twice.
// It does not look into the values.
func checkPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := readMeta(f)
	if err != nil {
		return err
	}
	w := pageWalk{f: f, meta: m, seen: make([]uint64, m.pages/64+1)}
	if err := w.page(m.root, nil, nil, 0); err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	return nil
}

type pageWalk struct {
	f    *os.File
	meta boltMeta
	seen []uint64 // bits
}

// page checks a page and everything below it. Its keys must lie in [low, high); nil is no bound.
func (w *pageWalk) page(id uint64, low, high []byte, depth int) error {
	if depth > maxPageDepth {
		return fmt.Errorf("page %d: too deep", id)
	}
	b, err := w.read(id)
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	if err := w.content(b, low, high, depth); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// read reads a page with its overflow.
func (w *pageWalk) read(id uint64) ([]byte, error) {
	if id < 2 || id >= w.meta.pages {
		return nil, fmt.Errorf("not among the %d pages in use", w.meta.pages)
	}
	b := make([]byte, w.meta.pageSize)
	offset := int64(id) * w.meta.pageSize
	if _, err := w.f.ReadAt(b, offset); err != nil {
		return nil, err
	}
	if got := binary.LittleEndian.Uint64(b); got != id {
		return nil, fmt.Errorf("says that it is page %d", got)
	}
	overflow := uint64(binary.LittleEndian.Uint32(b[12:]))
	if id+overflow >= w.meta.pages {
		return nil, fmt.Errorf("overflow of %d pages", overflow)
	}
	for p := id; p <= id+overflow; p++ {
		if w.seen[p/64]&(1<<(p%64)) != 0 {
			return nil, fmt.Errorf("page %d is used twice", p)
		}
		w.seen[p/64] |= 1 << (p % 64)
	}
	if overflow > 0 {
		b = make([]byte, int64(overflow+1)*w.meta.pageSize)
		if _, err := w.f.ReadAt(b, offset); err != nil && err != io.EOF {
			return nil, err
		}
	}
	return b, nil
}

func (w *pageWalk) content(b []byte, low, high []byte, depth int) error {
	count := int(binary.LittleEndian.Uint16(b[10:]))
	switch flags := binary.LittleEndian.Uint16(b[8:]); flags {
	case pageLeaf:
		return w.leaf(b, count, low, high, depth)
	case pageBranch:
		return w.branch(b, count, low, high, depth)
	default:
		return fmt.Errorf("kind %#x", flags)
	}
}

func (w *pageWalk) leaf(b []byte, count int, low, high []byte, depth int) error {
	if pageHeader+count*leafElement > len(b) {
		return fmt.Errorf("%d elements", count)
	}
	for i := range count {
		at := pageHeader + i*leafElement
		flags := binary.LittleEndian.Uint32(b[at:])
		pos := uint64(at) + uint64(binary.LittleEndian.Uint32(b[at+4:]))
		ksize, vsize := uint64(binary.LittleEndian.Uint32(b[at+8:])), uint64(binary.LittleEndian.Uint32(b[at+12:]))
		if pos < pageHeader || pos+ksize+vsize > uint64(len(b)) || ksize == 0 {
			return fmt.Errorf("element %d is out of bounds", i)
		}
		key, value := b[pos:pos+ksize], b[pos+ksize:pos+ksize+vsize]
		if err := ordered(key, &low, high, i > 0); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
		switch flags {
		case 0:
		case leafBucketFlag:
			if err := w.bucket(value, depth); err != nil {
				return fmt.Errorf("bucket %q: %w", key, err)
			}
		default:
			return fmt.Errorf("element %d: flags %#x", i, flags)
		}
	}
	return nil
}

func (w *pageWalk) bucket(value []byte, depth int) error {
	if len(value) < bucketHeader {
		return errors.New("too short")
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return w.page(root, nil, nil, depth+1)
	}
	if len(value) < bucketHeader+pageHeader {
		return errors.New("inline page too short")
	}
	inline := value[bucketHeader:]
	if binary.LittleEndian.Uint16(inline[8:]) != pageLeaf {
		return errors.New("inline page is no leaf")
	}
	return w.leaf(inline, int(binary.LittleEndian.Uint16(inline[10:])), nil, nil, depth+1)
}

func (w *pageWalk) branch(b []byte, count int, low, high []byte, depth int) error {
	if count == 0 || pageHeader+count*branchElement > len(b) {
		return fmt.Errorf("%d elements", count)
	}
	keys, children := make([][]byte, count), make([]uint64, count)
	for i := range count {
		at := pageHeader + i*branchElement
		pos := uint64(at) + uint64(binary.LittleEndian.Uint32(b[at:]))
		ksize := uint64(binary.LittleEndian.Uint32(b[at+4:]))
		if pos < pageHeader || pos+ksize > uint64(len(b)) {
			return fmt.Errorf("element %d is out of bounds", i)
		}
		keys[i], children[i] = b[pos:pos+ksize], binary.LittleEndian.Uint64(b[at+8:])
		if err := ordered(keys[i], &low, high, i > 0); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	for i := range count {
		end := high
		if i+1 < count {
			end = keys[i+1]
		}
		if err := w.page(children[i], keys[i], end, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// ordered checks that key is not below *low (with strict: above it) and below high, and makes it the new low.
func ordered(key []byte, low *[]byte, high []byte, strict bool) error {
	c := 1
	if *low != nil {
		c = bytes.Compare(key, *low)
	}
	if c < 0 || strict && c == 0 || high != nil && bytes.Compare(key, high) >= 0 {
		return errors.New("keys are not in order")
	}
	*low = key
	return nil
}
