package proxy

import (
	"slices"
	"strings"

	"pgproxy/audit"
	"pgproxy/journal"
	"pgproxy/parser"
)

// origin is how a statement came: what only the moment of its execution knows.
type origin struct {
	protocol         journal.Protocol
	prepared, portal string
	part, parts      uint32
	role             string
	source           journal.RoleSource
	context          string
}

// from says how the statement about to run came.
func (s *session) from(p journal.Protocol) origin {
	o := origin{protocol: p, context: s.context.current()}
	o.role, o.source = s.effectiveRole()
	return o
}

// fromPortal says so for a portal.
func (s *session) fromPortal(po *portal) origin {
	o := s.from(journal.ProtocolExtended)
	o.prepared, o.portal = po.ps.name, po.name
	return o
}

// effectiveRole gives the role that a statement runs as, and how it is known.
func (s *session) effectiveRole() (string, journal.RoleSource) {
	id, ok := s.cap.Identity()
	switch {
	case !ok && s.roleMoved:
		return "", journal.RoleUnknown
	case !ok:
		return s.user, journal.RoleAssumed
	case id.SetRole != "" && id.SetRole != "none":
		return id.Role, journal.RoleSet
	case id.SessionUser != s.user:
		return id.Role, journal.RoleSession
	case id.Role == s.user:
		return id.Role, journal.RoleLogin
	}
	return id.Role, journal.RoleDatabase
}

// noteRole notes that a statement may have changed the role in a way that only the database can tell.
func (s *session) noteRole(st *parser.Statement) {
	switch st.Setting {
	case "role", "session_authorization", "all":
		s.roleMoved = true
	}
	s.roleMoved = s.roleMoved || st.Class == parser.ClassOpaque || slices.ContainsFunc(st.Functions, func(n parser.Name) bool { return n.Name == "set_config" })
}

// describeStatement fills what the text itself and its coming say.
func (s *session) describeStatement(out *journal.Statement, st *parser.Statement, o origin) {
	out.Class = classOf(st)
	out.Protocol, out.Prepared, out.Portal = o.protocol, o.prepared, o.portal
	out.Part, out.Parts = o.part, o.parts
	out.Role, out.RoleSource = o.role, o.source
	out.Context = o.context
	if st.Command == "" {
		out.Query = parser.RedactUnread(st.Text)
		if out.Query != st.Text {
			out.Redacted |= journal.RedactedSecret
		}
		if o.protocol == journal.ProtocolCall {
			out.Class = journal.ClassFunction
		}
		return
	}
	out.Command = st.Command
	if out.Query = st.Redact(); len(st.Secrets) > 0 {
		out.Redacted |= journal.RedactedSecret
	}
	if len(st.Secrets) > 0 || st.SecretCall {
		hideParams(out)
	} else if hideThose(out, parser.SecretText) {
		out.Redacted |= journal.RedactedSecret
	}
	if st.SecretCall {
		out.Redacted |= journal.RedactedSecret
	}
	if out.Context == "" {
		out.Context = commentContext(st.Comment)
	}
	out.Objects = objectsOf(st)
}

// hideParams takes the values of parameters out: any of them may be the secret that the statement is about.
func hideParams(out *journal.Statement) {
	hideThose(out, func(string) bool { return true })
}

// hideThose takes out the values that are secrets, and reports whether there were any.
func hideThose(out *journal.Statement, secret func(string) bool) (hidden bool) {
	for i, p := range out.Params {
		if k := p.Value.Kind; k != journal.ValueText && k != journal.ValueBinary || !secret(p.Value.Data) {
			continue
		}
		if !hidden {
			out.Params = slices.Clone(out.Params)
			hidden = true
		}
		out.Params[i].Value = journal.Value{Kind: journal.ValueRedacted}
	}
	return hidden
}

// withholdReplay takes back what peers would get, if they would have to get a parameter that is a secret.
func withholdReplay(out *journal.Statement) {
	if out.Replay == nil || !slices.ContainsFunc(out.Params, func(p journal.Param) bool { return p.Value.Kind == journal.ValueRedacted }) {
		return
	}
	out.Replay, out.Changes, out.Capture = nil, nil, journal.CaptureMissing
	out.Note = joinNote(out.Note, "a parameter holds a secret that must not be written or sent")
}

// harmlessMessage reports errors whose message PostgreSQL itself has written, with nothing but names of objects in it.
func harmlessMessage(code string) bool {
	switch code {
	case "25P02", "25006", "42501", "42704", "42710", "57014":
		return true
	}
	return false
}

// withheld gives an error's message where the statement holds a secret: what a message says may be part of it.
func withheld(code, message string) string {
	if message == "" || harmlessMessage(code) {
		return message
	}
	return "(withheld: the statement holds a secret)"
}

// applyPolicy takes out of a recorded statement what the policy does not want on the disk.
func (s *session) applyPolicy(st *journal.Statement, original *parser.Statement) {
	policy := s.srv.o.Audit
	tables := tablesOf(st)
	if policy.Masks(s.database, tables) {
		st.Redacted |= journal.RedactedMask
		if original != nil && original.Command != "" {
			st.Query = original.RedactLiterals()
		} else {
			st.Query = "/* masked */"
		}
		st.Message = maskedMessage(st)
		hideParams(st)
	}
	if !s.wanted(st, tables) {
		st.Redacted |= journal.RedactedPolicy
		st.Query, st.Params, st.Context = "", nil, ""
	}
}

// wanted reports whether the policy wants the statement recorded. One that was held may write, whatever its class.
func (s *session) wanted(st *journal.Statement, tables []string) bool {
	subject := s.subject(st, tables)
	if s.srv.o.Audit.Records(subject) {
		return true
	}
	switch st.Class {
	case journal.ClassWrite, journal.ClassDDL, journal.ClassRole, journal.ClassFunction:
		return false
	}
	subject.Class = journal.ClassWrite.String()
	return s.srv.o.Audit.Records(subject)
}

// maskedMessage keeps no server message: it may quote the values ("Key (iban)=(..) already exists").
func maskedMessage(st *journal.Statement) string {
	if st.Message == "" {
		return ""
	}
	return "(masked)"
}

// subject is a statement as a policy sees it.
func (s *session) subject(st *journal.Statement, tables []string) *audit.Subject {
	return &audit.Subject{Class: st.Class.String(), User: s.user, Role: st.Role, Database: s.database, Application: s.applicationName(),
		Client: journal.Host(s.client), Tables: tables}
}

// tablesOf lists the tables that a statement names or changes.
func tablesOf(st *journal.Statement) []string {
	tables := slices.Clone(st.Tables)
	for _, o := range st.Objects {
		if o.Type == "table" || o.Type == "relation" {
			tables = append(tables, o.Name)
		}
	}
	slices.Sort(tables)
	return slices.Compact(tables)
}

// nameTables fills in what the text says that it writes to, as written, where the statement failed or changed nothing: nobody has
// looked the names up.
func nameTables(st *journal.Statement, original *parser.Statement) {
	if len(st.Tables) > 0 {
		return
	}
	for _, t := range original.Targets {
		name := t.Name.Name
		if t.Schema != "" {
			name = t.Schema + "." + name
		}
		if name != "" && !slices.Contains(st.Tables, name) {
			st.Tables = append(st.Tables, name)
		}
	}
}

// classOf gives pgAudit's class of a statement.
func classOf(st *parser.Statement) journal.Class {
	switch st.Class {
	case parser.ClassRead:
		switch st.Command {
		case "SHOW", "FETCH", "EXPLAIN":
			return journal.ClassMisc
		}
		return journal.ClassRead
	case parser.ClassWrite, parser.ClassCopyFrom, parser.ClassTruncate:
		return journal.ClassWrite
	case parser.ClassDDL:
		if roleCommand(st.Command) {
			return journal.ClassRole
		}
		return journal.ClassDDL
	case parser.ClassTransaction:
		if st.Command == "SET" {
			return journal.ClassMiscSet
		}
	case parser.ClassSession:
		if st.Command == "SET" || st.Command == "RESET" {
			return journal.ClassMiscSet
		}
	case parser.ClassOpaque:
		return opaqueClass(st)
	case parser.ClassMaintenance:
		if st.Command == "CLUSTER" || st.Command == "ALTER SYSTEM" {
			return journal.ClassDDL
		}
	case parser.ClassPrepare:
		if st.Command == "PREPARE" {
			return journal.ClassRead
		}
	case parser.ClassCursor:
		if st.Command == "DECLARE CURSOR" {
			return journal.ClassRead
		}
	}
	return journal.ClassMisc
}

func opaqueClass(st *parser.Statement) journal.Class {
	switch st.Command {
	case "":
		return journal.ClassUnknown
	case "DO", "CALL":
		return journal.ClassFunction
	case "REFRESH MATERIALIZED VIEW":
		return journal.ClassDDL
	case "COPY":
		return journal.ClassRead
	}
	return journal.ClassMisc
}

// roleCommand reports whether a command is about roles and rights.
func roleCommand(command string) bool {
	switch command {
	case "GRANT", "REVOKE", "GRANT ROLE", "REVOKE ROLE", "CREATE ROLE", "ALTER ROLE", "DROP ROLE", "ALTER DEFAULT PRIVILEGES":
		return true
	}
	return false
}

// objectsOf lists what a statement names and is no row: what DDL is about, what a query asks, what it calls.
func objectsOf(st *parser.Statement) []journal.Object {
	var all []journal.Object
	add := func(kind string, n parser.Name) {
		o := journal.Object{Type: kind, Name: n.Name}
		if n.Schema != "" {
			o.Name = n.Schema + "." + n.Name
		}
		if n.Name != "" && !slices.Contains(all, o) && len(all) < maxObjects {
			all = append(all, o)
		}
	}
	kind := objectKind(st)
	for i, n := range st.Objects {
		if i == 0 && len(st.Objects) > 1 && ofTable(kind) {
			add("table", n)
			continue
		}
		add(kind, n)
	}
	for _, n := range st.Reads {
		add("relation", n)
	}
	for _, n := range st.Functions {
		add("function", n)
	}
	return all
}

// ofTable reports whether what is of this kind belongs to a table, which is named before it.
func ofTable(kind string) bool {
	return kind == "index" || kind == "trigger" || kind == "rule" || kind == "policy"
}

// maxObjects bounds the names of one statement.
const maxObjects = 200

// objectKind gives the type of what a statement is about, lower case, from its command: "table" of CREATE TABLE.
func objectKind(st *parser.Statement) string {
	verb, what, _ := strings.Cut(st.Command, " ")
	switch verb {
	case "CREATE", "ALTER", "DROP", "TRUNCATE", "REFRESH":
	default:
		return ""
	}
	switch what {
	case "TABLE AS":
		what = "TABLE"
	case "OWNED", "DEFAULT PRIVILEGES": // what they name are roles, and no objects of theirs
		return ""
	}
	return strings.ToLower(what)
}
