package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"pgproxy/journal"
)

// Prover is the part of a node that shows that its journal is as it was written.
type Prover interface {
	// VerifyJournal walks the whole journal and holds it against the checkpoints of outside, and against those that peers keep.
	VerifyJournal(ctx context.Context, outside []journal.Evidence, peers bool) (Verified, error)
	// Prove gives the proof of the entry of that name: a position, or ORIGIN/SEQ.
	Prove(ctx context.Context, entry string) (string, error)
	// Checkpoint gives the newest checkpoint of this node's journal, signed now if something is new, or the one that is kept here of
	// the named node's.
	Checkpoint(ctx context.Context, of string) (SignedCheckpoint, error)
	// Trust lets the checkpoints of a node begin anew.
	Trust(ctx context.Context, name string) error
	// Purge deletes what was recorded before a time and nobody needs any more, or only says what would go.
	Purge(ctx context.Context, before time.Time, really bool) (Purged, error)
}

// Purged is what a purge has deleted, or would delete.
type Purged struct {
	Segments int    `json:"segments"`
	Bytes    int64  `json:"bytes"`
	First    uint64 `json:"first"` // position of the first entry that stays
	Held     string `json:"held"`  // why no more goes; "" if only the last file is left
	Done     bool   `json:"done"`  // false: nothing was deleted
}

// Verified is the answer to a verification of the journal. Its JSON is a promise: fields are added, never renamed.
type Verified struct {
	From        uint64         `json:"from"` // positions that were walked, both included
	To          uint64         `json:"to"`
	Records     int64          `json:"records"`
	Checkpoints int            `json:"checkpoints"` // that agree
	Signed      uint64         `json:"signed"`      // positions that the newest of them covers
	Gaps        int64          `json:"gaps"`        // recorded ones
	Findings    []ProofFinding `json:"findings"`
	Peers       []PeerEvidence `json:"peers,omitempty"`
	Tampered    bool           `json:"tampered"`
	Incomplete  []string       `json:"incomplete"` // what could not be looked at
}

// ProofFinding is something that is wrong with the journal.
type ProofFinding struct {
	Attack   string `json:"attack"`
	Position uint64 `json:"position"`
	Record   string `json:"record,omitempty"`
	Detail   string `json:"detail"`
}

// PeerEvidence is what a peer keeps of this node's journal.
type PeerEvidence struct {
	Peer      string    `json:"peer"`
	Connected bool      `json:"connected"`
	Size      uint64    `json:"size"`
	Time      time.Time `json:"time,omitzero"`
}

// SignedCheckpoint is a checkpoint with the key that it is signed with.
type SignedCheckpoint struct {
	Node string `json:"node"`
	Key  string `json:"key"`
	Note string `json:"note"`
}

// NewVerified makes the answer of a verdict; name writes a record's name.
func NewVerified(v *journal.Verdict, name func(journal.ID) string) Verified {
	out := Verified{From: v.From, To: v.To, Records: v.Records, Checkpoints: v.Checkpoints, Signed: v.Signed, Gaps: v.Gaps,
		Findings: []ProofFinding{}, Tampered: v.Tampered(), Incomplete: []string{}}
	for _, f := range v.Findings {
		p := ProofFinding{Attack: string(f.Attack), Position: f.Position, Detail: f.Detail}
		if f.Record.Seq > 0 {
			p.Record = name(f.Record)
		}
		out.Findings = append(out.Findings, p)
		if f.Attack == journal.AttackHidden {
			out.Incomplete = append(out.Incomplete, f.Detail)
		}
	}
	if v.Gaps > 0 {
		out.Incomplete = append(out.Incomplete, fmt.Sprintf("the journal itself says in %d places that something is missing: pgproxy audit ls --class gap", v.Gaps))
	}
	return out
}

// maxEvidence bounds the checkpoints that a verification is given.
const maxEvidence = 1 << 20

func (s *Server) proofs(m *http.ServeMux) {
	m.HandleFunc("POST /v1/audit/verify", s.verifyJournal)
	m.HandleFunc("GET /v1/audit/prove", func(w http.ResponseWriter, r *http.Request) {
		p, err := s.node.Prove(r.Context(), r.URL.Query().Get("entry"))
		one(w, p, err)
	})
	m.HandleFunc("GET /v1/audit/checkpoint", func(w http.ResponseWriter, r *http.Request) {
		c, err := s.node.Checkpoint(r.Context(), r.URL.Query().Get("of"))
		one(w, c, err)
	})
	m.HandleFunc("POST /v1/audit/trust", func(w http.ResponseWriter, r *http.Request) {
		one(w, true, s.node.Trust(r.Context(), r.URL.Query().Get("node")))
	})
	m.HandleFunc("POST /v1/audit/purge", func(w http.ResponseWriter, r *http.Request) {
		before, err := time.Parse(time.RFC3339Nano, r.URL.Query().Get("before"))
		if err != nil {
			one(w, nil, Fail(ExitUsage, "", "before: %w", err))
			return
		}
		p, err := s.node.Purge(r.Context(), before, r.URL.Query().Get("really") == "true")
		one(w, p, err)
	})
}

func (s *Server) verifyJournal(w http.ResponseWriter, r *http.Request) {
	var outside []journal.Evidence
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxEvidence)).Decode(&outside); err != nil {
		one(w, nil, Fail(ExitUsage, "", "checkpoints: %w", err))
		return
	}
	v, err := s.node.VerifyJournal(r.Context(), outside, r.URL.Query().Get("peers") == "true")
	one(w, v, err)
}

// VerifyJournal asks the node to verify its journal.
func (c *Client) VerifyJournal(ctx context.Context, outside []journal.Evidence, peers bool) (v Verified, err error) {
	body, err := json.Marshal(outside)
	if err != nil {
		return v, fmt.Errorf("ask the node: %w", err)
	}
	err = c.ask(ctx, http.MethodPost, "/v1/audit/verify", url.Values{"peers": {strconv.FormatBool(peers)}}, body, &v)
	return v, err
}

// Prove asks for the proof of an entry.
func (c *Client) Prove(ctx context.Context, entry string) (p string, err error) {
	err = c.ask(ctx, http.MethodGet, "/v1/audit/prove", url.Values{"entry": {entry}}, nil, &p)
	return p, err
}

// Checkpoint asks for the newest checkpoint of a node; "" is the node itself.
func (c *Client) Checkpoint(ctx context.Context, of string) (s SignedCheckpoint, err error) {
	err = c.ask(ctx, http.MethodGet, "/v1/audit/checkpoint", url.Values{"of": {of}}, nil, &s)
	return s, err
}

// Trust lets the checkpoints of a node begin anew.
func (c *Client) Trust(ctx context.Context, name string) error {
	var done bool
	return c.ask(ctx, http.MethodPost, "/v1/audit/trust", url.Values{"node": {name}}, nil, &done)
}

// Purge deletes what was recorded before a time and nobody needs any more, or only says what would go.
func (c *Client) Purge(ctx context.Context, before time.Time, really bool) (p Purged, err error) {
	v := url.Values{"before": {before.UTC().Format(time.RFC3339Nano)}, "really": {strconv.FormatBool(really)}}
	err = c.ask(ctx, http.MethodPost, "/v1/audit/purge", v, nil, &p)
	return p, err
}

// ask decodes one answer.
func (c *Client) ask(ctx context.Context, method, path string, v url.Values, body []byte, into any) error {
	return c.lines(ctx, method, path, v, body, func(l *Line) (bool, error) { return true, json.Unmarshal(l.Item, into) })
}
