package hlc

import (
	"fmt"
	"time"
)

// counterBits is the width of a Time's counter.
const counterBits = 16

// maxMillis is the first millisecond that no clock of this cluster can honestly show: 2200-01-01. A single absurd time
// would drag every clock with it for ever.
const maxMillis = 7258118400000

// Time is a hybrid logical time: 48 bits of milliseconds since the Unix epoch, then 16 bits of counter. Times compare
// as integers. Zero is "no time".
type Time uint64

// At gives the first hybrid time of w's millisecond; zero for times before 1970.
func At(w time.Time) Time {
	ms := w.UnixMilli()
	if ms <= 0 {
		return 0
	}
	return Time(ms) << counterBits
}

// Millis gives the milliseconds since the Unix epoch.
func (t Time) Millis() int64 { return int64(t >> counterBits) }

// Counter gives the logical part.
func (t Time) Counter() uint16 { return uint16(t) }

// Wall gives the physical part as a time in UTC.
func (t Time) Wall() time.Time { return time.UnixMilli(t.Millis()).UTC() }

// IsZero reports whether t is no time.
func (t Time) IsZero() bool { return t == 0 }

// String gives the physical part in RFC 3339 with milliseconds, a plus sign and the counter.
func (t Time) String() string {
	if t == 0 {
		return "never"
	}
	return fmt.Sprintf("%s+%d", t.Wall().Format("2006-01-02T15:04:05.000Z"), t.Counter())
}
