package journal_test

import (
	"bytes"
	"context"
	"testing"

	"pgproxy/journal"
	"pgproxy/journal/journaltest"
)

// TestProof: every entry can be proven without the journal, and nothing else passes.
func TestProof(t *testing.T) {
	j := journaltest.Open(t, journal.Options{Node: "a", NoSync: true})
	for i := range 20 {
		commit(t, j, update(i, "ann"))
	}
	c, err := j.Sign(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	key := j.Identity().Key
	for p := uint64(1); p <= c.Size; p++ {
		b, err := j.Prove(p, c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := journal.CheckProof(b, key)
		if err != nil || got.Position != p || got.Checkpoint.Size != c.Size {
			t.Fatalf("entry %d: %+v, %v", p, got, err)
		}
		if p > 2 {
			continue
		}
		for i := range b {
			bad := bytes.Clone(b)
			bad[i] ^= 1
			if got, err := journal.CheckProof(bad, key); err == nil && !(bytes.Equal(got.Leaf, leafOf(t, j, p)) && got.Position == p) {
				t.Fatalf("entry %d, byte %d is changed and the proof passes", p, i)
			}
		}
	}
	if _, err := j.Prove(c.Size+1, c); err == nil {
		t.Error("an entry behind the checkpoint is proven")
	}
}

func leafOf(t *testing.T, j *journal.Journal, p uint64) []byte {
	t.Helper()
	leaf, err := j.Leaf(p)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func FuzzCheckProof(f *testing.F) {
	f.Add([]byte("c2sp.org/tlog-proof@v1\nextra SQ==\nindex 0\n\npgproxy.journal/000000000000000000000000000000ff\n1\nRcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=\ntime 2026-11-25T15:04:05Z\nnode a\n\n— x AAAAAAAA\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := journal.CheckProof(b, ""); err == nil && p.Position > p.Checkpoint.Size {
			t.Error("an entry past the end")
		}
	})
}
