package config

import "github.com/spf13/pflag"

// Bind adds every setting to fs as a flag that writes into c. This is the one table of settings: the file's keys, the
// environment's names and the help come from it.
func (c *Config) Bind(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.StringVar(&c.Node, "node", c.Node, "`name` of this node, as peers and people call it")
	fs.StringArrayVar(&c.Listen, "listen", c.Listen, "`address` for clients: host:port, or the path of a unix socket; repeatable")
	fs.StringVar(&c.Upstream, "upstream", c.Upstream, "the local PostgreSQL, as libpq takes it: keywords or URI; the rest comes from PG* variables and .pgpass")
	fs.StringVar(&c.DataDir, "data-dir", c.DataDir, "`folder` of the journal; made if missing")
	fs.StringVar(&c.TLSCert, "tls-cert", c.TLSCert, "certificate `file` shown to clients, PEM, with intermediates; read again when it changes, and at SIGHUP")
	fs.StringVar(&c.TLSKey, "tls-key", c.TLSKey, "private key `file` of that certificate")
	fs.StringVar(&c.TLSMode, "tls-mode", c.TLSMode, "TLS with clients: off, allow (who asks for it gets it), or require (over TCP nobody gets in without)")
	fs.StringVar(&c.Unreplicable, "unreplicable", c.Unreplicable, "statements whose effect cannot be replicated: record (run them, and count them), or refuse (with SQLSTATE 0A000)")
	fs.StringVar(&c.PeerListen, "peer-listen", c.PeerListen, "`address` for peers, host:port")
	fs.StringArrayVar(&c.Peers, "peer", c.Peers, "`name=address` of a peer; repeatable")
	fs.StringVar(&c.PeerCA, "peer-ca", c.PeerCA, "certificate `file` of the authority that signs all nodes")
	fs.StringVar(&c.PeerCert, "peer-cert", c.PeerCert, "certificate `file` of this node")
	fs.StringVar(&c.PeerKey, "peer-key", c.PeerKey, "private key `file` of this node")
	fs.BoolVar(&c.PeerInsecure, "peer-insecure", c.PeerInsecure, "talk to peers without certificates; loopback addresses only")
	fs.StringSliceVar(&c.AuditClass, "audit-class", c.AuditClass, "`classes` that are recorded: READ, WRITE, FUNCTION, ROLE, DDL, MISC, MISC_SET, SESSION or ALL")
	fs.StringArrayVar(&c.AuditInclude, "audit-include", c.AuditInclude, "`rule` for what else is recorded: 'class=READ table=public.salary role=hr_*'; keys class, database, schema, table, user, role, application, client; repeatable")
	fs.StringArrayVar(&c.AuditExclude, "audit-exclude", c.AuditExclude, "`rule` for what is not recorded; of replicated writes the text and the parameters; repeatable")
	fs.StringArrayVar(&c.AuditMask, "audit-mask", c.AuditMask, "`column` that is not shown: [database/]schema.table.column=mask, =hash or =omit; repeatable")
	fs.StringVar(&c.AuditFailure, "audit-failure", c.AuditFailure, "when the journal takes no record: fail_operation refuses the write, continue lets it happen unrecorded and unreplicated, shutdown ends the node")
	fs.StringVar(&c.AuditFile, "audit-file", c.AuditFile, "also write the audit trail to this `file`, as JSON lines")
	fs.Var(&c.AuditFileSize, "audit-file-size", "size at which the audit file is put aside and a new one begun; 0 is never")
	fs.StringVar(&c.AuditSyslog, "audit-syslog", c.AuditSyslog, "also send the audit trail to this syslog `server`: unix:///dev/log, udp://host:514, tcp://host:601")
	fs.StringVar(&c.AuditTable, "audit-table", c.AuditTable, "also write the audit trail to the table audit.logged_actions of this `database`, as libpq takes it")
	fs.StringArrayVar(&c.ExcludeTables, "exclude-table", c.ExcludeTables, "`schema.table` whose rows stay on this node, in every database; repeatable")
	fs.BoolVar(&c.WaitUpstream, "wait-upstream", c.WaitUpstream, "if the database is not reachable at start, wait for it instead of failing")
	fs.BoolVar(&c.JournalSync, "journal-sync", c.JournalSync, "sync the journal before a commit is acknowledged; without it a power cut can lose acknowledged writes")
	fs.Var(&c.JournalMax, "journal-max", "disk budget of the journal; past it writes are refused; 0 is no limit but the disk")
	fs.Var(&c.JournalSegment, "journal-segment", "size of one journal file")
	fs.DurationVar(&c.Retain, "retain", c.Retain, "how long the journal keeps what no node needs any more, for the audit trail; 0 is for ever")
	fs.Var(&c.RetainSize, "retain-size", "size from which the oldest of that goes before its time; 0 is never")
	fs.Var(&c.TransactionMax, "transaction-max", "what one transaction may take in memory; its rows go to the journal's disk before that")
	fs.IntVar(&c.MaxClients, "max-clients", c.MaxClients, "most client connections at a time")
	fs.DurationVar(&c.LineInterval, "line-interval", c.LineInterval, "how often a node where nobody writes tells the others what it has applied, while they wait for that; an idle cluster is silent")
	fs.DurationVar(&c.ShutdownTimeout, "shutdown-timeout", c.ShutdownTimeout, "how long clients may finish their transactions when told to stop")
	fs.StringVar(&c.LogLevel, "log-level", c.LogLevel, "debug, info, warn or error")
	fs.StringVar(&c.LogFormat, "log-format", c.LogFormat, "text, json, or auto: text on a terminal, json elsewhere")
}
