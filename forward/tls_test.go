package forward

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
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
)

// authority makes certificates for tests.
type authority struct {
	t    testing.TB
	name string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-24 * time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, name, cert, key}
}

// issue makes a certificate for a node; change may spoil it.
func (a *authority) issue(name string, change func(*x509.Certificate)) TLSFiles {
	a.t.Helper()
	dir := a.t.TempDir()
	files := TLSFiles{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	a.issueTo(files, name, change)
	return files
}

func (a *authority) issueTo(files TLSFiles, name string, change func(*x509.Certificate)) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{files.CA: {Type: "CERTIFICATE", Bytes: a.cert.Raw},
		files.Cert: {Type: "CERTIFICATE", Bytes: der}, files.Key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (n *node) secured(files TLSFiles) *node {
	n.tune = func(o *Options) { o.Insecure, o.TLS = false, &files }
	return n
}

func TestTLS(t *testing.T) {
	noLeaks(t)
	ca := newAuthority(t, "ca")
	a, b := newNode(t, "a"), newNode(t, "b")
	mesh(a, b)
	a.secured(ca.issue("a", nil)).start()
	b.secured(ca.issue("b", func(c *x509.Certificate) { c.DNSNames = nil })).start() // by common name
	a.write(5)
	b.dials()
	equal(t, a, b)
}

// TestTLSRefusals has b with a certificate that is no good to a, which must not exchange a record and must say why.
func TestTLSRefusals(t *testing.T) {
	ca, foreign := newAuthority(t, "ca"), newAuthority(t, "foreign")
	for name, c := range map[string]struct {
		files func() TLSFiles
		clock time.Duration // of b
		atA   string        // what a says of b
		atB   string        // what b says of a
	}{
		"foreign": {func() TLSFiles { return foreign.issue("b", nil) }, 0, "not trusted here", "not trusted here"},
		"expired": {func() TLSFiles {
			return ca.issue("b", func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Now().Add(-3*time.Hour), time.Now().Add(-2*time.Hour)
			})
		}, -150 * time.Minute, "expired on", ""},
		"future": {func() TLSFiles {
			return ca.issue("b", func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Now().Add(3*time.Hour), time.Now().Add(4*time.Hour)
			})
		}, 200 * time.Minute, "is not valid before", ""},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			a, b := newNode(t, "a"), newNode(t, "b")
			mesh(a, b)
			a.secured(ca.issue("a", nil)).start()
			files := c.files()
			b.secured(files)
			secured := b.tune
			b.tune = func(o *Options) { secured(o); o.Now = func() time.Time { return time.Now().Add(c.clock) } }
			b.start()
			complains(t, a, "b", c.atA)
			if c.atB != "" {
				complains(t, b, "a", c.atB)
			}
			if len(b.j.Stored()) > 1 || len(a.j.Stored()) > 1 {
				t.Error("records passed")
			}
		})
	}
}

// TestTLSWrongName lets a node whose certificate is for c answer at the address of b.
func TestTLSWrongName(t *testing.T) {
	noLeaks(t)
	ca := newAuthority(t, "ca")
	a, c := newNode(t, "a"), newNode(t, "c")
	a.peers = []Peer{{"b", c.addr}}
	a.secured(ca.issue("a", nil)).start()
	c.secured(ca.issue("c", nil)).start()
	complains(t, a, "b", `certificate for ["c"], not for b`)
}

// TestTLSLiar lets a node call itself a name that its certificate does not carry.
func TestTLSLiar(t *testing.T) {
	noLeaks(t)
	ca := newAuthority(t, "ca")
	a, b := newNode(t, "a"), newNode(t, "b")
	b.dials(a)
	a.secured(ca.issue("a", nil)).start()
	b.secured(ca.issue("b", nil)).start()
	equal(t, a, b)
	b.stop()
	b.tune = func(o *Options) { o.TLS, o.Insecure = nil, true }
	f, err := New(b.options())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	keys, err := newKeyring(ca.issue("x", nil), "x", time.Now, testLog(t, "b"))
	if err != nil {
		t.Fatal(err)
	}
	f.keys = keys
	f.o.Listener.Close()
	f.o.Listener = nil
	go f.Run(t.Context())
	b.f, b.ran = nil, nil
	eventually(t, func() string {
		for _, s := range f.Status() {
			if strings.Contains(s.LastError, `showed a certificate for ["x"]`) {
				return ""
			}
		}
		return "the liar was not told"
	})
}

func TestPlaintextToTLS(t *testing.T) {
	noLeaks(t)
	ca := newAuthority(t, "ca")
	a, b := newNode(t, "a"), newNode(t, "b")
	a.dials(b).secured(ca.issue("a", nil)).start()
	b.dials(a).start()
	complains(t, a, "b", "no TLS spoken there")
	eventually(t, func() string {
		if s := statusOf(b, "a"); s.LastError == "" || s.Connected {
			return "b does not complain"
		}
		return ""
	})
}

// TestTLSVersion refuses what is older than 1.3, and who shows no certificate.
func TestTLSVersion(t *testing.T) {
	noLeaks(t)
	ca := newAuthority(t, "ca")
	a := newNode(t, "a").secured(ca.issue("a", nil)).start()
	own := ca.issue("b", nil)
	pair, err := tls.LoadX509KeyPair(own.Cert, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*tls.Config{
		"1.2":            {MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}},
		"no certificate": {},
	} {
		c.InsecureSkipVerify, c.NextProtos = true, []string{"h2"}
		conn, err := tls.Dial("tcp", a.addr, c)
		if err == nil {
			conn.SetReadDeadline(time.Now().Add(patience))
			buf := make([]byte, 1024)
			for err == nil {
				_, err = conn.Read(buf)
			}
			conn.Close()
		}
		if !strings.Contains(err.Error(), "remote error: tls") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

// TestTLSReload replaces the certificate of a running node, first by a broken one.
func TestTLSReload(t *testing.T) {
	noLeaks(t)
	ca := newAuthority(t, "ca")
	files := ca.issue("a", nil)
	keys, err := newKeyring(files, "a", time.Now, testLog(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	_, first := keys.current()
	if err := os.WriteFile(files.Cert, []byte("-----BEGIN CERTIFICATE-----\nhalf"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, now := keys.current(); now.Leaf.SerialNumber.Cmp(first.Leaf.SerialNumber) != 0 {
		t.Error("a broken file replaced the certificate")
	}
	ca.issueTo(files, "a", nil)
	if _, now := keys.current(); now.Leaf.SerialNumber.Cmp(first.Leaf.SerialNumber) == 0 {
		t.Error("the new certificate is not used")
	}
	ca.issueTo(files, "b", nil)
	if _, now := keys.current(); now.Leaf.DNSNames[0] != "a" {
		t.Error("another node's certificate is used")
	}
}

func TestOptionsRefusals(t *testing.T) {
	ca := newAuthority(t, "ca")
	good := ca.issue("a", nil)
	n := newNode(t, "a")
	base := func() Options {
		return Options{Journal: n.j, Node: "a", Rand: rand.Reader, Now: time.Now, Logger: testLog(t, "a")}
	}
	for want, change := range map[string]func(*Options){
		"--peer-insecure will do": func(o *Options) { o.Peers = []Peer{{"b", "127.0.0.1:1"}} },
		"plaintext":               func(o *Options) { o.Insecure, o.Peers = true, []Peer{{"b", "10.0.0.1:1"}} },
		"not a loopback address": func(o *Options) {
			o.Insecure = true
			l, err := net.Listen("tcp", "0.0.0.0:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			o.Listener = l
		},
		"this node itself":  func(o *Options) { o.TLS, o.Peers = &good, []Peer{{"a", "127.0.0.1:1"}} },
		"named twice":       func(o *Options) { o.TLS, o.Peers = &good, []Peer{{"b", "127.0.0.1:1"}, {"b", "127.0.0.1:2"}} },
		"same address":      func(o *Options) { o.TLS, o.Peers = &good, []Peer{{"b", "127.0.0.1:1"}, {"c", "127.0.0.1:1"}} },
		"not host:port":     func(o *Options) { o.TLS, o.Peers = &good, []Peer{{"b", "127.0.0.1"}} },
		"only letters":      func(o *Options) { o.Node = "a b" },
		"choose one":        func(o *Options) { o.TLS, o.Insecure = &good, true },
		"issue one with":    func(o *Options) { o.Node, o.TLS = "z", &good },
		"no certificate in": func(o *Options) { o.TLS = &TLSFiles{CA: good.Key, Cert: good.Cert, Key: good.Key} },
		"no such file":      func(o *Options) { o.TLS = &TLSFiles{CA: good.CA, Cert: good.Cert, Key: good.Key + "x"} },
		"private key does":  func(o *Options) { o.TLS = &TLSFiles{CA: good.CA, Cert: good.Cert, Key: ca.issue("a", nil).Key} },
		"serverAuth and": func(o *Options) {
			f := ca.issue("a", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] })
			o.TLS = &f
		},
	} {
		o := base()
		change(&o)
		f, err := New(o)
		if err == nil {
			f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}
