package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// load parses a command line, a file and an environment as serve does.
func load(t *testing.T, args []string, file string, env ...string) (*Config, []string, error) {
	t.Helper()
	c := Default()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	c.Bind(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "f.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	warnings, err := Load(fs, path, env)
	return c, warnings, err
}

func TestOrder(t *testing.T) {
	file := "node: file\ndata-dir: file\nupstream: file\nlisten: [\"file:1\", \"file:2\"]\nmax-clients: 5\n"
	c, _, err := load(t, []string{"--node", "flag", "--listen", "flag:1"}, file, "PGPROXY_NODE=env", "PGPROXY_DATA_DIR=env", "PGPROXY_LISTEN=env:1,env:2", "OTHER=x")
	if err != nil {
		t.Fatal(err)
	}
	if c.Node != "flag" || c.DataDir != "env" || c.Upstream != "file" || c.MaxClients != 5 || c.LogLevel != "info" {
		t.Errorf("%+v", c)
	}
	if len(c.Listen) != 1 || c.Listen[0] != "flag:1" {
		t.Errorf("listen is %v: flags replace the default, and win", c.Listen)
	}
}

func TestLists(t *testing.T) {
	for _, file := range []string{"peer: [b=h:1, c=h:2]", "peer:\n  b: h:1\n  c: h:2\n"} {
		c, _, err := load(t, nil, file)
		if err != nil || strings.Join(c.Peers, " ") != "b=h:1 c=h:2" {
			t.Errorf("%q: %v, %v", file, c.Peers, err)
		}
	}
	c, _, err := load(t, nil, "", "PGPROXY_PEER=b=h:1, c=h:2")
	if err != nil || strings.Join(c.Peers, " ") != "b=h:1 c=h:2" {
		t.Errorf("environment: %v, %v", c.Peers, err)
	}
}

func TestValuesAreTakenAsWritten(t *testing.T) {
	c, _, err := load(t, nil, "upstream: 'password=a$HOME$$b'\njournal-max: 3GB\nshutdown-timeout: 1m\njournal_sync: false\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.Upstream != "password=a$HOME$$b" || c.JournalMax != 3*GiB || c.ShutdownTimeout != time.Minute || c.JournalSync {
		t.Errorf("%+v", c)
	}
}

func TestBadFiles(t *testing.T) {
	for file, want := range map[string]string{
		"node: a\ndata-dri: x\n":           `f.yaml:2: unknown key "data-dri"; did you mean "data-dir"?`,
		"peers: [a=b:1]\n":                 `did you mean "peer"?`,
		"zzz: 1\n":                         `f.yaml:1: unknown key "zzz"`,
		"node: a\nlog-level: x\nnode: b\n": `f.yaml:3: key "node" stands already in line 1`,
		"data-dir: a\ndata_dir: b\n":       `f.yaml:2: key "data_dir" stands already in line 1`,
		"max-clients: many\n":              `f.yaml:1: max-clients: "many" does not do`,
		"node: [a, b]\n":                   "f.yaml:1: node:",
		"node:\n":                          "f.yaml:1: node: a value is missing",
		"- a\n":                            "not a list of",
		"node: a\n---\nnode: b\n":          "more than one document",
		"node: 'a\n":                       "f.yaml",
		"peer: {b: h:1, b: h:2}\n":         "twice",
		"config: x\n":                      `unknown key "config"`,
	} {
		if _, _, err := load(t, nil, file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", file, err, want)
		}
	}
	if _, _, err := load(t, []string{"--node", "x"}, "node: [a]"); err == nil {
		t.Error("a wrong value in the file is not noticed if a flag wins")
	}
	if _, err := Load(pflag.NewFlagSet("", 0), "/nonexistent/file", nil); err == nil {
		t.Error("missing file is no error")
	}
}

func TestEnvironment(t *testing.T) {
	_, warnings, err := load(t, nil, "", "PGPROXY_DATADIR=x", "PGPROXY_SEED=7", "PGPROXY_FAULT=commit.sent:2")
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], `PGPROXY_DATADIR is no setting; did you mean "DATA_DIR"?`) {
		t.Errorf("%v, %v", warnings, err)
	}
	if _, _, err := load(t, nil, "", "PGPROXY_MAX_CLIENTS=x"); err == nil || !strings.Contains(err.Error(), "PGPROXY_MAX_CLIENTS") {
		t.Errorf("error %v", err)
	}
}

func TestSampleHasEverySetting(t *testing.T) {
	all := strings.ReplaceAll(strings.ReplaceAll(Sample, "\n#", "\n"), "\n ", "\n#")
	// Commented settings become settings; prose lines stay comments because they are not "key: value".
	lines := []string{}
	for _, l := range strings.Split(all, "\n") {
		key, _, ok := strings.Cut(l, ":")
		if ok && !strings.ContainsAny(key, " #") {
			lines = append(lines, key)
		}
	}
	c := Default()
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.Bind(fs)
	fs.VisitAll(func(f *pflag.Flag) {
		found := false
		for _, l := range lines {
			found = found || l == f.Name
		}
		if !found {
			t.Errorf("the sample lacks %s", f.Name)
		}
	})
	c, _, err := load(t, nil, Sample)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if len(c.PeerList()) != 2 || c.PeerList()[0] != (Peer{"paris", "paris.example:7433"}) || len(c.Listen) != 2 {
		t.Errorf("%+v", c)
	}
}

func FuzzFile(f *testing.F) {
	f.Add(Sample)
	f.Add("a: &a [*a]")
	f.Add("? {a: b}\n: c")
	f.Fuzz(func(t *testing.T, text string) {
		c := Default()
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		c.Bind(fs)
		_ = applyFile(fs, "f", []byte(text), map[string]bool{})
		_ = c.Validate()
	})
}
