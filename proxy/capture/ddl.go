package capture

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgproxy/journal"
	"pgproxy/parser"
)

// nodeCommands change something of this host's server that peers must not repeat.
var nodeCommands = []string{"ALTER SYSTEM", "CREATE TABLESPACE", "ALTER TABLESPACE", "DROP TABLESPACE", "CREATE SUBSCRIPTION", "ALTER SUBSCRIPTION", "DROP SUBSCRIPTION"}

// sequenceCommands may make sequences, or move them.
var sequenceCommands = []string{"CREATE TABLE", "ALTER TABLE", "CREATE SEQUENCE", "ALTER SEQUENCE", "CREATE SCHEMA", "CREATE EXTENSION"}

// planDDL captures a statement as its text.
func (s *Session) planDDL(ctx context.Context, st *parser.Statement) (*Plan, error) {
	if slices.Contains(nodeCommands, st.Command) {
		return local(st, "it is about this server alone"), nil
	}
	if st.Temporary {
		return local(st, "temporary objects stay local"), nil
	}
	w, err := s.learn(ctx)
	if err != nil {
		return nil, err
	}
	var tables []string
	temps := 0
	for _, n := range st.Objects {
		t, err := s.resolve(ctx, w, n)
		switch {
		case err != nil:
			return nil, err
		case t.temp || n.Schema == "pg_temp":
			temps++
		case !aboutRelation(st.Command):
		case t.missing && n.Schema == "":
			tables = append(tables, w.creation()+"."+n.Name)
		case t.missing:
			tables = append(tables, n.Schema+"."+n.Name)
		default:
			tables = append(tables, t.Schema+"."+n.Name)
		}
	}
	if temps > 0 && temps == len(st.Objects) {
		s.Altered() // its names are different once it has run
		return local(st, "temporary objects stay local"), nil
	}
	if len(tables) > 0 && !slices.ContainsFunc(tables, func(t string) bool { return !strings.HasPrefix(t, "pgproxy.") }) {
		return local(st, "pgproxy's own objects stay local"), nil
	}
	p := s.replayed(w, st, tables)
	if temps > 0 {
		p.how, p.replay, p.Capture = howMissing, nil, journal.CaptureMissing
		p.Note = "temporary and permanent objects in one statement cannot be repeated elsewhere"
	}
	p.sequences = slices.Contains(sequenceCommands, st.Command)
	p.rows = p.how == howReplay && (st.Command == "CREATE TABLE AS" || st.Command == "SELECT INTO")
	if st.Command == "ALTER TABLE" && len(st.Objects) > 0 && p.how == howReplay {
		rel, _, err := s.targetOf(ctx, w, st.Objects[0])
		if err != nil {
			return nil, err
		}
		if rel != nil && (rel.Kind == "r" || rel.Kind == "p") {
			p.rel = rel
		}
	}
	return p, s.conceal(p, st)
}

// aboutRelation reports whether the objects that a command names are relations.
func aboutRelation(command string) bool {
	_, what, _ := strings.Cut(command, " ")
	return slices.Contains([]string{"TABLE", "TABLE AS", "INTO", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE", "INDEX", "TRIGGER", "RULE", "POLICY"}, what)
}

// creation is the schema in which an unqualified name is created.
func (w *who) creation() string {
	for _, s := range w.Path {
		if s != "pg_catalog" && s != w.Temp {
			return s
		}
	}
	return "public"
}

// replayed is a plan that repeats st's text.
func (s *Session) replayed(w *who, st *parser.Statement, tables []string) *Plan {
	r := replayOf(w, st.Text, tables)
	r.NoBlock = st.RefusesBlock
	return &Plan{Capture: journal.CaptureStatement, Hold: true, Text: st.Text, how: howReplay, replay: r}
}

// replayOf is a text with the settings that give it its meaning.
func replayOf(w *who, text string, tables []string) *journal.Replay {
	return &journal.Replay{Text: text, Settings: maps.Clone(w.Settings), Role: w.Role, Tables: tables}
}

// conceal takes the secrets out of the text that is repeated: a clear password becomes its verifier, which both sides
// accept; another secret cannot be sent at all.
func (s *Session) conceal(p *Plan, st *parser.Statement) error {
	if p.replay == nil {
		return nil
	}
	secrets := len(st.Secrets)
	if st.Password != nil {
		verifier, err := s.capturer.verifier(st.Password.Value)
		if err != nil {
			return fmt.Errorf("make password verifier: %w", err)
		}
		if verifier != "" {
			p.replay.Text = st.Text[:st.Password.From] + "'" + verifier + "'" + st.Text[st.Password.To:]
			secrets--
		}
	}
	if secrets > 0 {
		p.how, p.replay, p.Capture = howMissing, nil, journal.CaptureMissing
		p.Note = "it holds a secret that must not be written or sent"
	}
	return nil
}

// planTruncate captures TRUNCATE as its text. The tables that CASCADE takes with it are part of what it touches.
func (s *Session) planTruncate(ctx context.Context, st *parser.Statement) (*Plan, error) {
	w, err := s.learn(ctx)
	if err != nil {
		return nil, err
	}
	var rels []*relation
	stays, why := 0, ""
	for _, n := range st.Objects {
		rel, local, err := s.targetOf(ctx, w, n)
		switch {
		case err != nil:
			return nil, err
		case local != "":
			stays, why = stays+1, local
		case rel == nil:
			return watched(st, ""), nil
		default:
			rels = append(rels, rel)
		}
	}
	switch {
	case len(rels) == 0:
		return local(st, why), nil
	case stays > 0:
		return &Plan{Capture: journal.CaptureMissing, Hold: true, Text: st.Text, how: howMissing,
			Note: "tables that stay local and tables that do not in one TRUNCATE"}, nil
	}
	if rels, err = s.truncated(ctx, rels, strings.Contains(strings.ToLower(st.Text), "cascade")); err != nil {
		return nil, err
	}
	var tables []string
	var watch reach
	for _, r := range rels {
		tables = append(tables, r.full())
		loud, err := s.loud(ctx, r, triggerTruncate)
		if err != nil {
			return nil, err
		}
		watch = watch.join(loud)
	}
	p := s.replayed(w, st, tables)
	p.tables, p.watch = rels, watch
	return p, nil
}

// truncated adds the tables that refer to the ones truncated, if CASCADE takes them too.
func (s *Session) truncated(ctx context.Context, rels []*relation, cascade bool) ([]*relation, error) {
	if !cascade {
		return rels, nil
	}
	cat, q := s.catalog()
	for i := 0; i < len(rels); i++ {
		for _, k := range rels[i].Referenced {
			if slices.ContainsFunc(rels, func(r *relation) bool { return r.OID == k.Table }) {
				continue
			}
			rel, err := cat.relation(ctx, q, k.Table)
			if err != nil {
				return nil, err
			}
			rels = append(rels, rel)
		}
	}
	return rels, nil
}

// finishReplay hands out the text to repeat.
func (w *work) finishReplay() error {
	r := *w.plan.replay
	w.effect.Replay = &r
	for _, t := range r.Tables {
		w.touch(t)
	}
	for _, rel := range w.plan.tables {
		w.tx.truncate(rel)
	}
	return nil
}

// finishDDL looks after the rows that some DDL makes, and remembers how the schema looks now.
func (w *work) finishDDL() (err error) {
	if w.plan.rows {
		err = w.finishTableAs()
	} else if w.plan.rel != nil {
		err = w.finishAlter()
	}
	if err != nil || w.tx == nil {
		return err
	}
	w.tx.schema, err = w.fingerprint()
	return err
}
