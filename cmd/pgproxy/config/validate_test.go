package config

import (
	"strings"
	"testing"
)

func valid() *Config {
	c := Default()
	c.Node, c.DataDir, c.Upstream = "a", "/x", "host=/tmp user=u"
	c.PeerListen, c.Peers, c.PeerInsecure = "127.0.0.1:0", []string{"b=localhost:2", "c=[::1]:3"}, true
	return c
}

func TestValid(t *testing.T) {
	if err := valid().Validate(); err != nil {
		t.Error(err)
	}
	c := valid()
	c.Peers, c.PeerListen, c.PeerInsecure = nil, "", false
	if err := c.Validate(); err != nil {
		t.Errorf("alone: %v", err)
	}
}

func TestInvalid(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"--node is missing":              func(c *Config) { c.Node = "" },
		`name "a/b"`:                     func(c *Config) { c.Node = "a/b" },
		"1 to 63":                        func(c *Config) { c.Node = strings.Repeat("a", 64) },
		"--data-dir is missing":          func(c *Config) { c.DataDir = "" },
		"--listen is missing":            func(c *Config) { c.Listen = nil },
		`"5432" is not host:port`:        func(c *Config) { c.Listen = []string{"5432"} },
		`"x" is no port`:                 func(c *Config) { c.Listen = []string{"h:x"} },
		"--upstream":                     func(c *Config) { c.Upstream = "host=/tmp port=abc" },
		"not name=host:port":             func(c *Config) { c.Peers = []string{"b"} },
		"not its own peer":               func(c *Config) { c.Peers = []string{"a=localhost:1"} },
		"given twice":                    func(c *Config) { c.Peers = []string{"b=localhost:1", "b=localhost:2"} },
		"has the same address":           func(c *Config) { c.Peers = []string{"b=localhost:1", "c=localhost:1"} },
		"exclude each other":             func(c *Config) { c.PeerCA = "x" },
		"needed together":                func(c *Config) { c.PeerInsecure, c.PeerCA = false, "x" },
		"peers need certificates":        func(c *Config) { c.PeerInsecure = false },
		"10.0.0.1:1 is none":             func(c *Config) { c.Peers = []string{"b=10.0.0.1:1"} },
		"0.0.0.0:1 is none":              func(c *Config) { c.PeerListen = "0.0.0.0:1" },
		"--tls-key are needed together":  func(c *Config) { c.TLSCert = "x" },
		"--tls-mode \"maybe\"":           func(c *Config) { c.TLSMode = "maybe" },
		"--tls-mode require needs":       func(c *Config) { c.TLSMode = "require" },
		"is not schema.table":            func(c *Config) { c.ExcludeTables = []string{"t"} },
		"--unreplicable \"maybe\"":       func(c *Config) { c.Unreplicable = "maybe" },
		"--max-clients 0":                func(c *Config) { c.MaxClients = 0 },
		"--journal-segment 1":            func(c *Config) { c.JournalSegment = 1 },
		"at least two segments":          func(c *Config) { c.JournalMax = MiB },
		"--transaction-max":              func(c *Config) { c.TransactionMax = 0 },
		"--shutdown-timeout is negative": func(c *Config) { c.ShutdownTimeout = -1 },
		"--log-level":                    func(c *Config) { c.LogLevel = "loud" },
		"--log-format":                   func(c *Config) { c.LogFormat = "xml" },
	} {
		c := valid()
		change(c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "12": 12, "12B": 12, "1kB": KiB, "256MB": 256 * MiB, "10 gb": 10 * GiB, "1TB": TiB} {
		var s Size
		if err := s.Set(text); err != nil || s != want {
			t.Errorf("%q is %d, %v", text, s, err)
		}
		var again Size
		if err := again.Set(s.String()); err != nil || again != s {
			t.Errorf("%q is written as %q", text, s.String())
		}
	}
	for _, text := range []string{"", "MB", "-1", "1.5GB", "9999999999TB", "1 MiB"} {
		if err := new(Size).Set(text); err == nil {
			t.Errorf("%q is a size", text)
		}
	}
}
