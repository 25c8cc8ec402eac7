package journal

import "fmt"

// Evidence is a checkpoint of a journal that somebody else has kept, to hold the journal against.
type Evidence struct {
	From string // who has kept it, for people
	Note []byte
}

// Attack says what happened to a journal that is not as it was written.
type Attack string

// What can be told apart.
const (
	AttackContent Attack = "content changed"
	AttackOrder   Attack = "order changed"
	AttackRemoved Attack = "middle removed"
	AttackTail    Attack = "tail cut off"
	AttackOlder   Attack = "replaced by an older copy"
	AttackForged  Attack = "forged between two checkpoints"
	AttackRebuilt Attack = "rebuilt"
	AttackHidden  Attack = "unreadable" // nothing can be said: damage, or somebody who wanted it to look like that
)

// Finding is something that is wrong with a journal.
type Finding struct {
	Attack   Attack
	Position uint64 // of the first entry that is not as it was; 0: it cannot be told
	Record   ID     // what stands there, if it is a record
	Detail   string // what was seen
}

// Verdict is what Verify found.
type Verdict struct {
	From, To    uint64 // positions that were walked, both included; From is past 1 if what was before was pruned
	Records     int64
	Checkpoints int    // that agree with the journal, the outside ones included
	Signed      uint64 // positions that the newest of them covers
	Gaps        int64  // recorded ones: what the journal itself says is missing
	Findings    []Finding
}

// Tampered reports whether the journal is not as it was written.
func (v *Verdict) Tampered() bool {
	for i := range v.Findings {
		if v.Findings[i].Attack != AttackHidden {
			return true
		}
	}
	return false
}

// checkEvidence holds outside checkpoints against the journal's end, once it was walked.
func (w *verifier) checkEvidence() {
	size := w.stored.size
	for _, e := range w.evidence {
		c := &e.checkpoint
		if c.Size <= size {
			continue // it was compared on the way
		}
		what := fmt.Sprintf("it ends with entry %d; a checkpoint of %d entries was signed at %s (%s)", size, c.Size, c.Time.UTC().Format("2006-01-02 15:04:05"), e.from)
		if e.local {
			w.find(AttackTail, size+1, ID{}, what)
			continue
		}
		w.find(AttackOlder, size+1, ID{}, what+"; nothing in the data folder knows of what is missing")
	}
}

// checkSigned holds a checkpoint against the tree as it was at its size. outside says that it was not on this disk: whoever
// can write to the disk has the node's key too, so checkpoints on it prove nothing against those that others keep.
func (w *verifier) checkSigned(c *Checkpoint, from string, outside bool) {
	good, forged := &w.good, &w.forged
	if outside {
		good, forged = &w.goodOutside, &w.forgedOutside
	}
	if c.Size < w.first.size {
		return // of what was pruned
	}
	root, ok := w.rootAt(c.Size)
	switch {
	case !ok, *forged && root != c.Root: // it was told already from where on the journal is another one
	case root == c.Root:
		w.v.Checkpoints++
		*good = max(*good, c.Size)
		w.v.Signed = max(w.v.Signed, c.Size)
	case *good > w.first.size:
		*forged = true
		w.find(AttackForged, *good+1, ID{}, fmt.Sprintf("the first %d entries are as they were signed; between there and %d they are not those of the checkpoint of %s (%s)",
			*good, c.Size, c.Time.UTC().Format("2006-01-02 15:04:05"), from))
	default:
		*forged = true
		w.find(AttackRebuilt, w.first.size+1, ID{}, fmt.Sprintf("no checkpoint agrees with it; the first that does not is of %d entries, signed at %s (%s)",
			c.Size, c.Time.UTC().Format("2006-01-02 15:04:05"), from))
	}
}
