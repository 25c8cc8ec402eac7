package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/audit/sink"
)

// maxName bounds a node's name: it stands in every line of the journal's listing.
const maxName = 63

// Validate reports everything that is wrong, without touching anything outside.
func (c *Config) Validate() error {
	var p []error
	bad := func(format string, args ...any) { p = append(p, fmt.Errorf(format, args...)) }
	if c.Node == "" {
		bad("--node is missing: give this node a name")
	} else if err := checkName(c.Node); err != nil {
		bad("--node: %w", err)
	}
	if c.DataDir == "" {
		bad("--data-dir is missing: name the folder of this node's journal")
	}
	if len(c.Listen) == 0 {
		bad("--listen is missing: clients need an address")
	}
	for _, l := range c.Listen {
		if !IsSocket(l) {
			if err := checkAddr(l); err != nil {
				bad("--listen: %w", err)
			}
		}
	}
	if _, err := pgconn.ParseConfig(c.Upstream); err != nil {
		bad("--upstream: %w", err)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		bad("--tls-cert and --tls-key are needed together")
	}
	if !oneOf(c.TLSMode, "off", "allow", "require") {
		bad("--tls-mode %q is none of off, allow, require", c.TLSMode)
	} else if c.TLSMode == "require" && c.TLSCert == "" {
		bad("--tls-mode require needs --tls-cert and --tls-key")
	}
	for _, t := range c.ExcludeTables {
		if schema, name, ok := strings.Cut(t, "."); !ok || schema == "" || name == "" {
			bad("--exclude-table %q is not schema.table", t)
		}
	}
	if !oneOf(c.Unreplicable, "record", "refuse") {
		bad("--unreplicable %q is none of record, refuse", c.Unreplicable)
	}
	p = append(p, c.validatePeers()...)
	if c.MaxClients < 1 {
		bad("--max-clients %d: at least 1", c.MaxClients)
	}
	if least := MinJournalSegment; c.JournalSegment < least {
		bad("--journal-segment %s: at least %s", c.JournalSegment.String(), least.String())
	}
	if c.Retain < 0 {
		bad("--retain %s is negative", c.Retain)
	}
	if c.JournalMax != 0 && c.JournalMax < 2*c.JournalSegment {
		bad("--journal-max %s: at least two segments of %s", c.JournalMax.String(), c.JournalSegment.String())
	}
	if c.TransactionMax < MiB {
		bad("--transaction-max %s: at least 1MB", c.TransactionMax.String())
	}
	if c.ShutdownTimeout < 0 {
		bad("--shutdown-timeout is negative")
	}
	if _, err := c.AuditPolicy(); err != nil {
		bad("--audit-class, --audit-include, --audit-exclude, --audit-mask: %w", err)
	}
	if c.AuditSyslog != "" {
		if _, _, err := sink.ParseSyslog(c.AuditSyslog); err != nil {
			bad("--audit-syslog: %w", err)
		}
	}
	if c.AuditTable != "" {
		if _, err := pgconn.ParseConfig(c.AuditTable); err != nil {
			bad("--audit-table: %w", err)
		}
	}
	if !oneOf(c.AuditFailure, FailOperation, FailContinue, FailShutdown) {
		bad("--audit-failure %q is none of %s, %s, %s", c.AuditFailure, FailOperation, FailContinue, FailShutdown)
	}
	if !oneOf(c.LogLevel, "debug", "info", "warn", "error") {
		bad("--log-level %q is none of debug, info, warn, error", c.LogLevel)
	}
	if !oneOf(c.LogFormat, "auto", "text", "json") {
		bad("--log-format %q is none of auto, text, json", c.LogFormat)
	}
	return errors.Join(p...)
}

func (c *Config) validatePeers() []error {
	var p []error
	bad := func(format string, args ...any) { p = append(p, fmt.Errorf(format, args...)) }
	seen, at := map[string]bool{}, map[string]string{}
	addrs := []string{}
	for _, s := range c.Peers {
		peer, err := ParsePeer(s)
		switch {
		case err != nil:
			bad("--peer: %w", err)
			continue
		case peer.Name == c.Node:
			bad("--peer %s: a node is not its own peer", s)
		case seen[peer.Name]:
			bad("--peer %s: peer %q is given twice", s, peer.Name)
		}
		if other, ok := at[peer.Addr]; ok {
			bad("--peer %s: peer %q has the same address", s, other)
		}
		seen[peer.Name], at[peer.Addr] = true, peer.Name
		addrs = append(addrs, peer.Addr)
	}
	if c.PeerListen != "" {
		if err := checkAddr(c.PeerListen); err != nil {
			bad("--peer-listen: %w", err)
		} else {
			addrs = append(addrs, c.PeerListen)
		}
	}
	files := c.PeerCA != "" || c.PeerCert != "" || c.PeerKey != ""
	switch {
	case c.PeerInsecure && files:
		bad("--peer-insecure and certificates exclude each other")
	case files && (c.PeerCA == "" || c.PeerCert == "" || c.PeerKey == ""):
		bad("--peer-ca, --peer-cert and --peer-key are needed together")
	case !files && !c.PeerInsecure && len(addrs) > 0:
		bad("peers need certificates: give --peer-ca, --peer-cert and --peer-key (or --peer-insecure for a trial on one machine)")
	case c.PeerInsecure:
		for _, a := range addrs {
			if !loopback(a) {
				bad("--peer-insecure is for loopback addresses only; %s is none: use certificates", a)
			}
		}
	}
	return p
}

// PeerList gives the configured peers; Validate has found them right.
func (c *Config) PeerList() []Peer {
	var out []Peer
	for _, s := range c.Peers {
		if p, err := ParsePeer(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// ParsePeer reads "name=host:port".
func ParsePeer(s string) (Peer, error) {
	name, addr, ok := strings.Cut(s, "=")
	if !ok {
		return Peer{}, fmt.Errorf("%q is not name=host:port", s)
	}
	if err := checkName(name); err != nil {
		return Peer{}, fmt.Errorf("%q: %w", s, err)
	}
	if err := checkAddr(addr); err != nil {
		return Peer{}, err
	}
	return Peer{name, addr}, nil
}

// IsSocket reports whether a listen address is the path of a unix socket.
func IsSocket(addr string) bool {
	return strings.ContainsRune(addr, '/') || strings.ContainsRune(addr, filepath.Separator)
}

func checkName(s string) error {
	if len(s) == 0 || len(s) > maxName {
		return fmt.Errorf("name %q has not 1 to %d characters", s, maxName)
	}
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("-_.", r)) {
			return fmt.Errorf("name %q: only letters, digits, '-', '_' and '.', beginning with a letter or digit", s)
		}
	}
	return nil
}

func checkAddr(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not host:port", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: %q is no port", s, port)
	}
	return nil
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func oneOf(s string, words ...string) bool {
	for _, w := range words {
		if s == w {
			return true
		}
	}
	return false
}
