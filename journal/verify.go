package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// recentLeaves is how many entries a checkpoint may stand behind what it speaks of and still be compared.
const recentLeaves = 1 << 15

// maxMismatches bounds what is remembered to tell a changed order from changed content.
const maxMismatches = 1 << 16

// verifier walks a journal from its first entry to its last and makes every hash anew.
type verifier struct {
	v        *Verdict
	key      string
	evidence []evidenceAt
	images   *imageStore

	purged                uint64   // a purge has said that what is before this position goes
	first                 frontier // before the first entry
	stored                frontier // of the leaves as they stand in the entries
	base                  frontier // some entries earlier than stored
	leaves                []tlog.Hash
	good                  uint64 // size of the newest checkpoint in the journal that agrees
	goodOutside           uint64 // of the newest that others have kept
	forged, forgedOutside bool   // one does not

	tails    map[NodeID]tail
	differ   []mismatch // entries whose content is not what the tree holds
	breaks   []chainBreak
	returned map[ID]uint64 // records that came later than their place, by where
}

type evidenceAt struct {
	checkpoint Checkpoint
	from       string
	local      bool
}

// mismatch is an entry whose leaf is another than its content gives.
type mismatch struct {
	position        uint64
	stored, content tlog.Hash
	record          ID
}

// chainBreak is a record that does not go on from the one before it.
type chainBreak struct {
	position uint64
	record   ID
	after    uint64
	err      error
}

// Verify walks the whole journal of a node that is not running and says whether it is as it was written: every leaf and
// hash of the tree, every record's chain, every checkpoint in it and beside it, and those that others have kept. What is
// wrong is in the verdict, the first entry first; an error says that it could not be walked. Run it in a child process, like
// Check.
func Verify(ctx context.Context, dir string, outside []Evidence) (Verdict, error) {
	var v Verdict
	lock, err := lockFolder(dir, false)
	if err != nil {
		return v, fmt.Errorf("verify journal: %w", err)
	}
	defer lock.Close()
	id, err := readIdentity(filepath.Join(dir, identityFile))
	if err != nil {
		v.Findings = append(v.Findings, Finding{Attack: AttackHidden, Detail: err.Error()})
		id = &identityStore{}
	}
	paths, err := segmentPaths(filepath.Join(dir, segmentsFolder))
	if err != nil {
		return v, fmt.Errorf("verify journal: %w", err)
	}
	w := newVerifier(&v, id, newImageStore(dir), outside)
	for i, path := range paths {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		if err := w.file(path, i == 0); err != nil {
			w.find(AttackHidden, w.stored.size+1, ID{}, err.Error())
		}
	}
	w.end(paths, id.reached)
	return v, nil
}

// Verify is the same for the journal of this running node, up to what is durable when a segment is reached.
func (j *Journal) Verify(ctx context.Context, outside []Evidence) (Verdict, error) {
	j.pruning.Lock()
	defer j.pruning.Unlock()
	var v Verdict
	w := newVerifier(&v, j.identity, j.images, outside)
	for i, g := range j.list() {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		if err := w.segment(g, i == 0); err != nil {
			w.find(AttackHidden, w.stored.size+1, ID{}, err.Error())
		}
	}
	w.end(nil, reached{})
	return v, nil
}

func newVerifier(v *Verdict, id *identityStore, images *imageStore, outside []Evidence) *verifier {
	w := &verifier{v: v, images: images, key: id.get().Key, returned: map[ID]uint64{}}
	if c := id.checkpoint(); len(c.Note) > 0 {
		w.evidence = append(w.evidence, evidenceAt{c, identityFile, true})
	}
	for _, e := range outside {
		c, err := ParseCheckpoint(e.Note, w.key)
		if err != nil {
			w.find(AttackRebuilt, 1, ID{}, fmt.Sprintf("the checkpoint from %s is not signed with the key that this journal has: it is another journal's, or this one was made anew (%v)", e.From, err))
			continue
		}
		w.evidence = append(w.evidence, evidenceAt{c, e.From, false})
	}
	slices.SortStableFunc(w.evidence, func(a, b evidenceAt) int { return cmp.Compare(a.checkpoint.Size, b.checkpoint.Size) })
	return w
}

func (w *verifier) find(a Attack, position uint64, record ID, detail string) {
	w.v.Findings = append(w.v.Findings, Finding{a, position, record, detail})
}

// file walks a segment of a stopped node.
func (w *verifier) file(path string, isFirst bool) error {
	if err := checkPages(path); err != nil {
		return err
	}
	g, err := openSegmentReadOnly(path)
	if err != nil {
		return err
	}
	defer g.close()
	return w.segment(g, isFirst)
}

func (w *verifier) segment(g *segment, isFirst bool) error {
	base, err := g.base()
	if err != nil {
		return err
	}
	switch {
	case isFirst:
		w.first, w.stored, w.base = base.tree.clone(), base.tree.clone(), base.tree.clone()
		w.tails, w.v.From, w.purged = base.tails, base.next, base.purged
	case base.next > w.stored.size+1:
		w.find(AttackRemoved, w.stored.size+1, ID{}, fmt.Sprintf("entries %d to %d are gone: a segment is missing before %s", w.stored.size+1, base.next-1, filepath.Base(g.path)))
		w.restart(base)
	case base.next <= w.stored.size:
		w.find(AttackOrder, base.next, ID{}, fmt.Sprintf("%s begins at position %d, and the one before it goes to %d", filepath.Base(g.path), base.next, w.stored.size))
		w.restart(base)
	}
	return g.each(func(p uint64, stamped []byte) error {
		w.entry(p, stamped)
		return nil
	})
}

// restart goes on behind what is missing with what a segment says about it.
func (w *verifier) restart(base *state) {
	w.stored, w.base, w.leaves, w.tails = base.tree.clone(), base.tree.clone(), nil, base.tails
}

// entry takes the next entry.
func (w *verifier) entry(p uint64, stamped []byte) {
	w.v.To = p
	leaf, hashes := splitStamp(p, stamped)
	if hashes == nil {
		w.find(AttackContent, p, ID{}, fmt.Sprintf("the entry has only %d bytes", len(stamped)))
		hashes = make([]tlog.Hash, completed(p))
	}
	e, err := readEntry(p, stamped)
	var id ID
	if err == nil && e.record != nil {
		id = e.record.ID
	}
	content := tlog.RecordHash(leaf)
	if leaf != nil && content != hashes[0] && len(w.differ) < maxMismatches {
		w.differ = append(w.differ, mismatch{p, hashes[0], content, id})
	} else if err != nil {
		w.find(AttackContent, p, id, err.Error())
	}
	w.leaves = append(w.leaves, hashes[0])
	if grown := w.stored.grow(hashes[0]); !slices.Equal(grown, hashes) && content == hashes[0] {
		w.find(AttackForged, p, id, "its place in the tree is not what the entries before it lead to")
	}
	if len(w.leaves) > 2*recentLeaves {
		for _, h := range w.leaves[:recentLeaves] {
			w.base.grow(h)
		}
		w.leaves = append(w.leaves[:0:0], w.leaves[recentLeaves:]...)
	}
	if err == nil {
		w.content(p, e)
	}
	for _, c := range w.evidence {
		if c.checkpoint.Size == w.stored.size {
			w.checkSigned(&c.checkpoint, c.from, !c.local)
		}
	}
}

// content looks at what an entry says.
func (w *verifier) content(p uint64, e *entry) {
	if err := w.images.check(e); err != nil {
		w.find(AttackContent, p, e.record.ID, err.Error())
	}
	switch {
	case e.kind == entryOwn || e.kind == entryForeign:
		w.v.Records++
		w.record(p, e)
	case e.kind == entryPurge:
		w.purged = max(w.purged, e.seq)
	case e.kind == entryCheckpoint:
		c, err := ParseCheckpoint(e.payload, w.key)
		if err != nil {
			w.find(AttackContent, p, ID{}, fmt.Sprintf("a checkpoint that this node has not signed: %v", err))
			return
		}
		w.checkSigned(&c, fmt.Sprintf("entry %d", p), false)
	case e.event != nil && e.event.Gap != nil:
		switch e.event.Gap.Cause {
		case GapWrites, GapAttempts, GapEvents:
			w.v.Gaps++
		}
	}
}

// record holds a record against the one before it of its origin.
func (w *verifier) record(p uint64, e *entry) {
	r := e.record
	last := w.tails[r.Origin]
	if err := last.accepts(r); err != nil {
		w.breaks = append(w.breaks, chainBreak{p, r.ID, last.seq, err})
	}
	if r.Seq <= last.seq {
		w.returned[r.ID] = p
		return
	}
	w.tails[r.Origin] = tail{seq: r.Seq, hash: e.hash, hlc: r.HLC, incarnation: r.Incarnation}
}

// rootAt gives the root of the first size entries, if that is not too far back.
func (w *verifier) rootAt(size uint64) (tlog.Hash, bool) {
	if size < w.base.size || size > w.stored.size {
		return tlog.Hash{}, false
	}
	t := w.base.clone()
	for _, h := range w.leaves[:size-w.base.size] {
		t.grow(h)
	}
	return t.root(), true
}

// end names what was seen, once all was walked.
func (w *verifier) end(paths []string, r reached) {
	w.nameDifferences()
	w.nameBreaks()
	if w.v.From > max(1, w.purged) {
		w.find(AttackRemoved, 1, ID{}, fmt.Sprintf("entries 1 to %d are gone, and no purge is recorded", w.v.From-1))
	}
	w.checkEvidence()
	if n := len(paths); n > 0 && r.segment > 0 {
		if last, _ := parseSegmentName(filepath.Base(paths[n-1])); last < r.segment {
			w.find(AttackTail, w.stored.size+1, ID{}, fmt.Sprintf("the segment that begins at position %d is gone, or one after it", r.segment))
		}
	} else if r.segment > 0 && n == 0 {
		w.find(AttackTail, 1, ID{}, "all segments are gone")
	}
	if w.forged && w.goodOutside == 0 && w.good > w.first.size { // the ones inside say more than the outside ones, which say only that it was done
		w.v.Findings = slices.DeleteFunc(w.v.Findings, func(f Finding) bool { return f.Attack == AttackRebuilt })
	}
	slices.SortStableFunc(w.v.Findings, func(a, b Finding) int { return cmp.Compare(a.Position, b.Position) })
}

// nameDifferences tells changed content from entries that changed their places and from entries that are gone.
func (w *verifier) nameDifferences() {
	if len(w.differ) == 0 {
		return
	}
	was := map[tlog.Hash]uint64{}
	for _, d := range w.differ {
		was[d.stored] = d.position
	}
	moved := 0
	for _, d := range w.differ {
		if _, ok := was[d.content]; ok {
			moved++
		}
	}
	d := w.differ[0]
	from := was[d.content]
	switch {
	case moved == len(w.differ):
		w.find(AttackOrder, d.position, d.record, fmt.Sprintf("%d entries have changed their places; at position %d stands what stood at %d", moved, d.position, from))
	case from > d.position && moved*2 > len(w.differ):
		w.find(AttackRemoved, d.position, d.record, fmt.Sprintf("entries %d to %d are gone: at position %d stands what stood at %d", d.position, from-1, d.position, from))
	default:
		w.find(AttackContent, d.position, d.record, fmt.Sprintf("%d entries are not what the tree holds of them", len(w.differ)))
	}
}

// nameBreaks tells records that are gone from such that came later, where no hash has told it already.
func (w *verifier) nameBreaks() {
	for _, b := range w.breaks {
		if len(w.differ) > 0 && b.position >= w.differ[0].position {
			continue
		}
		missing := ID{b.record.Origin, b.after + 1}
		switch {
		case errors.Is(b.err, ErrGap) && w.returned[missing] == 0:
			w.find(AttackRemoved, b.position, b.record, fmt.Sprintf("records %d to %d of its origin are gone", b.after+1, b.record.Seq-1))
		case errors.Is(b.err, ErrGap), b.record.Seq <= b.after:
			w.find(AttackOrder, b.position, b.record, b.err.Error())
		default:
			w.find(AttackContent, b.position, b.record, fmt.Sprintf("it, or the record before it, is not what its author wrote: %v", b.err))
		}
	}
}
