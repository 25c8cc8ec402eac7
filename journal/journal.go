package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"pgproxy/journal/hlc"
)

// Journal is the open journal of a running node. All methods are safe for concurrent use.
type Journal struct {
	shelf
	o        Options
	lock     *os.File
	identity *identityStore
	clock    *hlc.Clock
	queue    *queue
	signer   *signer
	pruning  sync.Mutex // one Prune at a time
	watchers watchers
	stats    meters

	stopped  chan struct{} // closed when the committer has ended
	sealings sync.WaitGroup
	maxBytes atomic.Int64
	failed   atomic.Pointer[error] // set once, for good
	closing  atomic.Bool
	reserve  bool // the reserve file is there; the committer's alone

	// gate guards what follows. It is taken before shelf.mu, and nothing is waited for under it.
	gate sync.Mutex
	// tails are the last records of each origin, those that wait in the queue included.
	tails   map[NodeID]tail
	pending map[rowHash][]rowRef  // rows of records in the queue, in global order
	large   map[[32]byte]largeRef // images of entries in the queue
	verdict map[conflictKey]bool  // conflicts in the queue
	applied appliedSet
	marks   marks
	round   round
}

// Open opens the journal of a node, or makes it if the folder holds none. It refuses a folder that another process uses
// (ErrLocked), that belongs to a node of another name (ErrOtherNode), or whose files do not add up (ErrDamaged).
// Every Open is a new incarnation.
func Open(ctx context.Context, o Options) (*Journal, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := makeFolders(o.Dir); err != nil {
		return nil, err
	}
	lock, err := lockFolder(o.Dir, true)
	if err != nil {
		return nil, err
	}
	j := &Journal{o: o, lock: lock, stopped: make(chan struct{})}
	if err := j.open(ctx); err != nil {
		return nil, errors.Join(err, j.release())
	}
	go j.commitAll()
	go j.signAll()
	j.sealOld()
	return j, nil
}

// release closes the files.
func (j *Journal) release() error {
	errs := []error{j.closeSegments()}
	if j.identity != nil && j.identity.db != nil {
		errs = append(errs, j.identity.db.Close())
	}
	return errors.Join(append(errs, j.lock.Close())...)
}

// Close writes what waits, and closes the journal. It may be called again.
func (j *Journal) Close() error {
	if j.closing.Swap(true) {
		<-j.stopped
		return nil
	}
	j.signLast()
	j.queue.close()
	<-j.stopped
	j.sealings.Wait()
	j.rest()
	err := j.clock.Release()
	if f := j.failed.Load(); f != nil {
		err = nil // the failure was told to everybody who waited
	}
	j.watchers.close()
	return errors.Join(err, j.release())
}

// usable gives the reason why nothing can be written any more; nil if it can.
func (j *Journal) usable() error {
	if f := j.failed.Load(); f != nil {
		return *f
	}
	if j.closing.Load() {
		return ErrClosed
	}
	return nil
}

// Identity says who this node is.
func (j *Journal) Identity() Identity { return j.identity.get() }

// Clock gives the node's clock.
func (j *Journal) Clock() *hlc.Clock { return j.clock }

// Err gives ErrFailed with its cause once the journal has failed, else nil.
func (j *Journal) Err() error {
	if f := j.failed.Load(); f != nil {
		return *f
	}
	return nil
}

// SetCluster keeps the cluster that this node founded or was admitted to, and the node's number in it. Zero dissolves.
func (j *Journal) SetCluster(cluster NodeID, number uint32) error {
	return j.identity.change(func(id *Identity) { id.Cluster, id.Number = cluster, number })
}

// SetMaxBytes changes the disk budget.
func (j *Journal) SetMaxBytes(n int64) { j.maxBytes.Store(n) }

// room refuses what would go past the disk budget. A sixteenth of it, at most a MiB, is kept for outcomes.
func (j *Journal) room(n int64) error {
	limit := j.maxBytes.Load()
	if limit <= 0 {
		return nil
	}
	j.mu.RLock()
	used := j.bytes
	j.mu.RUnlock()
	used += j.queue.size() + j.images.bytes.Load()
	if used+n > limit-min(limit/16, reserveBytes) {
		return fmt.Errorf("%w: %d of %d bytes are used", ErrFull, used, limit)
	}
	return nil
}

func (j *Journal) segmentsDir() string { return filepath.Join(j.o.Dir, segmentsFolder) }
