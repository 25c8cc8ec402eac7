package forward

import (
	"errors"
	"fmt"
	"io"
	"time"

	"pgproxy/forward/peerpb"
	"pgproxy/journal"
)

// stateTicks is how often within a heartbeat the sender looks whether there is something new to tell.
const stateTicks = 4

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
			if err := errors.Join(l.sendState(), l.sendCheckpoint()); err != nil {
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
	if errors.Is(err, journal.ErrPruned) {
		// Never a gap: what is not kept any more cannot be sent, so nothing behind it is.
		l.end(peerpb.Goodbye_REFUSED, fmt.Errorf("re-seed needed: node %s lacks records that node %s does not keep any more: give it an empty data folder "+
			"and a copy of a current database, or connect it to a node that still has them", l.peerName(), l.f.o.Node))
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read journal for peer: %w", err)
	}
	for len(recs) > 0 {
		n := together(recs, l.f.o.Limits.BatchBytes)
		if !l.depart(recs[:n], epoch) {
			return true, nil // asked to start again meanwhile
		}
		if going, err := l.sendImages(pack, recs[0], epoch); !going {
			return true, err
		}
		if err := l.sendBatch(pack, recs[:n], epoch); err != nil {
			return false, err
		}
		more, recs = true, recs[n:]
	}
	return more, nil
}

// errRestart ends the sending of images: the other end has asked to start again.
var errRestart = errors.New("asked to start again")

// sendImages sends what belongs to a record and travels before it. It does not count in the window, since nothing
// of it is acknowledged before the record is: the other end takes it to its disk as it comes, and holds this one up meanwhile.
func (l *link) sendImages(pack *packer, r journal.Raw, epoch uint64) (going bool, err error) {
	err = l.f.j.Pieces(r, func(piece journal.Raw) error {
		l.mu.Lock()
		stale := l.out.epoch != epoch
		l.mu.Unlock()
		if stale {
			return errRestart
		}
		if err := l.sendBatch(pack, []journal.Raw{piece}, epoch); err != nil {
			return err
		}
		if done, err := l.sendControl(); done || err != nil {
			if err = errors.Join(err, l.ctx.Err()); err == nil {
				err = errRestart
			}
			return err
		}
		return l.sendState()
	})
	if err == nil || errors.Is(err, errRestart) {
		return err == nil, nil
	}
	return false, fmt.Errorf("send images of record %s: %w", r.ID, err)
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
