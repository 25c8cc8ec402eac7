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
	tls     *tls.Config // what the probe found to work; nil: plain
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
	for _, a := range u.addresses() {
		all = append(all, a[1])
	}
	return strings.Join(all, ", ")
}

// addresses gives network and address of each host, without repetitions.
func (u *upstream) addresses() [][2]string {
	var out [][2]string
	add := func(host string, port uint16) {
		network, addr := pgconn.NetworkAddress(host, port)
		if a := [2]string{network, addr}; !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	add(u.config.Host, u.config.Port)
	for _, f := range u.config.Fallbacks {
		add(f.Host, f.Port)
	}
	return out
}

// dial opens a plain connection for a client, to the first host that answers.
func (u *upstream) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, u.config.ConnectTimeout)
	defer cancel()
	var d net.Dialer
	var errs []error
	for _, a := range u.addresses() {
		c, err := d.DialContext(ctx, a[0], a[1])
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
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
	if c, ok := conn.Conn().(*tls.Conn); ok {
		u.tls = u.tlsConfig(c)
	}
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

// tlsConfig gives the setting by which c came about.
func (u *upstream) tlsConfig(*tls.Conn) *tls.Config {
	if u.config.TLSConfig != nil {
		return u.config.TLSConfig
	}
	for _, f := range u.config.Fallbacks {
		if f.TLSConfig != nil {
			return f.TLSConfig
		}
	}
	return nil
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
