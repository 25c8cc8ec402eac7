package proxy

import (
	"crypto/sha256"
	"hash"

	"pgproxy/journal"
)

// copyCount sums up the COPY data that the client sends.
type copyCount struct {
	sum      hash.Hash
	bytes    int64
	messages int64
}

func (c *copyCount) add(p []byte) {
	if c.sum == nil {
		c.sum = sha256.New()
	}
	c.sum.Write(p)
	c.bytes += int64(len(p))
}

// data gives the sum; nil if no data came.
func (c *copyCount) data() *journal.CopyData {
	if c.sum == nil {
		return nil
	}
	d := &journal.CopyData{Bytes: c.bytes, Messages: c.messages}
	c.sum.Sum(d.SHA256[:0])
	return d
}
