package cluster

import (
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgproxy/test/harness"
)

// TestTLSBothSides: a node that shows clients a certificate, and insists on the database's, for their sessions and its own.
func TestTLSBothSides(t *testing.T) {
	dir := harness.Dir(t, "tls")
	backCert, backKey := harness.Certificate(t, dir, "back")
	cert, key := harness.Certificate(t, dir, "front")
	pg := harness.Postgres(t, harness.Setting("ssl", "on"), harness.Setting("ssl_cert_file", backCert), harness.Setting("ssl_key_file", backKey),
		harness.HBA("hostssl all all 127.0.0.1/32 trust\n"))
	upstream := func(mode, root string) string {
		return fmt.Sprintf("host=127.0.0.1 port=%d user=postgres sslmode=%s sslrootcert=%s", pg.Port, mode, root)
	}
	p := harness.NewProxy(t, harness.ProxyOptions{Upstream: pg, UpstreamString: upstream("verify-full", backCert), NoPeers: true,
		Args: []string{"--tls-cert", cert, "--tls-key", key, "--tls-mode", "require"}})
	say := func(sql, params string) (string, error) {
		out, err := exec.Command(harness.Client(t, "psql"), "-XAt", "-d", fmt.Sprintf("host=localhost port=%d user=postgres dbname=postgres %s", p.Port, params), "-c", sql).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	full := "sslmode=verify-full sslrootcert=" + cert
	for _, sql := range []string{"CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)"} {
		if out, err := say(sql, full); err != nil {
			t.Fatalf("%s: %v %s", sql, err, out)
		}
	}
	if out, err := say("SELECT count(*) FILTER (WHERE ssl) > 1, count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE backend_type = 'client backend'", full); err != nil || out != "t|0" {
		t.Errorf("connections to the database with TLS, and without: %v %s", err, out)
	}
	if out, err := say("SELECT 1", "sslmode=disable"); err == nil || !strings.Contains(out, "sslmode=require") {
		t.Errorf("a client without TLS: %v %s", err, out)
	}
	renewed, renewedKey := harness.Certificate(t, dir, "renewed")
	for from, to := range map[string]string{renewed: cert, renewedKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Process().Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	harness.WaitFor(t, time.Minute, "the new certificate to be shown", func() (bool, string) {
		c, err := tls.Dial("tcp", harness.Local(p.Port), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"postgresql"}})
		if err != nil {
			return false, err.Error()
		}
		defer c.Close()
		name := c.ConnectionState().PeerCertificates[0].Subject.CommonName
		return name == "renewed", name
	})
	if out, err := say("SELECT count(*) FROM t", full); err != nil || out != "1" {
		t.Errorf("after SIGHUP: %v %s", err, out)
	}
	for mode, want := range map[string]string{"verify-full": "certificate", "disable": "no pg_hba.conf entry"} {
		bad := harness.PrepareProxy(t, harness.ProxyOptions{Name: "bad", Upstream: pg, UpstreamString: upstream(mode, cert), NoPeers: true, Unchecked: true})
		bad.Launch()
		<-bad.Process().Done()
		if log, _ := os.ReadFile(bad.Log); bad.Process().ExitCode() != 4 || !strings.Contains(string(log), want) {
			t.Errorf("sslmode=%s with another authority: code %d\n%s", mode, bad.Process().ExitCode(), log)
		}
	}
}
