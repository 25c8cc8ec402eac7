package journal

import "sync/atomic"

// VoidForm gives the void form of a full record.
func VoidForm(b []byte) ([]byte, error) { return voidOf(b) }

// WithDisk lets a test make the disk fail.
func (o Options) WithDisk(f func(point string) error) Options {
	o.disk = f
	return o
}

// Counting counts the entries that a scan reads.
func (f Filter) Counting(n *atomic.Int64) Filter {
	f.read = n
	return f
}
