package harness

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestPostgresSurvivesKill(t *testing.T) {
	for _, major := range Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			s := Postgres(t, Major(major), Setting("max_prepared_transactions", "3"))
			if s.Major != major {
				t.Fatalf("asked for %d, got %d", major, s.Major)
			}
			run(t, s, "CREATE TABLE t(a int)")
			run(t, s, "INSERT INTO t VALUES (1)")
			s.Restart()
			if got := value(t, s, "SELECT count(*)::text || ' ' || current_setting('max_prepared_transactions') FROM t"); got != "1 3" {
				t.Errorf("after a kill: %q", got)
			}
			pid := s.Process().PID()
			s.Stop()
			if syscall.Kill(pid, 0) == nil {
				t.Errorf("process %d is still there after Stop", pid)
			}
			s.Start()
			if got := value(t, s, "SELECT count(*)::text FROM t"); got != "1" {
				t.Errorf("after a stop: %q", got)
			}
		})
	}
}

func run(t *testing.T, s *Server, sql string) {
	t.Helper()
	c := dial(t, s)
	if _, err := c.Exec(context.Background(), sql); err != nil {
		t.Fatal(err)
	}
}

func value(t *testing.T, s *Server, sql string) (v string) {
	t.Helper()
	if err := dial(t, s).QueryRow(context.Background(), sql).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func dial(t *testing.T, s *Server) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(context.Background(), s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}
