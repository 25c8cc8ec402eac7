package admin

import "time"

// Status is what `pgproxy status` shows. Its JSON is a promise: fields are added, never renamed.
type Status struct {
	Node        string            `json:"node"`
	NodeID      string            `json:"node_id"`
	Ready       bool              `json:"ready"` // clients are taken, and writes are not refused for want of membership
	State       string            `json:"state"` // starting, waiting for admission, ready, stopping, stopped
	Cluster     string            `json:"cluster"`
	Number      uint32            `json:"number"` // of the node in its cluster; drives the sequences' strides
	Incarnation uint64            `json:"incarnation"`
	Version     string            `json:"version"`
	Started     time.Time         `json:"started"`
	Listen      []string          `json:"listen"`
	PeerListen  string            `json:"peer_listen,omitempty"`
	Upstream    Upstream          `json:"upstream"`
	Applied     map[string]uint64 `json:"applied"` // by origin's name: everything up to here is in the database
	Stored      map[string]uint64 `json:"stored"`  // by origin's name: everything up to here is in the journal
	// Line is the time up to which nothing can arrive any more, because every member has said that it has applied all
	// until then; null while nobody can say that.
	Line      *time.Time `json:"line"`
	Members   []Member   `json:"members"`
	InDoubt   int64      `json:"in_doubt"`
	Conflicts int64      `json:"conflicts"`
	// NotReplicated counts writes that are recorded but whose effect could not be captured.
	NotReplicated int64         `json:"not_replicated"`
	Logins        int64         `json:"logins"` // of clients, since the start
	Peers         []Peer        `json:"peers"`
	Streams       []Stream      `json:"streams"` // origins whose records cannot be applied here at present
	Waiting       []Waiting     `json:"waiting"` // origins whose records wait for another origin's
	Warnings      []string      `json:"warnings"`
	Journal       JournalStatus `json:"journal"`
}

// Upstream is the local database.
type Upstream struct {
	Address   string `json:"address"`
	User      string `json:"user"`
	Reachable bool   `json:"reachable"`
	Version   string `json:"version,omitempty"`
	Error     string `json:"error,omitempty"`
}

// Member is a node of the cluster, this one included, with how far it has said that it has applied everything.
type Member struct {
	Name       string     `json:"name"`
	NodeID     string     `json:"node_id"`
	Number     uint32     `json:"number"`
	Retired    bool       `json:"retired"`
	Mark       *time.Time `json:"mark"`        // null: it has said nothing yet
	LagSeconds float64    `json:"lag_seconds"` // how old the mark is; 0 if there is nothing after it
}

// Peer is one configured or connected peer.
type Peer struct {
	Name       string            `json:"name"`
	NodeID     string            `json:"node_id,omitempty"`
	Address    string            `json:"address,omitempty"`
	Connected  bool              `json:"connected"`
	Queued     int64             `json:"queued"` // records here that it has not acknowledged
	Acked      map[string]uint64 `json:"acked"`  // by origin's name: what it has stored
	LagSeconds float64           `json:"lag_seconds"`
	LastError  string            `json:"last_error"`
	// Signed is the size of the newest checkpoint of its journal that is kept here, Holds that of this node's that it keeps.
	Signed     uint64 `json:"signed"`
	Holds      uint64 `json:"holds"`
	Distrusted string `json:"distrusted,omitempty"` // why its records are refused: its journal contradicts what it signed
}

// Stream is an origin whose next record cannot be applied.
type Stream struct {
	Origin   string    `json:"origin"`
	Seq      uint64    `json:"seq"`
	Reason   string    `json:"reason"`
	SQLState string    `json:"sqlstate,omitempty"`
	Database string    `json:"database,omitempty"`
	Table    string    `json:"table,omitempty"`
	Since    time.Time `json:"since"`
	Tries    int       `json:"tries"`
}

// Waiting is an origin whose records are here and not applied yet, without being stopped themselves.
type Waiting struct {
	Origin  string `json:"origin"`
	Seq     uint64 `json:"seq"`             // the next record to apply
	Records uint64 `json:"records"`         // how many wait
	Needs   string `json:"needs,omitempty"` // ORIGIN/SEQ that its author knew and this database lacks
}

// JournalStatus is the journal's size and health.
type JournalStatus struct {
	Bytes        int64  `json:"bytes"`
	MaxBytes     int64  `json:"max_bytes"` // 0: no limit
	Records      int64  `json:"records"`
	Transactions int64  `json:"transactions"`
	Error        string `json:"error,omitempty"`
}

// DrainProgress is one report of a running drain, and its last one the result.
type DrainProgress struct {
	Elapsed float64      `json:"elapsed_seconds"`
	Peers   []DrainCount `json:"peers"`
	Done    bool         `json:"done"` // everything is acknowledged, and applied unless Unapplied says otherwise
}

// DrainCount is what a drain still waits for from one peer.
type DrainCount struct {
	Peer      string `json:"peer"`
	Connected bool   `json:"connected"`
	Left      int64  `json:"left"`      // records that it has not acknowledged
	Unapplied int64  `json:"unapplied"` // records that its databases do not have yet, as it said last
	LastError string `json:"last_error,omitempty"`
}

// VerifyProgress is one report of a running verification: a table compared with a peer, or a peer that could not be asked.
type VerifyProgress struct {
	Database    string    `json:"database,omitempty"`
	Table       string    `json:"table,omitempty"` // schema.table
	Peer        string    `json:"peer"`
	Equal       bool      `json:"equal"`
	Rows        int64     `json:"rows,omitempty"`
	Differences []KeyDiff `json:"differences,omitempty"` // the first ones
	More        bool      `json:"more,omitempty"`        // there are others
	Reason      string    `json:"reason,omitempty"`      // difference that is not in the rows: table missing, columns
	Unreachable bool      `json:"unreachable,omitempty"`
	Error       string    `json:"error,omitempty"`
}

// KeyDiff is one row that differs.
type KeyDiff struct {
	Key  string `json:"key"`
	What string `json:"what"` // differs, only here, only there
}
