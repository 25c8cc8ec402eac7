package proxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pgproxy/proxy"
	"pgproxy/test/harness"
)

// withTLS makes a rig show a certificate.
func withTLS(t testing.TB, cert, key string, mode proxy.TLSMode) func(*rig) {
	return func(r *rig) {
		c, err := proxy.NewCertificate(cert, key, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		r.options.Certificate, r.options.TLSMode = c, mode
	}
}

// psql runs a query by libpq and gives what it says.
func psql(t testing.TB, r *rig, sql, params string) (string, error) {
	host, port, _ := strings.Cut(r.addr, ":")
	cmd := osexec.Command(harness.Client(t, "psql"), "-XAt", "-d", fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres %s", host, port, params), "-c", sql)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// TestTLSModes: each sslmode of libpq and pgx, in each mode of pgproxy's.
func TestTLSModes(t *testing.T) {
	pg := harness.Postgres(t)
	cert, key := harness.Certificate(t, t.TempDir(), "front")
	other, _ := harness.Certificate(t, t.TempDir(), "other")
	for mode, name := range map[proxy.TLSMode]string{proxy.TLSAllow: "allow", proxy.TLSOff: "off", proxy.TLSRequire: "require"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pg, withTLS(t, cert, key, mode))
			for params, works := range map[string][3]bool{ // in allow, off, require
				"sslmode=disable":                          {true, true, false},
				"sslmode=prefer":                           {true, true, true},
				"sslmode=require":                          {true, false, true},
				"sslmode=verify-full sslrootcert=" + cert:  {true, false, true},
				"sslmode=verify-full sslrootcert=" + other: {false, false, false},
			} {
				out, err := psql(t, r, "SELECT 7", params)
				if (err == nil) != works[mode] || err == nil && out != "7" {
					t.Errorf("psql %s: %v %s", params, err, out)
				}
				if mode == proxy.TLSRequire && params == "sslmode=disable" && !strings.Contains(out, "sslmode=require") {
					t.Errorf("psql is not told what to do: %s", out)
				}
				host, port, _ := strings.Cut(r.addr, ":")
				c, err := pgx.Connect(context.Background(), fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres %s", host, port, params))
				if (err == nil) != works[mode] {
					t.Errorf("pgx %s: %v", params, err)
				}
				if err == nil {
					must(t, c, "CREATE TABLE IF NOT EXISTS t (id int)")
					must(t, c, "INSERT INTO t SELECT generate_series(1, 1000)")
					_ = c.Close(context.Background())
				}
			}
		})
	}
}

// TestTLSFirstPackets: what is out of order closes the connection, and nothing sent in plain text is taken for what came
// through TLS.
func TestTLSFirstPackets(t *testing.T) {
	pg := harness.Postgres(t)
	cert, key := harness.Certificate(t, t.TempDir(), "front")
	r := newRig(t, pg, func(r *rig) {
		withTLS(t, cert, key, proxy.TLSAllow)(r)
		r.options.LoginTimeout = 4 * time.Second
	})
	startup := packet(3<<16, "user\x00postgres\x00database\x00postgres\x00\x00")
	ssl, gss := packet(80877103, ""), packet(80877104, "")
	client := func(c net.Conn, alpn ...string) (*tls.Conn, error) {
		tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: alpn})
		return tc, tc.Handshake()
	}
	asked := func(t *testing.T) net.Conn {
		c := dialRaw(t, r.addr)
		_, _ = c.Write(ssl)
		b := make([]byte, 1)
		if _, err := io.ReadFull(c, b); err != nil || b[0] != 'S' {
			t.Fatalf("%q %v", b, err)
		}
		return c
	}
	ends := func(t *testing.T, c net.Conn, want string) {
		t.Helper()
		got, err := io.ReadAll(c)
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Fatalf("not closed; got %q", got)
		}
		if !strings.Contains(string(got), want) || want == "" && len(got) > 0 && got[0] == 'R' {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	t.Run("stuffed before TLS", func(t *testing.T) {
		c := dialRaw(t, r.addr)
		_, _ = c.Write(append(append([]byte{}, ssl...), startup...))
		ends(t, c, "unencrypted data after SSL request")
	})
	t.Run("stuffed before GSS", func(t *testing.T) {
		c := dialRaw(t, r.addr)
		_, _ = c.Write(append(append([]byte{}, gss...), startup...))
		ends(t, c, "unencrypted data after GSSAPI")
	})
	t.Run("plain after S", func(t *testing.T) {
		c := asked(t)
		_, _ = c.Write(startup)
		ends(t, c, "")
	})
	t.Run("silent after S", func(t *testing.T) { ends(t, asked(t), "") })
	t.Run("requests inside TLS", func(t *testing.T) {
		for _, again := range [][]byte{ssl, gss} {
			c, err := client(asked(t))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write(again)
			ends(t, c, "08P01")
		}
	})
	t.Run("direct", func(t *testing.T) {
		c, err := client(dialRaw(t, r.addr), "postgresql")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(startup)
		b := make([]byte, 9)
		if _, err := io.ReadFull(c, b); err != nil || b[0] != 'R' || b[8] != 0 {
			t.Errorf("%q %v", b, err)
		}
	})
	t.Run("direct without ALPN", func(t *testing.T) {
		c, err := client(dialRaw(t, r.addr))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(startup)
		ends(t, c, "ALPN")
	})
	t.Run("direct with another ALPN", func(t *testing.T) {
		if _, err := client(dialRaw(t, r.addr), "h2"); err == nil {
			t.Error("the handshake succeeds")
		}
	})
	t.Run("second startup", func(t *testing.T) {
		c, err := client(asked(t))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(append(append([]byte{}, startup...), startup...))
		ends(t, c, "08P01")
	})
	must(t, r.client("postgres"), "SELECT 1")
}

// TestCancelOverTLS cancels by libpq's and pgx's means.
func TestCancelOverTLS(t *testing.T) {
	pg := harness.Postgres(t)
	cert, key := harness.Certificate(t, t.TempDir(), "front")
	r := newRig(t, pg, withTLS(t, cert, key, proxy.TLSRequire))
	host, port, _ := strings.Cut(r.addr, ":")
	c, err := pgx.Connect(context.Background(), fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres sslmode=verify-full sslrootcert=%s", host, port, cert))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	done := make(chan error, 1)
	go func() {
		_, err := c.Exec(context.Background(), "SELECT pg_sleep(100)")
		done <- err
	}()
	await(t, "statement runs", func() bool {
		return exec(t, pg, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")[0][0] == "1"
	})
	if err := c.PgConn().CancelRequest(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; sqlstate(err) != "57014" {
		t.Error(err)
	}
}

// TestCertificateReload: a new pair is shown as soon as it is whole; until then the former one.
func TestCertificateReload(t *testing.T) {
	pg := harness.Postgres(t)
	dir := t.TempDir()
	cert, key := harness.Certificate(t, dir, "front")
	r := newRig(t, pg, withTLS(t, cert, key, proxy.TLSAllow))
	shown := func() string {
		c, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"postgresql"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	newCert, newKey := harness.Certificate(t, dir, "renewed")
	replace := func(from, to string) {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := shown(); got != "front" {
		t.Fatalf("shows %s", got)
	}
	replace(newCert, cert)
	if got := shown(); got != "front" {
		t.Errorf("shows %s while the key is still the former one's", got)
	}
	if err := r.options.Certificate.Reload(); err == nil {
		t.Error("a pair that does not belong together is read without an error")
	}
	replace(newKey, key)
	if got := shown(); got != "renewed" {
		t.Errorf("shows %s, not the new certificate", got)
	}
	if err := os.WriteFile(cert, []byte("-----BEGIN CERT"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != "renewed" {
		t.Errorf("shows %s while the file is half-written", got)
	}
}

// secureServer starts a server with TLS and SCRAM, and gives what a client must trust.
func secureServer(t *testing.T) (pg *harness.Server, cert, key string, trust *tls.Config) {
	cert, key = harness.Certificate(t, harness.Dir(t, "tls"), "back")
	pg = harness.Postgres(t, harness.Setting("ssl", "on"), harness.Setting("ssl_cert_file", cert), harness.Setting("ssl_key_file", key),
		harness.HBA("host all postgres 127.0.0.1/32 trust\nhost all scram 127.0.0.1/32 scram-sha-256\n"))
	exec(t, pg, "postgres", "CREATE ROLE scram LOGIN PASSWORD 'secret'")
	pool := x509.NewCertPool()
	b, _ := os.ReadFile(cert)
	pool.AppendCertsFromPEM(b)
	return pg, cert, key, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}

// TestChannelBinding: SCRAM passes wherever it can; where it cannot, the client is told what to do.
func TestChannelBinding(t *testing.T) {
	pg, backCert, backKey, trust := secureServer(t)
	cert, key := harness.Certificate(t, t.TempDir(), "front")
	for _, c := range []struct {
		name           string
		cert, key      string
		upstream       *tls.Config
		params, refuse string
	}{
		{"server leg plain", cert, key, nil, "sslmode=require", ""},
		{"server leg plain, client plain", cert, key, nil, "sslmode=disable", ""},
		{"client plain", cert, key, trust, "sslmode=disable", ""},
		{"both TLS", cert, key, trust, "sslmode=require", "channel_binding=disable"},
		{"both TLS, no binding", cert, key, trust, "sslmode=require channel_binding=disable", ""},
		{"the server's certificate", backCert, backKey, trust, "sslmode=require channel_binding=require", ""},
		{"required, and cannot be", cert, key, trust, "sslmode=require channel_binding=require", "channel binding"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, pg, func(r *rig) {
				withTLS(t, c.cert, c.key, proxy.TLSAllow)(r)
				dial := r.options.Dial
				r.options.Dial = func(ctx context.Context) (net.Conn, *tls.Config, error) {
					conn, _, err := dial(ctx)
					return conn, c.upstream, err
				}
			})
			out, err := psql(t, r, "SELECT current_user || ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "user=scram password=secret "+c.params)
			want := fmt.Sprintf("scram%v", c.upstream != nil)
			if c.refuse == "" && (err != nil || out != want) {
				t.Errorf("%v: %s, want %s", err, out, want)
			}
			if c.refuse != "" && (err == nil || !strings.Contains(out, c.refuse)) {
				t.Errorf("%v: %s, want %s", err, out, c.refuse)
			}
		})
	}
}
