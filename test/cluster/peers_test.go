package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgproxy/test/harness"
)

// TestPeerOfAnotherCluster: two nodes that each founded a cluster and were written to do not mix; both say why.
func TestPeerOfAnotherCluster(t *testing.T) {
	a := harness.NewProxy(t, harness.ProxyOptions{Name: "a", Upstream: harness.Postgres(t)})
	b := harness.NewProxy(t, harness.ProxyOptions{Name: "b", Upstream: harness.Postgres(t)})
	for _, p := range []*harness.Proxy{a, b} {
		harness.Query(t, p.DSN("postgres"), "CREATE TABLE mine (id int PRIMARY KEY); INSERT INTO mine VALUES (1)")
		p.Stop()
	}
	a.Peers, b.Peers = []string{"b=" + harness.Local(b.PeerPort)}, []string{"a=" + harness.Local(a.PeerPort)}
	a.Start()
	b.Start()
	awaitPeerError(t, a, "cluster")
	awaitPeerError(t, b, "cluster")
	for _, p := range []*harness.Proxy{a, b} { // and each goes on by itself
		harness.Query(t, p.DSN("postgres"), "INSERT INTO mine VALUES (2)")
		if r := p.Run("drain", "--timeout", "2s"); r.Code != 3 {
			t.Errorf("a drain that cannot succeed: %s", r)
		}
		if r := p.Run("verify"); r.Code != exitUnreachable {
			t.Errorf("verify with a peer that refuses: %s", r)
		}
	}
}

// awaitPeerError waits until a node's status tells why its first peer is not connected.
func awaitPeerError(t *testing.T, p *harness.Proxy, says string) {
	t.Helper()
	harness.WaitFor(t, drainTime, "node "+p.Name+" to say "+says, func() (bool, string) {
		s, err := p.Status()
		if err != nil || len(s.Peers) == 0 {
			return false, "no status"
		}
		return !s.Peers[0].Connected && strings.Contains(strings.ToLower(s.Peers[0].LastError), says), s.Peers[0].LastError
	})
}

// TestUnknownPeer: a peer that is configured under a name that is not its own.
func TestUnknownPeer(t *testing.T) {
	b := harness.NewProxy(t, harness.ProxyOptions{Name: "b", Upstream: harness.Postgres(t)})
	a := harness.NewProxy(t, harness.ProxyOptions{Name: "a", Upstream: harness.Postgres(t), Peers: []string{"x=" + harness.Local(b.PeerPort)}})
	awaitPeerError(t, a, "b")
	c := harness.NewProxy(t, harness.ProxyOptions{Name: "c", Upstream: harness.Postgres(t), Peers: []string{"d=" + harness.Local(harness.FreePort(t))}})
	awaitPeerError(t, c, "refused")
}

// TestCertificates: peers of one authority talk; one of another authority, and one without a certificate, is refused.
func TestCertificates(t *testing.T) {
	dir := harness.Dir(t, "certificates")
	ours, theirs := newAuthority(t, dir, "ours"), newAuthority(t, dir, "theirs")
	node := func(name string, ca authority, peers ...string) *harness.Proxy {
		cert, key := ca.issue(t, name)
		p := harness.PrepareProxy(t, harness.ProxyOptions{Name: name, Upstream: harness.Postgres(t), NoPeers: true, Peers: peers})
		p.Args = []string{"--peer-listen", harness.Local(p.PeerPort), "--peer-ca", ca.file, "--peer-cert", cert, "--peer-key", key}
		return p
	}
	a := node("a", ours)
	b := node("b", ours, "a="+harness.Local(a.PeerPort))
	a.Peers = []string{"b=" + harness.Local(b.PeerPort)}
	stranger := node("s", theirs, "a="+harness.Local(a.PeerPort))
	for _, p := range []*harness.Proxy{a, b} {
		p.Start()
	}
	harness.WaitFor(t, drainTime, "the two to be connected", func() (bool, string) {
		s, err := b.Status()
		return err == nil && s.Ready && len(s.Peers) == 1 && s.Peers[0].Connected, "not yet"
	})
	harness.Query(t, a.DSN("postgres"), "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
	a.Drain(drainTime)
	if r := b.Run("verify"); r.Code != 0 {
		t.Errorf("%s", r)
	}
	stranger.Start()
	awaitPeerError(t, stranger, "certificate")
	c, err := net.Dial("tcp", harness.Local(a.PeerPort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer := make([]byte, 64)
	if n, err := c.Read(answer); err == nil && strings.Contains(string(answer[:n]), "HTTP") {
		t.Errorf("plain text was answered: %q", answer[:n])
	}
}

// authority signs certificates.
type authority struct {
	dir, file string
	key       *ecdsa.PrivateKey
	cert      *x509.Certificate
}

func newAuthority(t *testing.T, dir, name string) authority {
	t.Helper()
	a := authority{dir: filepath.Join(dir, name), file: filepath.Join(dir, name, "ca.pem"), key: newKey(t)}
	if err := os.Mkdir(a.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	template := certificate(name)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// issue makes the certificate of a node.
func (a authority) issue(t *testing.T, name string) (cert, key string) {
	t.Helper()
	k, template := newKey(t), certificate(name)
	template.DNSNames, template.IPAddresses = []string{name, "localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	writePEM(t, cert, "CERTIFICATE", der)
	writePEM(t, key, "EC PRIVATE KEY", private)
	return cert, key
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
