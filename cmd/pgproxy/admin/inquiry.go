package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// ExplainQuery asks what would be done with SQL.
type ExplainQuery struct {
	Database string `json:"database"` // "" is the upstream's own
	User     string `json:"user"`     // "" is the upstream's own
	SQL      string `json:"sql"`
}

// Finding is one thing that doctor has found. Its JSON is a promise: fields are added, never renamed.
type Finding struct {
	Database string `json:"database,omitempty"` // "" is the server
	Kind     string `json:"kind"`               // key, trigger, rule, ...
	Object   string `json:"object"`
	Problem  string `json:"problem"`
	Remedy   string `json:"remedy"`
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	var q ExplainQuery
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion)).Decode(&q); err != nil {
		one(w, nil, Fail(ExitUsage, "", "question: %w", err))
		return
	}
	out := s.newStream(w)
	out.end(s.node.Explain(r.Context(), q, out.item))
}

func (s *Server) doctor(w http.ResponseWriter, r *http.Request) {
	out := s.newStream(w)
	out.prompt = true
	out.end(s.node.Doctor(r.Context(), r.URL.Query().Get("database"), func(f Finding) error { return out.item(f) }))
}

// Explain gives the JSON of what would be done with each statement.
func (c *Client) Explain(ctx context.Context, q ExplainQuery, give func(raw []byte) error) error {
	body, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("ask the node: %w", err)
	}
	return c.lines(ctx, http.MethodPost, "/v1/explain", nil, body, streamed(give))
}

// Doctor gives the JSON of each finding.
func (c *Client) Doctor(ctx context.Context, database string, give func(raw []byte) error) error {
	return c.stream(ctx, http.MethodGet, "/v1/doctor", url.Values{"database": {database}}, give)
}
