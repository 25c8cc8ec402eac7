package capture

import (
	"context"
	"errors"
	"slices"
	"strings"

	"pgproxy/journal"
	"pgproxy/parser"
)

// Plan is how one statement will be captured. It is shared and read-only.
type Plan struct {
	// Capture is the intended way; Effect.Capture says what became of it.
	Capture journal.Capture
	// Hold: the statement may write, so an implicit transaction must be held for the commit protocol, and
	// Execution.Finish called. False for reads and local effects: forward the bytes as they came.
	Hold bool
	Text string // what to send in place of st.Text (spliced); equal to it where nothing is spliced
	// Appended is the number of columns (0 or 1) that Text appends to the result rows. The last column of each row
	// goes to Execution.Row and not to the client.
	Appended int
	// OwnRows: the client asked for no rows at all: swallow RowDescription and DataRow, answer NoData, force max_rows 0,
	// bind the result as binary. Otherwise the appended column is text that reads the same in both formats.
	OwnRows bool
	Note    string

	how       strategy
	rel       *relation // exact, copy
	shape     shape
	image     image
	upsert    bool  // INSERT .. ON CONFLICT DO UPDATE
	watch     reach // besides what how captures, what triggers, rules and functions may have written
	sequences bool  // sequences may be new, or out of line with the node's number
	tables    []*relation
	replay    *journal.Replay
	passing   bool // made without the catalog: not kept
	rows      bool // CREATE TABLE AS: the rows are shipped too
}

// strategy is what Finish has to do.
type strategy uint8

const (
	howNothing strategy = iota
	howRows             // the appended column has the rows
	howScan             // the target is compared with what is known of it
	howCopy
	howWatch // nothing is known beforehand
	howReplay
	howMissing
)

// plan decides anew.
func (s *Session) plan(ctx context.Context, st *parser.Statement) (*Plan, error) {
	switch st.Class {
	case parser.ClassRead, parser.ClassCursor:
		return s.planRead(ctx, st)
	case parser.ClassWrite:
		return s.planWrite(ctx, st)
	case parser.ClassCopyFrom:
		return s.planCopy(ctx, st)
	case parser.ClassTruncate:
		return s.planTruncate(ctx, st)
	case parser.ClassDDL:
		return s.planDDL(ctx, st)
	case parser.ClassOpaque:
		return s.planOpaque(ctx, st)
	}
	return &Plan{Text: st.Text}, nil
}

// PlanUnread is the plan of a text that the parser could not read: it is watched by its effect.
func (s *Session) PlanUnread(text string) *Plan {
	return &Plan{Capture: journal.CaptureHidden, Hold: true, Text: text, how: howWatch, watch: everything(), Note: "the text could not be read"}
}

// local is a plan for what stays on this node.
func local(st *parser.Statement, note string) *Plan {
	return &Plan{Capture: journal.CaptureLocal, Text: st.Text, Note: note}
}

func watched(st *parser.Statement, note string) *Plan {
	return &Plan{Capture: journal.CaptureHidden, Hold: true, Text: st.Text, how: howWatch, watch: everything(), Note: note}
}

// planRead holds a read only if it calls something of the user's that is volatile, itself or through a view. Names are
// looked up in all schemas here: holding a read too many costs a little, asking for the search_path first costs more.
func (s *Session) planRead(ctx context.Context, st *parser.Statement) (*Plan, error) {
	volatile, err := s.volatile(ctx, st)
	if err != nil {
		// Reads go on where the catalog cannot be asked (no connection left for us), at the cost of a look afterwards.
		s.capturer.options.Logger.Warn("a read is held because the catalog cannot be read", "database", s.db.name, "error", err)
		volatile = true
	}
	p := &Plan{Text: st.Text}
	if volatile {
		p = watched(st, "")
		p.passing = err != nil
	}
	if slices.ContainsFunc(st.Functions, func(n parser.Name) bool { return n.Name == "setval" && (n.Schema == "" || n.Schema == "pg_catalog") }) {
		if !p.Hold {
			p = &Plan{Text: st.Text, Hold: true, Capture: journal.CaptureLocal, Note: "values of sequences stay local"}
		}
		p.sequences = true
	}
	return p, nil
}

// volatile reports whether the statement may call a volatile function of the user's.
func (s *Session) volatile(ctx context.Context, st *parser.Statement) (bool, error) {
	cat, q := s.catalog()
	for _, n := range st.Functions {
		if n.Schema == "pg_catalog" || n.Schema == "information_schema" {
			continue
		}
		found, err := cat.overloads(ctx, q, n.Name)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(found, func(f function) bool { return f.Volatile && (n.Schema == "" || n.Schema == f.Schema) }) {
			return true, nil
		}
	}
	for _, n := range st.Reads {
		if n.Schema == "pg_catalog" || n.Schema == "information_schema" {
			continue
		}
		found, err := cat.named(ctx, q, n.Name)
		if err != nil {
			return false, err
		}
		for _, f := range found {
			if f.Kind != "v" || n.Schema != "" && n.Schema != f.Schema || f.Schema == "pg_catalog" || f.Schema == "information_schema" {
				continue
			}
			rel, err := cat.relation(ctx, q, f.OID)
			if err != nil && !errors.Is(err, errNoRelation) {
				return false, err
			}
			if rel != nil && rel.Volatile {
				return true, nil
			}
		}
	}
	return false, nil
}

// planOpaque holds; EXPLAIN ANALYZE, EXECUTE and the like run what only the effect tells.
func (s *Session) planOpaque(ctx context.Context, st *parser.Statement) (*Plan, error) {
	if _, err := s.learn(ctx); err != nil {
		return nil, err
	}
	if st.Command == "REFRESH MATERIALIZED VIEW" {
		return s.planDDL(ctx, st)
	}
	p := watched(st, "")
	p.sequences = st.Command == "DO" || st.Command == "CALL"
	return p, nil
}

// planWrite is for INSERT, UPDATE, DELETE, MERGE, and a SELECT with a writing WITH member. What a WITH member writes is
// looked for afterwards, in its table alone where nothing else can have been written.
func (s *Session) planWrite(ctx context.Context, st *parser.Statement) (*Plan, error) {
	w, err := s.learn(ctx)
	if err != nil {
		return nil, err
	}
	volatile, err := s.volatile(ctx, st)
	if err != nil {
		return nil, err
	}
	note, here := "", 0
	var main *relation
	members := reach{all: volatile, names: map[string]bool{}}
	for _, t := range st.Targets {
		rel, why, err := s.targetOf(ctx, w, t.Name)
		switch {
		case err != nil:
			return nil, err
		case why != "":
			note = why
			continue
		case rel == nil:
			return watched(st, ""), nil // it does not exist, as far as the catalog knows: it will fail
		}
		here++
		if !t.InCTE {
			main = rel
			continue
		}
		if members, err = s.member(ctx, rel, t, members); err != nil {
			return nil, err
		}
	}
	switch {
	case here == 0 && len(st.Targets) > 0 && !volatile:
		return local(st, note), nil
	case main != nil && !members.all:
		return s.planTarget(ctx, w, st, main, members)
	case main != nil && len(members.names) == 0:
		return s.planTarget(ctx, w, st, main, members)
	}
	p := watched(st, "")
	p.watch = members
	if main != nil || len(st.Targets) == 0 {
		p.watch = everything()
	}
	return p, nil
}

// member adds what a writing WITH member may write to r.
func (s *Session) member(ctx context.Context, rel *relation, t parser.Target, r reach) (reach, error) {
	loud, err := s.loud(ctx, rel, triggerEvents[t.Command])
	if err != nil {
		return r, err
	}
	r = r.join(loud)
	refers := slices.ContainsFunc(rel.Referenced, func(k constraintData) bool { return acts(k.OnDelete) || acts(k.OnUpdate) })
	if rel.Kind != "r" && rel.Kind != "p" || rel.Kind == "r" && rel.Children || len(rel.Rules) > 0 || refers {
		r.all = true
	}
	r.names[strings.ToLower(rel.Name)] = true
	if rel.Root != 0 {
		r.all = true
	}
	return r, nil
}

// targetOf resolves a written table. local is why it stays on this node, "" if it is to be captured; a relation that
// does not exist is nil.
func (s *Session) targetOf(ctx context.Context, w *who, n parser.Name) (rel *relation, local string, err error) {
	t, err := s.resolve(ctx, w, n)
	switch {
	case err != nil:
		return nil, "", err
	case t.temp:
		return nil, "temporary tables stay local", nil
	case t.missing:
		return nil, "", nil
	}
	cat, q := s.catalog()
	rel, err = cat.relation(ctx, q, t.OID)
	if errors.Is(err, errNoRelation) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	return rel, s.stays(rel), nil
}

// stays says why a relation's rows are not replicated; "" if they are.
func (s *Session) stays(rel *relation) string {
	switch {
	case rel.Persistence == "t":
		return "temporary tables stay local"
	case rel.Persistence == "u":
		return "unlogged tables stay local"
	case rel.Kind == "f":
		return "foreign tables stay local"
	case rel.Schema == "pg_catalog" || rel.Schema == "information_schema":
		return "system catalogs stay local"
	case s.capturer.excluded(s.db.name, rel.Schema, rel.Name):
		return "the table is excluded"
	}
	return ""
}

// The events of pg_rewrite, by command.
var ruleEvents = map[string]string{"UPDATE": "2", "INSERT": "3", "DELETE": "4"}

// The bits of pg_trigger.tgtype, by command.
var triggerEvents = map[string]int{"INSERT": triggerInsert, "UPDATE": triggerUpdate, "DELETE": triggerDelete,
	"MERGE": triggerInsert | triggerUpdate | triggerDelete, "COPY": triggerInsert}

// planTarget is for a statement that writes a table by its own verb; others is what it may write besides.
func (s *Session) planTarget(ctx context.Context, w *who, st *parser.Statement, rel *relation, others reach) (*Plan, error) {
	t := st.Targets[0]
	instead, also := rel.ruled(ruleEvents[t.Command])
	events := triggerEvents[t.Command]
	if st.DoUpdate != nil {
		events |= triggerUpdate
	}
	if rel.Kind != "r" && rel.Kind != "p" || instead || st.SpliceAt < 0 || rel.Kind == "r" && rel.Children && !t.Only && t.Command != "INSERT" {
		return watched(st, ""), nil
	}
	cat, q := s.catalog()
	g, err := cat.grant(ctx, q, w.RoleOID, rel.OID)
	if err != nil {
		return nil, err
	}
	if !g.Select || g.Hidden {
		return watched(st, "the role may not see all that it writes"), nil
	}
	version, err := cat.server(ctx, q)
	if err != nil {
		return nil, err
	}
	p := &Plan{Capture: journal.CaptureExact, Hold: true, Text: st.Text, how: howRows, rel: rel, shape: shapeOf(rel, w.Encoding),
		upsert: st.DoUpdate != nil, watch: others}
	loud, err := s.loud(ctx, rel, events)
	if err != nil {
		return nil, err
	}
	p.watch = p.watch.join(loud)
	p.watch.all = p.watch.all || also
	var ok bool
	if p.image, ok = pickImage(st, rel, version); !ok {
		p.how = howScan
		return p, nil
	}
	p.Text = splice(st.Text, st.SpliceAt, st.Returning, p.shape, t.Alias, p.image)
	p.Appended, p.OwnRows = 1, !st.Returning
	return p, nil
}

// pickImage decides what must be appended to know the rows before and after; false if nothing appended can tell.
func pickImage(st *parser.Statement, rel *relation, version int) (image, bool) {
	t := st.Targets[0]
	changed := rel.triggered(triggerUpdate, true)
	old := version >= minOld && (version >= minOldTriggers || !changed) && (!st.Returning || !mentions(st, "old") && !mentions(st, "new"))
	switch {
	case t.Command == "INSERT" && st.DoUpdate == nil, t.Command == "DELETE":
		return imageRow, true
	case old:
		return imageOld, true
	case t.Command == "MERGE" || len(rel.key) == 0 || !rel.keyFast:
		return 0, false
	case t.Command == "INSERT" && rel.Kind == "p":
		return imageKey, true
	case rel.Kind == "p" && (changed || rel.PartExpr || assignsAny(st, rel, rel.columnsOf(rel.PartColumns))):
		return imageRow, true // a moved row has no system columns; the own session finds every before-image
	}
	return imageProof, true
}

// assignsAny reports whether SET, or DO UPDATE SET, names one of the columns.
func assignsAny(st *parser.Statement, rel *relation, cols []int) bool {
	named := func(a parser.Assignment) bool { return slices.Contains(cols, rel.column(a.Column)) }
	return slices.ContainsFunc(st.Assignments, named) || slices.ContainsFunc(st.DoUpdate, named)
}
