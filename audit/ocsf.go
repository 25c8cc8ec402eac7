package audit

import (
	"net"
	"strconv"
	"strings"
)

// OCSF's classes and activities, as far as they are used here.
const (
	ocsfVersion   = "1.3.0"
	ocsfDatastore = 6005 // Datastore Activity
	ocsfAuth      = 3002 // Authentication
)

type ocsfEvent struct {
	ClassUID    int            `json:"class_uid"`
	ClassName   string         `json:"class_name"`
	CategoryUID int            `json:"category_uid"`
	Activity    int            `json:"activity_id"`
	TypeUID     int            `json:"type_uid"`
	Time        int64          `json:"time"` // milliseconds
	Severity    int            `json:"severity_id"`
	Status      int            `json:"status_id"` // 0 unknown, 1 success, 2 failure
	StatusCode  string         `json:"status_code,omitempty"`
	StatusText  string         `json:"status_detail,omitempty"`
	Duration    *int64         `json:"duration,omitempty"` // milliseconds
	Metadata    ocsfMetadata   `json:"metadata"`
	Actor       ocsfActor      `json:"actor"`
	User        *ocsfUser      `json:"user,omitempty"` // Authentication
	Source      *ocsfEndpoint  `json:"src_endpoint,omitempty"`
	Database    *ocsfDatabase  `json:"database,omitempty"`
	Table       *ocsfTable     `json:"table,omitempty"`
	Query       *ocsfQuery     `json:"query_info,omitempty"`
	Unmapped    map[string]any `json:"unmapped"`
}

type ocsfMetadata struct {
	Version  string      `json:"version"`
	Product  ocsfProduct `json:"product"`
	UID      string      `json:"uid"`
	LogName  string      `json:"log_name"`
	Sequence uint64      `json:"sequence"` // position in this node's journal
}

type ocsfProduct struct {
	Name   string `json:"name"`
	Vendor string `json:"vendor_name"`
}

type ocsfActor struct {
	User    ocsfUser     `json:"user"`
	Session *ocsfSession `json:"session,omitempty"`
	App     string       `json:"app_name,omitempty"`
}

type ocsfUser struct {
	Name string `json:"name"`
}

type ocsfSession struct {
	UID string `json:"uid"`
}

type ocsfEndpoint struct {
	IP   string `json:"ip,omitempty"`
	Port int    `json:"port,omitempty"`
	Name string `json:"name,omitempty"`
}

type ocsfDatabase struct {
	Name   string `json:"name"`
	TypeID int    `json:"type_id"`
	Type   string `json:"type"`
}

type ocsfTable struct {
	Name string `json:"name"`
}

type ocsfQuery struct {
	Text string `json:"query_string"`
}

// ocsf gives one Datastore Activity for a statement, one Authentication for a login, its refusal or its end. What OCSF has no place
// for, such as images and parameters, is under "unmapped".
func ocsf(t *Transaction) []any {
	if len(t.Statements) == 0 {
		return []any{ocsfOther(t)}
	}
	var out []any
	for i := range t.Statements {
		s := &t.Statements[i]
		e := ocsfBase(t, ocsfDatastore, ocsfActivity(s), i+1)
		e.Time = s.Started.UnixMilli()
		ms := s.DurationUS / 1000
		e.Duration = &ms
		switch {
		case s.SQLState != "":
			e.Status, e.StatusCode, e.StatusText, e.Severity = 2, s.SQLState, s.Message, 2
		case t.Outcome == "committed" && !s.RolledBack && !s.NotExecuted:
			e.Status = 1
		case t.Outcome != "unknown":
			e.Status, e.StatusText = 2, "rolled back"
		}
		e.Query = &ocsfQuery{s.Query}
		if len(s.Tables) > 0 {
			e.Table = &ocsfTable{s.Tables[0]}
		}
		e.Unmapped["statement"], e.Unmapped["outcome"], e.Unmapped["kind"] = s, t.Outcome, t.Kind
		out = append(out, e)
	}
	return out
}

func ocsfBase(t *Transaction, class, activity, part int) *ocsfEvent {
	uid := t.uid()
	if part > 0 {
		uid += "#" + strconv.Itoa(part)
	}
	name, category := "Datastore Activity", 6
	if class == ocsfAuth {
		name, category = "Authentication", 3
	}
	e := &ocsfEvent{ClassUID: class, ClassName: name, CategoryUID: category, Activity: activity, TypeUID: class*100 + activity, Time: t.Time.UnixMilli(),
		Severity: 1, Metadata: ocsfMetadata{ocsfVersion, ocsfProduct{"pgproxy", "pgproxy"}, uid, Schema, t.Position},
		Actor: ocsfActor{User: ocsfUser{t.User}, App: t.Application}, Unmapped: map[string]any{"node": t.Origin, "hlc": t.HLC}}
	if t.SessionID != "" {
		e.Actor.Session = &ocsfSession{t.SessionID}
	}
	if t.Database != "" {
		e.Database = &ocsfDatabase{t.Database, 1, "Relational"}
	}
	if host, port, err := net.SplitHostPort(t.Client); err == nil {
		n, _ := strconv.Atoi(port) // 0 is left out
		e.Source = &ocsfEndpoint{IP: host, Port: n}
	} else if t.Client != "" {
		e.Source = &ocsfEndpoint{Name: t.Client}
	}
	return e
}

// ocsfActivity gives the activity of a statement.
func ocsfActivity(s *Statement) int {
	const read, update, query, write, create, remove, other = 1, 2, 4, 5, 6, 7, 99
	verb, _, _ := strings.Cut(s.Command, " ")
	switch verb {
	case "SELECT":
		return read
	case "UPDATE", "MERGE", "ALTER":
		return update
	case "INSERT", "COPY":
		return write
	case "CREATE":
		return create
	case "DELETE", "DROP", "TRUNCATE":
		return remove
	case "":
		return query
	}
	return other
}

// ocsfOther gives what has no statements.
func ocsfOther(t *Transaction) *ocsfEvent {
	const logon, logoff, other = 1, 2, 99
	e := ocsfBase(t, ocsfDatastore, other, 0)
	switch t.Kind {
	case "session_start", "auth_fail":
		e = ocsfBase(t, ocsfAuth, logon, 0)
	case "session_end":
		e = ocsfBase(t, ocsfAuth, logoff, 0)
	}
	if e.ClassUID == ocsfAuth {
		e.User = &ocsfUser{t.User}
	}
	e.Status = 1
	if t.Event != nil {
		e.Unmapped["event"] = t.Event
		if t.Kind == "auth_fail" {
			e.Status, e.StatusCode, e.StatusText, e.Severity = 2, t.Event.SQLState, t.Event.Message, 3
		}
	}
	e.Unmapped["kind"] = t.Kind
	return e
}
