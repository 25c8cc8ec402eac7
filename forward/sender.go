package forward

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/klauspost/compress/zstd"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
)

// stateTicks is how often within a heartbeat the sender looks whether there is something new to tell.
const stateTicks = 4

// worthPacking is the size in bytes from which a chunk is compressed.
const worthPacking = 512

// outgoing is what a link knows about the other end's journal, and what is on its way there. Guarded by link.mu.
type outgoing struct {
	has      journal.Vector            // durable there, as it said, or because the record came from there
	sent     journal.Vector            // has, and what was sent over this link
	inflight []flight                  // sent and not acknowledged, oldest first
	bytes    int                       // of inflight
	unwanted map[journal.NodeID]string // origins that the other end refuses over this link, and why
	direct   map[journal.NodeID]bool   // origins that the other end has a link to
	held     map[journal.NodeID]time.Time
	epoch    uint64
	applied  journal.Vector // what its database holds, as it said last
}

// flight is one batch under way.
type flight struct {
	upto  journal.Vector
	bytes int
}

func (o *outgoing) init() {
	o.has, o.sent, o.applied = journal.Vector{}, journal.Vector{}, journal.Vector{}
	o.unwanted, o.held = map[journal.NodeID]string{}, map[journal.NodeID]time.Time{}
}

// start begins at what the other end has.
func (o *outgoing) start(has journal.Vector) {
	o.has, o.sent = has.Clone(), has.Clone()
	o.inflight, o.bytes = nil, 0
}

// learn takes in what the other end has for certain.
func (o *outgoing) learn(v journal.Vector, now time.Time) {
	for n, seq := range v {
		if seq > o.has[n] {
			o.has[n] = seq
			if _, ok := o.held[n]; ok {
				o.held[n] = now
			}
		}
		o.sent[n] = max(o.sent[n], seq)
	}
	for len(o.inflight) > 0 && o.arrived(o.inflight[0]) {
		o.bytes -= o.inflight[0].bytes
		o.inflight[0] = flight{}
		o.inflight = o.inflight[1:]
	}
}

func (o *outgoing) arrived(f flight) bool {
	for n, seq := range f.upto {
		if _, refused := o.unwanted[n]; !refused && o.has[n] < seq {
			return false
		}
	}
	return true
}

// cursor gives the place to read on from: origins that the other end refuses, or is about to get from their own node,
// are passed over.
func (o *outgoing) cursor(stored journal.Vector, now time.Time, patience time.Duration) journal.Vector {
	v := o.sent.Clone()
	for n := range o.unwanted {
		v[n] = math.MaxUint64
	}
	for n := range o.direct {
		if stored[n] <= o.sent[n] {
			delete(o.held, n)
			continue
		}
		since, ok := o.held[n]
		if !ok {
			since = now
			o.held[n] = now
		}
		if now.Sub(since) < patience {
			v[n] = math.MaxUint64
		}
	}
	return v
}

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

// send is the sender's goroutine.
func (l *link) send() error {
	pack, err := newPacker()
	if err != nil {
		return err
	}
	defer pack.enc.Close()
	moved, stop := l.f.j.Watch()
	defer stop()
	tick := time.NewTicker(l.f.o.Limits.Heartbeat / stateTicks)
	defer tick.Stop()
	for {
		if done, err := l.sendControl(); done || err != nil {
			return err
		}
		if l.isSettled() {
			if err := l.sendState(); err != nil {
				return err
			}
			more, err := l.sendRecords(pack)
			if err != nil {
				return err
			}
			if more {
				continue
			}
		}
		select {
		case <-l.ctx.Done():
			return nil
		case <-l.wake:
		case <-moved:
		case <-tick.C:
			if !l.isSettled() {
				l.post(&peerpb.Frame{Body: &peerpb.Frame_Ping{Ping: &peerpb.Ping{Nonce: 0}}})
			}
		}
	}
}

// sendControl sends what waits beside records. done: goodbye was said and the link has ended.
func (l *link) sendControl() (done bool, err error) {
	for {
		l.mu.Lock()
		frames, bye, byeErr := l.control, l.bye, l.byeErr
		l.control = nil
		l.mu.Unlock()
		l.flushed.fire()
		for _, frame := range frames {
			if err := l.sendFrame(frame); err != nil {
				return true, err
			}
		}
		if bye != nil {
			return true, l.sayGoodbye(bye, byeErr)
		}
		if len(frames) == 0 {
			return false, nil
		}
	}
}

// sayGoodbye sends the last frame and gives the other end time to read it and to hang up.
func (l *link) sayGoodbye(bye *peerpb.Goodbye, cause error) error {
	if err := l.sendFrame(&peerpb.Frame{Body: &peerpb.Frame_Goodbye{Goodbye: bye}}); err != nil {
		return err
	}
	if !l.dialed {
		return cause // returning from the handler closes the stream behind the frame
	}
	select {
	case <-l.ctx.Done():
	case <-time.After(goodbyeTime):
	}
	return cause
}

func (l *link) sendFrame(frame *peerpb.Frame) error {
	if err := l.stream.Send(frame); err != nil {
		if errors.Is(err, io.EOF) { // the stream has ended, and the reader is about to be told why
			select {
			case <-l.ctx.Done():
			case <-time.After(goodbyeTime):
			}
		}
		return fmt.Errorf("send to peer: %w", err)
	}
	return nil
}

// sendState acknowledges: at once if records came over this link, else when something moved, or to show life.
func (l *link) sendState() error {
	now := l.f.o.Now()
	l.mu.Lock()
	due := l.in.ackDue
	l.in.ackDue = false
	since := now.Sub(l.in.statedAt)
	l.mu.Unlock()
	if !due && since < l.f.o.Limits.Heartbeat/stateTicks {
		return nil
	}
	stored, applied := l.f.j.Stored(), l.f.j.Applied()
	l.mu.Lock()
	same := l.in.statedStored.Includes(stored) && l.in.statedApplied.Includes(applied)
	if !due && same && since < l.f.o.Limits.Heartbeat {
		l.mu.Unlock()
		return nil
	}
	l.in.statedStored, l.in.statedApplied, l.in.statedAt = stored, applied, now
	l.mu.Unlock()
	state := &peerpb.State{Stored: peerpb.FromVector(stored), Applied: peerpb.FromVector(applied)}
	for _, other := range l.f.settledLinks() {
		if n := other.peerNode(); other != l {
			state.Direct = append(state.Direct, n[:])
		}
	}
	if err := l.sendFrame(&peerpb.Frame{Body: &peerpb.Frame_State{State: state}}); err != nil {
		return err
	}
	if due {
		l.f.fault("receive.acked")
	}
	return nil
}

// sendRecords sends the next records that the other end lacks, if the window has room. more: there may be further ones.
func (l *link) sendRecords(pack *packer) (more bool, err error) {
	stored := l.f.j.Stored()
	l.mu.Lock()
	if l.out.bytes >= l.f.o.Limits.WindowBytes {
		l.mu.Unlock()
		return false, nil
	}
	from, epoch := l.out.cursor(stored, l.f.o.Now(), l.f.o.Limits.RelayPatience), l.out.epoch
	l.mu.Unlock()
	if from.Includes(stored) {
		return false, nil
	}
	recs, err := l.f.j.After(from, l.f.o.Limits.BatchBytes)
	if err != nil {
		return false, fmt.Errorf("read journal for peer: %w", err)
	}
	for len(recs) > 0 {
		n := together(recs, l.f.o.Limits.BatchBytes)
		if !l.depart(recs[:n], epoch) {
			return true, nil // asked to start again meanwhile
		}
		if err := l.sendBatch(pack, recs[:n], epoch); err != nil {
			return false, err
		}
		more, recs = true, recs[n:]
	}
	return more, nil
}

// together says how many of recs travel in one batch: a large one alone, so that it need not be copied.
func together(recs []journal.Raw, limit int) int {
	size := 0
	for i, r := range recs {
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

// depart notes records as sent.
func (l *link) depart(recs []journal.Raw, epoch uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out.epoch != epoch {
		return false
	}
	f := flight{upto: journal.Vector{}}
	for _, r := range recs {
		f.upto[r.ID.Origin] = max(f.upto[r.ID.Origin], r.ID.Seq)
		l.out.sent[r.ID.Origin] = max(l.out.sent[r.ID.Origin], r.ID.Seq)
		f.bytes += len(r.Bytes)
	}
	l.out.inflight = append(l.out.inflight, f)
	l.out.bytes += f.bytes
	return true
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

// onState takes in what the other end has.
func (l *link) onState(s *peerpb.State) error {
	stored, err := peerpb.ToVector(s.GetStored())
	if err != nil {
		return err
	}
	applied, err := peerpb.ToVector(s.GetApplied())
	if err != nil {
		return err
	}
	if len(s.GetDirect()) > peerpb.MaxOrigins {
		return errors.New("peer names too many links")
	}
	direct := map[journal.NodeID]bool{}
	me := l.f.j.Identity().Node
	for _, b := range s.GetDirect() {
		n, err := peerpb.ToNode(b)
		if err != nil {
			return err
		}
		direct[n] = n != me
	}
	delete(direct, me)
	l.mu.Lock()
	l.out.learn(stored, l.f.o.Now())
	l.out.direct, l.out.applied = direct, applied
	acked := l.out.has.Clone()
	node, name := l.remote.node, l.remote.name
	l.mu.Unlock()
	l.f.j.SetAcked(node.String(), acked)
	l.f.setBehind(me, stored[me], name)
	l.f.changed.fire()
	l.wake.ring()
	return nil
}

// onResend starts again from what is stored there.
func (l *link) onResend(r *peerpb.Resend) error {
	stored, err := peerpb.ToVector(r.GetStored())
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.out.start(stored)
	l.out.epoch = r.GetEpoch()
	l.mu.Unlock()
	l.wake.ring()
	return nil
}

// onRefuse stops sending an origin over this link.
func (l *link) onRefuse(r *peerpb.Refuse) error {
	origin, err := peerpb.ToNode(r.GetOrigin())
	if err != nil {
		return err
	}
	l.mu.Lock()
	full := len(l.out.unwanted) >= peerpb.MaxOrigins
	if !full {
		l.out.unwanted[origin] = r.GetMessage()
	}
	l.out.learn(nil, l.f.o.Now())
	l.mu.Unlock()
	if full {
		return errors.New("peer refuses too many origins")
	}
	why := fmt.Errorf("node %s refuses the records of %s: %s", l.peerName(), l.f.nameOf(origin), r.GetMessage())
	if r.GetFork() {
		why = fmt.Errorf("%w: %w", journal.ErrFork, why)
	}
	l.f.quarantined(l, origin, why)
	l.wake.ring()
	return nil
}
