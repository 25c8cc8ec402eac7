package command

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/proxy"
)

// tlsModes are the words of --tls-mode.
var tlsModes = map[string]proxy.TLSMode{"allow": proxy.TLSAllow, "off": proxy.TLSOff, "require": proxy.TLSRequire}

// readCertificate reads the certificate for clients, if there is one, and has it read again at SIGHUP.
func (n *node) readCertificate(context.Context) error {
	if n.set.TLSCert == "" {
		return nil
	}
	var err error
	n.certificate, err = proxy.NewCertificate(n.set.TLSCert, n.set.TLSKey, n.room("proxy"))
	if err != nil {
		return admin.Fail(admin.ExitUsage, "--tls-cert and --tls-key name PEM files that belong together", "%w", err)
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	n.run("reload", func(ctx context.Context) error {
		defer signal.Stop(hup)
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-hup:
				if err := n.certificate.Reload(); err != nil {
					n.log.Error("the certificate for clients is not used, the former one goes on", "err", err)
				}
			}
		}
	})
	return nil
}
