package journal

import (
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"time"
)

// Defaults of Options.
const (
	DefaultSegmentBytes = 64 << 20
	DefaultFlushDelay   = 5 * time.Millisecond
	DefaultCacheBytes   = 16 << 20

	DefaultCheckpointEvery = 4096
	DefaultCheckpointDelay = time.Minute
)

// minSegmentBytes keeps a segment from being mostly overhead.
const minSegmentBytes = 64 << 10

// Options open a journal. Dir and Node are required.
type Options struct {
	// Dir is the data folder of the node. The journal lives in it as the file "identity.db" and the folder "segments".
	Dir string
	// Node is the node's name. A folder with the journal of another name is refused.
	Node string
	// Now is the wall clock; nil is time.Now.
	Now func() time.Time
	// Rand makes identities; nil is crypto/rand.
	Rand interface{ Read([]byte) (int, error) }
	// After is the timer that bounds how long outcomes wait for company before they are flushed; nil is time.After.
	After func(time.Duration) <-chan time.Time
	// SegmentBytes is the size at which a segment is closed and the next one begun; 0 is DefaultSegmentBytes.
	SegmentBytes int64
	// MaxBytes is the disk budget; 0 is none. Past it Seal and Store fail with ErrFull.
	MaxBytes int64
	// NoSync gives up durability: a power cut may lose what was acknowledged, and damage the journal. For tests and for
	// measuring what the sync costs.
	NoSync bool
	// FlushDelay is how long an outcome, attempt, conflict or cursor may wait for a group to ride along with; 0 is
	// DefaultFlushDelay.
	FlushDelay time.Duration
	// CacheBytes bounds the cache of decoded records, measured in encoded bytes; 0 is DefaultCacheBytes.
	CacheBytes int64
	// CheckpointEvery is the number of entries after which a checkpoint is signed; 0 is DefaultCheckpointEvery, negative is
	// never, not even when the journal is closed.
	CheckpointEvery int
	// CheckpointDelay is how long an entry may wait for a checkpoint; 0 is DefaultCheckpointDelay, negative is for ever.
	CheckpointDelay time.Duration
	// MaxAhead is how far ahead of this node's clock a record of another node may be; 0 is hlc.DefaultMaxAhead, negative
	// is no limit.
	MaxAhead time.Duration
	// Logger gets what happens to the journal beside its work; nil is silence.
	Logger *slog.Logger
	// Fault is called at every step that a crash test may want to die at; nil is a no-op. Points: "journal.created",
	// "journal.gate" (sequence taken, nothing written), "journal.append" (before the group's transaction is committed),
	// "journal.appended" (the group is durable, nobody was told), "journal.outcome" (outcome known, not durable),
	// "journal.roll" (next segment made, not yet used), "journal.seal" (before a closed segment's indexes are committed),
	// "journal.sign" (a checkpoint is kept, and not yet in the journal), "journal.purge" (a purge is recorded, nothing deleted yet).
	Fault func(point string)

	// disk is asked before and after a group is written, and may answer with the disk's failure: for tests.
	disk func(point string) error
}

// withDefaults checks the options and fills what was left out.
func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("open journal: no folder given")
	}
	if o.Node == "" {
		return o, errors.New("open journal: no node name given")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.After == nil {
		o.After = time.After
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	o.SegmentBytes = max(o.SegmentBytes, minSegmentBytes)
	if o.FlushDelay == 0 {
		o.FlushDelay = DefaultFlushDelay
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = DefaultCheckpointEvery
	}
	if o.CheckpointDelay == 0 {
		o.CheckpointDelay = DefaultCheckpointDelay
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.disk == nil {
		o.disk = func(string) error { return nil }
	}
	if o.Fault == nil {
		o.Fault = func(string) {}
	}
	return o, nil
}

// random fills b or fails.
func (o Options) random(b []byte) error {
	_, err := io.ReadFull(o.Rand, b)
	return err
}
