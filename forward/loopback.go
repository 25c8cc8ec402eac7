package forward

import (
	"errors"
	"fmt"
	"net"
)

// errPlaintext explains what to do instead of plaintext over a network.
var errPlaintext = errors.New("records would travel in plaintext: give certificates (--peer-ca, --peer-cert, --peer-key); " +
	"only between loopback addresses --peer-insecure will do")

// checkPlaintext allows plaintext only if it was asked for and both ends are loopback addresses, as far as that can be
// known before a connection is made. Each connection is looked at again.
func (o *Options) checkPlaintext() error {
	if !o.Insecure {
		return errPlaintext
	}
	if o.Listener != nil {
		if err := loopback(o.Listener.Addr()); err != nil {
			return fmt.Errorf("peer listener: %w", err)
		}
	}
	for _, p := range o.Peers {
		host, _, err := net.SplitHostPort(p.Addr)
		if err != nil {
			return fmt.Errorf("peer %s: %w", p.Name, err)
		}
		if ip := net.ParseIP(host); ip != nil && !ip.IsLoopback() {
			return fmt.Errorf("peer %s at %s: %w", p.Name, p.Addr, errPlaintext)
		}
	}
	return nil
}

// loopback refuses an address that is not on this machine.
func loopback(a net.Addr) error {
	switch a := a.(type) {
	case *net.TCPAddr:
		if a.IP.IsLoopback() {
			return nil
		}
	case *net.UnixAddr:
		return nil
	}
	return fmt.Errorf("address %s is not a loopback address: %w", a, errPlaintext)
}
