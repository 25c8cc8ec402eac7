package hlc

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// DefaultMaxAhead is how far a time from elsewhere may be ahead of this node's wall clock.
const DefaultMaxAhead = 60 * time.Second

// DefaultLease is how far ahead of the clock its high water is made durable.
const DefaultLease = 5 * time.Second

// Errors of Observe.
var (
	// ErrAhead is returned for a time further ahead of the wall clock than allowed. The clock was not moved; the same
	// time may be accepted later.
	ErrAhead = errors.New("time is too far in the future")
	// ErrAbsurd is returned for a time that no clock can honestly show: zero, or after the year 2200.
	ErrAbsurd = errors.New("time is impossible")
)

// Options make a Clock.
type Options struct {
	// Wall is the wall clock. Required.
	Wall func() time.Time
	// MaxAhead bounds what Observe accepts; 0 is DefaultMaxAhead, negative is no bound but the absurd.
	MaxAhead time.Duration
	// Start is the high water of the last run: every time given will be later.
	Start Time
	// Persist makes a high water durable. It is called with the clock locked, at most once in a Lease while the clock is
	// busy, and must not call the clock. Nil: nothing is kept over a restart.
	Persist func(Time) error
	// Lease is how far ahead Persist is called; 0 is DefaultLease.
	Lease time.Duration
}

// Clock gives times. It is safe for concurrent use.
type Clock struct {
	wall     func() time.Time
	persist  func(Time) error
	maxAhead time.Duration
	lease    time.Duration

	mu     sync.Mutex
	last   Time // the latest time given or observed
	leased Time // made durable: up to here no time needs a sync
	err    error
}

// New makes a clock that goes on after o.Start.
func New(o Options) *Clock {
	c := &Clock{wall: o.Wall, persist: o.Persist, maxAhead: o.MaxAhead, lease: o.Lease, last: o.Start, leased: o.Start}
	if c.maxAhead == 0 {
		c.maxAhead = DefaultMaxAhead
	}
	if c.lease <= 0 {
		c.lease = DefaultLease
	}
	return c
}

// Now gives a time later than any given or observed before. It does not fail: where the high water cannot be made
// durable, times go on and Err says so (a time that matters over a restart is in a record, and so durable by itself).
func (c *Clock) Now() Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := At(c.wall())
	if t <= c.last {
		t = c.last + 1
	}
	c.last = t
	c.extend()
	return t
}

// extend renews the lease if the clock has reached its end. The caller holds mu.
func (c *Clock) extend() {
	if c.persist == nil || c.last <= c.leased {
		return
	}
	high := c.last + Time(c.lease.Milliseconds())<<counterBits
	if c.err = c.persist(high); c.err == nil {
		c.leased = high
	}
}

// Last gives the latest time given or observed, without moving the clock.
func (c *Clock) Last() Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// Err gives the error of the last attempt to make the high water durable; nil if it succeeded.
func (c *Clock) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Check refuses impossible times without moving the clock: ErrAbsurd, ErrAhead.
func (c *Clock) Check(t Time) error {
	if t == 0 || t.Millis() >= maxMillis {
		return fmt.Errorf("%w: %s", ErrAbsurd, t)
	}
	if c.maxAhead < 0 {
		return nil
	}
	if wall := c.wall(); t.Wall().Sub(wall) > c.maxAhead {
		return fmt.Errorf("%w: %s is %s ahead of this node's clock (at most %s)",
			ErrAhead, t, t.Wall().Sub(wall).Round(time.Millisecond), c.maxAhead)
	}
	return nil
}

// Observe moves the clock past t, which came from elsewhere. It refuses what Check refuses.
func (c *Clock) Observe(t Time) error {
	if err := c.Check(t); err != nil {
		return err
	}
	c.Advance(t)
	return nil
}

// Advance moves the clock past t without asking whether t is possible: for times that this node itself has kept.
func (c *Clock) Advance(t Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last, t)
}

// Release gives the unused rest of the lease back at a clean stop, so that the next start is not ahead of the wall clock.
func (c *Clock) Release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.persist == nil {
		return nil
	}
	if c.err = c.persist(c.last); c.err == nil {
		c.leased = c.last
	}
	return c.err
}
