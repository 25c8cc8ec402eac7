package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// formatFlag adds -o with the given choices, the first of them the default.
func (c *cli) formatFlag(fs *pflag.FlagSet, to *string, choices ...string) {
	*to = choices[0]
	fs.VarP(&choice{to, choices}, "output", "o", strings.Join(choices, ", "))
}

// choice is a flag that takes one of some words.
type choice struct {
	to    *string
	words []string
}

func (f *choice) String() string { return *f.to }
func (f *choice) Type() string   { return "format" }
func (f *choice) Set(s string) error {
	for _, w := range f.words {
		if s == w {
			*f.to = s
			return nil
		}
	}
	return fmt.Errorf("it is none of %s", strings.Join(f.words, ", "))
}

// writeJSON writes v as one line.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// encodeLine is v as one line, without its end.
func encodeLine(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := writeJSON(&b, v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// bytesText is a size for people.
func bytesText(n int64) string {
	const step = 1024
	if n < step {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/step, 0
	for value >= step && unit < 3 {
		value /= step
		unit++
	}
	return fmt.Sprintf("%.1f %s", value, []string{"kB", "MB", "GB", "TB"}[unit])
}

// counted is "1 conflict" or "2 conflicts".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
