package forward

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
)

// worthPacking is the size in bytes from which a chunk is compressed.
const worthPacking = 512

// packer compresses; one per sender.
type packer struct {
	enc *zstd.Encoder
	buf []byte
}

func newPacker() (*packer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(peerpb.MaxChunk), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("make compressor: %w", err)
	}
	return &packer{enc: enc}, nil
}

// together says how many of recs travel in one batch: a large one alone, so that it need not be copied, and one with
// images alone, behind them.
func together(recs []journal.Raw, limit int) int {
	size := 0
	for i, r := range recs {
		if images := r.Images() != nil; images && i > 0 {
			return i
		} else if images {
			return 1
		}
		if i > 0 && (len(r.Bytes) > peerpb.MaxChunk || size+len(r.Bytes) > limit) {
			return i
		}
		size += len(r.Bytes)
		if size > peerpb.MaxChunk {
			return i + 1
		}
	}
	return len(recs)
}

// sendBatch cuts a batch into chunks. Between them control frames go out.
func (l *link) sendBatch(pack *packer, recs []journal.Raw, epoch uint64) error {
	var head []byte
	var body []byte
	if len(recs) == 1 {
		head = peerpb.AppendHead(nil, recs[0])
		body = recs[0].Bytes
	} else {
		for _, r := range recs {
			head = peerpb.AppendRecord(head, r)
		}
	}
	size := uint64(len(head) + len(body))
	for first := true; first || len(head)+len(body) > 0; first = false {
		var chunk []byte
		chunk, head, body = cut(head, body)
		b := &peerpb.Batch{Epoch: epoch, Data: chunk, More: len(head)+len(body) > 0}
		if first {
			b.Size = size
		}
		if len(chunk) >= worthPacking {
			pack.buf = pack.enc.EncodeAll(chunk, pack.buf[:0])
			if len(pack.buf) < len(chunk) {
				b.Data, b.Zstd = pack.buf, true
			}
		}
		if err := l.sendFrame(&peerpb.Frame{Body: &peerpb.Frame_Batch{Batch: b}}); err != nil {
			return err
		}
		if !b.More {
			return nil
		}
		if done, err := l.sendControl(); done || err != nil {
			return errors.Join(err, l.ctx.Err())
		}
	}
	return nil
}

// cut takes the next chunk off head followed by body; it copies only where the two meet.
func cut(head, body []byte) (chunk, restHead, restBody []byte) {
	switch {
	case len(head) >= peerpb.MaxChunk:
		return head[:peerpb.MaxChunk], head[peerpb.MaxChunk:], body
	case len(head) == 0:
		n := min(len(body), peerpb.MaxChunk)
		return body[:n], nil, body[n:]
	}
	n := min(len(body), peerpb.MaxChunk-len(head))
	return append(head[:len(head):len(head)], body[:n]...), nil, body[n:]
}
