package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pgproxy/forward/peerpb"
)

// Limits of one answer, so that it fits a frame and costs little memory on both sides.
const (
	maxDigits       = 3    // 4096 sums
	maxAnswerRows   = 2000 // rows of one answer
	maxAnswerBytes  = 768 << 10
	tablesPerAnswer = 200
	maxReachedTime  = 10 * time.Minute
	maxPrefixes     = 4096
	maxColumns      = 1600
)

// errNoDatabase is the answer of a node that was not given a way to its database.
var errNoDatabase = errors.New("this node has no database to look into")

// answer works on one question about this node, for a peer or for this node's own verify. emit gets the parts.
func (f *Forwarder) answer(ctx context.Context, q *peerpb.Ask, emit func(*peerpb.Answer) error) error {
	if r := q.GetReached(); r != nil {
		return f.answerReached(ctx, r, emit)
	}
	if f.o.Connect == nil {
		return errNoDatabase
	}
	select {
	case f.answers <- struct{}{}:
		defer func() { <-f.answers }()
	case <-ctx.Done():
		return ctx.Err()
	}
	switch b := q.GetQuestion().(type) {
	case *peerpb.Ask_Databases:
		return f.answerDatabases(ctx, emit)
	case *peerpb.Ask_Tables:
		return f.answerTables(ctx, b.Tables.GetDatabase(), emit)
	case *peerpb.Ask_Sums:
		return f.answerSums(ctx, b.Sums, emit)
	case *peerpb.Ask_Rows:
		return f.answerRows(ctx, b.Rows, emit)
	}
	return errors.New("unknown question: the other node is newer")
}

// answerReached waits until the database has applied what the question names.
func (f *Forwarder) answerReached(ctx context.Context, r *peerpb.AskReached, emit func(*peerpb.Answer) error) error {
	want, err := peerpb.ToVector(r.GetApplied())
	if err != nil {
		return err
	}
	if len(want) == 0 {
		return emit(&peerpb.Answer{Vector: peerpb.FromVector(f.j.Stored()), Reached: true})
	}
	moved, stop := f.j.Watch()
	defer stop()
	late := time.NewTimer(min(time.Duration(r.GetTimeoutMs())*time.Millisecond, maxReachedTime))
	defer late.Stop()
	for {
		have := f.j.Applied()
		if have.Includes(want) {
			return emit(&peerpb.Answer{Vector: peerpb.FromVector(have), Reached: true})
		}
		select {
		case <-moved:
		case <-late.C:
			return emit(&peerpb.Answer{Vector: peerpb.FromVector(have)})
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pinned makes the text of every value independent of the server's and the role's settings.
const pinned = `SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET extra_float_digits = 1;
SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET xmlbinary = 'base64'; SET quote_all_identifiers = off; SET search_path = '';
SET row_security = off; SET client_encoding = 'UTF8'; SET statement_timeout = 0; SET lock_timeout = '30s';
SET default_transaction_read_only = on`

// with opens a connection whose settings are pinned, and closes it after work.
func (f *Forwarder) with(ctx context.Context, database string, work func(*pgconn.PgConn) error) error {
	conn, err := f.o.Connect(ctx, database)
	if err != nil {
		return fmt.Errorf("connect to database %q: %w", database, err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		conn.Close(end)
	}()
	if _, err := conn.Exec(ctx, pinned).ReadAll(); err != nil {
		return fmt.Errorf("pin settings: %w", err)
	}
	return work(conn)
}

// rows runs a query and hands each row, as text, to each.
func rows(ctx context.Context, conn *pgconn.PgConn, sql string, each func(row [][]byte) error, params ...string) error {
	args := make([][]byte, len(params))
	for i, p := range params {
		args[i] = []byte(p)
	}
	r := conn.ExecParams(ctx, sql, args, nil, nil, nil)
	var failed error
	for r.NextRow() {
		if failed == nil {
			failed = each(r.Values())
		}
	}
	if _, err := r.Close(); err != nil {
		return fmt.Errorf("query database: %w", err)
	}
	return failed
}

func (f *Forwarder) answerDatabases(ctx context.Context, emit func(*peerpb.Answer) error) error {
	ans := &peerpb.Answer{}
	err := f.with(ctx, "", func(conn *pgconn.PgConn) error {
		return rows(ctx, conn, `SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1`,
			func(row [][]byte) error {
				ans.Databases = append(ans.Databases, string(row[0]))
				return nil
			})
	})
	if err != nil {
		return err
	}
	return emit(ans)
}

// tablesSQL lists what is replicated. Its key is the primary key, else a unique key of columns that cannot be NULL.
const tablesSQL = `SELECT n.nspname, c.relname,
  (SELECT coalesce(json_agg(a.attname ORDER BY a.attname COLLATE "C"), '[]') FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  coalesce((SELECT (SELECT json_agg(a.attname ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
    WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
      AND (i.indisprimary OR NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[]) AND NOT a.attnotnull))
    ORDER BY NOT i.indisprimary, ic.relname COLLATE "C" LIMIT 1), '[]'),
  greatest(c.reltuples, 0)::bigint
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgproxy')
  AND n.nspname NOT LIKE 'pg\_toast%' AND n.nspname NOT LIKE 'pg\_temp%'
  AND ($1 = '' OR (n.nspname = $1 AND c.relname = $2))
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`

// tables lists the replicated tables of the connected database, or the one that is named.
func tables(ctx context.Context, conn *pgconn.PgConn, schema, name string, each func(*peerpb.Table) error) error {
	return rows(ctx, conn, tablesSQL, func(row [][]byte) error {
		t := &peerpb.Table{Schema: string(row[0]), Name: string(row[1])}
		if err := json.Unmarshal(row[2], &t.Columns); err != nil {
			return fmt.Errorf("read columns: %w", err)
		}
		if err := json.Unmarshal(row[3], &t.Key); err != nil {
			return fmt.Errorf("read key: %w", err)
		}
		t.Rows, _ = strconv.ParseInt(string(row[4]), 10, 64)
		return each(t)
	}, schema, name)
}

func (f *Forwarder) answerTables(ctx context.Context, database string, emit func(*peerpb.Answer) error) error {
	return f.with(ctx, database, func(conn *pgconn.PgConn) error {
		ans, size := &peerpb.Answer{}, 0
		flush := func() error {
			full := ans
			ans, size = &peerpb.Answer{}, 0
			return emit(full)
		}
		err := tables(ctx, conn, "", "", func(t *peerpb.Table) error {
			for _, c := range t.Columns {
				size += len(c) + 4
			}
			ans.Tables = append(ans.Tables, t)
			if len(ans.Tables) >= tablesPerAnswer || size > maxAnswerBytes/2 {
				return flush()
			}
			return nil
		})
		if err != nil {
			return err
		}
		return flush()
	})
}

func (f *Forwarder) answerSums(ctx context.Context, q *peerpb.AskSums, emit func(*peerpb.Answer) error) error {
	return f.with(ctx, q.GetSelection().GetDatabase(), func(conn *pgconn.PgConn) error {
		s, err := newSelection(ctx, conn, q.GetSelection())
		if err != nil {
			return err
		}
		ans := &peerpb.Answer{}
		sql, params := s.sums(int(q.GetDigits()))
		err = rows(ctx, conn, sql, func(row [][]byte) error {
			count, err := strconv.ParseInt(string(row[1]), 10, 64)
			if err != nil {
				return fmt.Errorf("read count: %w", err)
			}
			ans.Sums = append(ans.Sums, &peerpb.Sum{Prefix: string(row[0]), Count: count, Sum: string(row[2])})
			if len(ans.Sums) >= maxAnswerRows {
				full := ans
				ans = &peerpb.Answer{}
				return emit(full)
			}
			return nil
		}, params...)
		if err != nil {
			return err
		}
		return emit(ans)
	})
}

func (f *Forwarder) answerRows(ctx context.Context, q *peerpb.AskRows, emit func(*peerpb.Answer) error) error {
	return f.with(ctx, q.GetSelection().GetDatabase(), func(conn *pgconn.PgConn) error {
		s, err := newSelection(ctx, conn, q.GetSelection())
		if err != nil {
			return err
		}
		limit := int(min(q.GetLimit(), maxAnswerRows))
		ans, size := &peerpb.Answer{}, 0
		sql, params := s.rows(limit + 1)
		err = rows(ctx, conn, sql, func(row [][]byte) error {
			r := &peerpb.Row{KeyHash: string(row[0]), RowHash: string(row[1])}
			r.Count, _ = strconv.ParseInt(string(row[2]), 10, 64)
			if err := json.Unmarshal(row[3], &r.Key); err != nil {
				return fmt.Errorf("read key: %w", err)
			}
			size += 80 + len(row[3])
			if len(ans.Rows) >= limit || size > maxAnswerBytes {
				ans.Cut = true
				return nil
			}
			ans.Rows = append(ans.Rows, r)
			return nil
		}, params...)
		if err != nil {
			return err
		}
		return emit(ans)
	})
}

// quote makes an SQL identifier of a name.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
