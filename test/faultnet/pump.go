package faultnet

import (
	"bufio"
	"net"
	"time"
)

// chunkBytes is how much is read at once, and how much of a frame a rule can look at.
const chunkBytes = 64 << 10

// queueChunks bounds what is under way in one direction while it is delayed.
const queueChunks = 256

// chunk is a piece of the stream on its way: raw bytes, or one frame (its beginning, if it is large).
type chunk struct {
	bytes []byte
	due   time.Time
	stop  *Rule // after these bytes the rule strikes
}

// pump carries one direction of a link until it ends, then closes it: half-closed connections are not imitated.
func (r *Relay) pump(l *link, d Direction) {
	from, to := l.client, l.target
	if d == FromTarget {
		from, to = to, from
	}
	queue := make(chan chunk, queueChunks)
	go func() {
		defer close(queue)
		r.read(l, from, d, queue)
	}()
	for c := range queue {
		if !r.write(l, d, to, c) {
			break
		}
	}
	r.change(l.close)
	for range queue { // let the reader end
	}
}

// read fills the queue from a connection.
func (r *Relay) read(l *link, from net.Conn, d Direction, queue chan<- chunk) {
	in := bufio.NewReaderSize(from, chunkBytes)
	s := scanner{startup: d == ToTarget, server: d == FromTarget, raw: !r.frames, asked: &l.asked}
	for {
		b, frame, err := s.next(in)
		if len(b) > 0 {
			c := chunk{bytes: b, due: r.due()}
			if frame != nil {
				if rule := r.strike(d, *frame); rule != nil {
					c.bytes, c.stop = b[:min(rule.After, len(b))], rule
				}
			}
			queue <- c
		}
		if err != nil {
			return
		}
	}
}

func (r *Relay) due() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Add(r.delay)
}

// write sends one chunk when it is due and the gate is open; false ends the link.
func (r *Relay) write(l *link, d Direction, to net.Conn, c chunk) bool {
	if wait := time.Until(c.due); wait > 0 {
		<-time.After(wait)
	}
	rate, open := r.pass(l, d)
	if !open {
		return false
	}
	for len(c.bytes) > 0 {
		b := c.bytes
		if rate > 0 {
			b = b[:min(len(b), max(1, rate/10))]
		}
		if _, err := to.Write(b); err != nil {
			return false
		}
		c.bytes = c.bytes[len(b):]
		r.count(d, len(b))
		if rate > 0 {
			<-time.After(time.Second * time.Duration(len(b)) / time.Duration(rate))
		}
	}
	if c.stop == nil {
		return true
	}
	defer close(c.stop.fired)
	if c.stop.Hold {
		r.change(func() { l.held = Both })
		return true
	}
	return false
}

// pass waits while the direction is held.
func (r *Relay) pass(l *link, d Direction) (rate int, open bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for (r.held|l.held)&d != 0 && !l.cut && !r.closed {
		r.gate.Wait()
	}
	return r.rate, !l.cut && !r.closed
}

func (r *Relay) count(d Direction, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passed[d] += int64(n)
}
