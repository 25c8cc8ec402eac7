package journal

// appliedSet is the vector of applied records, with those that were applied ahead of their turn. Guarded by the gate.
type appliedSet struct {
	vector Vector
	ahead  map[ID]bool
}

func newAppliedSet() appliedSet { return appliedSet{vector: Vector{}, ahead: map[ID]bool{}} }

func (a *appliedSet) set(v Vector) {
	a.vector = v.Clone()
	clear(a.ahead)
}

func (a *appliedSet) mark(id ID) {
	if id.Seq <= a.vector[id.Origin] {
		return
	}
	a.ahead[id] = true
	for next := (ID{id.Origin, a.vector[id.Origin] + 1}); a.ahead[next]; next.Seq++ {
		delete(a.ahead, next)
		a.vector[id.Origin] = next.Seq
	}
}

// unmark takes a record back; those behind it are ahead of their turn again.
func (a *appliedSet) unmark(id ID) {
	delete(a.ahead, id)
	for seq := a.vector[id.Origin]; seq > id.Seq; seq-- {
		a.ahead[ID{id.Origin, seq}] = true
	}
	if a.vector[id.Origin] >= id.Seq {
		a.vector[id.Origin] = id.Seq - 1
	}
}

// Applied gives, for each origin, up to which sequence its records are counted as applied to the database; of the own
// origin what is published.
func (j *Journal) Applied() Vector {
	j.gate.Lock()
	v := j.applied.vector.Clone()
	j.gate.Unlock()
	j.mu.RLock()
	v[j.self] = j.published
	j.mu.RUnlock()
	return v
}

// SetApplied says at the start what the database holds. The own origin in v is ignored.
func (j *Journal) SetApplied(v Vector) {
	j.gate.Lock()
	j.applied.set(v)
	delete(j.applied.vector, j.self)
	j.gate.Unlock()
	j.watchers.notify()
}
