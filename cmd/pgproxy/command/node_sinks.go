package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/audit/sink"
	"pgproxy/cmd/pgproxy/admin"
)

// syslogState is the file in the data folder that holds how far syslog is.
const syslogState = "audit-syslog.position"

// runSinks begins to write the audit trail to wherever the settings say. An output that cannot be reached holds nobody up.
func (n *node) runSinks(context.Context) error {
	fault := faultPoints(&n.c.Environment)
	var outputs []sink.Output
	if n.set.AuditFile != "" {
		outputs = append(outputs, &sink.File{Path: n.set.AuditFile, Bytes: int64(n.set.AuditFileSize)})
	}
	if n.set.AuditSyslog != "" {
		network, address, err := sink.ParseSyslog(n.set.AuditSyslog)
		if err != nil {
			return admin.Fail(admin.ExitUsage, "", "--audit-syslog: %w", err)
		}
		host, err := os.Hostname()
		if err != nil {
			host = n.set.Node
		}
		outputs = append(outputs, &sink.Syslog{Network: network, Address: address, Host: host, State: filepath.Join(n.set.DataDir, syslogState)})
	}
	if n.set.AuditTable != "" {
		config, err := pgconn.ParseConfig(n.set.AuditTable)
		if err != nil {
			return admin.Fail(admin.ExitUsage, "", "--audit-table: %w", err)
		}
		if config.RuntimeParams["application_name"] == "" {
			config.RuntimeParams["application_name"] = ownApplication
		}
		config.RuntimeParams["client_encoding"] = "UTF8"
		connect := func(ctx context.Context) (*pgconn.PgConn, error) { return pgconn.ConnectConfig(ctx, config) }
		outputs = append(outputs, &sink.Table{Connect: connect, Node: n.journal.Identity().Node.String(), Fault: fault})
	}
	for _, o := range outputs {
		s := sink.New(sink.Options{Journal: n.journal, Veil: n.veil, Output: o, Watch: n.journal.Watch, Logger: n.room("audit"), Fault: fault})
		n.sinks = append(n.sinks, s)
		n.run("audit trail to "+o.Name(), s.Run)
	}
	return nil
}

// sinkWarnings tells which outputs of the audit trail stand still.
func (n *node) sinkWarnings() []string {
	var out []string
	for _, s := range n.sinks {
		if st := s.Status(); st.Error != "" {
			out = append(out, fmt.Sprintf("the audit trail does not reach the %s, which is at position %d: %s", st.Name, st.Position, st.Error))
		}
	}
	return out
}
