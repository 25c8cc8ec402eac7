package peerpb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// Limits of the wire, known to both sides.
const (
	// MaxChunk is the largest chunk of a batch in bytes, before compression.
	MaxChunk = 1 << 20
	// MaxFrame is the largest frame in bytes: a chunk that did not shrink, and its frame's own fields.
	MaxFrame = MaxChunk + 64<<10
)

// payloadVersion is the first byte of a batch's payload.
const payloadVersion = 1

// recordHead is the least that a record takes besides its bytes.
const recordHead = len(journal.NodeID{}) + 3

// ErrPayload is returned for a payload that is not what AppendRecord writes.
var ErrPayload = errors.New("malformed batch")

// AppendRecord appends one record to a payload, which starts empty.
func AppendRecord(payload []byte, r journal.Raw) []byte {
	return append(AppendHead(payload, r), r.Bytes...)
}

// AppendHead appends what stands before a record's bytes, so that those of a large one need not be copied.
func AppendHead(payload []byte, r journal.Raw) []byte {
	if len(payload) == 0 {
		payload = append(payload, payloadVersion)
	}
	payload = append(payload, r.ID.Origin[:]...)
	payload = binary.AppendUvarint(payload, r.ID.Seq)
	payload = binary.AppendUvarint(payload, uint64(r.HLC))
	return binary.AppendUvarint(payload, uint64(len(r.Bytes)))
}

// Records reads a payload. The records' Bytes are parts of payload, not copies. After an error the iteration ends.
func Records(payload []byte) iter.Seq2[journal.Raw, error] {
	return func(yield func(journal.Raw, error) bool) {
		if len(payload) == 0 || payload[0] != payloadVersion {
			yield(journal.Raw{}, fmt.Errorf("%w: unknown version", ErrPayload))
			return
		}
		rest := payload[1:]
		for len(rest) > 0 {
			r, n, err := record(rest)
			if !yield(r, err) || err != nil {
				return
			}
			rest = rest[n:]
		}
	}
}

// record reads the first record of b and says how long it was.
func record(b []byte) (journal.Raw, int, error) {
	var r journal.Raw
	if len(b) < recordHead {
		return r, 0, fmt.Errorf("%w: cut off", ErrPayload)
	}
	at := copy(r.ID.Origin[:], b)
	var numbers [3]uint64
	for i := range numbers {
		v, n := binary.Uvarint(b[at:])
		if n <= 0 {
			return r, 0, fmt.Errorf("%w: bad number", ErrPayload)
		}
		numbers[i], at = v, at+n
	}
	if numbers[0] == 0 || r.ID.Origin.IsZero() {
		return r, 0, fmt.Errorf("%w: record without name", ErrPayload)
	}
	if numbers[2] > uint64(len(b)-at) {
		return r, 0, fmt.Errorf("%w: record of %d bytes in %d", ErrPayload, numbers[2], len(b)-at)
	}
	end := at + int(numbers[2])
	r.ID.Seq, r.HLC, r.Bytes = numbers[0], hlc.Time(numbers[1]), b[at:end:end]
	return r, end, nil
}
