package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Transaction is a line of `pgproxy journal ls -o json`, as far as its form is promised.
type Transaction struct {
	Origin      string          `json:"origin"`
	Seq         uint64          `json:"seq"`
	HLC         json.RawMessage `json:"hlc"`
	Time        string          `json:"time"`
	User        string          `json:"user"`
	Database    string          `json:"database"`
	Application string          `json:"application"`
	Client      string          `json:"client"`
	XID         json.RawMessage `json:"xid"`
	Outcome     string          `json:"outcome"`
	Kind        string          `json:"kind"` // transaction, attempt, void, member, beat
	Statements  []Statement     `json:"statements"`
}

// Statement is one statement of a Transaction.
type Statement struct {
	Query        string          `json:"query"`
	Params       json.RawMessage `json:"params"`
	Command      string          `json:"command"`
	Tables       []string        `json:"tables"`
	Capture      string          `json:"capture"`
	Note         string          `json:"note"`
	Rows         []Row           `json:"rows"`
	RowsAffected *int64          `json:"rows_affected"`
	RolledBack   bool            `json:"rolled_back"`
	SQLState     string          `json:"sqlstate"`
}

// Row is the effect of a statement on a row.
type Row struct {
	Op     string         `json:"op"`
	Schema string         `json:"schema"`
	Table  string         `json:"table"`
	Key    map[string]any `json:"key"`
	Before map[string]any `json:"before"`
	After  map[string]any `json:"after"`
}

// ID is how a record is named on the command line.
func (x Transaction) ID() string { return fmt.Sprintf("%s/%d", x.Origin, x.Seq) }

// Status is `pgproxy status -o json`, as far as its form is promised.
type Status struct {
	Node      string          `json:"node"`
	NodeID    string          `json:"node_id"`
	Ready     bool            `json:"ready"`
	Upstream  json.RawMessage `json:"upstream"`
	Applied   map[string]any  `json:"applied"`
	InDoubt   int64           `json:"in_doubt"`
	Conflicts int64           `json:"conflicts"`
	Peers     []PeerStatus    `json:"peers"`
	Line      *time.Time      `json:"line"`
	Members   []MemberStatus  `json:"members"`
}

// MemberStatus is one member of a Status.
type MemberStatus struct {
	Name       string     `json:"name"`
	Mark       *time.Time `json:"mark"`
	LagSeconds float64    `json:"lag_seconds"`
}

// PeerStatus is one peer of a Status.
type PeerStatus struct {
	Name       string          `json:"name"`
	Connected  bool            `json:"connected"`
	Queued     int64           `json:"queued"`
	Acked      json.RawMessage `json:"acked"`
	LagSeconds json.RawMessage `json:"lag_seconds"`
	LastError  string          `json:"last_error"`
}

// decodeLines reads one JSON object a line, numbers of 64 bits kept whole.
func decodeLines[V any](text string) ([]V, error) {
	var all []V
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	for d.More() {
		var v V
		if err := d.Decode(&v); err != nil {
			return all, fmt.Errorf("read JSON line %d of %.300q: %w", len(all)+1, text, err)
		}
		all = append(all, v)
	}
	return all, nil
}

// Result is what a command of pgproxy gave.
type Result struct {
	Args           []string
	Stdout, Stderr string
	Code           int
}

func (r Result) String() string {
	return fmt.Sprintf("pgproxy %s: exit code %d\n%s%s", strings.Join(r.Args, " "), r.Code, r.Stdout, r.Stderr)
}
