package capture

import (
	"fmt"
	"math"
	"strconv"
)

const (
	usecsPerSecond = 1_000_000
	usecsPerDay    = 86_400 * usecsPerSecond
	// epochDay is the Julian day of 2000-01-01, from which dates and timestamps count.
	epochDay = 2_451_545
)

func appendDate(dst, b []byte) []byte {
	switch d := int32(be32(b)); d {
	case math.MaxInt32:
		return append(dst, "infinity"...)
	case math.MinInt32:
		return append(dst, "-infinity"...)
	default:
		dst, bc := appendDay(dst, int64(d))
		return appendBC(dst, bc)
	}
}

// appendDay prints a day since 2000-01-01 as year-month-day, and tells whether " BC" belongs behind it all.
func appendDay(dst []byte, day int64) ([]byte, bool) {
	y, m, d := civil(day + epochDay)
	bc := y <= 0
	if bc {
		y = 1 - y
	}
	return fmt.Appendf(dst, "%04d-%02d-%02d", y, m, d), bc
}

func appendBC(dst []byte, bc bool) []byte {
	if bc {
		return append(dst, " BC"...)
	}
	return dst
}

// civil turns a Julian day into a proleptic Gregorian date; year 0 is 1 BC.
func civil(julian int64) (year, month, day int64) {
	z := julian - 1_721_120 // days since 0000-03-01
	era := z / 146_097
	if z < 0 {
		era = (z - 146_096) / 146_097
	}
	doe := z - era*146_097
	yoe := (doe - doe/1460 + doe/36_524 - doe/146_096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day = doy - (153*mp+2)/5 + 1
	month = mp + 3
	year = yoe + era*400
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, day
}

// appendClock prints microseconds of a day, the fraction without trailing zeros.
func appendClock(dst []byte, us int64) []byte {
	s := us / usecsPerSecond
	dst = fmt.Appendf(dst, "%02d:%02d:%02d", s/3600, s/60%60, s%60)
	return appendFraction(dst, us%usecsPerSecond)
}

func appendFraction(dst []byte, us int64) []byte {
	if us == 0 {
		return dst
	}
	dst = fmt.Appendf(dst, ".%06d", us)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

func appendTime(dst, b []byte) []byte { return appendClock(dst, int64(be64(b))) }

func appendTimetz(dst, b []byte) []byte {
	return appendZone(appendClock(dst, int64(be64(b))), -int64(int32(be32(b[8:]))))
}

// appendZone prints an offset east of Greenwich in seconds, minutes and seconds only where they are not zero.
func appendZone(dst []byte, east int64) []byte {
	sign := byte('+')
	if east < 0 {
		sign, east = '-', -east
	}
	dst = append(dst, sign)
	dst = fmt.Appendf(dst, "%02d", east/3600)
	if east%3600 != 0 {
		dst = fmt.Appendf(dst, ":%02d", east/60%60)
	}
	if east%60 != 0 {
		dst = fmt.Appendf(dst, ":%02d", east%60)
	}
	return dst
}

func appendTimestamp(dst, b []byte) []byte   { return appendMoment(dst, int64(be64(b)), "") }
func appendTimestamptz(dst, b []byte) []byte { return appendMoment(dst, int64(be64(b)), "+00") }

func appendMoment(dst []byte, us int64, zone string) []byte {
	switch us {
	case math.MaxInt64:
		return append(dst, "infinity"...)
	case math.MinInt64:
		return append(dst, "-infinity"...)
	}
	day, rest := us/usecsPerDay, us%usecsPerDay
	if rest < 0 {
		day, rest = day-1, rest+usecsPerDay
	}
	dst, bc := appendDay(dst, day)
	dst = appendClock(append(dst, ' '), rest)
	return appendBC(append(dst, zone...), bc)
}

// appendInterval prints an interval in the style "postgres".
func appendInterval(dst, b []byte) []byte {
	us, days, months := int64(be64(b)), int64(int32(be32(b[8:]))), int64(int32(be32(b[12:])))
	if us == math.MaxInt64 && days == math.MaxInt32 && months == math.MaxInt32 {
		return append(dst, "infinity"...) // since 17
	}
	if us == math.MinInt64 && days == math.MinInt32 && months == math.MinInt32 {
		return append(dst, "-infinity"...)
	}
	start, negative := len(dst), false
	part := func(n int64, unit string) {
		if n == 0 {
			return
		}
		if len(dst) > start {
			dst = append(dst, ' ')
		}
		if negative && n > 0 {
			dst = append(dst, '+') // a sign is repeated once one was negative
		}
		dst = strconv.AppendInt(dst, n, 10)
		dst = append(dst, ' ')
		dst = append(dst, unit...)
		if n != 1 {
			dst = append(dst, 's')
		}
		negative = n < 0
	}
	part(months/12, "year")
	part(months%12, "mon")
	part(days, "day")
	if us == 0 && len(dst) > start {
		return dst
	}
	if len(dst) > start {
		dst = append(dst, ' ')
	}
	switch {
	case us < 0:
		dst = append(dst, '-')
	case negative:
		dst = append(dst, '+')
	}
	u := uint64(us)
	if us < 0 {
		u = -u
	}
	s := u / usecsPerSecond
	dst = fmt.Appendf(dst, "%02d:%02d:%02d", s/3600, s/60%60, s%60)
	return appendFraction(dst, int64(u%usecsPerSecond))
}
