package config

import (
	"time"

	"pgproxy/audit"
)

// Config is everything `pgproxy serve` can be told.
type Config struct {
	Node     string   // name of this node
	Listen   []string // TCP addresses and unix socket paths for clients
	Upstream string   // libpq connection string; what it leaves out comes from PG* variables and .pgpass
	DataDir  string   // the journal and the admin socket

	TLSCert string // files, for clients
	TLSKey  string
	TLSMode string // off, allow, require

	Unreplicable string // record, refuse

	PeerListen   string   // TCP address for peers; "" accepts none
	Peers        []string // name=address
	PeerCA       string   // files
	PeerCert     string
	PeerKey      string
	PeerInsecure bool

	AuditClass   []string // what is recorded, beside what is replicated; see audit.PolicySettings
	AuditInclude []string
	AuditExclude []string
	AuditMask    []string
	// Where the audit trail goes beside the journal; empty: nowhere.
	AuditFile     string // path of a file of JSON lines
	AuditFileSize Size   // at which it is put aside
	AuditSyslog   string // unix:///path, udp://host:port, tcp://host:port
	AuditTable    string // libpq connection string of the database for audit.logged_actions

	AuditFailure string // fail_operation, continue, shutdown

	// ExcludeTables are tables, as schema.table, whose rows stay on this node: writes to them are not captured and not sent.
	ExcludeTables []string

	WaitUpstream    bool // wait for the database instead of failing at start
	JournalSync     bool
	JournalMax      Size
	JournalSegment  Size
	Retain          time.Duration // 0: for ever
	RetainSize      Size          // 0: no such limit
	TransactionMax  Size
	MaxClients      int
	LineInterval    time.Duration // how often an idle node may write a beat
	ShutdownTimeout time.Duration
	LogLevel        string
	LogFormat       string
}

// Peer is one configured peer.
type Peer struct{ Name, Addr string }

// Defaults of the settings that have one.
const (
	DefaultListen          = "127.0.0.1:6433"
	DefaultJournalMax      = Size(0)
	DefaultJournalSegment  = 64 * MiB
	DefaultAuditFileSize   = 64 * MiB
	DefaultTransactionMax  = 256 * MiB
	DefaultMaxClients      = 1000
	DefaultLineInterval    = time.Second
	DefaultShutdownTimeout = 10 * time.Second
)

// The values of audit-failure.
const (
	FailOperation = "fail_operation"
	FailContinue  = "continue"
	FailShutdown  = "shutdown"
)

// AuditPolicy gives the audit policy; Validate has found it right.
func (c *Config) AuditPolicy() (*audit.Policy, error) {
	return audit.NewPolicy(audit.PolicySettings{Classes: c.AuditClass, Include: c.AuditInclude, Exclude: c.AuditExclude, Mask: c.AuditMask})
}

// MinJournalSegment is the smallest size of a journal file; smaller ones would hold little but their own overhead.
const MinJournalSegment = 64 * KiB

// Default gives the settings of which nothing was said.
func Default() *Config {
	return &Config{
		Listen: []string{DefaultListen}, TLSMode: "allow", Unreplicable: "record", JournalSync: true, JournalMax: DefaultJournalMax, JournalSegment: DefaultJournalSegment,
		TransactionMax: DefaultTransactionMax, MaxClients: DefaultMaxClients, LineInterval: DefaultLineInterval, ShutdownTimeout: DefaultShutdownTimeout,
		LogLevel: "info", LogFormat: "auto", AuditClass: audit.DefaultClasses(), AuditFailure: FailOperation,
		AuditFileSize: DefaultAuditFileSize,
	}
}
