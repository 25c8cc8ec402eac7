package forward

import (
	"fmt"
	"testing"

	"pgproxy/journal"
)

// pruned is a journal that does not keep its first records any more.
type pruned struct{ *journal.Journal }

func (p *pruned) After(journal.Vector, int) ([]journal.Raw, error) {
	return nil, fmt.Errorf("record 1: %w", journal.ErrPruned)
}

// TestReseedNeeded: who lacks what is not kept any more is told so on both sides, and gets no gap.
func TestReseedNeeded(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	mesh(a, b)
	a.start()
	b.start()
	connected(t, a, b)
	equal(t, a, b)
	b.stop()
	a.stop()
	a.write(3)
	a.tune = func(o *Options) { o.Journal = &pruned{a.j} }
	a.start()
	b.start()
	complains(t, b, "a", "re-seed needed")
	complains(t, a, "b", "re-seed needed")
	if got, want := b.j.Stored()[a.j.Identity().Node], a.j.Stored()[a.j.Identity().Node]; got >= want {
		t.Errorf("b has %d records of %d", got, want)
	}
}
