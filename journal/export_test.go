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

// GrowTree gives a function that adds an entry with such a payload to a tree.
func GrowTree() func(payload []byte) {
	var t frontier
	return func(payload []byte) {
		e := entry{kind: entryOwn, payload: payload}
		t.grow(e.leafHash())
	}
}
