package forward

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/test/harness"
)

// sameOnBoth makes tables of every kind that matters, with the same contents wherever it runs.
const sameOnBoth = `
CREATE TABLE plain (id int PRIMARY KEY, a text, f float8, ts timestamptz, iv interval, b bytea, n numeric, j jsonb, d date, r regclass, m money);
INSERT INTO plain SELECT i, 'text ' || i, i / 3.0::float8, '2024-03-01 12:00+00'::timestamptz + i * interval '1 hour', i * interval '1 day 1 min',
  decode(lpad(to_hex(i), 8, '0'), 'hex'), i / 7.0, jsonb_build_object('k', i), date '2024-01-01' + i, 'pg_class', 12.5 FROM generate_series(1, 50) i;
INSERT INTO plain VALUES (51, NULL, 'NaN', 'infinity', NULL, '', 'NaN', 'null', '-infinity', NULL, NULL), (52, '', '-0', NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL);
CREATE TABLE big (k text, part int, v int, PRIMARY KEY (part, k));
INSERT INTO big SELECT 'key ' || i, i % 5, i FROM generate_series(1, 20000) i;
CREATE TABLE keyless (a int, b text);
INSERT INTO keyless SELECT i % 3, 'x' FROM generate_series(1, 9) i;
CREATE TABLE byunique (u text NOT NULL UNIQUE, v int);
INSERT INTO byunique VALUES ('one', 1), ('two', 2);
CREATE TABLE parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (100) TO (200);
INSERT INTO parted SELECT i, 'v' FROM generate_series(1, 199) i;
CREATE SCHEMA "Odd ""schema""";
CREATE TABLE "Odd ""schema"""."Tab'le" ("Co""l" int PRIMARY KEY, "x y" text);
INSERT INTO "Odd ""schema"""."Tab'le" VALUES (1, 'one');
CREATE TABLE empty (id int PRIMARY KEY);
CREATE UNLOGGED TABLE unlogged (id int);
CREATE SCHEMA pgproxy; CREATE TABLE pgproxy.applied (id int);`

// onlyOne is not to be compared.
const onlyOne = `INSERT INTO unlogged VALUES (1); INSERT INTO pgproxy.applied VALUES (1);`

func execute(t *testing.T, s *harness.Server, db, sql string) {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), s.DSN(db))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%v in %.60s", err, sql)
	}
}

// verifyPair is two linked nodes with databases of the oldest and the newest version at hand, whose settings differ.
func verifyPair(t *testing.T) (a, b *node, pa, pb *harness.Server) {
	t.Helper()
	majors := harness.Majors(t)
	pa = harness.Postgres(t, harness.Major(majors[0]), harness.Named("pg-a"))
	pb = harness.Postgres(t, harness.Major(majors[len(majors)-1]), harness.Named("pg-b"), harness.Setting("DateStyle", "SQL, DMY"),
		harness.Setting("TimeZone", "Asia/Tokyo"), harness.Setting("bytea_output", "escape"), harness.Setting("extra_float_digits", "-3"),
		harness.Setting("IntervalStyle", "iso_8601"))
	a, b = newNode(t, "a"), newNode(t, "b")
	mesh(a, b)
	for _, c := range []struct {
		n *node
		s *harness.Server
	}{{a, pa}, {b, pb}} {
		execute(t, c.s, "postgres", "CREATE DATABASE shop")
		execute(t, c.s, "shop", sameOnBoth)
		c.n.tune = func(o *Options) {
			o.Connect = func(ctx context.Context, db string) (*pgconn.PgConn, error) {
				if db == "" {
					db = "postgres"
				}
				return pgconn.Connect(ctx, c.s.DSN(db))
			}
		}
		c.n.start()
	}
	execute(t, pa, "shop", onlyOne)
	execute(t, pa, "shop", "VACUUM FULL plain")
	equal(t, a, b)
	connected(t, a, b)
	connected(t, b, a)
	applyNothing(a, b)
	return a, b, pa, pb
}

// applyNothing says that the databases hold what the journals hold.
func applyNothing(nodes ...*node) {
	for _, n := range nodes {
		n.j.SetApplied(n.j.Stored())
	}
}

func verify(t *testing.T, n *node, o VerifyOptions) map[string]VerifyResult {
	t.Helper()
	out := map[string]VerifyResult{}
	for r := range n.f.Verify(t.Context(), o) {
		out[r.Schema+"."+r.Table] = r
	}
	return out
}

func TestVerifyEqual(t *testing.T) {
	a, b, _, _ := verifyPair(t)
	for _, n := range []*node{a, b} {
		got := verify(t, n, VerifyOptions{})
		for name, r := range got {
			if !r.Equal() {
				t.Errorf("%s: %+v", name, r)
			}
		}
		want := []string{`Odd "schema".Tab'le`, "public.big", "public.byunique", "public.empty", "public.keyless", "public.parted_high", "public.parted_low", "public.plain"}
		if len(got) != len(want) {
			t.Errorf("compared %d tables, want %d: %v", len(got), len(want), got)
		}
		for _, w := range want {
			if _, ok := got[w]; !ok {
				t.Errorf("%s was not compared", w)
			}
		}
		if r := got["public.big"]; r.Rows != 20000 || r.PeerRows != 20000 {
			t.Errorf("big has %d and %d rows", r.Rows, r.PeerRows)
		}
	}
}

func TestVerifyLeavesOutExcludedTables(t *testing.T) {
	a, _, pa, _ := verifyPair(t)
	execute(t, pa, "shop", "DELETE FROM empty; INSERT INTO plain (id) VALUES (99)")
	a.f.o.Excluded = func(schema, table string) bool { return schema == "public" && table == "plain" }
	got := verify(t, a, VerifyOptions{})
	if _, ok := got["public.plain"]; ok || len(got) != 7 {
		t.Errorf("compared %d tables: %v", len(got), got)
	}
	for name, r := range got {
		if !r.Equal() {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestVerifyDifferent(t *testing.T) {
	a, _, pa, pb := verifyPair(t)
	execute(t, pb, "shop", `UPDATE plain SET f = f + 1e-15 WHERE id = 7; DELETE FROM plain WHERE id = 9; INSERT INTO plain (id) VALUES (1000);
		UPDATE big SET v = -1 WHERE k = 'key 777'; INSERT INTO keyless VALUES (1, 'x'), (8, 'new'); DELETE FROM keyless WHERE ctid = (SELECT min(ctid) FROM keyless WHERE a = 2);
		ALTER TABLE byunique ADD extra int; UPDATE byunique SET v = 3 WHERE u = 'two'; UPDATE parted SET v = 'w' WHERE id = 150;
		CREATE TABLE onlythere (id int); DROP TABLE empty`)
	execute(t, pa, "shop", `UPDATE "Odd ""schema"""."Tab'le" SET "x y" = NULL`)
	got := verify(t, a, VerifyOptions{Database: "shop"})
	check := func(table, problem string, want ...string) {
		t.Helper()
		r, ok := got[table]
		if !ok || r.Err != nil || r.Equal() || r.Problem != problem || r.More {
			t.Errorf("%s: %+v", table, r)
			return
		}
		var have []string
		for _, d := range r.Differences {
			have = append(have, fmt.Sprintf("%v %s %d", d.Key, d.Where, d.Count))
		}
		slices.Sort(have)
		slices.Sort(want)
		if !slices.Equal(have, want) {
			t.Errorf("%s differs in %q, want %q", table, have, want)
		}
	}
	check("public.plain", "", "map[id:7] both 0", "map[id:9] here 0", "map[id:1000] there 0")
	check("public.big", "", "map[k:key 777 part:2] both 0")
	check("public.keyless", "", "map[:(1,x)] both 1", "map[:(8,new)] there 1", "map[:(2,x)] both -1")
	check("public.byunique", "column extra is missing here", "map[u:two] both 0")
	check("public.parted_high", "", "map[id:150] both 0")
	check(`Odd "schema".Tab'le`, "", `map[Co"l:1] both 0`)
	check("public.onlythere", "table is missing here")
	check("public.empty", "table is missing there")
	if r := got["public.parted_low"]; !r.Equal() {
		t.Errorf("parted_low: %+v", r)
	}
	if got := verify(t, a, VerifyOptions{Database: "shop", Table: "big"}); len(got) != 1 {
		t.Errorf("one table was asked for, %d compared", len(got))
	}
	if r := verify(t, a, VerifyOptions{Database: "shop", Table: "nosuch"})["."]; r.Err == nil {
		t.Error("an unknown table is equal")
	}
	if r := verify(t, a, VerifyOptions{Database: "nosuch"})["."]; r.Err == nil {
		t.Error("an unknown database is equal")
	}
	if r := verify(t, a, VerifyOptions{Peer: "nobody"})["."]; !errors.Is(r.Err, ErrUnknownPeer) {
		t.Errorf("unknown peer: %+v", r)
	}
}

// TestVerifyManyDifferences names a limited number of keys, whatever there is.
func TestVerifyManyDifferences(t *testing.T) {
	a, _, _, pb := verifyPair(t)
	execute(t, pb, "shop", `UPDATE big SET v = v + 1; DELETE FROM plain`)
	got := verify(t, a, VerifyOptions{Database: "shop", Keys: 10})
	for table, rows := range map[string]int64{"public.big": 20000, "public.plain": 0} {
		r := got[table]
		if len(r.Differences) != 10 || !r.More || r.PeerRows != rows || r.Equal() || r.Err != nil {
			t.Errorf("%s: %d differences named, more %v, %d rows there, %v", table, len(r.Differences), r.More, r.PeerRows, r.Err)
		}
	}
}

// TestVerifyInFlight has the peer behind: Verify waits, and gives up in time if it must.
func TestVerifyInFlight(t *testing.T) {
	a, b, pa, pb := verifyPair(t)
	execute(t, pa, "shop", "UPDATE byunique SET v = 10 WHERE u = 'one'")
	a.write(1)
	equal(t, a, b)
	r := verify(t, a, VerifyOptions{Wait: 200 * time.Millisecond})["."]
	if r.Err == nil || !strings.Contains(r.Err.Error(), "1 records are stored and not applied at b") {
		t.Errorf("verify says %+v", r)
	}
	done := make(chan map[string]VerifyResult)
	go func() { done <- verify(t, a, VerifyOptions{Database: "shop", Table: "byunique"}) }()
	execute(t, pb, "shop", "UPDATE byunique SET v = 10 WHERE u = 'one'")
	applyNothing(b)
	for name, r := range <-done {
		if !r.Equal() {
			t.Errorf("%s: %+v", name, r)
		}
	}
	b.stop()
	if r := verify(t, a, VerifyOptions{})["."]; !errors.Is(r.Err, ErrUnreachable) {
		t.Errorf("with the peer away: %+v", r)
	}
}

// TestVerifyWhileWriting changes rows on both sides all the time: what only moves is not different.
func TestVerifyWhileWriting(t *testing.T) {
	a, _, pa, pb := verifyPair(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			for _, s := range []*harness.Server{pa, pb} {
				conn, err := pgconn.Connect(context.Background(), s.DSN("shop"))
				if err != nil {
					return
				}
				conn.Exec(context.Background(), fmt.Sprintf("UPDATE big SET v = %d WHERE part = %d AND k LIKE 'key %d%%'", i, i%5, i%9+1)).ReadAll()
				conn.Close(context.Background())
			}
		}
	}()
	for range 3 {
		if r := verify(t, a, VerifyOptions{Database: "shop", Table: "public.big"})["public.big"]; r.Err != nil || len(r.Differences) > 0 {
			t.Errorf("%+v", r)
		}
	}
	stop()
	<-done
}

func TestAskRefusals(t *testing.T) {
	a, b, _, _ := verifyPair(t)
	l := a.f.linkTo("b")
	for want, s := range hostileSelections() {
		v := &verifier{sides: [2]side{l.ask, l.ask}, peer: "b"}
		if _, err := v.both(t.Context(), s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
	b.write(1)
	equal(t, a, b) // the link goes on
}
