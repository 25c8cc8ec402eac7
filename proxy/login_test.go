package proxy_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pgproxy/test/harness"
)

func dialRaw(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(within))
	return c
}

func packet(code uint32, rest string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(rest)))
	return append(binary.BigEndian.AppendUint32(b, code), rest...)
}

// TestLoginGarbage: whatever is not a first packet closes the connection, and answers nothing that PostgreSQL would not.
func TestLoginGarbage(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, func(r *rig) { r.options.LoginTimeout = 2 * time.Second })
	long := packet(3<<16, "user\x00postgres\x00"+"x\x00"+strings.Repeat("y", 10_000)+"\x00\x00")
	for name, bytes := range map[string][]byte{
		"http": []byte("GET / HTTP/1.1\r\n\r\n"), "zero": make([]byte, 8), "length 7": {0, 0, 0, 7, 1, 2, 3}, "negative": {0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0},
		"tls": {0x16, 3, 1, 0, 200, 1, 0, 0}, "too long": long, "half": {0, 0, 0, 50, 0, 3}, "silent": nil,
		"ssl twice": append(packet(80877103, ""), packet(80877103, "")...), "unknown cancel": packet(80877102, "\x00\x00\x00\x01\x00\x00\x00\x02"),
	} {
		t.Run(name, func(t *testing.T) {
			c := dialRaw(t, r.addr)
			if _, err := c.Write(bytes); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(c)
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Fatalf("not closed; got %q", answer)
			}
		})
	}
	must(t, r.client("postgres"), "SELECT 1")
}

// TestLoginSSLThenStartup: N, then N for GSS, then a login byte by byte.
func TestLoginSSLThenStartup(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, nil)
	c := dialRaw(t, r.addr)
	for _, code := range []uint32{80877103, 80877104} {
		_, _ = c.Write(packet(code, ""))
		b := make([]byte, 1)
		if _, err := io.ReadFull(c, b); err != nil || b[0] != 'N' {
			t.Fatalf("%q %v", b, err)
		}
	}
	for _, b := range packet(3<<16, "user\x00postgres\x00database\x00postgres\x00\x00") {
		_, _ = c.Write([]byte{b})
	}
	b := make([]byte, 9)
	if _, err := io.ReadFull(c, b); err != nil || b[0] != 'R' || b[8] != 0 {
		t.Fatalf("%q %v", b, err)
	}
}

// TestLoginPasswords relays md5, password and SCRAM; a wrong one is refused by the server, and a message out of turn by us.
func TestLoginPasswords(t *testing.T) {
	pg := harness.Postgres(t, harness.HBA("host all postgres 127.0.0.1/32 trust\nhost all scram 127.0.0.1/32 scram-sha-256\nhost all md 127.0.0.1/32 md5\nhost all plain 127.0.0.1/32 password\n"))
	r := newRig(t, pg, nil)
	exec(t, pg, "postgres", "CREATE ROLE scram LOGIN PASSWORD 'secret'; CREATE ROLE plain LOGIN PASSWORD 'secret'; SET password_encryption = md5; CREATE ROLE md LOGIN PASSWORD 'secret'")
	host, port, _ := strings.Cut(r.addr, ":")
	for _, user := range []string{"scram", "md", "plain"} {
		for _, password := range []string{"secret", "wrong"} {
			c, err := pgx.Connect(context.Background(), fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=postgres sslmode=disable", host, port, user, password))
			if (err == nil) != (password == "secret") || err != nil && !strings.Contains(err.Error(), "28P01") {
				t.Errorf("%s with %s: %v", user, password, err)
			}
			if c != nil {
				_ = c.Close(context.Background())
			}
		}
		for what, second := range map[string][]byte{
			"query": []byte("Q\x00\x00\x00\x0dSELECT 1\x00"), "second startup": packet(3<<16, "user\x00postgres\x00database\x00postgres\x00\x00"),
			"huge password": []byte("p\x3f\xff\xff\xff"), "negative length": []byte("p\xff\xff\xff\xff"),
		} {
			c := dialRaw(t, r.addr)
			_, _ = c.Write(packet(3<<16, "user\x00"+user+"\x00database\x00postgres\x00\x00"))
			_, _ = c.Write(second)
			answer, err := io.ReadAll(c)
			if ne, ok := err.(net.Error); ok && ne.Timeout() || what != "negative length" && !strings.Contains(string(answer), "08P01") {
				t.Errorf("%s: %s during login: %q %v", user, what, answer, err)
			}
		}
	}
}

// TestCancel cancels a held statement and a read; a wrong key does nothing.
func TestCancel(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, nil)
	c := r.client("postgres")
	must(t, c, "CREATE TABLE t (id int)")
	for _, sql := range []string{"SELECT pg_sleep(30)", "INSERT INTO t SELECT 1 FROM pg_sleep(30)"} {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			_, err := c.Exec(context.Background(), sql)
			done <- err
		}()
		await(t, "statement runs", func() bool {
			return exec(t, pg, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")[0][0] == "1"
		})
		if err := c.PgConn().CancelRequest(ctx); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if sqlstate(err) != "57014" {
				t.Errorf("%s: %v", sql, err)
			}
		case <-time.After(within):
			t.Fatalf("%s was not cancelled", sql)
		}
		cancel()
	}
	must(t, c, "INSERT INTO t VALUES (1)")
}

// TestShutdown tells idle clients 57P01 and lets a transaction end first.
func TestShutdown(t *testing.T) {
	pg := harness.Postgres(t)
	r := newRig(t, pg, nil)
	idle, busy := r.client("postgres"), r.client("postgres")
	must(t, idle, "CREATE TABLE t (id int)")
	must(t, busy, "BEGIN")
	must(t, busy, "INSERT INTO t VALUES (1)")
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		done <- r.server.Shutdown(ctx)
	}()
	await(t, "idle client is told", func() bool {
		_, err := idle.Exec(context.Background(), "SELECT 1")
		return err != nil
	})
	must(t, busy, "COMMIT")
	if err := <-done; err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if n := exec(t, pg, "postgres", "SELECT count(*) FROM t")[0][0]; n != "1" {
		t.Errorf("%s rows", n)
	}
}

// TestPassThrough: a replication connection is not looked at.
func TestPassThrough(t *testing.T) {
	pg := harness.Postgres(t, harness.Setting("wal_level", "logical"), harness.HBA("host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"))
	r := newRig(t, pg, nil)
	host, port, _ := strings.Cut(r.addr, ":")
	out, err := osexec.Command(harness.Client(t, "psql"), "-XAt", "-d", fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres replication=database", host, port), "-c", "IDENTIFY_SYSTEM").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "|postgres") {
		t.Errorf("%v: %s", err, out)
	}
}
