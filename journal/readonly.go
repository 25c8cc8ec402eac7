package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// ReadOnly reads the journal of a node that is not running. It changes nothing.
type ReadOnly struct {
	shelf
	lock     *os.File
	identity *identityStore // closed: only what was read
}

// OpenReadOnly opens the journal of a node that is not running: ErrLocked if it is. While it is open, the node cannot
// start.
func OpenReadOnly(dir string) (*ReadOnly, error) {
	path := filepath.Join(dir, identityFile)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open journal: no journal in %s: %w", dir, err)
	}
	lock, err := lockFolder(dir, false)
	if err != nil {
		return nil, err
	}
	r := &ReadOnly{lock: lock}
	if err := r.open(dir, path); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *ReadOnly) open(dir, path string) error {
	id, err := readIdentity(path)
	if err != nil {
		return err
	}
	r.identity = id
	r.shelf = newShelf(id.id, dir, DefaultCacheBytes)
	if err := r.openSegments(context.Background(), false, filepath.Join(dir, segmentsFolder), 0, false); err != nil {
		return err
	}
	if err := id.missing(&r.shelf); err != nil {
		return goneSegment(err)
	}
	r.published = r.durable.tails[r.self].seq
	for seq := range r.durable.open {
		r.undecided[seq] = nil
		r.published = min(r.published, seq-1)
	}
	for _, g := range r.segments {
		r.bytes += g.bytes.Load()
	}
	return r.images.measure()
}

// readIdentity reads the identity file without changing it, and closes it again.
func readIdentity(path string) (*identityStore, error) {
	if err := checkPages(path); err != nil {
		return nil, lostIdentity(err)
	}
	o := boltOptions(0, false)
	o.ReadOnly = true
	db, err := bolt.Open(path, fileMode, o)
	if err != nil {
		return nil, openError(path, err)
	}
	s := &identityStore{path: path, db: db}
	if err := errors.Join(s.load(), db.Close()); err != nil {
		return nil, lostIdentity(err)
	}
	return s, nil
}

// Identity says whose journal it is. Its incarnation is that of the last start.
func (r *ReadOnly) Identity() Identity { return r.identity.id }

// Checkpoint gives the newest signed checkpoint; its Note is empty if there is none.
func (r *ReadOnly) Checkpoint() Checkpoint { return r.identity.newest }

// Close gives the journal free.
func (r *ReadOnly) Close() error {
	return errors.Join(r.closeSegments(), r.lock.Close())
}
