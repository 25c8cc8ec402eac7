package command

import (
	"io"
	"log/slog"
)

// newLogger makes the log of serve: text on a terminal, JSON elsewhere, unless the format is given.
func newLogger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // Validate has found it right
	o := &slog.HandlerOptions{Level: l}
	if format == "text" || format == "auto" && terminal(w) {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}
