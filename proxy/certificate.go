package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Certificate is what pgproxy shows to clients: a PEM file with the certificate and its intermediates, and one with the key.
// Each new connection looks whether the files have changed. A pair that does not belong together, is half-written or cannot
// be read does not replace the one that works. Safe for concurrent use.
type Certificate struct {
	cert, key string
	log       *slog.Logger

	mu    sync.Mutex // guards what follows
	tried [2]fileStamp
	pair  *tls.Certificate
}

// fileStamp tells one content of a file from another.
type fileStamp struct {
	size int64
	at   time.Time
}

// NewCertificate reads both files.
func NewCertificate(cert, key string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{cert: cert, key: key, log: log}
	c.tried = c.stamps()
	pair, err := c.read()
	if err != nil {
		return nil, err
	}
	c.pair = pair
	return c, nil
}

// stamps looks at the files; one that is not there is zero.
func (c *Certificate) stamps() (out [2]fileStamp) {
	for i, name := range []string{c.cert, c.key} {
		if info, err := os.Stat(name); err == nil {
			out[i] = fileStamp{info.Size(), info.ModTime()}
		}
	}
	return out
}

func (c *Certificate) read() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s and key %s: %w", c.cert, c.key, err)
	}
	if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
		return nil, fmt.Errorf("read certificate %s: %w", c.cert, err)
	}
	return &pair, nil
}

// Reload reads the files now. If that fails, the former pair goes on.
func (c *Certificate) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tried = c.stamps()
	return c.take()
}

// take reads the files and takes over what is good. Called with the lock held.
func (c *Certificate) take() error {
	pair, err := c.read()
	if err != nil {
		return err
	}
	c.pair = pair
	c.log.Info("the certificate for clients was read again", "expires", pair.Leaf.NotAfter)
	return nil
}

// current gives what the files hold now, or, if that is no good, what they held before.
func (c *Certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stamps := c.stamps(); stamps != c.tried {
		c.tried = stamps
		if err := c.take(); err != nil {
			c.log.Error("the changed certificate for clients is not used, the former one goes on", "err", err)
		}
	}
	return c.pair
}
