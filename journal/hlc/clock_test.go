package hlc

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is a wall clock that jumps, and a disk that keeps the high water.
type world struct {
	now     time.Time
	high    Time
	persist int
}

func (w *world) clock(maxAhead time.Duration) *Clock {
	return New(Options{
		Wall: func() time.Time { return w.now }, MaxAhead: maxAhead, Start: w.high,
		Persist: func(t Time) error { w.persist++; w.high = t; return nil },
	})
}

func start() *world { return &world{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

// TestNeverBack: whatever the wall clock does, whatever is observed, and however often the process starts again without
// a clean stop, times only rise.
func TestNeverBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := start()
		c := w.clock(time.Hour)
		var last Time
		t.Repeat(map[string]func(*rapid.T){
			"now": func(t *rapid.T) {
				now := c.Now()
				if now <= last {
					t.Fatalf("%s after %s", now, last)
				}
				last = now
			},
			"wall jumps": func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(t, "by")))
			},
			"observe": func(t *rapid.T) {
				seen := At(w.now.Add(time.Duration(rapid.Int64Range(-int64(2*time.Hour), int64(2*time.Hour)).Draw(t, "ahead"))))
				if err := c.Observe(seen); err == nil {
					if got := c.Now(); got <= seen {
						t.Fatalf("%s after %s was observed", got, seen)
					} else {
						last = got
					}
				} else if !errors.Is(err, ErrAhead) || seen.Wall().Sub(w.now) <= time.Hour {
					t.Fatalf("observe %s at %s: %v", seen, w.now, err)
				}
			},
			"crash": func(*rapid.T) { c = w.clock(time.Hour) },
			"stop": func(t *rapid.T) {
				if err := c.Release(); err != nil {
					t.Fatal(err)
				}
				c = w.clock(time.Hour)
			},
		})
	})
}

// TestFollowsTheWall: a clock that was never pushed is at its wall clock, and the counter never reaches far into the future.
func TestFollowsTheWall(t *testing.T) {
	w := start()
	c := w.clock(0)
	if got := c.Now(); got != At(w.now) {
		t.Errorf("first time %s", got)
	}
	for range 70000 {
		c.Now()
	}
	if ahead := c.Last().Wall().Sub(w.now); ahead > 2*time.Millisecond {
		t.Errorf("70000 times in one millisecond: %s ahead", ahead)
	}
	w.now = w.now.Add(time.Second)
	if got := c.Now(); got != At(w.now) {
		t.Errorf("a second later: %s", got)
	}
}

func TestLeaseSparesSyncs(t *testing.T) {
	w := start()
	c := w.clock(0)
	for range 10000 {
		w.now = w.now.Add(time.Millisecond)
		c.Now()
	}
	if w.persist > 4 {
		t.Errorf("%d syncs in ten seconds", w.persist)
	}
	before := w.persist
	if err := c.Release(); err != nil || w.persist != before+1 || w.high != c.Last() {
		t.Errorf("release: %v, high water %s, last %s", err, w.high, c.Last())
	}
}

func TestRefusesTheImpossible(t *testing.T) {
	w := start()
	c := w.clock(-1)
	for _, bad := range []Time{0, At(time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)), 1<<64 - 1} {
		if err := c.Observe(bad); !errors.Is(err, ErrAbsurd) {
			t.Errorf("observe %d: %v", bad, err)
		}
	}
	if got := c.Now(); got != At(w.now) {
		t.Errorf("the clock was dragged to %s", got)
	}
	if err := c.Observe(At(w.now.AddDate(50, 0, 0))); err != nil {
		t.Errorf("no limit: %v", err)
	}
	strict := start().clock(time.Minute)
	if err := strict.Observe(At(w.now.Add(61 * time.Second))); !errors.Is(err, ErrAhead) {
		t.Errorf("61 s ahead: %v", err)
	}
	if err := strict.Observe(At(w.now.Add(60 * time.Second))); err != nil {
		t.Errorf("60 s ahead: %v", err)
	}
}

func TestPersistFails(t *testing.T) {
	bad := errors.New("no space")
	w := start()
	c := New(Options{Wall: func() time.Time { return w.now }, Persist: func(Time) error { return bad }})
	if a, b := c.Now(), c.Now(); b <= a || !errors.Is(c.Err(), bad) {
		t.Errorf("%s, %s, %v", a, b, c.Err())
	}
}

func TestParts(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	v := At(at) + 9
	if !v.Wall().Equal(at) || v.Counter() != 9 || v.String() != "2026-01-02T03:04:05.678Z+9" || v.Millis() != at.UnixMilli() {
		t.Errorf("%s, %d", v, v.Counter())
	}
	if Time(0).String() != "never" || !At(time.Time{}).IsZero() {
		t.Error("no time")
	}
}
