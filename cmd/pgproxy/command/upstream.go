package command

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/cmd/pgproxy/admin"
)

const (
	// ownApplication is the application_name of pgproxy's own connections.
	ownApplication = "pgproxy"
	// oldestServer is the first server version that pgproxy works with, as server_version_num.
	oldestServer = 140000
	// dialTimeout bounds one attempt to connect to the database where the connection string sets no connect_timeout.
	dialTimeout = 10 * time.Second
)

// anyDatabase are the databases to try where the connection string names none that is there.
var anyDatabase = []string{"postgres", "template1"}

// upstream is the local PostgreSQL: how clients' connections and pgproxy's own get there.
type upstream struct {
	config  *pgconn.Config
	secure  bool // the probe found TLS to work
	version string
}

// newUpstream reads a libpq connection string; what it leaves out comes from the PG* variables and .pgpass.
func newUpstream(text string) (*upstream, error) {
	c, err := pgconn.ParseConfig(text)
	if err != nil {
		return nil, err
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = ownApplication
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = dialTimeout
	}
	return &upstream{config: c}, nil
}

// address is where the database is, for people; of several hosts all.
func (u *upstream) address() string {
	var all []string
	for _, h := range u.hosts() {
		all = append(all, h.address)
	}
	return strings.Join(all, ", ")
}

// host is one of the hosts of the connection string. Its certificate is checked against its own name.
type host struct {
	network, address string
	tls              *tls.Config // nil: none may be used
}

// hosts gives each host once.
func (u *upstream) hosts() []host {
	var out []host
	add := func(name string, port uint16, config *tls.Config) {
		network, address := pgconn.NetworkAddress(name, port)
		i := slices.IndexFunc(out, func(h host) bool { return h.network == network && h.address == address })
		if i < 0 {
			out = append(out, host{network, address, config})
		} else if out[i].tls == nil { // sslmode=allow: plain first
			out[i].tls = config
		}
	}
	add(u.config.Host, u.config.Port, u.config.TLSConfig)
	for _, f := range u.config.Fallbacks {
		add(f.Host, f.Port, f.TLSConfig)
	}
	return out
}

// dial opens a plain connection for a client, to the first host that answers, and says how TLS is to be put on it, as for
// pgproxy's own connections; nil: it stays plain.
func (u *upstream) dial(ctx context.Context) (net.Conn, *tls.Config, error) {
	ctx, cancel := context.WithTimeout(ctx, u.config.ConnectTimeout)
	defer cancel()
	var d net.Dialer
	var errs []error
	for _, h := range u.hosts() {
		c, err := d.DialContext(ctx, h.network, h.address)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !u.secure {
			h.tls = nil
		}
		return c, h.tls, nil
	}
	return nil, nil, errors.Join(errs...)
}

// connect opens a connection of pgproxy's own to a database; "" is the one of the connection string.
func (u *upstream) connect(ctx context.Context, database string) (*pgconn.PgConn, error) {
	c := u.config.Copy()
	if database != "" {
		c.Database = database
	}
	conn, err := pgconn.ConnectConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	return conn, nil
}

// probe connects once, finds out whether TLS is used, and refuses a server that pgproxy cannot work with.
func (u *upstream) probe(ctx context.Context) error {
	conn, err := u.connectSomewhere(ctx)
	if err != nil {
		return admin.Fail(admin.ExitUnreachable, "check --upstream (host, port, user, password), the PG* variables and .pgpass, and that PostgreSQL runs",
			"database at %s as user %s is not reachable: %w", u.address(), u.config.User, unwrapConnect(err))
	}
	defer conn.Close(ctx)
	_, u.secure = conn.Conn().(*tls.Conn)
	rows, err := conn.Exec(ctx, "SELECT current_setting('server_version'), current_setting('server_version_num')::int >= "+fmt.Sprint(oldestServer)+
		", pg_is_in_recovery()").ReadAll()
	if err != nil {
		return admin.Fail(admin.ExitError, "", "ask the database at %s for its version: %w", u.address(), err)
	}
	row := rows[0].Rows[0]
	u.version = string(row[0])
	switch {
	case string(row[1]) != "t":
		return admin.Fail(admin.ExitError, "use PostgreSQL 14 or newer", "the database at %s is PostgreSQL %s: too old", u.address(), u.version)
	case string(row[2]) == "t":
		return admin.Fail(admin.ExitError, "give the address of a server that can be written to", "the database at %s is a standby", u.address())
	}
	return nil
}

// connectSomewhere connects to the connection string's database, or, if that is not there, to one that always is.
func (u *upstream) connectSomewhere(ctx context.Context) (*pgconn.PgConn, error) {
	conn, err := u.connect(ctx, "")
	var pgErr *pgconn.PgError
	const invalidCatalogName = "3D000"
	if err == nil || !errors.As(err, &pgErr) || pgErr.Code != invalidCatalogName {
		return conn, err
	}
	for _, name := range anyDatabase {
		if other, otherErr := u.connect(ctx, name); otherErr == nil {
			u.config.Database = name
			return other, nil
		}
	}
	return nil, err
}

// databases lists what is replicated: every database but templates.
func (u *upstream) databases(ctx context.Context) ([]string, error) {
	conn, err := u.connect(ctx, "")
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Exec(ctx, "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1").ReadAll()
	if err != nil {
		return nil, fmt.Errorf("list databases: %w", err)
	}
	var names []string
	for _, r := range rows[0].Rows {
		names = append(names, string(r[0]))
	}
	return names, nil
}

// unwrapConnect gives the database's own words where it has spoken.
func unwrapConnect(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return fmt.Errorf("%s (SQLSTATE %s)", pgErr.Message, pgErr.Code)
	}
	return err
}
