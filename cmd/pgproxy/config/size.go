package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes, written with a unit: 256MB, 10GB, 512kB. Units are powers of 1024, as in postgresql.conf.
type Size int64

// Units of Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

var sizeUnits = []struct {
	suffix string
	unit   Size
}{{"tb", TiB}, {"gb", GiB}, {"mb", MiB}, {"kb", KiB}, {"b", 1}, {"", 1}}

// Set implements pflag.Value.
func (s *Size) Set(text string) error {
	t := strings.ToLower(strings.TrimSpace(text))
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(t, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > int64(1<<62/u.unit) {
			break
		}
		*s = Size(n) * u.unit
		return nil
	}
	return fmt.Errorf("%q is no size; write 256MB or 10GB", text)
}

// String implements pflag.Value.
func (s *Size) String() string {
	for _, u := range sizeUnits[:4] {
		if *s != 0 && *s%u.unit == 0 {
			return fmt.Sprintf("%d%s", *s/u.unit, strings.Replace(strings.ToUpper(u.suffix), "KB", "kB", 1))
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

// Type implements pflag.Value.
func (s *Size) Type() string { return "size" }
