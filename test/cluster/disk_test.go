package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/test/harness"
)

// TestFullDisk: when the journal's disk is full, writes are refused with 53100 and a hint, reads go on, nothing is lost, and
// it recovers by itself once there is room. A budget (--journal-max) does the same before the disk is full.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a small disk")
	}
	disk := harness.Dir(t, "disk")
	mount := func(options string) error {
		out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", disk).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := mount("size=12m"); err != nil {
		t.Skipf("cannot mount a small disk here: %v", err)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", disk).Run() })
	p := harness.NewProxy(t, harness.ProxyOptions{Upstream: harness.Postgres(t), Data: filepath.Join(disk, "data"),
		Args: []string{"--journal-segment", "4MB"}})
	harness.Query(t, p.DSN("postgres"), "CREATE TABLE t (id serial PRIMARY KEY, v text)")
	written := fill(t, p)
	if got := harness.Query(t, p.DSN("postgres"), "SELECT count(*) FROM t"); got[0] != fmt.Sprint(written) {
		t.Errorf("%d writes were acknowledged, %s are there", written, got[0])
	}
	if s, err := p.Status(); err != nil {
		t.Errorf("status on a full disk: %+v, %v", s, err)
	}
	if err := mount("remount,size=200m"); err != nil {
		t.Fatal(err)
	}
	harness.WaitFor(t, time.Minute, "writes to be taken again", func() (bool, string) {
		c := p.Connect(t, "postgres")
		_, err := c.Exec(t.Context(), "INSERT INTO t (v) VALUES ('room again')")
		return err == nil, fmt.Sprint(err)
	})
	if got := harness.Query(t, p.DSN("postgres"), "SELECT count(*) FROM t"); got[0] != fmt.Sprint(written+1) {
		t.Errorf("%d writes were acknowledged, %s are there", written+1, got[0])
	}
}

// fill writes until that is refused, checks how, and gives the number of writes that were acknowledged.
func fill(t *testing.T, p *harness.Proxy) int {
	t.Helper()
	c := p.Connect(t, "postgres")
	for n := range 2000 {
		_, err := c.Exec(context.Background(), "INSERT INTO t (v) VALUES ($1)", strings.Repeat(fmt.Sprint(n), 10000))
		var pg *pgconn.PgError
		switch {
		case err == nil:
			continue
		case !errors.As(err, &pg) || pg.Code != "53100" || pg.Hint == "":
			t.Fatalf("write %d on a full disk: %+v", n, err)
		}
		return n
	}
	t.Fatal("the disk never was full")
	return 0
}

// TestJournalBudget: past --journal-max writes are refused, reads go on.
func TestJournalBudget(t *testing.T) {
	p := harness.NewProxy(t, harness.ProxyOptions{Upstream: harness.Postgres(t), Args: []string{"--journal-segment", "1MB", "--journal-max", "4MB"}})
	harness.Query(t, p.DSN("postgres"), "CREATE TABLE t (id serial PRIMARY KEY, v text)")
	written := fill(t, p)
	if got := harness.Query(t, p.DSN("postgres"), "SELECT count(*) FROM t"); got[0] != fmt.Sprint(written) {
		t.Errorf("%d writes were acknowledged, %s are there", written, got[0])
	}
}
