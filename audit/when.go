package audit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// whenLayouts are the forms of a point in time; those without a zone are UTC, as everything pgproxy prints.
var whenLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02",
}

// ParseWhen reads a point in time: RFC 3339, a date with or without time (UTC), "now", or a distance back from now such
// as "10m", "1h30m ago", "2d".
func ParseWhen(s string, now time.Time) (time.Time, error) {
	s = strings.TrimSpace(s)
	if s == "now" {
		return now, nil
	}
	for _, l := range whenLayouts {
		if t, err := time.Parse(l, s); err == nil {
			return t, nil
		}
	}
	d, err := parseBack(strings.TrimSpace(strings.TrimSuffix(s, "ago")))
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no time; write 2026-01-31, 2026-01-31T13:00:00Z, 10m or '1h ago'", s)
	}
	return now.Add(-d), nil
}

// parseBack is time.ParseDuration with days and weeks, which people ask a journal for.
func parseBack(s string) (time.Duration, error) {
	unit := time.Duration(0)
	switch {
	case strings.HasSuffix(s, "d"):
		unit = 24 * time.Hour
	case strings.HasSuffix(s, "w"):
		unit = 7 * 24 * time.Hour
	}
	if unit == 0 {
		d, err := time.ParseDuration(strings.ReplaceAll(s, " ", ""))
		if err == nil && d < 0 {
			err = fmt.Errorf("negative")
		}
		return d, err
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 16)
	if err != nil {
		return 0, err
	}
	return time.Duration(n) * unit, nil
}
