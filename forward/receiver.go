package forward

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// largeBytes is the size from which a batch is received one at a time over all links.
const largeBytes = 16 << 20

// maxGaps is how often in a row a link may ask to start again before it is given up.
const maxGaps = 5

// fullPause is how long the storer waits before it tries again to write to a full disk.
const fullPause = 500 * time.Millisecond

// incoming is what comes over a link, up to the journal. Guarded by link.mu, but for what the reader alone uses.
type incoming struct {
	queue   []journal.Raw // decoded, not yet stored
	bytes   int           // of queue and of what the storer has in hand
	refused map[journal.NodeID]string
	epoch   uint64 // batches of another one are stale
	gaps    int    // in a row

	ackDue                      bool
	statedAt                    time.Time
	statedStored, statedApplied journal.Vector

	// the reader's own
	part    []byte // chunks of a batch that is not whole yet
	size    uint64 // that it will have; 0: none under way
	stale   bool   // it is of another epoch
	large   bool   // it holds the forwarder's only place for large batches
	unpack  *zstd.Decoder
	scratch []byte
}

func (in *incoming) init() { in.refused = map[journal.NodeID]string{} }

// releaseReader gives back what the reader holds. Called when the reader has ended.
func (l *link) releaseReader() {
	if l.in.large {
		l.in.large = false
		<-l.f.large
	}
	if l.in.unpack != nil {
		l.in.unpack.Close()
	}
}

// onBatch takes one chunk. Everything is bounded before it is made: a chunk by the frame, the unpacked chunk by the
// decoder's limits, the whole by the size that its first chunk tells.
func (l *link) onBatch(b *peerpb.Batch) error {
	in := &l.in
	if in.size == 0 {
		if err := l.beginBatch(b); err != nil {
			return err
		}
	}
	chunk := b.GetData()
	if b.GetZstd() {
		var err error
		if chunk, err = l.unzip(chunk); err != nil {
			return err
		}
	}
	if uint64(len(in.part))+uint64(len(chunk)) > in.size || len(chunk) == 0 {
		return fmt.Errorf("%w: chunks do not make up the batch", peerpb.ErrPayload)
	}
	if !in.stale {
		in.part = append(in.part, chunk...)
	}
	if b.GetMore() {
		return nil
	}
	payload, stale, size := in.part, in.stale, in.size
	in.part, in.size = nil, 0
	if in.large {
		defer func() { in.large = false; <-l.f.large }()
	}
	if stale {
		return nil
	}
	if uint64(len(payload)) != size {
		return fmt.Errorf("%w: %d bytes came of %d", peerpb.ErrPayload, len(payload), size)
	}
	return l.enqueue(payload)
}

func (l *link) beginBatch(b *peerpb.Batch) error {
	in := &l.in
	if b.GetSize() == 0 || b.GetSize() > uint64(l.f.o.Limits.RecordBytes) {
		return fmt.Errorf("peer sends a batch of %d bytes, over the limit of %d", b.GetSize(), l.f.o.Limits.RecordBytes)
	}
	in.size = b.GetSize()
	l.mu.Lock()
	in.stale = b.GetEpoch() != in.epoch
	l.mu.Unlock()
	if in.size < largeBytes || in.stale {
		in.part = make([]byte, 0, min(in.size, peerpb.MaxChunk))
		return nil
	}
	defer l.occupied()()
	select {
	case l.f.large <- struct{}{}:
		in.large = true
		return nil
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
}

// unzip unpacks a chunk. Neither a bomb nor a wide window gets more memory than a chunk may have.
func (l *link) unzip(data []byte) ([]byte, error) {
	in := &l.in
	if in.unpack == nil {
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(peerpb.MaxChunk),
			zstd.WithDecoderMaxWindow(peerpb.MaxChunk), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, fmt.Errorf("make decompressor: %w", err)
		}
		in.unpack = dec
	}
	out, err := in.unpack.DecodeAll(data, in.scratch[:0])
	if err != nil {
		return nil, fmt.Errorf("%w: unpack chunk: %w", peerpb.ErrPayload, err)
	}
	in.scratch = out
	return out, nil
}

// occupied tells the watchdog that the reader waits for this node itself; the function that it returns ends that, and
// the other end's silence counts from then on.
func (l *link) occupied() func() {
	l.busy.Store(true)
	return func() {
		now := l.f.o.Now()
		l.heard.Store(&now)
		l.busy.Store(false)
	}
}

// enqueue hands a whole batch to the storer, and waits while there is no room.
func (l *link) enqueue(payload []byte) error {
	recs := make([]journal.Raw, 0, 64)
	has := journal.Vector{}
	for r, err := range peerpb.Records(payload) {
		if err != nil {
			return err
		}
		recs = append(recs, r)
		has[r.ID.Origin] = max(has[r.ID.Origin], r.ID.Seq)
	}
	l.f.fault("receive.read")
	defer l.occupied()()
	for {
		l.mu.Lock()
		if l.in.bytes == 0 || l.in.bytes+len(payload) <= l.f.o.Limits.QueueBytes {
			l.in.queue = append(l.in.queue, recs...)
			l.in.bytes += len(payload)
			l.out.learn(has, l.f.o.Now()) // what came from there need not go there
			l.mu.Unlock()
			l.arrived.ring()
			return nil
		}
		l.mu.Unlock()
		select {
		case <-l.drained:
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
}

// store is the storer's goroutine.
func (l *link) store() error {
	defer l.stage.Discard()
	for {
		select {
		case <-l.ctx.Done():
			return nil
		case <-l.arrived:
		}
		for {
			recs, bytes := l.take()
			if len(recs) == 0 {
				break
			}
			if err := l.keep(recs); err != nil {
				return err
			}
			l.mu.Lock()
			l.in.bytes -= bytes
			l.mu.Unlock()
			l.drained.ring()
		}
	}
}

// take empties the queue, leaving out what is refused.
func (l *link) take() (recs []journal.Raw, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := l.in.queue
	l.in.queue = nil
	bytes = l.in.bytes
	for _, r := range queue {
		if _, bad := l.in.refused[r.ID.Origin]; !bad {
			recs = append(recs, r)
		}
	}
	if len(recs) == 0 {
		l.in.bytes = 0
		l.drained.ring()
	}
	return recs, bytes
}

// keep stores records. What is wrong with one origin stops that origin only.
func (l *link) keep(recs []journal.Raw) error {
	err := l.write(recs)
	if err == nil || l.ctx.Err() != nil {
		return nil
	}
	if !blame(err) {
		return fmt.Errorf("store records: %w", err)
	}
	var order []journal.NodeID
	byOrigin := map[journal.NodeID][]journal.Raw{}
	for _, r := range recs {
		if byOrigin[r.ID.Origin] == nil {
			order = append(order, r.ID.Origin)
		}
		byOrigin[r.ID.Origin] = append(byOrigin[r.ID.Origin], r)
	}
	for _, origin := range order {
		switch err := l.write(byOrigin[origin]); {
		case err == nil || l.ctx.Err() != nil:
		case errors.Is(err, journal.ErrGap):
			l.askAgain(origin, err)
		case errors.Is(err, hlc.ErrAhead):
			l.refuseOrigin(origin, fmt.Errorf("%w: set the clocks of node %s and of this one right", err, l.f.nameOf(origin)))
			again := time.AfterFunc(aheadPause, func() { l.end(peerpb.Goodbye_RETRY, errors.New("looking again at records from the future")) })
			context.AfterFunc(l.ctx, func() { again.Stop() })
		case blame(err):
			l.refuseOrigin(origin, err)
		default:
			return fmt.Errorf("store records: %w", err)
		}
	}
	return nil
}

// blame reports whether err says that a record is wrong, not this node's disk.
func blame(err error) bool {
	return errors.Is(err, journal.ErrGap) || errors.Is(err, journal.ErrFork) || errors.Is(err, journal.ErrDamaged) ||
		errors.Is(err, journal.ErrTooLarge) || errors.Is(err, hlc.ErrAhead) || errors.Is(err, hlc.ErrAbsurd)
}

// aheadPause is how long an origin whose clock is ahead is refused before the link starts again and looks at it anew.
const aheadPause = 30 * time.Second

// write stores records, and parts of the images that come before their record.
func (l *link) write(recs []journal.Raw) error {
	for len(recs) > 0 {
		n := 0
		for n < len(recs) && !recs[n].Piece() && (n == 0 || recs[n].Images() == nil) {
			n++
		}
		if n == 0 {
			if err := l.patient(func() error { return l.stage.Add(recs[0]) }); err != nil {
				return err
			}
			recs = recs[1:]
			continue
		}
		err := l.patient(func() error {
			if err := l.stage.Complete(recs[0]); err != nil {
				return err
			}
			return l.f.j.Store(l.ctx, recs[:n])
		})
		if err != nil {
			if !errors.Is(err, journal.ErrGap) { // else the rest may still come
				l.stage.Discard()
			}
			return err
		}
		l.stage.Stored()
		l.f.fault("receive.stored")
		l.mu.Lock()
		l.in.ackDue, l.in.gaps = true, 0
		l.mu.Unlock()
		l.f.behindCheck()
		l.wake.ring()
		recs = recs[n:]
	}
	return nil
}

// patient runs f again while the disk is full, which holds up the other end, not this node's memory.
func (l *link) patient(f func() error) error {
	for {
		err := f()
		if !errors.Is(err, journal.ErrFull) {
			return err
		}
		l.f.noteError(l, fmt.Errorf("records of peers wait: %w", err))
		select {
		case <-time.After(fullPause):
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
}

// askAgain makes the other end start again from what is stored here, unless that has not helped before.
func (l *link) askAgain(origin journal.NodeID, cause error) {
	l.mu.Lock()
	l.in.gaps++
	tooOften := l.in.gaps > maxGaps
	l.in.epoch++
	epoch := l.in.epoch
	l.in.queue = nil
	l.mu.Unlock()
	if tooOften {
		l.refuseOrigin(origin, fmt.Errorf("peer leaves out records again and again: %w", cause))
	}
	l.post(&peerpb.Frame{Body: &peerpb.Frame_Resend{Resend: &peerpb.Resend{Epoch: epoch, Stored: peerpb.FromVector(l.f.j.Stored())}}})
}

// refuseOrigin takes no more records of an origin over this link, and says so on both sides.
func (l *link) refuseOrigin(origin journal.NodeID, why error) {
	l.mu.Lock()
	_, known := l.in.refused[origin]
	l.in.refused[origin] = why.Error()
	l.out.unwanted[origin] = why.Error() // a history that differs must not be passed on either
	l.mu.Unlock()
	if known {
		return
	}
	l.post(&peerpb.Frame{Body: &peerpb.Frame_Refuse{Refuse: &peerpb.Refuse{Origin: origin[:], Message: why.Error(), Fork: errors.Is(why, journal.ErrFork)}}})
	l.f.quarantined(l, origin, why)
}
