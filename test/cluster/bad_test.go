package cluster

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgproxy/test/harness"
)

// Exit codes of pgproxy, as its command line promises them.
const (
	exitError       = 1
	exitUsage       = 2
	exitUnreachable = 4
)

// startLimit is how long a `serve` that cannot work may take to say so.
const startLimit = 40 * time.Second

// refused runs a serve that must not become ready, and checks its exit code and what it says.
func refused(t *testing.T, p *harness.Proxy, code int, says ...string) {
	t.Helper()
	p.Launch()
	select {
	case <-p.Process().Done():
	case <-time.After(startLimit):
		t.Fatalf("it neither works nor ends:\n%s", read(t, p.Log))
	}
	if got := p.Process().ExitCode(); got != code {
		t.Errorf("exit code %d, expected %d", got, code)
	}
	text := read(t, p.Log)
	for _, s := range says {
		if !regexp.MustCompile("(?i)" + s).MatchString(text) {
			t.Errorf("it does not say %q:\n%s", s, text)
		}
	}
	if strings.Contains(text, "goroutine ") {
		t.Errorf("it panicked:\n%s", text)
	}
}

// TestServeRefuses: what cannot work is refused at once, with a message that names the thing and an exit code.
func TestServeRefuses(t *testing.T) {
	server := harness.Postgres(t)
	locked := harness.Postgres(t, harness.Named("hba"), harness.HBA("host all all 127.0.0.1/32 scram-sha-256\n"))
	good := harness.NewProxy(t, harness.ProxyOptions{Upstream: server})
	taken := good.Port
	stranger := filepath.Join(harness.Dir(t, "files"), "file")
	if err := os.WriteFile(stranger, []byte("a file\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		options harness.ProxyOptions
		code    int
		says    []string
	}{
		"upstream that nobody listens at": {harness.ProxyOptions{UpstreamString: "host=127.0.0.1 port=1 user=postgres"}, exitUnreachable,
			[]string{`127\.0\.0\.1`, `refused`}},
		"upstream that is no PostgreSQL": {harness.ProxyOptions{UpstreamString: "host=127.0.0.1 user=postgres connect_timeout=3 port=" + web(t)},
			exitUnreachable, []string{`127\.0\.0\.1`}},
		"upstream with a wrong password": {harness.ProxyOptions{UpstreamString: locked.Upstream() + " password=wrong"}, exitUnreachable,
			[]string{`password`}},
		"upstream with an unknown role": {harness.ProxyOptions{UpstreamString: server.Upstream() + " user=nobody_here"}, exitUnreachable,
			[]string{`nobody_here`}},
		"upstream that cannot be read": {harness.ProxyOptions{UpstreamString: "host=127.0.0.1 port=many"}, exitUsage, []string{`port`}},
		"port taken":                   {harness.ProxyOptions{Upstream: server, Port: taken}, exitError, []string{`address already in use`}},
		"peer port taken":              {harness.ProxyOptions{Upstream: server, PeerPort: taken}, exitError, []string{`address already in use`}},
		"data folder of another node":  {harness.ProxyOptions{Upstream: server, Name: "b", Data: copied(t, good)}, exitError, []string{`another node`, `"?a"?`}},
		"data folder in use":           {harness.ProxyOptions{Upstream: server, Data: good.Data}, exitError, []string{`in use`}},
		"data folder that is a file":   {harness.ProxyOptions{Upstream: server, Data: stranger}, exitError, []string{`not a (directory|folder)`}},
		"data folder below a file":     {harness.ProxyOptions{Upstream: server, Data: stranger + "/x"}, exitError, []string{`not a (directory|folder)`}},
		"data folder on a closed disk": {harness.ProxyOptions{Upstream: server, Data: "/proc/pgproxy"}, exitError, []string{`/proc/pgproxy`}},
		"peer without name":            {harness.ProxyOptions{Upstream: server, Peers: []string{"127.0.0.1:1"}}, exitUsage, []string{`--peer`}},
		"peer of its own name":         {harness.ProxyOptions{Upstream: server, Peers: []string{"a=127.0.0.1:1"}}, exitUsage, []string{`own peer`}},
		"unknown flag":                 {harness.ProxyOptions{Upstream: server, Args: []string{"--no-such-flag"}}, exitUsage, []string{`no-such-flag`}},
		"certificate that is none": {harness.ProxyOptions{Upstream: server, NoPeers: true, Args: []string{"--peer-listen", "127.0.0.1:0", "--peer-ca", stranger,
			"--peer-cert", stranger, "--peer-key", stranger}}, exitUsage, []string{`certificate`}},
		"peers without certificates": {harness.ProxyOptions{Upstream: server, NoPeers: true, Args: []string{"--peer-listen", "127.0.0.1:0"}}, exitUsage,
			[]string{`--peer-ca`}},
	} {
		t.Run(name, func(t *testing.T) {
			p := harness.PrepareProxy(t, c.options)
			p.Unchecked = true
			refused(t, p, c.code, c.says...)
		})
	}
	t.Run("none of it harmed who was there", func(t *testing.T) {
		if got := harness.Query(t, good.DSN("postgres"), "SELECT 1"); got[0] != "1" {
			t.Errorf("%v", got)
		}
	})
}

// copied gives a copy of a node's data folder, as it would be after its end.
func copied(t *testing.T, p *harness.Proxy) string {
	t.Helper()
	dir := filepath.Join(harness.Dir(t, "copy"), "data")
	other := harness.NewProxy(t, harness.ProxyOptions{Upstream: p.Upstream, Data: dir})
	other.Stop()
	return dir
}

// TestCommandsRefuse: commands that are asked for what is not there.
func TestCommandsRefuse(t *testing.T) {
	p := harness.NewProxy(t, harness.ProxyOptions{Upstream: harness.Postgres(t)})
	empty := harness.Dir(t, "empty")
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no such command":           {[]string{"fly"}, exitUsage, `unknown command`},
		"no such peer":              {[]string{"drain", "--data-dir", p.Data, "--peer", "nobody"}, exitUsage, `nobody`},
		"no such record":            {[]string{"journal", "show", "--data-dir", p.Data, "a/999999"}, exitError, `a/999999`},
		"a record that is none":     {[]string{"journal", "show", "--data-dir", p.Data, "nonsense"}, exitUsage, `nonsense`},
		"no such outcome":           {[]string{"journal", "ls", "--data-dir", p.Data, "--outcome", "maybe"}, exitUsage, `maybe`},
		"a time that is none":       {[]string{"journal", "ls", "--data-dir", p.Data, "--since", "soonish"}, exitUsage, `soonish`},
		"status of nobody":          {[]string{"status", "--data-dir", empty}, exitError, `.`},
		"drain of a stopped node":   {[]string{"drain", "--data-dir", empty}, exitUnreachable, `not running`},
		"journal that is not there": {[]string{"journal", "ls", "--data-dir", empty + "/x"}, exitError, `no such|not there|no journal`},
	} {
		t.Run(name, func(t *testing.T) {
			r := harness.RunBinary(t, p.Binary, c.args...)
			if r.Code != c.code || !regexp.MustCompile("(?i)"+c.says).MatchString(r.Stderr) {
				t.Errorf("expected code %d and %q: %s", c.code, c.says, r)
			}
		})
	}
}
