package journal

import "maps"

// encodeAcked writes the acknowledged vectors of all peers.
func encodeAcked(acked map[string]Vector) []byte {
	e := encoder{}
	e.uint(uint64(len(acked)))
	for _, p := range sortedNames(acked) {
		e.string(p)
		e.vector(acked[p], NodeID{})
	}
	return e.b
}

func decodeAcked(b []byte) (map[string]Vector, error) {
	d := decoder{s: string(b)}
	acked := map[string]Vector{}
	for n := d.uint(); n > 0 && d.err == nil; n-- {
		peer := d.string()
		acked[peer] = d.vector()
	}
	return acked, d.end()
}

// SetAcked keeps how far a peer has acknowledged. It is made durable lazily: after a crash it may be a little behind, which
// costs sending a few records twice.
func (j *Journal) SetAcked(peer string, v Vector) {
	j.mu.Lock()
	old, known := j.durable.acked[peer]
	moved := !known || !maps.Equal(old, v)
	if moved {
		j.durable.acked[peer] = v.Clone()
	}
	j.mu.Unlock()
	if moved {
		j.queue.add(&ticket{acked: true})
	}
}

// Acked gives how far a peer has acknowledged; empty for one that never did.
func (j *Journal) Acked(peer string) Vector {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.durable.acked[peer].Clone()
}
