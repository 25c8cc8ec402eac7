package forward

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"pgproxy/forward/peerpb"
)

// answersAhead is how many answers to one question may wait to be read.
const answersAhead = 64

// asksPerLink bounds the questions that the other end may have open.
const asksPerLink = 8

// askers are the questions that this node has put to the other end of a link and that are not fully answered, and those
// that it works on for the other end.
type askers struct {
	mu      sync.Mutex
	next    uint64
	open    map[uint64]chan *peerpb.Answer
	working map[uint64]context.CancelFunc
	workers sync.WaitGroup
}

// deliver hands an answer to who asked; one that nobody waits for is dropped. Called by the reader, never waits.
func (a *askers) deliver(ans *peerpb.Answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, ok := a.open[ans.GetId()]
	if !ok {
		return
	}
	select {
	case c <- ans:
	default: // far more than was asked for: the question fails
		delete(a.open, ans.GetId())
		close(c)
	}
}

// ask puts a question to the other end and hands its answers to each, in order.
func (l *link) ask(ctx context.Context, q *peerpb.Ask, each func(*peerpb.Answer) error) error {
	a := &l.asked
	c := make(chan *peerpb.Answer, answersAhead)
	a.mu.Lock()
	a.next++
	id := a.next
	if a.open == nil {
		a.open = map[uint64]chan *peerpb.Answer{}
	}
	a.open[id] = c
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.open, id)
		a.mu.Unlock()
	}()
	question := &peerpb.Ask{Id: id, Question: q.Question}
	l.post(&peerpb.Frame{Body: &peerpb.Frame_Ask{Ask: question}})
	for {
		select {
		case ans, ok := <-c:
			switch {
			case !ok:
				return errors.New("peer answers more than was asked for")
			case ans.GetError() != "":
				return fmt.Errorf("node %s: %s", l.peerName(), ans.GetError())
			}
			if err := each(ans); err != nil || !ans.GetMore() {
				return err
			}
		case <-ctx.Done():
			l.post(&peerpb.Frame{Body: &peerpb.Frame_Ask{Ask: &peerpb.Ask{Id: id, Question: &peerpb.Ask_Cancel{Cancel: &peerpb.AskCancel{}}}}})
			return ctx.Err()
		case <-l.ctx.Done():
			return fmt.Errorf("%w: the link to %s broke", ErrUnreachable, l.peerName())
		}
	}
}

// onAsk works on a question in a goroutine of its own, which ends with the link.
func (l *link) onAsk(q *peerpb.Ask) {
	a := &l.asked
	a.mu.Lock()
	defer a.mu.Unlock()
	if q.GetCancel() != nil {
		if stop, ok := a.working[q.GetId()]; ok {
			stop()
		}
		return
	}
	if a.working == nil {
		a.working = map[uint64]context.CancelFunc{}
	}
	if _, twice := a.working[q.GetId()]; twice || len(a.working) >= asksPerLink {
		l.postAnswer(&peerpb.Answer{Id: q.GetId(), Error: "too many questions at once"})
		return
	}
	ctx, stop := context.WithCancel(l.ctx)
	a.working[q.GetId()] = stop
	a.workers.Go(func() {
		err := l.f.answer(ctx, q, func(ans *peerpb.Answer) error {
			ans.Id, ans.More = q.GetId(), true
			l.postAnswer(ans)
			return ctx.Err()
		})
		stop()
		a.mu.Lock()
		delete(a.working, q.GetId())
		a.mu.Unlock()
		last := &peerpb.Answer{Id: q.GetId()}
		if err != nil {
			last.Error = err.Error()
		}
		l.postAnswer(last)
	})
}

// maxWaiting is how many frames may wait to be sent before a worker waits for them.
const maxWaiting = 32

// postAnswer queues an answer. Workers wait for room; the reader, which posts refusals too, must not.
func (l *link) postAnswer(a *peerpb.Answer) {
	for a.GetMore() {
		flushed := l.flushed.wait()
		l.mu.Lock()
		room := len(l.control) < maxWaiting
		l.mu.Unlock()
		if room {
			break
		}
		select {
		case <-flushed:
		case <-l.ctx.Done():
			return
		}
	}
	l.post(&peerpb.Frame{Body: &peerpb.Frame_Answer{Answer: a}})
}
