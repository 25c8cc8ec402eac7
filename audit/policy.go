package audit

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"pgproxy/journal"
)

// ClassSession is the class of sessions and refused logins, beside those of statements.
const ClassSession = "SESSION"

// PolicySettings are a policy as it is configured: lists of texts.
type PolicySettings struct {
	// Classes are recorded: names of journal.Class, SESSION, or ALL.
	Classes []string
	// Include records, and Exclude does not record, what a rule matches. A rule is "key=pattern key=pattern ...", with
	// shell patterns; all of its keys must match: class, database, schema, table, user (who logged in), role (as which it
	// ran), application, client. Exclude wins over Include, Include over Classes.
	Include, Exclude []string
	// Mask are columns whose values are not shown: "[database/]schema.table.column=mask", "=hash" or "=omit", with patterns.
	Mask []string
}

// DefaultClasses are recorded where nothing else is said.
func DefaultClasses() []string {
	return []string{"WRITE", "DDL", "ROLE", "FUNCTION", ClassSession}
}

func byDefault(class string) bool {
	switch class {
	case "WRITE", "DDL", "ROLE", "FUNCTION", ClassSession:
		return true
	}
	return false
}

// Policy says what is recorded, and what is shown of it. The zero value and nil are the default: DefaultClasses, no mask.
//
// What is replicated is always in the journal: peers need it. Of a committed write that the policy leaves out, the journal
// keeps the rows, the tables and who wrote them, without text and parameters.
type Policy struct {
	settings         PolicySettings
	classes          map[string]bool
	include, exclude []rule
	masks            []mask
}

// rule is one include or exclude.
type rule map[string]string

var ruleKeys = []string{"class", "database", "schema", "table", "user", "role", "application", "client"}

// Subject is what a policy is asked about.
type Subject struct {
	Class                                     string
	User, Role, Database, Application, Client string
	Tables                                    []string // "schema.table"
}

// NewPolicy reads a policy. Every mistake is in the error.
func NewPolicy(s PolicySettings) (*Policy, error) {
	p := &Policy{settings: s}
	var problems []error
	if len(s.Classes) > 0 {
		p.classes = map[string]bool{}
	}
	for _, c := range s.Classes {
		name := strings.ToUpper(strings.TrimSpace(c))
		if name != "ALL" && name != ClassSession && !slices.Contains(classNames(), name) {
			problems = append(problems, fmt.Errorf("class %q is none of %s, %s, ALL", c, strings.Join(classNames(), ", "), ClassSession))
		}
		p.classes[name] = true
	}
	for _, list := range []struct {
		texts []string
		into  *[]rule
	}{{s.Include, &p.include}, {s.Exclude, &p.exclude}} {
		for _, text := range list.texts {
			r, err := parseRule(text)
			if err != nil {
				problems = append(problems, err)
			}
			*list.into = append(*list.into, r)
		}
	}
	for _, text := range s.Mask {
		m, err := parseMask(text)
		if err != nil {
			problems = append(problems, err)
		}
		p.masks = append(p.masks, m)
	}
	return p, errors.Join(problems...)
}

func classNames() []string {
	var names []string
	for _, c := range journal.Classes() {
		names = append(names, c.String())
	}
	return names
}

func parseRule(text string) (rule, error) {
	r := rule{}
	for _, f := range strings.Fields(text) {
		k, v, ok := strings.Cut(f, "=")
		if !ok || !slices.Contains(ruleKeys, k) {
			return nil, fmt.Errorf("rule %q: %q is not key=pattern with a key of %s", text, f, strings.Join(ruleKeys, ", "))
		}
		if _, err := path.Match(v, ""); err != nil {
			return nil, fmt.Errorf("rule %q: pattern %q: %w", text, v, err)
		}
		if _, twice := r[k]; twice {
			return nil, fmt.Errorf("rule %q: %s stands there twice", text, k)
		}
		r[k] = v
	}
	if len(r) == 0 {
		return nil, fmt.Errorf("rule %q is empty", text)
	}
	return r, nil
}

// Records reports whether the policy wants s in the journal.
func (p *Policy) Records(s *Subject) bool {
	if p == nil {
		return byDefault(s.Class)
	}
	if slices.ContainsFunc(p.exclude, func(r rule) bool { return r.covers(s) }) {
		return false
	}
	if slices.ContainsFunc(p.include, func(r rule) bool { return r.touches(s) }) {
		return true
	}
	if p.classes == nil {
		return byDefault(s.Class)
	}
	return p.classes["ALL"] || p.classes[s.Class]
}

// RecordsSession reports whether a client's coming, going, and being refused is recorded.
func (p *Policy) RecordsSession(w journal.Who) bool {
	return p.Records(&Subject{Class: ClassSession, User: w.User, Role: w.User, Database: w.Database, Application: w.Application, Client: journal.Host(w.Client)})
}

// MayRecord reports whether any statement of a class can be recorded, so that one who has nothing else to do with such
// statements may leave them alone.
func (p *Policy) MayRecord(class journal.Class) bool {
	name := class.String()
	if p == nil || p.classes == nil {
		if byDefault(name) {
			return true
		}
	} else if p.classes["ALL"] || p.classes[name] {
		return true
	}
	return p != nil && slices.ContainsFunc(p.include, func(r rule) bool {
		pattern, ok := r["class"]
		return !ok || matches(strings.ToUpper(pattern), name)
	})
}

// touches reports whether the rule matches, for one of the tables at least.
func (r rule) touches(s *Subject) bool {
	return r.about(s) && (!r.hasTable() || slices.ContainsFunc(s.Tables, func(t string) bool { return r.table(t, true) }))
}

// covers reports whether the rule matches for all of the tables.
func (r rule) covers(s *Subject) bool {
	if !r.about(s) {
		return false
	}
	if !r.hasTable() {
		return true
	}
	return len(s.Tables) > 0 && !slices.ContainsFunc(s.Tables, func(t string) bool { return !r.table(t, false) })
}

func (r rule) hasTable() bool { return r["schema"] != "" || r["table"] != "" }

// about looks at everything but tables.
func (r rule) about(s *Subject) bool {
	for _, f := range []struct{ key, value string }{
		{"database", s.Database}, {"user", s.User}, {"role", s.Role}, {"application", s.Application}, {"client", s.Client},
	} {
		if pattern, ok := r[f.key]; ok && !matches(pattern, f.value) {
			return false
		}
	}
	pattern, ok := r["class"]
	return !ok || matches(strings.ToUpper(pattern), s.Class)
}

// table looks at one table. A pattern for the table may name the schema, too. Of a name without schema, which a read may
// have, unqualified says whether it may be in any.
func (r rule) table(name string, unqualified bool) bool {
	schema, table, ok := strings.Cut(name, ".")
	if !ok {
		schema, table = "", name
	}
	any := schema == "" && unqualified
	if pattern, ok := r["schema"]; ok && !any && !matches(pattern, schema) {
		return false
	}
	pattern, ok := r["table"]
	if !ok || matches(pattern, table) {
		return true
	}
	i := strings.LastIndexByte(pattern, '.')
	return i >= 0 && (matches(pattern, name) || any && matches(pattern[i+1:], table))
}

// matches compares with a shell pattern; '/' is a character like any other.
func matches(pattern, s string) bool {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return pattern == s
	}
	swap := strings.NewReplacer("/", "\x00")
	ok, err := path.Match(swap.Replace(pattern), swap.Replace(s))
	return err == nil && ok
}

// String gives the policy in the form of the configuration file; ParsePolicy reads it.
func (p *Policy) String() string {
	var s PolicySettings
	if p != nil {
		s = p.settings
	}
	if len(s.Classes) == 0 {
		s.Classes = DefaultClasses()
	}
	var b strings.Builder
	for _, l := range []struct {
		key    string
		values []string
	}{{"audit-class", s.Classes}, {"audit-include", s.Include}, {"audit-exclude", s.Exclude}, {"audit-mask", s.Mask}} {
		for _, v := range l.values {
			fmt.Fprintf(&b, "%s: %s\n", l.key, strings.Join(strings.Fields(v), " "))
		}
	}
	return b.String()
}

// ParsePolicy reads what String writes: the policy that a node was started with, as its journal keeps it.
func ParsePolicy(text string) (*Policy, error) {
	var s PolicySettings
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "audit-class":
			s.Classes = append(s.Classes, value)
		case "audit-include":
			s.Include = append(s.Include, value)
		case "audit-exclude":
			s.Exclude = append(s.Exclude, value)
		case "audit-mask":
			s.Mask = append(s.Mask, value)
		case "", "audit-failure":
		default:
			return nil, fmt.Errorf("read audit policy: unknown key %q", key)
		}
	}
	return NewPolicy(s)
}
