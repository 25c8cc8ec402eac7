package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// signer makes this node's checkpoints: one goroutine, woken by the committer, by time, or by whoever asks for one.
type signer struct {
	due  chan struct{} // 1-slot: enough entries have come
	ask  chan chan error
	stop chan struct{}
	done chan struct{}

	// Guarded by shelf.mu.
	unsigned uint64 // durable entries since the newest checkpoint, without checkpoints themselves
}

func newSigner() *signer {
	return &signer{due: make(chan struct{}, 1), ask: make(chan chan error), stop: make(chan struct{}), done: make(chan struct{})}
}

// signAll is the signer's goroutine. A checkpoint that could not be made durable is tried again when the next one is due.
func (j *Journal) signAll() {
	s := j.signer
	defer close(s.done)
	for {
		var answer chan error
		select {
		case <-s.stop:
			return
		case answer = <-s.ask:
		case <-s.due:
		case <-j.afterCheckpoint():
		}
		err := j.sign(answer != nil)
		if answer != nil {
			answer <- err
		} else if err != nil {
			j.o.Logger.Warn("checkpoint of the journal could not be made: what is new is not signed yet", "error", err)
		}
	}
}

// startSigner prepares the signer. What was not signed when the journal was closed last waits for a signature.
func (j *Journal) startSigner() {
	j.signer = newSigner()
	size, signed := j.durable.tree.size, j.identity.checkpoint()
	if size > signed.Size && !(len(signed.Note) > 0 && size == signed.Size+1) { // that one is the checkpoint itself
		j.signer.unsigned = size - signed.Size
	}
}

// afterCheckpoint fires when it is time for a checkpoint.
func (j *Journal) afterCheckpoint() <-chan time.Time {
	if j.o.CheckpointDelay < 0 || j.o.CheckpointEvery < 0 {
		return nil
	}
	return j.o.After(j.o.CheckpointDelay)
}

// sign makes a checkpoint of what is durable, keeps it beside the journal, and then puts it into the journal too. It does
// nothing if nothing has come since the newest one, unless there is none yet and one is asked for.
func (j *Journal) sign(asked bool) error {
	if err := j.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	c := Checkpoint{Node: j.self, Name: j.name, Size: j.durable.tree.size, Root: j.durable.tree.root(), Time: j.o.Now()}
	unsigned := j.signer.unsigned
	j.mu.Unlock()
	if unsigned == 0 && !(asked && len(j.identity.checkpoint().Note) == 0) {
		return nil
	}
	signed, err := j.identity.sign(&c)
	if err != nil {
		return fmt.Errorf("sign checkpoint: %w", err)
	}
	c.Note = signed
	if err := j.identity.saveCheckpoint(c); err != nil {
		return fmt.Errorf("keep checkpoint: %w", err)
	}
	j.o.Fault("journal.sign")
	j.mu.Lock()
	j.signer.unsigned -= unsigned
	j.mu.Unlock()
	if !j.queue.add(newTicket(false, checkpointEntry(signed))) {
		return ErrClosed
	}
	j.watchers.notify()
	return nil
}

// countUnsigned adds to what waits for a signature. The caller holds shelf.mu.
func (j *Journal) countUnsigned(e *entry) {
	if e.kind == entryCheckpoint {
		return
	}
	if j.signer.unsigned++; j.o.CheckpointEvery > 0 && j.signer.unsigned >= uint64(j.o.CheckpointEvery) {
		select {
		case j.signer.due <- struct{}{}:
		default:
		}
	}
}

// Checkpoint gives the newest signed checkpoint; its Note is empty if there is none yet.
func (j *Journal) Checkpoint() Checkpoint { return j.identity.checkpoint() }

// Sign makes a checkpoint of all that is durable now, unless there is one already, and gives the newest.
func (j *Journal) Sign(ctx context.Context) (Checkpoint, error) {
	answer := make(chan error, 1)
	select {
	case j.signer.ask <- answer:
	case <-j.signer.done:
		return Checkpoint{}, ErrClosed
	case <-ctx.Done():
		return Checkpoint{}, context.Cause(ctx)
	}
	if err := <-answer; err != nil {
		return Checkpoint{}, err
	}
	return j.Checkpoint(), nil
}

// signLast ends the signer, and signs what is durable at the end.
func (j *Journal) signLast() {
	close(j.signer.stop)
	<-j.signer.done
	if j.o.CheckpointEvery < 0 {
		return
	}
	t := newTicket(true)
	if !j.queue.add(t) {
		return
	}
	select {
	case <-t.done:
	case <-j.stopped:
		return
	}
	if err := j.sign(false); err != nil && !errors.Is(err, ErrClosed) {
		j.o.Logger.Warn("last checkpoint of the journal could not be made: what came since the one before is not signed yet", "error", err)
	}
}

// sign signs a checkpoint with the node's key.
func (s *identityStore) sign(c *Checkpoint) ([]byte, error) {
	signer, err := note.NewSigner(s.secret)
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: c.text()}, signer)
}
