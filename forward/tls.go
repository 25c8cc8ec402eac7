package forward

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// TLSFiles names the PEM files of this node: the authorities it trusts (one or more certificates), its own certificate
// with intermediates, and the certificate's key. They are read again when they change.
type TLSFiles struct {
	CA, Cert, Key string
}

// keyring holds what was read from the files. New handshakes look whether the files have changed; what is broken,
// half-written or expired does not replace what works.
type keyring struct {
	files TLSFiles
	node  string
	now   func() time.Time
	log   *slog.Logger

	mu      sync.Mutex
	stamp   [3]fileStamp
	tried   [3]fileStamp // of the newest attempt, good or bad
	pool    *x509.CertPool
	pair    tls.Certificate
	expires time.Time
}

type fileStamp struct {
	size int64
	at   time.Time
}

func newKeyring(files TLSFiles, node string, now func() time.Time, log *slog.Logger) (*keyring, error) {
	k := &keyring{files: files, node: node, now: now, log: log}
	stamp, err := k.stamps()
	if err != nil {
		return nil, err
	}
	if err := k.load(); err != nil {
		return nil, err
	}
	k.stamp, k.tried = stamp, stamp
	return k, nil
}

func (k *keyring) stamps() ([3]fileStamp, error) {
	var out [3]fileStamp
	for i, name := range []string{k.files.CA, k.files.Cert, k.files.Key} {
		info, err := os.Stat(name)
		if err != nil {
			return out, fmt.Errorf("look at certificate file: %w", err)
		}
		out[i] = fileStamp{info.Size(), info.ModTime()}
	}
	return out, nil
}

// load reads and checks all three files, and takes them over only together.
func (k *keyring) load() error {
	ca, err := os.ReadFile(k.files.CA)
	if err != nil {
		return fmt.Errorf("read authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return fmt.Errorf("read authority: %s holds no certificate in PEM form", k.files.CA)
	}
	pair, err := tls.LoadX509KeyPair(k.files.Cert, k.files.Key)
	if err != nil {
		return fmt.Errorf("read certificate %s and key %s: %w", k.files.Cert, k.files.Key, err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return fmt.Errorf("read certificate %s: %w", k.files.Cert, err)
	}
	pair.Leaf = leaf
	chain := []*x509.Certificate{leaf}
	for _, der := range pair.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("read certificate %s: %w", k.files.Cert, err)
		}
		chain = append(chain, c)
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if err := verifyChain(chain, pool, use, k.now()); err != nil {
			return fmt.Errorf("certificate %s: %w", k.files.Cert, err)
		}
	}
	if names := namesOf(leaf); !slices.Contains(names, k.node) {
		return fmt.Errorf("certificate %s is for %q: this node is %s, issue one with that DNS name", k.files.Cert, names, k.node)
	}
	k.pool, k.pair, k.expires = pool, pair, leaf.NotAfter
	return nil
}

// current gives what the files hold now, or, if that is no good, what they held before.
func (k *keyring) current() (*x509.CertPool, *tls.Certificate) {
	k.mu.Lock()
	defer k.mu.Unlock()
	stamp, err := k.stamps()
	if err == nil && stamp != k.stamp && stamp != k.tried {
		err = k.load()
		if err == nil {
			k.stamp = stamp
			k.log.Info("certificates were read again", "expires", k.expires)
		}
	}
	if err != nil && stamp != k.tried {
		k.log.Error("changed certificates are not used, the former ones go on", "error", err)
	}
	k.tried = stamp
	pair := k.pair
	return k.pool, &pair
}

// server gives the credentials of the listening side.
func (k *keyring) server() credentials.TransportCredentials {
	return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pool, pair := k.current()
		return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*pair}, NextProtos: []string{"h2"},
			ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true,
			VerifyConnection: func(s tls.ConnectionState) error {
				return verifyChain(s.PeerCertificates, pool, x509.ExtKeyUsageClientAuth, k.now())
			}}, nil
	}})
}

// client gives the credentials for dialing the node of that name: the certificate must name it, wherever it listens.
func (k *keyring) client(name string) credentials.TransportCredentials {
	pool, pair := k.current()
	return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*pair}, NextProtos: []string{"h2"},
		InsecureSkipVerify: true, // VerifyConnection does it, by node name in place of host name
		VerifyConnection: func(s tls.ConnectionState) error {
			if err := verifyChain(s.PeerCertificates, pool, x509.ExtKeyUsageServerAuth, k.now()); err != nil {
				return err
			}
			if names := namesOf(s.PeerCertificates[0]); !slices.Contains(names, name) {
				return &certificateError{fmt.Errorf("the node there has a certificate for %q, not for %s: correct --peer %s=ADDRESS, or its certificate", names, name, name)}
			}
			return nil
		}})
}

// namesOf lists the names that a certificate speaks for: its DNS names, or else its common name.
func namesOf(c *x509.Certificate) []string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames
	}
	return []string{c.Subject.CommonName}
}

// certificateError is a refusal of a certificate that says what to do.
type certificateError struct{ err error }

func (e *certificateError) Error() string { return e.err.Error() }
func (e *certificateError) Unwrap() error { return e.err }

// verifyChain checks a certificate and says in words what is wrong with it.
func verifyChain(chain []*x509.Certificate, pool *x509.CertPool, use x509.ExtKeyUsage, now time.Time) error {
	if len(chain) == 0 {
		return &certificateError{errors.New("no certificate was shown: set --peer-cert and --peer-key there")}
	}
	leaf := chain[0]
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}})
	if err == nil {
		return nil
	}
	who := fmt.Sprintf("certificate of %q (issued by %q)", namesOf(leaf), leaf.Issuer.CommonName)
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case now.Before(leaf.NotBefore):
		err = fmt.Errorf("%s is not valid before %s: is this node's clock right?", who, leaf.NotBefore.UTC().Format(time.DateTime))
	case now.After(leaf.NotAfter):
		err = fmt.Errorf("%s expired on %s: put a new one in its place, it is read without a restart", who, leaf.NotAfter.UTC().Format(time.DateTime))
	case errors.As(err, &unknown):
		err = fmt.Errorf("%s is of an authority that is not trusted here: all nodes need certificates of one authority (--peer-ca)", who)
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		err = fmt.Errorf("%s may not be used for both ends of a connection: issue it with extendedKeyUsage serverAuth and clientAuth", who)
	default:
		err = fmt.Errorf("%s: %w", who, err)
	}
	return &certificateError{err}
}
