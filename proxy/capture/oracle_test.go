package capture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgproxy/journal"
)

// shadow plays captured changes on its own tables: each change must fit what is there, and in the end the tables must
// be the server's.
type shadow struct {
	tables map[string]map[string]int // table -> row -> how many
}

func newShadow() *shadow { return &shadow{tables: map[string]map[string]int{}} }

// play gives what does not fit.
func (s *shadow) play(tx *TxState, e Effect) (wrong []string) {
	for _, c := range e.Changes {
		name := tx.Relations[c.Relation].Name
		rows := s.tables[name]
		if rows == nil {
			rows = map[string]int{}
			s.tables[name] = rows
		}
		if c.Before != nil {
			k := show(c.Before)
			if rows[k]--; rows[k] < 0 {
				wrong = append(wrong, fmt.Sprintf("%c %s: row before was not there: %s", c.Op, name, k))
			}
			if rows[k] == 0 {
				delete(rows, k)
			}
		} else if c.Op != journal.OpInsert {
			wrong = append(wrong, fmt.Sprintf("%c %s: row before is unknown: %s", c.Op, name, show(c.After)))
		}
		if c.After != nil {
			rows[show(c.After)]++
		}
	}
	return wrong
}

// compare tells how the table differs from the server's.
func (s *shadow) compare(t testing.TB, c *client, table, columns string) {
	t.Helper()
	r := c.conn.ExecParams(context.Background(), fmt.Sprintf("SELECT '(' || concat_ws(',', %s) || ')' FROM %s", columns, table), nil, nil, nil, nil).Read()
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	server := map[string]int{}
	for _, row := range r.Rows {
		server[string(row[0])]++
	}
	for k, n := range server {
		if s.tables[table][k] != n {
			t.Errorf("%s: %s is there %d times, captured %d", table, k, n, s.tables[table][k])
		}
	}
	for k, n := range s.tables[table] {
		if server[k] == 0 {
			t.Errorf("%s: %s is captured %d times, not there", table, k, n)
		}
	}
}

const oracleSchema = `CREATE TABLE a (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, s text, u int UNIQUE);
CREATE TABLE b (x int, y text, z int, PRIMARY KEY (x, y));
CREATE TABLE k (v int, w text);
CREATE TABLE p (id int, r int, v text, PRIMARY KEY (id, r)) PARTITION BY LIST (r);
CREATE TABLE p0 PARTITION OF p FOR VALUES IN (0, 1, 2); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (3, 4); CREATE TABLE p2 PARTITION OF p DEFAULT;
CREATE TABLE c (id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE);
CREATE TABLE d (id int PRIMARY KEY, c int REFERENCES c ON DELETE SET NULL ON UPDATE CASCADE, au int REFERENCES a (u) ON DELETE SET DEFAULT ON UPDATE SET NULL);`

var oracleColumns = map[string]string{"a": "id, n, coalesce(s, '~'), coalesce(u::text, '~')", "b": "x, y, coalesce(z::text, '~')", "k": "coalesce(v::text, '~'), coalesce(w, '~')",
	"p": "id, r, coalesce(v, '~')", "c": "id, coalesce(a::text, '~')", "d": "id, coalesce(c::text, '~'), coalesce(au::text, '~')"}

// randomStatement makes a statement on the oracle's tables; many fail on purpose.
func randomStatement(r *rand.Rand) string {
	n := func() int { return r.IntN(12) }
	returning := []string{"", "", " RETURNING *", " RETURNING 1 AS one"}[r.IntN(4)]
	statements := []func() string{
		func() string { return fmt.Sprintf("INSERT INTO a VALUES (%d, %d, 'i%d', %d)", n(), n(), n(), n()) },
		func() string {
			return fmt.Sprintf("INSERT INTO a SELECT i, 1 FROM generate_series(%d, %d) i ON CONFLICT DO NOTHING", n(), n())
		},
		func() string {
			return fmt.Sprintf("INSERT INTO a AS x VALUES (%d, %d), (%d, 1) ON CONFLICT (id) DO UPDATE SET n = x.n + excluded.n, id = excluded.id", n(), n(), n()+12)
		},
		func() string {
			return fmt.Sprintf("INSERT INTO a VALUES (%d, 0, 'u', %d) ON CONFLICT (u) DO UPDATE SET s = 'conflict', id = excluded.id WHERE a.n < 8", n()+30, n())
		},
		func() string { return fmt.Sprintf("UPDATE a SET n = n + %d WHERE id > %d", n(), n()) },
		func() string { return fmt.Sprintf("UPDATE a SET id = id + 1 WHERE id = %d", n()) },
		func() string { return fmt.Sprintf("UPDATE a SET id = -id WHERE id > %d", n()) },
		func() string {
			return fmt.Sprintf("UPDATE a SET u = CASE WHEN u > 5 THEN NULL ELSE u + 20 END, s = s || 'x' WHERE id %% 3 = %d", n()%3)
		},
		func() string { return fmt.Sprintf("UPDATE a SET n = b.z FROM b WHERE b.x = a.id AND a.n <> %d", n()) },
		func() string { return fmt.Sprintf("DELETE FROM a WHERE id IN (%d, %d)", n(), n()) },
		func() string {
			return fmt.Sprintf("INSERT INTO b SELECT %d, chr(65 + i), %d FROM generate_series(0, %d) i ON CONFLICT (x, y) DO UPDATE SET z = b.z - 1", n(), n(), n()%4)
		},
		func() string { return fmt.Sprintf("UPDATE b SET y = y || '!' WHERE x = %d", n()) },
		func() string { return fmt.Sprintf("UPDATE b AS o SET z = coalesce(z, 0) + 1 WHERE x < %d", n()) },
		func() string { return fmt.Sprintf("DELETE FROM b USING a WHERE a.id = b.x AND a.n > %d", n()) },
		func() string {
			return fmt.Sprintf("INSERT INTO k SELECT %d, NULL FROM generate_series(1, %d)", n()%4, n()%3)
		},
		func() string { return fmt.Sprintf("UPDATE k SET v = v + 1, w = 'w' WHERE v = %d", n()%4) },
		func() string { return fmt.Sprintf("DELETE FROM k WHERE v > %d", n()) },
		func() string {
			return fmt.Sprintf("INSERT INTO p VALUES (%d, %d, 'p') ON CONFLICT (id, r) DO UPDATE SET v = 'q' || %d", n(), n()%6, n())
		},
		func() string { return fmt.Sprintf("UPDATE p SET r = (r + 1) %% 6 WHERE id = %d", n()) },
		func() string { return fmt.Sprintf("UPDATE p SET v = v || '.' WHERE r < %d", n()) },
		func() string { return fmt.Sprintf("DELETE FROM p WHERE r = %d AND id > %d", n()%6, n()) },
		func() string { return fmt.Sprintf("UPDATE p1 SET v = 'leaf' WHERE id = %d", n()) },
		func() string {
			return fmt.Sprintf("INSERT INTO c SELECT %d, id FROM a ORDER BY id LIMIT 1 OFFSET %d", n()+r.IntN(50), n())
		},
		func() string {
			return fmt.Sprintf("INSERT INTO d SELECT %d, (SELECT max(id) FROM c), (SELECT u FROM a WHERE u IS NOT NULL ORDER BY id LIMIT 1)", n()+r.IntN(50))
		},
		func() string { return fmt.Sprintf("UPDATE d SET c = NULL WHERE id = %d", n()) },
		func() string { return fmt.Sprintf("DELETE FROM c WHERE id %% 7 = %d", n()%7) },
		func() string {
			return fmt.Sprintf("WITH w AS (INSERT INTO k VALUES (%d, 'cte') RETURNING v) UPDATE b SET z = w.v FROM w WHERE x = %d", n(), n())
		},
		func() string {
			return fmt.Sprintf("WITH gone AS (DELETE FROM k WHERE v = %d RETURNING *) INSERT INTO b SELECT v + 100, 'moved', count(*) FROM gone WHERE v IS NOT NULL GROUP BY v ON CONFLICT DO NOTHING", n())
		},
	}
	s := statements[r.IntN(len(statements))]()
	if !strings.HasPrefix(s, "WITH") && r.IntN(3) == 0 {
		s += returning
	}
	return s
}

// TestRandomStatements runs random statements in transactions with savepoints, and plays what was captured.
func TestRandomStatements(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		c := b.client()
		c.plain(oracleSchema)
		r := seedOf()
		s := newShadow()
		log := []string{}
		for round := range 250 {
			explicit := r.IntN(2) == 0
			type step struct {
				sql string
				e   Effect
			}
			var steps []step
			var tx *TxState
			marks := map[string]int{}
			do := func(sql string) bool {
				log = append(log, sql)
				e, err := c.try(sql)
				if err != nil {
					log = append(log, "-- "+err.Error())
					return false
				}
				steps = append(steps, step{sql, e})
				return true
			}
			if explicit {
				do("BEGIN")
				for range 1 + r.IntN(6) {
					name := fmt.Sprint("s", r.IntN(3))
					marks[name] = len(steps)
					do("SAVEPOINT " + name)
					marks[name] = len(steps)
					if !do(randomStatement(r)) || r.IntN(5) == 0 {
						do("ROLLBACK TO " + name)
						steps = steps[:marks[name]]
					} else if r.IntN(2) == 0 {
						do("RELEASE " + name)
					}
				}
				if r.IntN(6) == 0 {
					do("ROLLBACK")
					steps = nil
				} else {
					do("COMMIT")
				}
				tx = c.last
			} else {
				do(randomStatement(r))
				tx = c.last
			}
			for _, st := range steps {
				if st.e.Capture == journal.CaptureMissing {
					t.Errorf("missing: %s: %s", st.sql, st.e.Note)
				}
				if wrong := s.play(tx, st.e); len(wrong) > 0 {
					t.Errorf("%s\n  %s\n  note %s", st.sql, strings.Join(wrong, "\n  "), st.e.Note)
				}
			}
			if round%10 == 9 || t.Failed() {
				for table, cols := range oracleColumns {
					s.compare(t, c, table, cols)
				}
			}
			if t.Failed() {
				t.Fatalf("round %d, after:\n%s", round, strings.Join(log[max(0, len(log)-25):], "\n"))
			}
		}
	})
}

// TestContention: several sessions change the same rows; each row's images must form one chain.
func TestContention(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		setup := b.client()
		setup.plain("CREATE TABLE h (id int PRIMARY KEY, v int, who text); CREATE TABLE ref (h int REFERENCES h); INSERT INTO h SELECT i, 0, '' FROM generate_series(1, 4) i")
		var mu sync.Mutex
		links := map[string][]string{} // row before -> rows after
		var wg sync.WaitGroup
		for w := range 6 {
			c := b.client()
			wg.Add(1)
			go func() {
				defer wg.Done()
				r := rand.New(rand.NewPCG(uint64(w), 7))
				for i := range 150 {
					var sql string
					switch r.IntN(4) {
					case 0:
						sql = fmt.Sprintf("UPDATE h SET v = v + 1, who = '%d.%d' WHERE id = %d", w, i, r.IntN(4)+1)
					case 1:
						sql = fmt.Sprintf("UPDATE h SET v = v + 1, who = '%d.%d' WHERE id >= %d", w, i, r.IntN(4)+1)
					case 2:
						sql = fmt.Sprintf("INSERT INTO h VALUES (%d, 0, '') ON CONFLICT (id) DO UPDATE SET v = h.v + 1, who = '%d.%d'", r.IntN(4)+1, w, i)
					case 3:
						sql = fmt.Sprintf("INSERT INTO ref VALUES (%d)", r.IntN(4)+1) // locks the row: xmax becomes a multixact
					}
					e, err := c.try(sql)
					if err != nil {
						continue // deadlock
					}
					mu.Lock()
					for _, ch := range e.Changes {
						if len(ch.After) == 1 {
							continue
						}
						before := "unknown"
						if ch.Before != nil {
							before = show(ch.Before)
						}
						links[before] = append(links[before], show(ch.After))
					}
					mu.Unlock()
				}
			}()
		}
		wg.Wait()
		follow(t, links)
	})
}

func follow(t *testing.T, links map[string][]string) {
	t.Helper()
	if n := len(links["unknown"]); n > 0 {
		t.Errorf("%d rows before are unknown: %v", n, links["unknown"][:min(n, 5)])
	}
	total, followed := 0, 0
	for before, after := range links {
		total += len(after)
		if len(after) > 1 {
			t.Errorf("%s was overwritten %d times: %v", before, len(after), after)
		}
	}
	for id := range 4 {
		for row := fmt.Sprintf("(%d,0,)", id+1); len(links[row]) == 1; row = links[row][0] {
			followed++
		}
	}
	if followed != total {
		keys := []string{}
		for k := range links {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		t.Errorf("%d of %d changes are in chains", followed, total)
	}
	t.Logf("%d changes", total)
}
