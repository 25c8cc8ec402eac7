package parser

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestCacheIsBounded: whatever comes, the bytes stay within the limit, and what is used often stays.
func TestCacheIsBounded(t *testing.T) {
	const limit = 1 << 20
	p := New(Options{CacheBytes: limit})
	hot := p.Parse("CREATE TABLE hot (a int)")
	for i := range 20_000 {
		p.Parse(fmt.Sprintf("CREATE TABLE t%d (a int)", i))
		p.Parse(fmt.Sprintf("SELECT a%d FROM t", i))
		if i%10 == 0 && p.Parse("CREATE TABLE hot (a int)") != hot {
			t.Fatal("a text that is used all the time was dropped")
		}
		if n := p.texts.size() + p.shapes.size(); n > limit {
			t.Fatalf("%d bytes", n)
		}
	}
	if p.texts.size() < limit/3 {
		t.Errorf("the cache holds %d bytes only", p.texts.size())
	}
}

// TestOneTimeTextsAreNotKept: a text with inlined values is kept only when it comes again.
func TestOneTimeTextsAreNotKept(t *testing.T) {
	p := New(Options{})
	p.Parse("SELECT 0")
	before := p.texts.size()
	for i := range 1000 {
		p.Parse(fmt.Sprintf("SELECT %d", i+100_000))
	}
	if after := p.texts.size(); after != before {
		t.Errorf("%d bytes before, %d after", before, after)
	}
	again := p.Parse("SELECT 100999")
	if p.Parse("SELECT 100999") != again {
		t.Error("a text that came again was not kept")
	}
}

func TestGiantsAreNotKept(t *testing.T) {
	p := New(Options{})
	text := "CREATE TABLE t (a int DEFAULT " + strings.Repeat("'x',", maxCached/4) + "1)"
	p.Parse(text)
	p.Parse(text)
	if n := p.texts.size(); n != 0 {
		t.Errorf("%d bytes", n)
	}
}

// TestParseIsSafeForConcurrentUse is for the race detector.
func TestParseIsSafeForConcurrentUse(t *testing.T) {
	p := New(Options{CacheBytes: 64 << 10})
	texts := append(corpus(t), shapes...)
	var want []string
	for _, text := range texts {
		want = append(want, describe(p.Parse(text)))
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range texts {
				j := (i*7 + g*13) % len(texts)
				if got := describe(p.Parse(texts[j])); got != want[j] {
					t.Errorf("%q:\n%s", texts[j], got)
				}
			}
		})
	}
	wg.Wait()
}

// TestNoAllocationOnAHit holds the promise of the hot path.
func TestNoAllocationOnAHit(t *testing.T) {
	p := New(Options{})
	p.Parse(orm)
	p.Parse(orm)
	if n := testing.AllocsPerRun(100, func() { p.Parse(orm) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestTextsAreSlices: a statement's text is the script's own, at its offset.
func TestTextsAreSlices(t *testing.T) {
	p := New(Options{})
	for _, text := range append(append(corpus(t), shapes...), secretTexts...) {
		for _, st := range p.Parse(text).Statements {
			if text[st.Offset:st.Offset+len(st.Text)] != st.Text {
				t.Errorf("%q: %q is not at %d", text, st.Text, st.Offset)
			}
			if st.SpliceAt > len(st.Text) || (st.SpliceAt >= 0) != (st.Class == ClassWrite && st.Command != "SELECT") {
				t.Errorf("%q: splice at %d", text, st.SpliceAt)
			}
		}
	}
}

// TestSplicedTextIsRead: what is spliced where the statement says is part of it.
func TestSplicedTextIsRead(t *testing.T) {
	p := New(Options{})
	for _, text := range append(corpus(t), shapes...) {
		for _, st := range p.Parse(text).Statements {
			checkSplices(t, p, st)
		}
	}
}

// checkSplices splices into the statement's own verb and into its WITH members.
func checkSplices(t *testing.T, p *Parser, st *Statement) {
	t.Helper()
	checkMembers(t, p, st)
	if st.SpliceAt < 0 || st.OldAlias != "" || st.NewAlias != "" {
		return
	}
	add := " RETURNING spliced_here"
	if st.Returning {
		add = ", spliced_here"
	}
	again := p.Parse(st.Text[:st.SpliceAt] + add + st.Text[st.SpliceAt:])
	if again.Unread != nil || len(again.Statements) != 1 || !again.Statements[0].Returning {
		t.Errorf("%q with %q at %d: %v", st.Text, add, st.SpliceAt, again.Unread)
	}
}

// checkMembers splices into each WITH member, and a new member before the own verb.
func checkMembers(t *testing.T, p *Parser, st *Statement) {
	t.Helper()
	for i, target := range st.Targets {
		if target.SpliceAt < 0 {
			continue
		}
		add := " RETURNING spliced_here"
		if target.Returning {
			add = ", spliced_here"
		}
		again := p.Parse(st.Text[:target.SpliceAt] + add + st.Text[target.SpliceAt:])
		if again.Unread != nil || !again.Statements[0].Targets[i].Returning {
			t.Errorf("%q with %q at %d: %v", st.Text, add, target.SpliceAt, again.Unread)
		}
	}
	if st.MainAt >= 0 {
		again := p.Parse(st.Text[:st.MainAt] + ", added AS (DELETE FROM added) " + st.Text[st.MainAt:])
		if again.Unread != nil || len(again.Statements[0].Targets) != len(st.Targets)+1 {
			t.Errorf("%q with a member at %d: %v", st.Text, st.MainAt, again.Unread)
		}
	}
}
