package command

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pgproxy/cmd/pgproxy/admin"
	"pgproxy/forward/apply"
	"pgproxy/journal"
	"pgproxy/journal/hlc"
)

// Status implements admin.Node.
func (n *node) Status(ctx context.Context) admin.Status {
	id := n.journal.Identity()
	s := admin.Status{
		Node: id.Name, NodeID: id.Node.String(), Number: id.Number, Incarnation: id.Incarnation, Version: Version(), Started: n.started.UTC(),
		Listen: n.listenNames(), Peers: []admin.Peer{}, Streams: []admin.Stream{}, Waiting: []admin.Waiting{}, Warnings: []string{}, Members: []admin.Member{},
	}
	s.State, _ = n.state.Load().(string)
	if !id.Cluster.IsZero() {
		s.Cluster = id.Cluster.String()
	}
	if n.peerListener != nil {
		s.PeerListen = n.peerListener.Addr().String()
	}
	names := n.journal.Names()
	applied := n.journal.Applied()
	stored := n.journal.Stored()
	applied[id.Node] = stored[id.Node]
	s.Applied, s.Stored = named(applied, names), named(stored, names)
	n.lineStatus(&s)
	stats := n.journal.Stats()
	s.InDoubt, s.Conflicts, s.NotReplicated = stats.InDoubt, stats.Conflicts, stats.NotReplicated
	s.Journal = admin.JournalStatus{Bytes: stats.Bytes, MaxBytes: int64(n.set.JournalMax), Records: stats.Records, Transactions: stats.Transactions}
	if err := n.journal.Err(); err != nil {
		s.Journal.Error = err.Error()
	}
	if n.starting() != nil {
		return s
	}
	n.roomsStatus(ctx, &s, names)
	return s
}

// lineStatus adds how far the members are, as they have said.
func (n *node) lineStatus(s *admin.Status) {
	s.Line = wallTime(n.journal.Line())
	for _, m := range n.journal.Marks() {
		out := admin.Member{Name: m.Name, NodeID: m.Node.String(), Number: m.Number, Retired: m.Retired, Mark: wallTime(m.Mark)}
		if m.Behind && out.Mark != nil {
			out.LagSeconds = max(0, n.c.Now().Sub(*out.Mark).Seconds())
		}
		s.Members = append(s.Members, out)
	}
}

// wallTime gives a time of the clock for people; nil if it is none.
func wallTime(t hlc.Time) *time.Time {
	if t == 0 {
		return nil
	}
	w := t.Wall().UTC()
	return &w
}

// roomsStatus adds what the rooms know.
func (n *node) roomsStatus(ctx context.Context, s *admin.Status, names map[journal.NodeID]string) {
	s.Ready = n.taking.Load()
	if s.Ready {
		s.State = "ready"
	}
	if err := n.writable(); err != nil {
		s.Ready, s.State = false, "writes are refused: "+err.Error()
	}
	s.Upstream = n.upstreamStatus(ctx)
	for _, p := range n.forwarder.Status() {
		peer := admin.Peer{Name: p.Name, NodeID: p.NodeID, Address: p.Addr, Connected: p.Connected, Queued: int64(p.Queued),
			Acked: named(p.Acked, names), LagSeconds: p.LagSeconds, LastError: p.LastError,
			Signed: p.Checkpoint.Size, Holds: p.Holds, Distrusted: p.Distrusted}
		if p.Distrusted != "" {
			s.Warnings = append(s.Warnings, fmt.Sprintf("records of node %s are refused: %s; once it is clear why: pgproxy audit trust %s", p.Name, p.Distrusted, p.Name))
		}
		if p.Contradicts != "" {
			s.Warnings = append(s.Warnings, fmt.Sprintf("THIS node's journal contradicts the checkpoint that peer %s keeps of it: %s: pgproxy audit verify --peers", p.Name, p.Contradicts))
		}
		s.Peers = append(s.Peers, peer)
	}
	s.Logins = n.server.Metrics().Logins.Load()
	applied := n.applier.Status()
	s.Warnings = append(s.Warnings, n.warnings(&applied)...)
	s.Warnings = append(s.Warnings, n.sinkWarnings()...)
	s.Waiting = append(s.Waiting, n.waiting(&applied, names)...)
	for _, st := range applied.Stopped {
		if st.Brief && n.c.Now().Sub(st.Since) < briefStop {
			continue
		}
		s.Streams = append(s.Streams, admin.Stream{Origin: originName(names, st.Origin), Seq: st.Seq, Reason: st.Reason, SQLState: st.SQLState,
			Database: st.Database, Table: st.Table, Since: st.Since.UTC(), Tries: st.Tries})
	}
}

// warnings are what does not stand in the way now and may surprise later.
func (n *node) warnings(a *apply.Status) []string {
	var out []string
	for _, database := range slices.Sorted(maps.Keys(a.Replica)) {
		if !a.Replica[database] {
			out = append(out, fmt.Sprintf("database %s: triggers and foreign keys run again for applied rows; as a superuser: GRANT SET ON PARAMETER "+
				"session_replication_role TO %s", database, n.upstream.config.User))
		}
	}
	return append(out, a.Sequences...)
}

// waiting finds the origins whose next record is held up by another origin's.
func (n *node) waiting(a *apply.Status, names map[journal.NodeID]string) []admin.Waiting {
	stopped := map[journal.NodeID]bool{n.journal.Identity().Node: true}
	for _, st := range a.Stopped {
		stopped[st.Origin] = true
	}
	stored := n.journal.Stored()
	have := a.Applied.Clone()
	own := n.journal.Identity().Node
	have[own] = max(have[own], stored[own])
	var out []admin.Waiting
	for origin, seq := range stored {
		if stopped[origin] || seq <= have[origin] {
			continue
		}
		w := admin.Waiting{Origin: originName(names, origin), Seq: have[origin] + 1, Records: seq - have[origin]}
		if r, err := n.journal.Record(journal.ID{Origin: origin, Seq: w.Seq}); err == nil {
			for other, knew := range r.Knew {
				if other != origin && knew > have[other] {
					w.Needs = fmt.Sprintf("%s/%d", originName(names, other), have[other]+1)
				}
			}
		}
		out = append(out, w)
	}
	slices.SortFunc(out, func(x, y admin.Waiting) int { return strings.Compare(x.Origin, y.Origin) })
	return out
}

// briefStop is how long a stream may wait for another transaction before status shows it.
const briefStop = 3 * time.Second

func originName(names map[journal.NodeID]string, node journal.NodeID) string {
	if s := names[node]; s != "" {
		return s
	}
	return node.String()
}

// lookTimeout is how long status waits for the database: a status that hangs helps nobody.
const lookTimeout = 3 * time.Second

func (n *node) upstreamStatus(ctx context.Context) admin.Upstream {
	u := admin.Upstream{Address: n.upstream.address(), User: n.upstream.config.User, Version: n.upstream.version}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	conn, err := n.upstream.connect(ctx, "")
	if err != nil {
		u.Error = unwrapConnect(err).Error()
		return u
	}
	defer conn.Close(ctx)
	u.Reachable = true
	if v := conn.ParameterStatus("server_version"); v != "" {
		u.Version = v
	}
	return u
}

// named gives a vector by the nodes' names.
func named(v journal.Vector, names map[journal.NodeID]string) map[string]uint64 {
	out := make(map[string]uint64, len(v))
	for node, seq := range v {
		out[originName(names, node)] = seq
	}
	return out
}

// stoppedStatus is the status of a node that is not running, from its journal.
func stoppedStatus(dir *dataDir, path string) (admin.Status, error) {
	r, err := dir.open(path)
	if err != nil {
		return admin.Status{}, err
	}
	defer r.Close()
	stats := r.Stats()
	s := admin.Status{State: "stopped", Version: Version(), Listen: []string{}, Peers: []admin.Peer{}, Streams: []admin.Stream{}, Waiting: []admin.Waiting{}, Warnings: []string{}, Members: []admin.Member{},
		Applied: map[string]uint64{}, Stored: map[string]uint64{}, InDoubt: stats.InDoubt, Conflicts: stats.Conflicts, NotReplicated: stats.NotReplicated,
		Journal: admin.JournalStatus{Bytes: stats.Bytes, Records: stats.Records, Transactions: stats.Transactions}}
	id := r.Identity()
	s.Node, s.NodeID, s.Number, s.Incarnation = id.Name, id.Node.String(), id.Number, id.Incarnation
	if !id.Cluster.IsZero() {
		s.Cluster = id.Cluster.String()
	}
	s.Stored, err = lastOf(r)
	return s, err
}

// lastOf gives the last sequence of each origin in a journal.
func lastOf(r journal.Reader) (map[string]uint64, error) {
	out := map[string]uint64{}
	all := []journal.Kind{journal.KindTx, journal.KindVoid, journal.KindMember, journal.KindBeat}
	for id, name := range r.Names() {
		for it, err := range r.Scan(journal.Filter{Origin: id.String(), Kinds: all}) {
			if err != nil {
				return nil, fmt.Errorf("read journal: %w", err)
			}
			if it.Record.Seq > 0 { // attempts have none
				out[name] = it.Record.Seq
				break
			}
		}
	}
	return out, nil
}
