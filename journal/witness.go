package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	bolt "go.etcd.io/bbolt"
)

// Witness is what this node keeps of another node's journal, so that the other one cannot change its past unnoticed.
type Witness struct {
	Key     string // the node's public key, pinned when it was first met
	Note    []byte // its newest checkpoint that was found consistent with all before it; empty: none yet
	Holds   uint64 // size of the newest checkpoint of this node's journal that the other one has said to hold
	Refused string // why its records are not taken any more; empty: they are
	Against []byte // the checkpoint that contradicts Note, if that is why
	Since   time.Time
}

// Witness gives what is known of a node's journal; zero if nothing is.
func (j *Journal) Witness(n NodeID) Witness {
	j.identity.mu.Lock()
	defer j.identity.mu.Unlock()
	return j.identity.witnesses[n]
}

// Witnesses gives what is known of all nodes' journals.
func (j *Journal) Witnesses() map[NodeID]Witness {
	j.identity.mu.Lock()
	defer j.identity.mu.Unlock()
	return maps.Clone(j.identity.witnesses)
}

// ChangeWitness changes durably what is known of a node's journal. change is called once, and must not call the journal.
func (j *Journal) ChangeWitness(n NodeID, change func(w *Witness)) error {
	s := j.identity
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.witnesses[n]
	change(&w)
	err := s.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucketWitness)
		if err != nil {
			return err
		}
		return b.Put(n[:], encodeWitness(&w))
	})
	if err != nil {
		return fmt.Errorf("keep checkpoint of node %s: %w", n, err)
	}
	s.witnesses[n] = w
	return nil
}

func encodeWitness(w *Witness) []byte {
	e := encoder{}
	e.byte(formatVersion)
	e.string(w.Key)
	e.string(string(w.Note))
	e.uint(w.Holds)
	e.string(w.Refused)
	e.string(string(w.Against))
	e.time(w.Since)
	return binary.BigEndian.AppendUint32(e.b, crc32.Checksum(e.b, castagnoli))
}

func decodeWitness(b []byte) (w Witness, err error) {
	if len(b) < 4 || crc32.Checksum(b[:len(b)-4], castagnoli) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return w, fmt.Errorf("witness: %w", errMalformed)
	}
	d := decoder{s: string(b[:len(b)-4])}
	if v := d.byte(); v != formatVersion {
		return w, fmt.Errorf("witness format %d, this program reads %d: %w", v, formatVersion, errMalformed)
	}
	w = Witness{Key: d.string(), Note: []byte(d.string()), Holds: d.uint(), Refused: d.string(), Against: []byte(d.string()), Since: d.time()}
	return w, d.end()
}

// makeKey makes the key pair of a node's checkpoints.
func (s *identityStore) makeKey(o Options) error {
	secret, public, err := note.GenerateKey(o.Rand, originPrefix+s.id.Node.String())
	if err != nil {
		return fmt.Errorf("make key of checkpoints: %w", err)
	}
	err = s.db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketIdentity).Put(keySecret, []byte(secret+"\n"+public))
	})
	if err != nil {
		return fmt.Errorf("keep key of checkpoints: %w", err)
	}
	s.secret, s.id.Key = secret, public
	s.witnesses = map[NodeID]Witness{}
	return nil
}

// loadProof reads the key, the newest own checkpoint, and what is known of other nodes' journals. witness may be nil.
func (s *identityStore) loadProof(identity, witness *bolt.Bucket) error {
	s.secret, s.id.Key, _ = strings.Cut(string(identity.Get(keySecret)), "\n")
	s.witnesses = map[NodeID]Witness{}
	if signed := identity.Get(keyCheckpoint); signed != nil {
		c, err := ParseCheckpoint([]byte(string(signed)), s.id.Key)
		if err != nil {
			return fmt.Errorf("newest checkpoint: %w", err)
		}
		s.newest = c
	}
	if witness == nil {
		return nil
	}
	return witness.ForEach(func(k, v []byte) error {
		var n NodeID
		if copy(n[:], k) != len(n) || len(k) != len(n) {
			return fmt.Errorf("witness: %w", errMalformed)
		}
		w, err := decodeWitness(v)
		s.witnesses[n] = w
		return err
	})
}

func (s *identityStore) checkpoint() Checkpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

// saveCheckpoint makes the newest own checkpoint durable.
func (s *identityStore) saveCheckpoint(c Checkpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketIdentity).Put(keyCheckpoint, c.Note) })
	if err == nil {
		s.newest = c
	}
	return err
}

// missing says what the segments should hold and do not; nil if they are whole.
func (s *identityStore) missing(shelf *shelf) error {
	if err := s.reached.missing(shelf.segments, shelf.durable.tails[shelf.self].seq); err != nil {
		return err
	}
	if err := shelf.missingBefore(); err != nil {
		return err
	}
	if n := s.newest; n.Size > shelf.durable.tree.size {
		return fmt.Errorf("%w: it went back in time: it ends with entry %d, and this node has signed a checkpoint of %d entries at %s",
			ErrDamaged, shelf.durable.tree.size, n.Size, n.Time.UTC().Format(time.RFC3339))
	}
	return nil
}
