package journal

import (
	"errors"
	"fmt"
)

// Errors at opening.
var (
	// ErrLocked is returned when another process holds the journal.
	ErrLocked = errors.New("journal is in use")
	// ErrOtherNode is returned when the folder holds the journal of a node of another name.
	ErrOtherNode = errors.New("journal of another node")
	// ErrDamaged is returned for what cannot be trusted: a file whose pages or entries do not add up, at opening or when it
	// is read, and a record from a peer whose bytes, hash or chain are wrong. Nothing is ever repaired or recreated silently.
	ErrDamaged = errors.New("journal is damaged")
	// ErrNotFound is returned when a record that is asked for is not here.
	ErrNotFound = errors.New("no such record")
	// ErrPruned is returned when what is asked for was here and was deleted by retention. It is an ErrNotFound too.
	ErrPruned = fmt.Errorf("%w any more: it was pruned", ErrNotFound)
)

// Errors of writing.
var (
	// ErrFull is returned when the disk budget is used up or the disk is full. Nothing of the refused write is left; the
	// journal recovers by itself once there is room.
	ErrFull = errors.New("journal is full")
	// ErrFailed is returned once a write failed in a way that leaves open what is on the disk (EIO). The journal takes no
	// more writes: the process must end, and what is there is read again at the next start.
	ErrFailed = errors.New("journal has failed")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("journal is closed")
	// ErrTooLarge is returned for a record over MaxRecordBytes.
	ErrTooLarge = errors.New("record is too large")
)

// Errors of storing others' records.
var (
	// ErrFork is returned when two different records have one id: somebody runs with a copy of a node's identity, or this
	// node's journal was replaced by an older one.
	ErrFork = errors.New("two records with one id")
	// ErrGap is returned when a record's predecessor is missing.
	ErrGap = errors.New("gap in an origin's records")
)
