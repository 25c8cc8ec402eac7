package journal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	bolt "go.etcd.io/bbolt"
)

// attacked is a journal's folder that somebody with full access to the disk changes, offline.
type attacked struct {
	t       *testing.T
	dir     string
	entries [][]byte // kind and payload, by position
	outside []Evidence
}

// written makes a journal of several segments with checkpoints in between, and what a peer keeps of it.
func writtenForAttack(t *testing.T) *attacked {
	t.Helper()
	a := &attacked{t: t, dir: t.TempDir()}
	a.write(150)
	a.write(150)
	if paths := a.paths(); len(paths) < 3 {
		t.Fatalf("only %d segments", len(paths))
	}
	if v := a.verify(a.outside...); len(v.Findings) > 0 || v.Checkpoints < 8 || v.Records < 300 || v.From != 1 || v.Signed != v.To-1 {
		t.Fatalf("before the attack: %+v", v)
	}
	a.load()
	return a
}

// write adds transactions and attempts to the journal, and keeps the last checkpoint as a peer would.
func (a *attacked) write(n int) {
	a.t.Helper()
	j, err := Open(context.Background(), Options{Dir: a.dir, Node: "a", NoSync: true, SegmentBytes: 64 << 10, CheckpointDelay: -1, CheckpointEvery: 1 << 20})
	if err != nil {
		a.t.Fatal(err)
	}
	for i := range n {
		tx := &Tx{User: "ann", Database: "bank", Start: time.Unix(1, 0).UTC(), End: time.Unix(2, 0).UTC(),
			Statements: []Statement{{Query: fmt.Sprintf("INSERT INTO account VALUES (%d, '%s')", i, strings.Repeat("x", 300)), Command: "INSERT"}}}
		in, err := j.Seal(context.Background(), tx)
		if err != nil {
			a.t.Fatal(err)
		}
		if err := in.Commit(); err != nil {
			a.t.Fatal(err)
		}
		if i%40 == 39 {
			if _, err := j.Sign(context.Background()); err != nil {
				a.t.Fatal(err)
			}
		}
	}
	if err := j.Close(); err != nil {
		a.t.Fatal(err)
	}
	a.outside = append(a.outside, Evidence{"peer b", j.Checkpoint().Note})
}

func (a *attacked) paths() []string {
	paths, err := segmentPaths(filepath.Join(a.dir, segmentsFolder))
	if err != nil {
		a.t.Fatal(err)
	}
	return paths
}

func (a *attacked) verify(outside ...Evidence) Verdict {
	a.t.Helper()
	v, err := Verify(context.Background(), a.dir, outside)
	if err != nil {
		a.t.Fatal(err)
	}
	return v
}

// expect is that the first thing that is found is this attack, at this position (0: any).
func (a *attacked) expect(what Attack, position uint64, outside ...Evidence) {
	a.t.Helper()
	v := a.verify(outside...)
	if len(v.Findings) == 0 || v.Findings[0].Attack != what || position > 0 && v.Findings[0].Position != position || !v.Tampered() {
		a.t.Errorf("found %+v, want %q at %d", v.Findings, what, position)
	}
	for _, f := range v.Findings {
		a.t.Logf("%s at %d: %s", f.Attack, f.Position, f.Detail)
	}
}

// open lets f change a file of the journal.
func (a *attacked) open(path string, f func(tx *bolt.Tx) error) {
	a.t.Helper()
	db, err := bolt.Open(path, fileMode, boltOptions(0, true))
	if err != nil {
		a.t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(f); err != nil {
		a.t.Fatal(err)
	}
}

func (a *attacked) load() {
	a.entries = nil
	for _, path := range a.paths() {
		a.open(path, func(tx *bolt.Tx) error {
			return tx.Bucket(bucketEntries).ForEach(func(k, v []byte) error {
				leaf, _ := splitStamp(binary.BigEndian.Uint64(k), v)
				a.entries = append(a.entries, bytes.Clone(leaf))
				return nil
			})
		})
	}
}

// store writes the entries back under rising positions, as many to a segment as before, with right checksums. What is too
// much at the end goes. With trees, the hashes of the tree and the states that the segments begin with are right too.
func (a *attacked) store(trees bool) {
	a.t.Helper()
	var st *state
	p := uint64(1)
	for _, path := range a.paths() {
		a.open(path, func(tx *bolt.Tx) error {
			b, s := tx.Bucket(bucketEntries), tx.Bucket(bucketSegment)
			base, err := decodeState(s.Get(keyBase))
			if err != nil {
				return err
			}
			if st == nil {
				st = base
			} else if trees {
				if err := s.Put(keyBase, st.encode()); err != nil {
					return err
				}
			}
			var keys [][]byte
			if err := b.ForEach(func(k, _ []byte) error { keys = append(keys, bytes.Clone(k)); return nil }); err != nil {
				return err
			}
			for _, k := range keys {
				if p > uint64(len(a.entries)) {
					if err := b.Delete(k); err != nil {
						return err
					}
					continue
				}
				if err := b.Put(k, a.stamped(st, p, b.Get(k), trees)); err != nil {
					return err
				}
				p++
			}
			return nil
		})
	}
}

func (a *attacked) stamped(st *state, p uint64, old []byte, trees bool) []byte {
	leaf := a.entries[p-1]
	if trees {
		e, err := parseEntry(entryKind(leaf[0]), leaf[1:])
		if err != nil {
			a.t.Fatal(err)
		}
		e.payload, e.bytes = leaf[1:], len(leaf)-1
		tree := st.tree.clone()
		b := e.stamp(p, &tree)
		st.play(e)
		return b
	}
	_, hashes := splitStamp(p, old)
	b := bytes.Clone(leaf)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return binary.BigEndian.AppendUint32(b, entrySum(p, b))
}

// rechain makes the chains of the own records right again, whatever was done to them.
func (a *attacked) rechain() {
	var last tail
	for i, leaf := range a.entries {
		if leaf[0] != byte(entryOwn) {
			continue
		}
		f, err := parseFrame(leaf[1:])
		if err != nil {
			a.t.Fatal(err)
		}
		r, err := f.decodeHeader()
		if err != nil {
			a.t.Fatal(err)
		}
		r.Seq, r.Prev = last.seq+1, last.hash
		head, foot, hash := seal(r, f.body, sha256.Sum256(f.body))
		a.entries[i] = bytes.Join([][]byte{{leaf[0]}, head, f.body, foot}, nil)
		last = tail{seq: r.Seq, hash: hash}
	}
}

// resign makes every checkpoint anew with the node's own key, which lies on the disk as well.
func (a *attacked) resign() {
	a.t.Helper()
	a.open(filepath.Join(a.dir, identityFile), func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketIdentity)
		secret, _, _ := strings.Cut(string(b.Get(keySecret)), "\n")
		signer, err := note.NewSigner(secret)
		if err != nil {
			return err
		}
		var tree frontier
		roots := map[uint64]Checkpoint{}
		for i, leaf := range a.entries {
			if leaf[0] == byte(entryCheckpoint) {
				c, err := ParseCheckpoint(leaf[1:], "")
				if err != nil {
					return err
				}
				c.Root = roots[c.Size].Root
				if c.Note, err = note.Sign(&note.Note{Text: c.text()}, signer); err != nil {
					return err
				}
				a.entries[i] = append([]byte{leaf[0]}, c.Note...)
				if err := b.Put(keyCheckpoint, c.Note); err != nil {
					return err
				}
			}
			e := entry{kind: entryKind(a.entries[i][0]), payload: a.entries[i][1:]}
			tree.grow(e.leafHash())
			roots[tree.size] = Checkpoint{Root: tree.root()}
		}
		return nil
	})
}

// find gives the position of the n-th entry of a kind.
func (a *attacked) find(kind entryKind, n int) uint64 {
	for i, leaf := range a.entries {
		if leaf[0] == byte(kind) {
			if n--; n == 0 {
				return uint64(i + 1)
			}
		}
	}
	a.t.Fatalf("no such entry")
	return 0
}

// falsify makes a statement say something else.
func (a *attacked) falsify(p uint64) {
	leaf := bytes.Replace(a.entries[p-1], []byte("INSERT INTO account"), []byte("INSERT INTO accounT"), 1)
	if bytes.Equal(leaf, a.entries[p-1]) {
		a.t.Fatal("nothing to falsify")
	}
	a.entries[p-1] = leaf
}

func TestAttackFlippedByte(t *testing.T) {
	a := writtenForAttack(t)
	p := a.find(entryOwn, 100)
	a.falsify(p)
	a.store(false)
	a.expect(AttackContent, p)
}

func TestAttackFlippedByteOfAnOutcome(t *testing.T) {
	a := writtenForAttack(t)
	p := a.find(entryOutcome, 100)
	for i, b := range a.entries[p-1] {
		if i > 1 && b == byte(OutcomeCommitted) {
			a.entries[p-1][i] = byte(OutcomeAborted)
		}
	}
	a.store(false)
	a.expect(AttackContent, p)
}

func TestAttackReorder(t *testing.T) {
	a := writtenForAttack(t)
	p, q := a.find(entryOwn, 50), a.find(entryOwn, 60)
	a.entries[p-1], a.entries[q-1] = a.entries[q-1], a.entries[p-1]
	a.store(false)
	a.expect(AttackOrder, p)
}

// TestAttackReorderWithTree: who also makes the tree anew is given away by the records' own chain.
func TestAttackReorderWithTree(t *testing.T) {
	a := writtenForAttack(t)
	p, q := a.find(entryOwn, 50), a.find(entryOwn, 51)
	a.entries[p-1], a.entries[q-1] = a.entries[q-1], a.entries[p-1]
	a.store(true)
	v := a.verify()
	found := map[Attack]bool{}
	for _, f := range v.Findings {
		found[f.Attack] = true
	}
	if !found[AttackOrder] || !found[AttackForged] {
		t.Errorf("found %+v", v.Findings)
	}
}

func TestAttackMiddleDelete(t *testing.T) {
	a := writtenForAttack(t)
	p := a.find(entryOwn, 80)
	a.entries = append(a.entries[:p-1:p-1], a.entries[p+3:]...)
	a.store(false)
	a.expect(AttackRemoved, p)
}

func TestAttackSegmentDeleted(t *testing.T) {
	a := writtenForAttack(t)
	second, _ := parseSegmentName(filepath.Base(a.paths()[1]))
	if err := os.Remove(a.paths()[1]); err != nil {
		t.Fatal(err)
	}
	a.expect(AttackRemoved, second)
}

// TestAttackForgedMiddle: both ends are consistent, the records' chain and the tree were made anew; the checkpoints inside
// are signed, and say between which of them it was done.
func TestAttackForgedMiddle(t *testing.T) {
	a := writtenForAttack(t)
	p := a.find(entryOwn, 150)
	a.falsify(p)
	a.rechain()
	a.store(true)
	v := a.verify()
	if len(v.Findings) == 0 || v.Findings[0].Attack != AttackForged || v.Findings[0].Position > p || p-v.Findings[0].Position > 200 {
		t.Errorf("found %+v, done at %d", v.Findings, p)
	}
	a.expect(AttackForged, 0, a.outside...)
}

// TestAttackForeignSignature: checkpoints made with another key are none.
func TestAttackForeignSignature(t *testing.T) {
	a := writtenForAttack(t)
	p := a.find(entryCheckpoint, 3)
	c, err := ParseCheckpoint(a.entries[p-1][1:], "")
	if err != nil {
		t.Fatal(err)
	}
	secret, _, err := note.GenerateKey(nil, originPrefix+c.Node.String())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: c.text()}, signer)
	if err != nil {
		t.Fatal(err)
	}
	a.entries[p-1] = append([]byte{byte(entryCheckpoint)}, signed...)
	a.store(true)
	v := a.verify()
	if len(v.Findings) != 2 || v.Findings[0].Attack != AttackForged || v.Findings[1].Attack != AttackContent || v.Findings[1].Position != p {
		t.Errorf("found %+v", v.Findings)
	}
}

// TestAttackRebuilt: with the node's key everything can be made anew, and only what others keep tells it.
func TestAttackRebuilt(t *testing.T) {
	a := writtenForAttack(t)
	a.falsify(a.find(entryOwn, 2))
	a.rechain()
	a.resign()
	a.store(true)
	if v := a.verify(); len(v.Findings) > 0 {
		t.Fatalf("it was not made well enough: %+v", v.Findings)
	}
	a.expect(AttackRebuilt, 1, a.outside...)
	a.expect(AttackRebuilt, 1, a.outside[0])
}

// TestAttackRebuiltFromSomewhere: a checkpoint from before the change still agrees.
func TestAttackRebuiltFromSomewhere(t *testing.T) {
	a := writtenForAttack(t)
	first, err := ParseCheckpoint(a.outside[0].Note, "")
	if err != nil {
		t.Fatal(err)
	}
	a.falsify(a.find(entryOwn, 250))
	a.rechain()
	a.resign()
	a.store(true)
	v := a.verify(a.outside...)
	if len(v.Findings) != 1 || v.Findings[0].Attack != AttackForged || v.Findings[0].Position < first.Size {
		t.Errorf("found %+v", v.Findings)
	}
}

func TestAttackTailCut(t *testing.T) {
	a := writtenForAttack(t)
	a.entries = a.entries[:len(a.entries)-10]
	a.store(false)
	a.expect(AttackTail, uint64(len(a.entries)+1))
	if _, err := Open(context.Background(), Options{Dir: a.dir, Node: "a"}); err == nil || !strings.Contains(err.Error(), "went back in time") {
		t.Errorf("open: %v", err)
	}
}

func TestAttackOlderCopy(t *testing.T) {
	a := writtenForAttack(t)
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(a.dir)); err != nil {
		t.Fatal(err)
	}
	size := uint64(len(a.entries))
	a.write(50)
	a.dir = old
	if v := a.verify(); len(v.Findings) > 0 {
		t.Fatalf("an older copy is whole in itself: %+v", v.Findings)
	}
	a.expect(AttackOlder, size+1, a.outside...)
}

// TestAttackAnotherJournal: the folder of a new node with the same name is another journal.
func TestAttackAnotherJournal(t *testing.T) {
	a, b := writtenForAttack(t), writtenForAttack(t)
	b.expect(AttackRebuilt, 1, a.outside...)
}

// TestEveryFlippedByteIsFound flips bytes all over the entries of a small journal.
func TestEveryFlippedByteIsFound(t *testing.T) {
	a := &attacked{t: t, dir: t.TempDir()}
	a.write(3)
	a.load()
	for p := range a.entries {
		for i := 0; i < len(a.entries[p]); i += 1 + len(a.entries[p])/12 {
			a.entries[p][i] ^= 0x10
			a.store(false)
			if v := a.verify(); !v.Tampered() || v.Findings[0].Position != uint64(p+1) {
				t.Fatalf("byte %d of entry %d: %+v", i, p+1, v.Findings)
			}
			a.entries[p][i] ^= 0x10
		}
	}
	a.store(false)
	if v := a.verify(); len(v.Findings) > 0 {
		t.Errorf("put right again: %+v", v.Findings)
	}
}
