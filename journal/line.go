package journal

import (
	"context"

	"pgproxy/journal/hlc"
)

// Line gives the time at or below which no transaction can arrive any more, and up to which all are here: the least of the
// members' marks that are stored here, this node's own included. All that members wrote unaware of a transaction at or
// below the line is here too; only a node that is admitted may still write unaware of what was below the line by then, if
// it is let write before it has applied that.
//
// It is never past a record of this node that is not published, never past what a member, reachable or not, has applied
// (see SetSafe), and it does not go back, also not over a restart, while the node stays in its cluster. Zero: nothing can
// be said yet.
//
// Every record at or below the line may be deleted once no peer has to be sent it; what is derived from it (which change
// of a row stands) may be forgotten one round later, see Final.
func (j *Journal) Line() hlc.Time {
	cluster := j.identity.get().Cluster
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.durable.line(cluster)
}

// line is Line for a cluster.
func (s *state) line(cluster NodeID) hlc.Time {
	if !s.complete(cluster) {
		return 0
	}
	least := ^hlc.Time(0)
	for _, n := range s.cluster(cluster) {
		least = min(least, s.stated(n))
	}
	return least
}

// stated gives a member's mark. Who is admitted writes nothing that is older than its admission: until it says more, the
// line stands where it was.
func (s *state) stated(n NodeID) hlc.Time {
	return max(s.tails[n].mark, s.members[n].since)
}

// round is the time between the moment when the line passed something and the moment when that is final. Guarded by the
// gate.
type round struct {
	final hlc.Time
	below hlc.Time // what becomes final next; zero: nothing is on its way
	at    hlc.Time // once the line has passed this
}

// Final gives the time at or below which a transaction matters to nothing above the line any more: every record above it,
// here or still to come, knows all of them. It follows the line by one round: what the line has passed becomes final when
// the line has passed the clock of that moment too, and with it all that was written unaware of it. After a start it
// begins at zero again.
func (j *Journal) Final() hlc.Time {
	line := j.Line()
	j.gate.Lock()
	defer j.gate.Unlock()
	r := &j.round
	if r.below != 0 && line >= r.at {
		r.final, r.below = r.below, 0
	}
	if r.below == 0 && line > r.final {
		r.below, r.at = line, j.clock.Now()
	}
	return r.final
}

// KeepLine writes a beat if that helps the line on, and reports whether it did. Whoever runs the node calls it at
// intervals. A beat is of use while something is above the line, or not final: once this node has written nothing since,
// which others wait for to be sure of it, and once more when it can state a mark that has passed it. So an idle cluster
// falls silent after some beats, and while a member is away each of the others says one for each thing that is new.
func (j *Journal) KeepLine(ctx context.Context) (bool, error) {
	want, due := j.beatDue(j.Final())
	if !due {
		return false, nil
	}
	_, err := j.sealPlain(ctx, &Record{Kind: KindBeat, Want: want})
	return err == nil, err
}

// beatDue reports whether a beat is of use, and what it is to ask of others.
func (j *Journal) beatDue(final hlc.Time) (want hlc.Time, due bool) {
	j.gate.Lock()
	defer j.gate.Unlock()
	mark := j.mark(j.clock.Now())
	cluster := j.identity.get().Cluster
	j.mu.RLock()
	defer j.mu.RUnlock()
	own, wanted := j.durable.tails[j.self], j.durable.wanted
	if j.round.below != 0 && j.durable.content > final {
		want = j.round.at
		wanted = max(wanted, want)
	}
	due = j.durable.complete(cluster) && own.mark < wanted && (own.hlc < wanted || mark >= wanted)
	return want, due
}

// Mark is how far a member has said that it has applied everything.
type Mark struct {
	Member
	Mark hlc.Time
	// Behind: something that is here is not known to be applied there.
	Behind bool
}

// Marks gives the members of this node's cluster with their marks as they are known here, itself included.
func (j *Journal) Marks() []Mark {
	cluster := j.identity.get().Cluster
	j.mu.RLock()
	defer j.mu.RUnlock()
	var out []Mark
	for _, n := range j.durable.cluster(cluster) {
		m := Mark{Member: j.durable.members[n].Member, Mark: j.durable.stated(n)}
		m.Behind = m.Mark < j.durable.content
		out = append(out, m)
	}
	return out
}

// cluster gives the members of a cluster, in the order of their ids.
func (s *state) cluster(cluster NodeID) []NodeID {
	var out []NodeID
	for _, n := range sortedNodes(s.members) {
		if s.members[n].Cluster == cluster {
			out = append(out, n)
		}
	}
	return out
}

// complete reports whether every member counts that matters to a mark or a line: the founder is known. Whoever admits
// others says so in its own stream; so if a member is not known, one that is known, or the founder, has a record that
// says so and that has not come: its mark, or the time of its last applied record, is before it.
func (s *state) complete(cluster NodeID) bool {
	if cluster.IsZero() {
		return false
	}
	for _, m := range s.members {
		if m.Cluster == cluster && m.Number == 0 {
			return true
		}
	}
	return false
}
