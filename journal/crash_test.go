package journal_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgproxy/journal"
	"pgproxy/journal/journaltest"
)

// crashDir names the folder that a child process of this test binary writes to until it is killed.
const crashDir = "JOURNAL_CRASH_DIR"

// crashPoint and crashCount make the child kill itself the n-th time it comes to a point; without them the parent does.
const (
	crashPoint = "JOURNAL_CRASH_POINT"
	crashCount = "JOURNAL_CRASH_COUNT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := crashWriter(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// crashWriter writes for ever with several goroutines and says on standard output what was acknowledged, a line each:
// "sealed SEQ ROW", "committed SEQ", "aborted SEQ".
func crashWriter(dir string) error {
	n, _ := strconv.Atoi(os.Getenv(crashCount))
	var mu sync.Mutex
	j, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a", SegmentBytes: 128 << 10, CheckpointEvery: 30, Fault: func(p string) {
		mu.Lock()
		defer mu.Unlock()
		if p == os.Getenv(crashPoint) {
			if n--; n <= 0 {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		}
	}})
	if err != nil {
		return err
	}
	for _, in := range j.InDoubt() { // a resolver that finds them all aborted
		if err := in.Abort("found in doubt"); err != nil {
			return err
		}
	}
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	say("open %d", j.Identity().Incarnation)
	errs := make(chan error)
	for w := range 4 {
		go func() { errs <- crashWrites(j, w, say) }()
	}
	return <-errs
}

func crashWrites(j *journal.Journal, w int, say func(string, ...any)) error {
	for i := 0; ; i++ {
		row := w*1000000 + i
		tx := update(row, "ann")
		discard := func() {}
		if i%20 == 2 {
			w, err := collect(j, tx, row, 300)
			if err != nil {
				return err
			}
			discard = w.Discard
		}
		in, err := j.Seal(context.Background(), tx)
		if err != nil {
			return err
		}
		discard()
		say("sealed %d %d", in.ID().Seq, row)
		switch i % 5 {
		case 0:
			err = in.Abort("no")
			say("aborted %d", in.ID().Seq)
		case 1: // stays open: in doubt after the crash
		default:
			err = in.Commit()
			say("committed %d", in.ID().Seq)
		}
		if err != nil {
			return err
		}
		if err := j.Attempt(update(row, "failed"), journal.OutcomeAborted); err != nil {
			return err
		}
	}
}

// ledger is what the children said, over all lives of the journal.
type ledger struct {
	rows     map[uint64]int
	decided  map[uint64]string
	lastOpen uint64
}

// crash runs a child until it is killed, at a fault point or after so many lines.
func (l *ledger) crash(t *testing.T, dir, point string, n int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashDir+"="+dir, crashPoint+"="+point, crashCount+"="+strconv.Itoa(n))
	var stderr strings.Builder
	child.Stderr = &stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(30*time.Second, func() { child.Process.Kill() })
	defer guard.Stop()
	lines := 0
	for r := bufio.NewReader(out); ; {
		line, err := r.ReadString('\n')
		if err == io.EOF {
			break // a line without its end was not said
		}
		l.note(t, line)
		if lines++; point == "" && lines == n {
			child.Process.Kill()
		}
	}
	err = child.Wait()
	if status, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("child: %v\n%s", err, stderr.String())
	}
}

func (l *ledger) note(t *testing.T, line string) {
	t.Helper()
	var word string
	var a uint64
	var b int
	fmt.Sscan(line, &word, &a, &b)
	switch word {
	case "open":
		if a <= l.lastOpen {
			t.Errorf("incarnation %d after %d", a, l.lastOpen)
		}
		l.lastOpen = a
	case "sealed":
		if _, twice := l.rows[a]; twice {
			t.Errorf("sequence %d was issued twice", a)
		}
		l.rows[a] = b
	default:
		l.decided[a] = word
	}
}

// check opens the journal after a crash: all that was acknowledged is there, and nothing else is taken for committed.
func (l *ledger) check(t *testing.T, dir string) {
	t.Helper()
	journaltest.Check(t, dir)
	j, err := journal.Open(context.Background(), journal.Options{Dir: dir, Node: "a", SegmentBytes: 128 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	node := j.Identity().Node
	l.lastOpen = j.Identity().Incarnation
	doubt := map[uint64]bool{}
	for _, in := range j.InDoubt() {
		doubt[in.ID().Seq] = true
	}
	for seq, row := range l.rows {
		it, err := j.Get(journal.ID{Origin: node, Seq: seq})
		if err != nil {
			t.Errorf("record %d was acknowledged: %v", seq, err)
			continue
		}
		if got := it.Record.Tx.Statements[0].Params[0].Value.Data; got != fmt.Sprint(row) {
			t.Errorf("record %d is of row %s, not %d", seq, got, row)
		}
		l.outcome(t, it, doubt[seq])
	}
	for seq := range doubt {
		if it, err := j.Get(journal.ID{Origin: node, Seq: seq}); err != nil || it.Outcome != journal.OutcomeUnknown {
			t.Errorf("in doubt: %d: %+v, %v", seq, it.Outcome, err)
		}
	}
	if peer := journaltest.Open(t, journal.Options{Node: "b", NoSync: true}); len(doubt) == 0 {
		pull(t, peer, j)
	}
}

// outcome compares: what was decided is either so, or not known any more (it is in doubt); nothing else is committed.
func (l *ledger) outcome(t *testing.T, it journal.Item, doubt bool) {
	t.Helper()
	said := l.decided[it.Record.Seq]
	switch it.Outcome {
	case journal.OutcomeCommitted:
		if said != "committed" && it.Record.Tx.Statements[0].Params[0].Value.Data != "" && said != "" {
			t.Errorf("record %d is committed, was %q", it.Record.Seq, said)
		}
		if said == "" && !l.mayCommit(it) {
			t.Errorf("record %d is committed; nobody said so", it.Record.Seq)
		}
	case journal.OutcomeAborted:
		if said == "committed" && it.Reason != "found in doubt" {
			t.Errorf("record %d was committed, and is aborted: %s", it.Record.Seq, it.Reason)
		}
	case journal.OutcomeUnknown:
		if !doubt {
			t.Errorf("record %d has no outcome and is not in doubt", it.Record.Seq)
		}
	}
}

// mayCommit reports whether the child may have committed the record without coming to say so.
func (l *ledger) mayCommit(it journal.Item) bool {
	return l.rows[it.Record.Seq]%1000000%5 > 1
}

// TestKilledAnywhere kills a writing process at random moments and at every fault point, and opens what it left, again and
// again the same journal.
func TestKilledAnywhere(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	points := []string{"journal.gate", "journal.append", "journal.appended", "journal.outcome", "journal.roll", "journal.created", "journal.seal", "journal.sign", "journal.images"}
	dir := t.TempDir()
	l := &ledger{rows: map[uint64]int{}, decided: map[uint64]string{}}
	for round := range rounds {
		if round < len(points) {
			n := 1 + rnd.IntN(50)
			if round >= 4 {
				n = 1 + rnd.IntN(3) // rare ones
			}
			l.crash(t, dir, points[round], n)
		} else {
			l.crash(t, dir, "", 1+rnd.IntN(600))
		}
		l.check(t, dir)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	t.Logf("%d records were acknowledged", len(l.rows))
}

// TestKilledWhileMade kills a process that makes its first journal.
func TestKilledWhileMade(t *testing.T) {
	dir := t.TempDir()
	l := &ledger{rows: map[uint64]int{}, decided: map[uint64]string{}}
	l.crash(t, dir, "journal.created", 1)
	l.check(t, dir)
}
