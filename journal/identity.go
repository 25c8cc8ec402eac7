package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"

	"pgproxy/journal/hlc"

	bolt "go.etcd.io/bbolt"
)

// Identity says who this node is.
type Identity struct {
	Node        NodeID
	Name        string
	Incarnation uint64 // this start
	Cluster     NodeID // zero until founded or admitted
	Number      uint32 // node number; valid once Cluster is set
	Journal     NodeID // made with the journal: tells a new journal from the old one of the same node
	Key         string // public key of its checkpoints, as golang.org/x/mod/sumdb/note writes it
}

// reached is what the segments must hold at least: noted at every start and with every new segment, so that files which
// were taken away, or put back from an older copy, are missed.
type reached struct {
	segment uint64 // first position of the last segment
	seq     uint64 // own records
}

// Names inside the identity file. They are part of the format.
var (
	bucketIdentity = []byte("identity")
	keyIdentity    = []byte("identity")
	keyHighWater   = []byte("hlc")
	keySecret      = []byte("key")        // private and public key of checkpoints, a line each
	keyCheckpoint  = []byte("checkpoint") // the newest own one, signed
	bucketWitness  = []byte("witness")    // node id -> what is known of its journal
)

// identityStore is the small file beside the segments: what must survive any of them.
type identityStore struct {
	path string
	db   *bolt.DB

	secret string // private key of checkpoints; never changes

	mu        sync.Mutex
	id        Identity
	reached   reached
	newest    Checkpoint // the newest own one; zero if there is none
	witnesses map[NodeID]Witness
}

// openIdentity opens the identity file, or makes it for a new node.
func openIdentity(dir string, o Options) (*identityStore, error) {
	path := filepath.Join(dir, identityFile)
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return createIdentity(dir, path, o)
	case err != nil:
		return nil, fmt.Errorf("open identity: %w", err)
	}
	if err := checkPages(path); err != nil {
		return nil, lostIdentity(err)
	}
	db, err := bolt.Open(path, fileMode, boltOptions(0, o.NoSync))
	if err != nil {
		return nil, openError(path, err)
	}
	s := &identityStore{path: path, db: db}
	if err := s.load(); err != nil {
		return nil, errors.Join(lostIdentity(err), db.Close())
	}
	if s.secret == "" {
		if err := s.makeKey(o); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return s, nil
}

func lostIdentity(err error) error {
	return fmt.Errorf("open identity: %w\nthe node's identity is lost, its records are not: put %s back from a backup, or move the "+
		"whole data folder away to start as a new node, which gets all records again from its peers", err, identityFile)
}

// createIdentity makes a node. There must be no journal yet: segments without an identity are a loss, not a new start.
func createIdentity(dir, path string, o Options) (*identityStore, error) {
	paths, err := segmentPaths(filepath.Join(dir, segmentsFolder))
	if err != nil {
		return nil, err
	}
	if len(paths) > 0 {
		return nil, lostIdentity(fmt.Errorf("%s: %w: the file is missing, but there are %d segments", path, ErrDamaged, len(paths)))
	}
	s := &identityStore{path: path, id: Identity{Name: o.Node}}
	if err := errors.Join(o.random(s.id.Node[:]), o.random(s.id.Journal[:])); err != nil {
		return nil, fmt.Errorf("make identity: %w", err)
	}
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("make identity: %w", err)
	}
	if s.db, err = bolt.Open(temp, fileMode, boltOptions(0, o.NoSync)); err != nil {
		return nil, fmt.Errorf("make identity: %w", err)
	}
	if err := errors.Join(s.save(s.id, s.reached), s.makeKey(o), s.db.Close()); err != nil {
		return nil, fmt.Errorf("make identity: %w", err)
	}
	if err := errors.Join(os.Rename(temp, path), syncFolder(dir)); err != nil {
		return nil, fmt.Errorf("make identity: %w", err)
	}
	if s.db, err = bolt.Open(path, fileMode, boltOptions(0, o.NoSync)); err != nil {
		return nil, openError(path, err)
	}
	return s, nil
}

// save makes what it is given durable.
func (s *identityStore) save(id Identity, r reached) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucketIdentity)
		if err != nil {
			return err
		}
		return b.Put(keyIdentity, encodeIdentity(id, r))
	})
}

func (s *identityStore) load() error {
	return guard(s.path, func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucketIdentity)
			if b == nil {
				return fmt.Errorf("%s: %w: it is empty", s.path, ErrDamaged)
			}
			var err error
			if s.id, s.reached, err = decodeIdentity(b.Get(keyIdentity)); err != nil {
				return fmt.Errorf("%s: %w: %w", s.path, ErrDamaged, err)
			}
			if err := s.loadProof(b, tx.Bucket(bucketWitness)); err != nil {
				return fmt.Errorf("%s: %w: %w", s.path, ErrDamaged, err)
			}
			return nil
		})
	})
}

// change makes a change of the identity durable and then visible.
func (s *identityStore) change(f func(*Identity)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.id
	f(&id)
	if err := s.save(id, s.reached); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	s.id = id
	return nil
}

// reach notes durably how far the segments go.
func (s *identityStore) reach(r reached) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.save(s.id, r); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	s.reached = r
	return nil
}

// missing says what the segments should hold and do not; nil if they are whole.
func (r reached) missing(segments []*segment, seq uint64) error {
	switch {
	case r.segment > 0 && len(segments) == 0:
		return fmt.Errorf("%w: all segments are missing", ErrDamaged)
	case r.segment > 0 && segments[len(segments)-1].first < r.segment:
		return fmt.Errorf("%w: segment %s is missing, or one after it", ErrDamaged, segmentName(r.segment))
	case seq < r.seq:
		return fmt.Errorf("%w: it went back in time: it ends with own record %d and has held %d", ErrDamaged, seq, r.seq)
	}
	return nil
}

func (s *identityStore) get() Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// saveHighWater makes a time durable that the clock will not pass without saying so again.
func (s *identityStore) saveHighWater(t hlc.Time) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketIdentity).Put(keyHighWater, positionKey(uint64(t)))
	})
}

func (s *identityStore) highWater() (t hlc.Time, err error) {
	err = guard(s.path, func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			if v := tx.Bucket(bucketIdentity).Get(keyHighWater); len(v) == 8 {
				t = hlc.Time(binary.BigEndian.Uint64(v))
			}
			return nil
		})
	})
	return t, err
}

func encodeIdentity(id Identity, r reached) []byte {
	e := encoder{}
	e.byte(formatVersion)
	e.node(id.Node)
	e.node(id.Journal)
	e.string(id.Name)
	e.uint(id.Incarnation)
	e.node(id.Cluster)
	e.uint(uint64(id.Number))
	e.uint(r.segment)
	e.uint(r.seq)
	return binary.BigEndian.AppendUint32(e.b, crc32.Checksum(e.b, castagnoli))
}

func decodeIdentity(b []byte) (Identity, reached, error) {
	if len(b) < 4 || crc32.Checksum(b[:len(b)-4], castagnoli) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return Identity{}, reached{}, fmt.Errorf("identity: %w", errMalformed)
	}
	d := decoder{s: string(b[:len(b)-4])}
	if v := d.byte(); v != formatVersion {
		return Identity{}, reached{}, fmt.Errorf("identity format %d, this program reads %d: %w", v, formatVersion, errMalformed)
	}
	id := Identity{Node: d.node(), Journal: d.node(), Name: d.string(), Incarnation: d.uint(), Cluster: d.node(), Number: d.uint32()}
	r := reached{segment: d.uint(), seq: d.uint()}
	return id, r, d.end()
}
