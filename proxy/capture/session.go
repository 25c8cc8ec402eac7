package capture

import (
	"context"
	"slices"

	"pgproxy/parser"
)

// maxPlans bounds a session's cache of plans.
const maxPlans = 1000

// Session is the capture state of one client connection; not safe for concurrent use.
type Session struct {
	capturer *Capturer
	db       *database
	inner    Querier

	who     *who     // what the session's names resolve to; nil: not known yet, or altered since
	epoch   uint64   // moved whenever who is forgotten
	private *catalog // while the client's open transaction has changed the schema
	plans   map[*parser.Statement]cachedPlan
	tallies tallies
}

type cachedPlan struct {
	plan           *Plan
	epoch, catalog uint64
}

// Session makes the capture state of a new client connection. inner runs queries in the client's own session.
func (c *Capturer) Session(database string, inner Querier) *Session {
	return &Session{capturer: c, db: c.database(database), inner: inner, plans: map[*parser.Statement]cachedPlan{}}
}

// Altered tells that names, roles or settings may resolve differently from now on (SET, RESET, ROLLBACK of a SET...).
func (s *Session) Altered() {
	s.who = nil
	s.epoch++
}

// AlteredSchema tells that the client's own open transaction has changed the schema: until it ends, the catalog is read
// through the client's session.
func (s *Session) AlteredSchema() {
	if s.private == nil {
		s.db.catalog.alter(1)
	}
	s.private = newCatalog()
	s.Altered()
}

// EndTransaction tells that the client's transaction is over.
func (s *Session) EndTransaction(committed bool) {
	s.tallies.end()
	if s.private != nil {
		s.private = nil
		s.db.catalog.alter(-1)
		s.Altered()
	}
}

// catalog gives the cache that is right for this session now, and whom to ask what it does not hold.
func (s *Session) catalog() (*catalog, Querier) {
	if s.private != nil {
		return s.private, s.inner
	}
	return s.db.catalog, s.db.pool
}

// NeedsQuery reports whether Plan would have to query inside the client's session (own search_path or role not known
// yet, catalog changed by the transaction): the session then calls Plan only where nothing of the client's current segment
// has been sent (idle, or inside its explicit transaction).
func (s *Session) NeedsQuery(st *parser.Statement) bool {
	switch st.Class {
	case parser.ClassTransaction, parser.ClassSession, parser.ClassMaintenance, parser.ClassPrepare:
		return false
	case parser.ClassRead, parser.ClassCursor:
		return s.private != nil && len(st.Functions)+len(st.Reads) > 0
	}
	return s.who == nil || s.private != nil
}

// Plan decides how to capture st, from the catalog and the session's role, before anything is sent.
func (s *Session) Plan(ctx context.Context, st *parser.Statement) (*Plan, error) {
	if !s.db.used.Load() {
		s.db.used.Store(true)
	}
	cat, _ := s.catalog()
	epoch, _ := cat.state()
	if c, ok := s.plans[st]; ok && c.epoch == s.epoch && c.catalog == epoch && s.private == nil {
		return c.plan, nil
	}
	p, err := s.plan(ctx, st)
	if err != nil {
		return nil, err
	}
	if s.private == nil && !p.passing {
		if len(s.plans) >= maxPlans {
			clear(s.plans)
		}
		s.plans[st] = cachedPlan{p, s.epoch, epoch}
	}
	return p, nil
}

// who is what one injected query tells about the session.
type who struct {
	PID      int32             `json:"pid"`
	Role     string            `json:"role"`
	Login    string            `json:"login"`
	SetRole  string            `json:"setrole"`
	RoleOID  uint32            `json:"roleoid"`
	Path     []string          `json:"path"`
	Temp     string            `json:"temp"`
	Temps    map[string]uint32 `json:"temps"`
	Encoding string            `json:"encoding"`
	Settings map[string]string `json:"settings"`

	transcode transcoder
}

// Function names are qualified, because the client's search_path may put its own before pg_catalog's.
const whoQuery = `SELECT pg_catalog.convert_to(pg_catalog.json_build_object('pid', pg_catalog.pg_backend_pid(), 'role', current_user,
'login', session_user, 'setrole', pg_catalog.current_setting('role'),
'roleoid', (SELECT r.oid::bigint FROM pg_catalog.pg_roles r WHERE r.rolname = current_user), 'path', pg_catalog.current_schemas(true),
'temp', (SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.oid = pg_catalog.pg_my_temp_schema()),
'temps', (SELECT pg_catalog.json_object_agg(c.relname, c.oid::bigint) FROM pg_catalog.pg_class c WHERE c.relnamespace = pg_catalog.pg_my_temp_schema()
  AND pg_catalog.pg_my_temp_schema() <> 0 AND c.relkind IN ('r', 'p', 'v', 'S', 'i', 'I')), 'encoding', pg_catalog.pg_client_encoding(),
'settings', (SELECT pg_catalog.json_object_agg(s.name, pg_catalog.current_setting(s.name)) FROM pg_catalog.unnest(ARRAY['search_path', 'TimeZone',
  'DateStyle', 'IntervalStyle', 'standard_conforming_strings', 'check_function_bodies', 'default_table_access_method', 'xmloption',
  'default_toast_compression', 'array_nulls', 'backslash_quote', 'extra_float_digits', 'lc_monetary', 'lc_numeric', 'lc_time', 'transform_null_equals']) s(name)
  ))::text, 'UTF8')`

// learn asks the client's session who and where it is.
func (s *Session) learn(ctx context.Context) (*who, error) {
	if s.who != nil {
		return s.who, nil
	}
	w := &who{}
	if err := queryJSON(ctx, s.inner, w, whoQuery); err != nil {
		return nil, err
	}
	w.transcode = transcoding(w.Encoding)
	s.who = w
	return w, nil
}

// Identity is as whom the session works now.
type Identity struct {
	Role        string // current_user
	SessionUser string
	SetRole     string // the setting "role": "none", or what SET ROLE has named
	Backend     int32  // process id of the server
}

// Identity tells as whom the session works; false if that is not known now.
func (s *Session) Identity() (Identity, bool) {
	if s.who == nil {
		return Identity{}, false
	}
	return Identity{Role: s.who.Role, SessionUser: s.who.Login, SetRole: s.who.SetRole, Backend: s.who.PID}, true
}

// target is what a name means to a session.
type target struct {
	located
	temp, missing bool
}

// resolve finds what a name means: as the server does, along the session's path, its temporary schema included.
func (s *Session) resolve(ctx context.Context, w *who, n parser.Name) (target, error) {
	if oid, ok := w.Temps[n.Name]; ok && (n.Schema == "pg_temp" || n.Schema == w.Temp || n.Schema == "" && slices.Contains(w.Path, w.Temp)) {
		return target{located: located{Schema: w.Temp, OID: oid}, temp: true}, nil
	}
	cat, q := s.catalog()
	found, err := cat.named(ctx, q, n.Name)
	if err != nil {
		return target{}, err
	}
	schemas := []string{n.Schema}
	if n.Schema == "" {
		schemas = w.Path
	}
	for _, schema := range schemas {
		for _, f := range found {
			if f.Schema == schema && schema != w.Temp {
				return target{located: f}, nil
			}
		}
	}
	return target{missing: true}, nil
}
