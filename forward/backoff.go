package forward

import (
	"encoding/binary"
	"io"
	"time"
)

// backoff gives growing pauses, each somewhere between half and all of the current length, so that many nodes that lost
// the same peer do not all come back at once. Not safe for concurrent use.
type backoff struct {
	min, max time.Duration
	next     time.Duration
	rand     io.Reader
}

func (b *backoff) reset() { b.next = 0 }

// pause gives the length of the next pause.
func (b *backoff) pause() time.Duration {
	d := max(b.next, b.min)
	b.next = min(2*d, b.max)
	var r [8]byte
	if _, err := io.ReadFull(b.rand, r[:]); err != nil {
		return d // without randomness the pause is still right, only less spread
	}
	half := d / 2
	return half + time.Duration(binary.BigEndian.Uint64(r[:])%uint64(half+1))
}
