package capture

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/test/harness"
)

// statements is how many statements are written for each PostgreSQL version.
const statements = 5000

// settleTime is how long the peer may take to have everything.
const settleTime = 3 * time.Minute

// TestEveryKindOfWrite writes a random script through node a and directly, and compares: answers, node b, the journal.
func TestEveryKindOfWrite(t *testing.T) {
	for _, major := range harness.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel() // most of it is waiting for round trips
			seed := harness.Seed(t)
			r := harness.Rand(seed, 0)
			f := &fuzz{t: t, script: &script{schema: randomSchema(r), r: r}, major: major, want: map[int]net{}, columns: map[int]map[string][]string{}}
			f.begin()
			for done := 0; done < harness.Number(t, "PGPROXY_STATEMENTS", statements) && !t.Failed(); {
				done += f.transaction()
			}
			f.end()
		})
	}
}

// fuzz is one run of a script.
type fuzz struct {
	*script
	t       *testing.T
	major   int
	cluster *harness.Cluster
	through *pgconn.PgConn // node a
	direct  *pgconn.PgConn // the database with the triggers
	scratch *harness.Server
	number  int         // of the transaction
	want    map[int]net // by transaction: what the triggers saw
	columns map[int]map[string][]string
	texts   []string
	now     map[string][]string
}

func (f *fuzz) begin() {
	f.cluster = harness.NewCluster(f.t, harness.ClusterOptions{Nodes: 2, Majors: []int{f.major}})
	f.scratch = harness.Postgres(f.t, harness.Major(f.major), harness.Named("history"))
	f.through, f.direct = connect(f.t, f.cluster.Nodes[0].DSN("postgres")), connect(f.t, f.scratch.DSN("postgres"))
	for _, sql := range f.setup {
		if _, err := f.through.Exec(context.Background(), sql).ReadAll(); err != nil {
			f.t.Fatalf("%s: %v", sql, err)
		}
		if _, err := f.direct.Exec(context.Background(), sql).ReadAll(); err != nil {
			f.t.Fatalf("%s: %v", sql, err)
		}
	}
	f.history(historySchema)
	for _, t := range f.tables {
		f.history(t.watch())
	}
	f.shape()
}

func connect(t *testing.T, dsn string) *pgconn.PgConn {
	t.Helper()
	c, err := pgconn.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

func (f *fuzz) history(sql string) {
	f.t.Helper()
	if _, err := f.direct.Exec(context.Background(), sql).ReadAll(); err != nil {
		f.t.Fatalf("%s: %v", sql, err)
	}
}

// shape notes the columns that the tables have from now on.
func (f *fuzz) shape() {
	f.now = map[string][]string{}
	for _, t := range f.tables {
		for _, c := range t.columns {
			f.now[unquote(t.name)] = append(f.now[unquote(t.name)], c.name)
		}
	}
}

// transaction runs the next one on both sides and gives the number of its statements.
func (f *fuzz) transaction() int {
	f.t.Helper()
	f.number++
	steps, altered := f.script.transaction(f.major)
	if _, err := f.through.Exec(context.Background(), fmt.Sprintf("SET application_name = 'f%d'", f.number)).ReadAll(); err != nil {
		f.t.Fatalf("transaction %d: %v", f.number, err)
	}
	var text []string
	failed := false
	for _, st := range steps {
		text = append(text, st.sql)
		through, direct := run(f.through, st), run(f.direct, st)
		if through != direct {
			f.t.Errorf("transaction %d: %s\nthrough the proxy: %s\ndirectly:          %s", f.number, strings.Join(text, ";\n"), through, direct)
		}
		failed = failed || strings.HasPrefix(direct, "ERROR")
	}
	f.texts = append(f.texts, strings.Join(text, ";\n"))
	f.want[f.number] = seen(f.t, f.direct)
	f.columns[f.number] = f.now
	if altered != nil {
		if failed {
			altered.table.columns = altered.before
		} else {
			f.history(altered.table.watch())
		}
		f.shape()
		f.want[f.number] = nil
	}
	return len(steps)
}

// run runs a step and gives what a client is told: tags, or the SQLSTATE.
func run(c *pgconn.PgConn, st step) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var tags []string
	var err error
	switch {
	case st.data != "":
		var tag pgconn.CommandTag
		tag, err = c.CopyFrom(ctx, strings.NewReader(st.data), st.sql)
		tags = append(tags, tag.String())
	case st.extended:
		r := c.ExecParams(ctx, st.sql, nil, nil, nil, nil).Read()
		err = r.Err
		tags = append(tags, r.CommandTag.String())
	default:
		var results []*pgconn.Result
		results, err = c.Exec(ctx, st.sql).ReadAll()
		for _, r := range results {
			tags = append(tags, r.CommandTag.String())
		}
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return "ERROR " + pg.Code + " " + pg.Message
	}
	if err != nil {
		return "ERROR " + err.Error()
	}
	return strings.Join(tags, ", ")
}

// end lets the peer take everything, and compares.
func (f *fuzz) end() {
	a := f.cluster.Nodes[0]
	f.cluster.Settle(settleTime)
	for _, t := range f.tables {
		sql := fmt.Sprintf("SELECT z::text FROM ONLY %s z ORDER BY 1", t.name)
		if t.name == `"parted"` {
			sql = fmt.Sprintf("SELECT z::text FROM %s z ORDER BY 1", t.name)
		}
		if got, want := f.cluster.Equal(f.t, "postgres", sql), harness.Query(f.t, f.scratch.DSN("postgres"), sql); !slices.Equal(got, want) {
			f.t.Errorf("%s: %d rows through the proxy, %d directly, or they differ", t.name, len(got), len(want))
		}
	}
	got, captures := map[int]net{}, map[string]int{}
	a.EachTransaction(func(x harness.Transaction) {
		var number int
		if _, err := fmt.Sscanf(x.Application, "f%d", &number); err != nil || x.Outcome != "committed" {
			return
		}
		for _, st := range x.Statements {
			captures[st.Capture]++
			if st.Capture == "missing" {
				f.t.Errorf("transaction %d: %s: not captured: %s", number, st.Query, st.Note)
			}
		}
		if got[number] == nil {
			got[number] = net{}
		}
		for row, n := range told(x, func(table string) []string { return f.columns[number][table] }) {
			got[number].add(row, n)
		}
	})
	f.compare(got)
	f.t.Logf("%d transactions; statements by capture: %v", f.number, captures)
	if captures["exact"] == 0 || captures["hidden"] == 0 || captures["copy"] == 0 || captures["statement"] == 0 {
		f.t.Errorf("some ways of capture were never taken: %v", captures)
	}
	f.cluster.Verify()
}

// shown is how many wrong transactions are printed.
const shown = 5

// compare holds the journal against what the triggers saw.
func (f *fuzz) compare(got map[int]net) {
	wrong := 0
	for number := 1; number <= f.number; number++ {
		want := f.want[number]
		if want == nil || maps.Equal(want, got[number]) {
			continue
		}
		if wrong++; wrong > shown {
			continue
		}
		var lines []string
		for row, n := range want {
			if got[number][row] != n {
				lines = append(lines, fmt.Sprintf("  triggers %+d, journal %+d: %q", n, got[number][row], row))
			}
		}
		for row, n := range got[number] {
			if _, known := want[row]; !known {
				lines = append(lines, fmt.Sprintf("  triggers 0, journal %+d: %q", n, row))
			}
		}
		slices.Sort(lines)
		f.t.Errorf("transaction %d:\n%s\n%s", number, f.texts[number-1], strings.Join(lines, "\n"))
	}
	if wrong > 0 {
		f.t.Errorf("%d of %d transactions stand in the journal other than they were", wrong, f.number)
	}
}
