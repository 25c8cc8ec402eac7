package apply

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pgproxy/journal"
)

// replay runs a statement of another node's transaction again, inside ours: with its settings and role, with triggers and
// foreign keys on, because what they do there is not in the record. Its sequences get this node's stride in
// the same transaction.
func (s *single) replay(ctx context.Context, r *journal.Replay) error {
	if err := s.enter(r, true); err != nil {
		return err
	}
	if err := s.text(ctx, r); err != nil {
		return err
	}
	if err := s.leave(r, true); err != nil {
		return err
	}
	return s.a.strideNew(s.d, r)
}

// enter sets what gives the statement its meaning.
func (s *single) enter(r *journal.Replay, local bool) error {
	set := maps.Clone(r.Settings)
	if set == nil {
		set = map[string]string{}
	}
	if s.d.replica {
		set["session_replication_role"] = "origin"
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if skipped(name) {
			continue
		}
		if err := s.config(name, set[name], local); err != nil {
			return fmt.Errorf("set %s for a statement: %w", name, err)
		}
	}
	if r.Role == "" {
		return nil
	}
	rows, err := s.d.s.query("SELECT FROM pg_catalog.pg_roles WHERE rolname = $1::name", journal.Text(r.Role))
	if err != nil {
		return fmt.Errorf("look for role %s: %w", r.Role, err)
	}
	if len(rows) == 0 {
		return nil
	}
	return s.config("role", r.Role, local)
}

// leave sets apply's own settings again: SET LOCAL would last until COMMIT.
func (s *single) leave(r *journal.Replay, local bool) error {
	if err := s.config("role", "none", local); err != nil {
		return fmt.Errorf("set the role back: %w", err)
	}
	for name := range r.Settings {
		low := strings.ToLower(name)
		if _, ours := s.d.settings[low]; ours || skipped(name) {
			continue
		}
		f := &flight{}
		f.add("SELECT pg_catalog.set_config(name, coalesce(reset_val, ''), $2::bool) FROM pg_catalog.pg_settings WHERE lower(name) = $1::text",
			journal.Text(low), journal.Text(strconv.FormatBool(local)))
		if err := s.d.s.do(f); err != nil {
			return fmt.Errorf("set %s back: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.d.settings)) {
		if err := s.config(name, s.d.settings[name], local); err != nil {
			return fmt.Errorf("set %s back: %w", name, err)
		}
	}
	return nil
}

// skipped are settings that only matter to the wire or the transaction, not to what a statement means.
func skipped(name string) bool {
	switch strings.ToLower(name) {
	case "client_encoding", "application_name", "transaction_isolation", "transaction_read_only", "transaction_deferrable", "role", "session_authorization":
		return true
	}
	return false
}

func (s *single) config(name, value string, local bool) error {
	_, err := s.d.s.query("SELECT pg_catalog.set_config($1::text, $2::text, $3::bool)", journal.Text(name), journal.Text(value),
		journal.Text(strconv.FormatBool(local)))
	return err
}

// text runs the statement. Its plan is not kept.
func (s *single) text(ctx context.Context, r *journal.Replay) error {
	if len(r.Params) == 0 {
		return s.d.s.once(ctx, r.Text)
	}
	f := &flight{}
	st := f.add(r.Text)
	for _, p := range r.Params {
		oid := uint32(0)
		if p.Type != "" {
			rows, err := s.d.s.query("SELECT pg_catalog.to_regtype($1::text)::oid::text", journal.Text(p.Type))
			if err != nil {
				return fmt.Errorf("look for type %s: %w", p.Type, err)
			}
			if rows[0][0] == nil {
				return &refusal{state: "42704", reason: fmt.Sprintf("type %s does not exist here", p.Type)}
			}
			n, err := strconv.ParseUint(string(rows[0][0]), 10, 32)
			if err != nil {
				return fmt.Errorf("look for type %s: %w", p.Type, err)
			}
			oid = uint32(n)
		}
		st.args, st.oids = append(st.args, p.Value), append(st.oids, oid)
	}
	return s.d.s.do(f)
}

// outsideBlock gives the one statement of a record that refuses a transaction block.
func outsideBlock(rec *journal.Record) *journal.Replay {
	for i := range rec.Tx.Statements {
		if st := &rec.Tx.Statements[i]; runs(st) && st.Replay.NoBlock {
			return st.Replay
		}
	}
	return nil
}

const attemptSQL = `INSERT INTO pgproxy.applied AS a (origin, seq, attempt) VALUES ($1::uuid, 0, $2::int8)
ON CONFLICT (origin) DO UPDATE SET attempt = excluded.attempt WHERE a.attempt < excluded.attempt`

const attemptFailedSQL = "UPDATE pgproxy.applied SET attempt = 0 WHERE origin = $1::uuid"

// outside runs a statement that refuses a transaction block. Its effect and the position cannot be one transaction; so the
// attempt is written first, and taken back if the server says that it failed. If an attempt is found (somebody died between
// the two), an error that says that the effect is there already, or that what it drops is gone, counts as success.
func (s *single) outside(ctx context.Context, r *journal.Replay) error {
	origin, seq := journal.Text(hex.EncodeToString(s.rec.Origin[:])), journal.Text(strconv.FormatUint(s.rec.Seq, 10))
	f := &flight{}
	tried := f.add(attemptSQL, origin, seq)
	f.add("SELECT pg_catalog.set_config('synchronous_commit', 'on', false)")
	if err := s.d.s.do(f); err != nil {
		return fmt.Errorf("note the attempt: %w", err)
	}
	again := tried.tag == 0
	if stop := s.a.stops[s.rec.Origin]; again || stop != nil && stop.Seq == s.rec.Seq {
		if err := s.dropInvalid(ctx, r); err != nil {
			return err
		}
	}
	if err := s.enter(r, false); err != nil {
		return errors.Join(err, s.leave(r, false))
	}
	err := s.text(ctx, r)
	if e := s.leave(r, false); e != nil && err == nil {
		err = e
	}
	if err != nil && !(again && already(err)) {
		if !s.d.s.broken {
			f := &flight{}
			f.add(attemptFailedSQL, origin)
			err = errors.Join(err, s.d.s.do(f))
		}
		return err
	}
	s.a.o.Fault("apply.ran")
	if err := s.a.strideNew(s.d, r); err != nil {
		return err
	}
	s.f.add("BEGIN")
	s.f.add("SELECT pg_catalog.set_config('synchronous_commit', 'off', false)")
	move(s.f, s.rec.ID)
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.commit(); err != nil {
		return err
	}
	s.a.hurry()
	s.a.counts.Replayed++
	return s.d.forget()
}

// already reports whether an error says that there is what the statement makes, or not what it drops.
func already(err error) bool {
	switch sqlState(err) {
	case "42P07", "42710", "42P04", "42P06", "42704", "42P01", "3D000":
		return true
	}
	return false
}

// dropInvalid removes what an interrupted CREATE INDEX CONCURRENTLY left: an index that is not valid, on a table of
// the statement, and named in it.
func (s *single) dropInvalid(ctx context.Context, r *journal.Replay) error {
	rows, err := s.d.s.query(`SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE NOT i.indisvalid`)
	if err != nil {
		return fmt.Errorf("look for invalid indexes: %w", err)
	}
	for _, row := range rows {
		if !strings.Contains(strings.ToLower(r.Text), strings.ToLower(string(row[1]))) {
			continue
		}
		if err := s.d.s.once(ctx, "DROP INDEX CONCURRENTLY IF EXISTS "+ident(string(row[0]))+"."+ident(string(row[1]))); err != nil {
			return fmt.Errorf("drop invalid index %s: %w", row[1], err)
		}
	}
	return nil
}
