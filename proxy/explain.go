package proxy

import (
	"context"
	"fmt"

	"pgproxy/audit"
	"pgproxy/parser"
	"pgproxy/proxy/capture"
)

// Explanation says what would be done with one statement.
type Explanation struct {
	Statement string   `json:"statement"`
	Command   string   `json:"command"`
	Capture   string   `json:"capture"` // exact, copy, hidden, statement, local, missing, none
	Held      bool     `json:"held"`    // its transaction runs through the commit protocol
	Sent      string   `json:"sent,omitempty"`
	Tables    []string `json:"tables"`
	How       []string `json:"how"`
	// Refused is why it is refused before it runs; "" if it is not.
	Refused string `json:"refused,omitempty"`
}

// roleSettingsSQL sets what a role's login would set.
const roleSettingsSQL = `SELECT pg_catalog.set_config(pg_catalog.split_part(c, '=', 1), pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1), false)
FROM (SELECT s.setdatabase, s.setrole, pg_catalog.unnest(s.setconfig) AS c FROM pg_catalog.pg_db_role_setting s
	WHERE s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
	AND s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1::pg_catalog.text))) x
WHERE pg_catalog.split_part(c, '=', 1) IN ('search_path', 'role') ORDER BY (setrole <> 0)::int, (setdatabase <> 0)::int`

// Explain says what would be done with each statement of a string that user sends in a database; "" is pgproxy's own role. It
// runs nothing.
func (s *Server) Explain(ctx context.Context, database, user, sql string) ([]Explanation, error) {
	conn, err := s.o.Connect(ctx, database)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	q := capture.OnConnection(conn)
	if user != "" {
		if _, err := q.Query(ctx, roleSettingsSQL, []byte(user)); err != nil {
			return nil, fmt.Errorf("take over the settings of role %s: %w", user, err)
		}
		if _, err := q.Query(ctx, "SELECT pg_catalog.set_config('role', $1::pg_catalog.text, false)", []byte(user)); err != nil {
			return nil, fmt.Errorf("act as role %s: %w", user, err)
		}
	}
	cs := s.o.Capturer.Session(database, q)
	script := s.o.Parser.Parse(sql)
	if script.Unread != nil {
		plan := cs.PlanUnread(sql)
		e := s.explain(unread(sql), plan)
		e.Statement = parser.RedactUnread(sql)
		e.How = append(e.How, "Why it could not be read: "+script.Unread.Error()+".")
		return []Explanation{e}, nil
	}
	var out []Explanation
	for _, st := range script.Statements {
		plan, err := cs.Plan(ctx, st)
		if err != nil {
			return out, fmt.Errorf("plan %s: %w", st.Command, err)
		}
		out = append(out, s.explain(st, plan))
	}
	return out, nil
}

func (s *Server) explain(st *parser.Statement, plan *capture.Plan) Explanation {
	e := Explanation{Statement: st.Redact(), Command: st.Command, Capture: audit.CaptureName(plan.Capture), Held: plan.Hold, Tables: plan.Tables(), How: plan.Explain()}
	switch st.Class {
	case parser.ClassTransaction, parser.ClassSession, parser.ClassMaintenance, parser.ClassPrepare:
		e.How = []string{"It passes as it came: it changes the transaction, the session or this host alone."}
	}
	if st.Class == parser.ClassTransaction {
		e.How = []string{"Transaction control. If the transaction has written, COMMIT seals the journal's record first, and marker and COMMIT go in one flight."}
	}
	if plan.Text != st.Text {
		e.Sent = plan.Text
	}
	if st.RefusesBlock && plan.Hold {
		e.How = append(e.How, "It refuses a transaction block: it is journaled before it runs, alone and without a marker.")
	}
	if err := s.refuses(plan); err != nil {
		e.Refused = err.Error()
	}
	return e
}

// unreplicable is why a statement is refused where what cannot be replicated is.
type unreplicable struct{ why, wayOut string }

func (e *unreplicable) Error() string { return "the statement cannot be replicated: " + e.why }

// refuses says why a statement is refused before it runs.
func (s *Server) refuses(plan *capture.Plan) error {
	if why, wayOut := plan.Unreplicable(); why != "" && s.o.RefuseUnreplicable {
		return &unreplicable{why, wayOut}
	}
	return nil
}
